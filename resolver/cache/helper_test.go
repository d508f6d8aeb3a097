package cache_test

import (
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver/cache"
	"rideau/resolver/wire"
)

const second = int64(time.Second)

// epoch is the Unix time at which the tests begin, in nanoseconds.
const epoch = 1_700_000_000*second + 123_456_789

// key returns the key of a question; DO and CD are off.
func key(t testing.TB, name string, qtype uint16) cache.Key {
	t.Helper()
	n := new(wire.Name)
	if err := n.SetText(name); err != nil {
		t.Fatal(err)
	}
	return cache.Key{Name: n, Type: wire.Type(qtype), Class: wire.ClassIN}
}

// response returns a response to name and qtype. Each record is zone-file text;
// "--" begins the next section.
func response(t testing.TB, name string, qtype uint16, rcode int, records ...string) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), qtype)
	m.Response, m.RecursionAvailable, m.Rcode, m.Compress = true, true, rcode, true
	sections := []*[]dns.RR{&m.Answer, &m.Ns, &m.Extra}
	for _, text := range records {
		if text == "--" {
			sections = sections[1:]
			continue
		}
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatalf("record %q: %v", text, err)
		}
		*sections[0] = append(*sections[0], rr)
	}
	return m
}

// parsed returns m in wire form, and parsed, as Put expects it.
func parsed(t testing.TB, m *dns.Msg) ([]byte, *wire.Response) {
	t.Helper()
	msg, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	r := new(wire.Response)
	if err := r.Parse(msg, new(wire.Name)); err != nil {
		t.Fatal(err)
	}
	return msg, r
}

// put stores m and reports whether the cache did.
func put(t testing.TB, c *cache.Cache, k cache.Key, m *dns.Msg, now int64) bool {
	t.Helper()
	msg, r := parsed(t, m)
	before := string(msg)
	const head = "head"
	out, stored := c.Put([]byte(head), k, msg, r, 1, now)
	if string(msg) != before {
		t.Fatal("Put wrote to the message")
	}
	if string(out[:len(head)]) != head || !stored && len(out) != len(head) {
		t.Fatalf("Put returned %x", out)
	}
	return stored
}

// stored returns what Put says of storing.
func stored(_ []byte, ok bool) bool { return ok }

// unpack decodes what a lookup appended.
func unpack(t testing.TB, msg []byte) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(msg); err != nil {
		t.Fatalf("what was appended does not decode: %v", err)
	}
	return m
}

// all returns every record of m in order.
func all(m *dns.Msg) []dns.RR {
	return append(append(append([]dns.RR(nil), m.Answer...), m.Ns...), m.Extra...)
}

// ttls returns every TTL of m in order.
func ttls(m *dns.Msg) []uint32 {
	var out []uint32
	for _, rr := range all(m) {
		out = append(out, rr.Header().Ttl)
	}
	return out
}

// lifetime returns for how many seconds Get finds k, by trying; 0 if not at
// all.
func lifetime(t testing.TB, c *cache.Cache, k cache.Key, from int64) int64 {
	t.Helper()
	for s := int64(0); s <= 1<<20; {
		msg, hit := c.Get(nil, k, from+s*second)
		if hit.Freshness == cache.Miss {
			return s
		}
		// No answer lives longer than its smallest TTL, so skip that time.
		if tt := ttls(unpack(t, msg)); len(tt) > 0 {
			low := tt[0]
			for _, v := range tt {
				low = min(low, v)
			}
			if low == 0 {
				t.Fatal("served with a TTL of 0")
			}
			if _, hit = c.Get(nil, k, from+(s+int64(low))*second-1); hit.Freshness != cache.Fresh {
				t.Fatal("gone before its smallest TTL was over")
			}
			s += int64(low)
			continue
		}
		s++
	}
	t.Fatal("never expires")
	return 0
}

func options() cache.Options {
	return cache.Options{Entries: 1 << 14, Bytes: 1 << 24}
}

func lower(m *dns.Msg) {
	m.Question[0].Name = strings.ToLower(m.Question[0].Name)
}
