package cache_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver/cache"
	"rideau/resolver/wire"
)

// samples returns responses of many shapes, with different TTLs.
func samples(t testing.TB) []*dns.Msg {
	soa := "example.com. 900 IN SOA ns.example.com. host.example.com. 1 7200 3600 1209600 300"
	return []*dns.Msg{
		response(t, "example.com", dns.TypeA, 0, "example.com. 300 IN A 192.0.2.1", "example.com. 301 IN A 192.0.2.2"),
		response(t, "WwW.eXaMpLe.CoM", dns.TypeAAAA, 0,
			"www.example.com. 60 IN CNAME cdn.example.net.", "cdn.example.net. 20 IN AAAA 2001:db8::1",
			"--", "example.net. 86400 IN NS ns1.example.net.", "--", "ns1.example.net. 3600 IN A 192.0.2.53"),
		response(t, "mx.example.com", dns.TypeMX, 0, "mx.example.com. 7200 IN MX 10 a.example.com.",
			"mx.example.com. 7200 IN MX 20 b.example.com."),
		response(t, "svc.example.com", dns.TypeHTTPS, 0,
			`svc.example.com. 120 IN HTTPS 1 . alpn="h2,h3" ipv4hint="192.0.2.7" ipv6hint="2001:db8::7"`),
		response(t, "txt.example.com", dns.TypeTXT, 0, `txt.example.com. 4000 IN TXT "one" "two"`),
		response(t, "gone.example.com", dns.TypeA, dns.RcodeNameError, "--", soa),
		response(t, "empty.example.com", dns.TypeSRV, 0, "--", soa),
		response(t, ".", dns.TypeNS, 0, ". 518400 IN NS a.root-servers.net.", "--", "--", "a.root-servers.net. 518400 IN A 198.41.0.4"),
	}
}

func keyOf(t testing.TB, m *dns.Msg) cache.Key {
	return key(t, m.Question[0].Name, m.Question[0].Qtype)
}

// A message from Get decodes to the stored message, its TTLs less the age.
func TestCountDownAgainstDecoder(t *testing.T) {
	c := cache.New(options())
	for _, m := range samples(t) {
		k := keyOf(t, m)
		if !put(t, c, k, m, epoch) {
			t.Fatalf("%s: not stored", m.Question[0].String())
		}
		at0 := unpack(t, first(c.Get(nil, k, epoch)))
		want := m.Copy()
		lower(want)
		want.Id = 0
		if m.Rcode == 0 && len(m.Answer) > 0 {
			// A positive answer within the bounds is returned as it was stored.
			want, at := unpack(t, mustEncode(t, want)), at0
			want.Compress, at.Compress = false, false
			if !reflect.DeepEqual(want, at) {
				t.Errorf("got %v\nwant %v", at, want)
			}
		}
		for _, age := range []int64{0, 1, second - 1, second, second + 1, 7*second + 5, 19 * second, 20*second - 1,
			59 * second, 119*second + 999, 299 * second, 300*second - 1} {
			msg, hit := c.Get([]byte("before"), k, epoch+age)
			low := ^uint32(0)
			for _, v := range ttls(at0) {
				low = min(low, v)
			}
			if expired := age >= int64(low)*second; expired != (hit.Freshness == cache.Miss) {
				t.Fatalf("%s at %d: freshness %d", m.Question[0].String(), age, hit.Freshness)
			}
			if string(msg[:6]) != "before" {
				t.Fatal("Get did not append")
			}
			if hit.Freshness == cache.Miss {
				if len(msg) != 6 {
					t.Fatal("appended on a miss")
				}
				continue
			}
			got := unpack(t, msg[6:])
			for i, rr := range all(got) {
				if w := all(at0)[i].Header().Ttl - uint32(age/second); rr.Header().Ttl != w {
					t.Errorf("%s at %d: TTL %d, want %d", rr, age, rr.Header().Ttl, w)
				}
				rr.Header().Ttl = all(at0)[i].Header().Ttl
			}
			if !reflect.DeepEqual(got, at0) {
				t.Errorf("more than TTLs changed: %v\nwant %v", got, at0)
			}
		}
	}
}

func first(msg []byte, _ cache.Hit) []byte { return msg }

func mustEncode(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestClamp(t *testing.T) {
	o := options()
	o.MinTTL, o.MaxTTL = time.Minute, time.Hour
	c := cache.New(o)
	k := key(t, "clamp.example", dns.TypeA)
	m := response(t, "clamp.example", dns.TypeA, 0, "clamp.example. 5 IN CNAME b.example.", "b.example. 90000 IN A 192.0.2.1",
		"--", "example. 600 IN NS ns.example.")
	if !put(t, c, k, m, epoch) {
		t.Fatal("not stored")
	}
	if got := ttls(unpack(t, first(c.Get(nil, k, epoch)))); !reflect.DeepEqual(got, []uint32{60, 3600, 600}) {
		t.Errorf("TTLs %v", got)
	}
	if got := lifetime(t, c, k, epoch); got != 60 {
		t.Errorf("found for %d s, want 60", got)
	}
}

// Responses with a TTL that is 0, or that RFC 2181 section 8 reads as 0, are
// not stored, and their TTLs are not raised.
func TestZeroTTL(t *testing.T) {
	o := options()
	o.MinTTL = time.Minute
	for _, ttl := range []uint32{0, 1 << 31, 1<<32 - 1} {
		c := cache.New(o)
		k := key(t, "zero.example", dns.TypeA)
		m := response(t, "zero.example", dns.TypeA, 0, "zero.example. 300 IN A 192.0.2.1", "zero.example. 300 IN A 192.0.2.2")
		m.Answer[1].Header().Ttl = ttl
		if put(t, c, k, m, epoch) {
			t.Errorf("TTL %d stored", ttl)
		}
		if _, hit := c.Get(nil, k, epoch); hit.Freshness != cache.Miss || c.Stats().Entries != 0 {
			t.Errorf("TTL %d found", ttl)
		}
	}
}

// A complete answer that may not be stored still removes the answer that it
// contradicts.
func TestUncacheableAnswerSupersedes(t *testing.T) {
	good := response(t, "a.example", dns.TypeA, 0, "a.example. 300 IN A 192.0.2.1")
	truncated := good.Copy()
	truncated.Truncated = true
	for name, tt := range map[string]struct {
		m    *dns.Msg
		kept bool
	}{
		"TTL 0":         {response(t, "a.example", dns.TypeA, 0, "a.example. 0 IN A 192.0.2.9"), false},
		"bare NXDOMAIN": {response(t, "a.example", dns.TypeA, dns.RcodeNameError), false},
		"truncated":     {truncated, true},
		"referral":      {response(t, "a.example", dns.TypeA, 0, "--", "example. 300 IN NS ns.example."), true},
	} {
		c := cache.New(options())
		k := key(t, "a.example", dns.TypeA)
		put(t, c, k, good, epoch)
		if put(t, c, k, tt.m, epoch+second) {
			t.Errorf("%s: stored", name)
		}
		if _, hit := c.Get(nil, k, epoch+second); (hit.Freshness == cache.Fresh) != tt.kept {
			t.Errorf("%s: freshness %d afterwards", name, hit.Freshness)
		}
	}
}

func TestKeyParts(t *testing.T) {
	c := cache.New(options())
	base := key(t, "parts.example", dns.TypeA)
	variants := []cache.Key{base, base, base, base, base, base}
	variants[1].DO = true
	variants[2].CD = true
	variants[3].DO, variants[3].CD = true, true
	variants[4].Type = wire.TypeAAAA
	variants[5].Class = wire.ClassCH
	for i, k := range variants {
		for j, other := range variants[i:] {
			if _, hit := c.Get(nil, other, epoch); hit.Freshness != cache.Miss {
				t.Fatalf("key %d found when only keys below %d are stored", i+j, i)
			}
		}
		rr := "parts.example. 300 IN A 192.0.2." + fmt.Sprint(i)
		if k.Type == wire.TypeAAAA {
			rr = "parts.example. 300 IN AAAA 2001:db8::4"
		}
		m := response(t, "parts.example", uint16(k.Type), 0, rr)
		m.Question[0].Qclass, m.Answer[0].Header().Class = uint16(k.Class), uint16(k.Class)
		if k.Class == wire.ClassCH {
			m.Answer[0] = &dns.RFC3597{Hdr: *m.Answer[0].Header(), Rdata: "c0000205"}
		}
		if !put(t, c, k, m, epoch) {
			t.Fatalf("key %d not stored", i)
		}
	}
	for i, k := range variants {
		msg, hit := c.Get(nil, k, epoch)
		if hit.Freshness != cache.Fresh || msg[len(msg)-1] != byte(i) {
			t.Errorf("key %d: freshness %d, last octet %d", i, hit.Freshness, msg[len(msg)-1])
		}
	}
}

// A response to another question is refused, and so is one that still has an
// OPT record.
func TestPutRefuses(t *testing.T) {
	c := cache.New(options())
	msg, r := parsed(t, response(t, "a.example", dns.TypeA, 0, "a.example. 300 IN A 192.0.2.1"))
	for _, k := range []cache.Key{key(t, "b.example", dns.TypeA), key(t, "a.example", dns.TypeAAAA), key(t, "a.example.com", dns.TypeA)} {
		if stored(c.Put(nil, k, msg, r, 1, epoch)) {
			t.Errorf("stored for %s %d", k.Name, k.Type)
		}
	}
	k := key(t, "a.example", dns.TypeA)
	if stored(c.Put(nil, k, msg[:len(msg)-1], r, 1, epoch)) {
		t.Error("stored though cut short")
	}
	withOPT := response(t, "a.example", dns.TypeA, 0, "a.example. 300 IN A 192.0.2.1")
	withOPT.SetEdns0(1232, false)
	raw := mustEncode(t, withOPT)
	left := *r
	left.End = len(raw)
	if stored(c.Put(nil, k, raw, &left, 1, epoch)) {
		t.Error("stored with OPT")
	}
	if n := c.Stats().Entries; n != 0 {
		t.Errorf("%d entries", n)
	}
	raw, r = parsed(t, withOPT)
	if !stored(c.Put(nil, k, raw, r, 1, epoch)) {
		t.Error("not stored with OPT taken out")
	}
	if got := unpack(t, first(c.Get(nil, k, epoch))); got.IsEdns0() != nil {
		t.Error("OPT came back")
	}
}

// Questions with the same hash are counted, and each has its own answer.
func TestCollision(t *testing.T) {
	c := cache.New(options())
	c.CollideAll()
	a, b := key(t, "a.example", dns.TypeA), key(t, "b.example", dns.TypeA)
	ma := response(t, "a.example", dns.TypeA, 0, "a.example. 300 IN A 192.0.2.1")
	mb := response(t, "b.example", dns.TypeA, 0, "b.example. 300 IN A 192.0.2.2")
	if !put(t, c, a, ma, epoch) {
		t.Fatal("not stored")
	}
	do := a
	do.DO = true
	for _, k := range []cache.Key{b, do, key(t, "a.example", dns.TypeAAAA)} {
		if msg, hit := c.Get(nil, k, epoch); hit.Freshness != cache.Miss || len(msg) != 0 {
			t.Errorf("%v answered by another key's response", k)
		}
	}
	if _, hit := c.GetStale(nil, b, epoch); hit.Freshness != cache.Miss {
		t.Error("GetStale answered by another key's response")
	}
	if s := c.Stats(); s.Collisions != 4 || s.Misses != 3 || s.Hits != 0 {
		t.Errorf("stats %+v", s)
	}
	_, hit := c.Get(nil, a, epoch)
	if !put(t, c, b, mb, epoch) {
		t.Fatal("not stored")
	}
	c.MarkClean(a, hit, 9)
	for _, want := range []struct {
		k          cache.Key
		generation uint64
		address    string
	}{{a, 9, "192.0.2.1"}, {b, 1, "192.0.2.2"}} {
		msg, hit := c.Get(nil, want.k, epoch)
		if hit.Freshness != cache.Fresh || hit.Generation != want.generation {
			t.Fatalf("freshness %d, generation %d", hit.Freshness, hit.Generation)
		}
		if got := unpack(t, msg).Answer[0].(*dns.A).A.String(); got != want.address {
			t.Errorf("got %s, want %s", got, want.address)
		}
	}
	c.Remove(a)
	if _, hit := c.Get(nil, a, epoch); hit.Freshness != cache.Miss {
		t.Error("removed entry found")
	}
	if _, hit := c.Get(nil, b, epoch); hit.Freshness != cache.Fresh {
		t.Error("the other is gone too")
	}
	if s := c.Stats(); s.Entries != 1 {
		t.Errorf("%d entries", s.Entries)
	}
}

func TestMarkClean(t *testing.T) {
	c := cache.New(options())
	k := key(t, "a.example", dns.TypeA)
	m := response(t, "a.example", dns.TypeA, 0, "a.example. 300 IN A 192.0.2.1")
	put(t, c, k, m, epoch)
	_, hit := c.Get(nil, k, epoch)
	if hit.Generation != 1 {
		t.Fatalf("generation %d", hit.Generation)
	}
	c.MarkClean(k, hit, 7)
	if _, again := c.Get(nil, k, epoch); again.Generation != 7 {
		t.Errorf("generation %d, want 7", again.Generation)
	}
	c.MarkClean(key(t, "other.example", dns.TypeA), hit, 8)
	c.MarkClean(k, cache.Hit{}, 8)

	// Another message replaced the one that was examined.
	put(t, c, k, m, epoch+second)
	c.MarkClean(k, hit, 8)
	if _, again := c.Get(nil, k, epoch+second); again.Generation != 1 {
		t.Errorf("generation %d of a message that was not examined", again.Generation)
	}
}

// When the clock is set back, no TTL rises above the stored one, and no message
// lives longer than its TTL from then.
func TestClockSetBack(t *testing.T) {
	c := cache.New(options())
	k := key(t, "a.example", dns.TypeA)
	put(t, c, k, response(t, "a.example", dns.TypeA, 0, "a.example. 300 IN A 192.0.2.1"), epoch)
	for _, back := range []int64{1, 10 * second, 86400 * second} {
		msg, hit := c.Get(nil, k, epoch-back)
		if hit.Freshness != cache.Fresh {
			t.Fatalf("%d back: freshness %d", back, hit.Freshness)
		}
		if got := ttls(unpack(t, msg))[0]; got != 300 {
			t.Errorf("%d back: TTL %d", back, got)
		}
	}
	if got := lifetime(t, c, k, epoch-86400*second); got != 300 {
		t.Errorf("found for %d s after the clock was set back, want 300", got)
	}

	f := key(t, "fail.example", dns.TypeA)
	c.PutFailure(f, wire.ServFail, 22, false, epoch)
	if got := lifetime(t, c, f, epoch-86400*second); got != 5 {
		t.Errorf("failure found for %d s after the clock was set back, want 5", got)
	}
}

func TestFlush(t *testing.T) {
	c := cache.New(options())
	for _, m := range samples(t) {
		put(t, c, keyOf(t, m), m, epoch)
	}
	before := c.Stats()
	if before.Entries != len(samples(t)) || before.Bytes == 0 {
		t.Fatalf("stats %+v", before)
	}
	c.Flush()
	if s := c.Stats(); s.Entries != 0 || s.Bytes != 0 || s.Evictions != 0 {
		t.Errorf("stats %+v", s)
	}
	for _, m := range samples(t) {
		if _, hit := c.Get(nil, keyOf(t, m), epoch); hit.Freshness != cache.Miss {
			t.Error("found after Flush")
		}
		if !put(t, c, keyOf(t, m), m, epoch) {
			t.Error("not stored after Flush")
		}
	}
	if s := c.Stats(); s.Entries != before.Entries || s.Bytes != before.Bytes {
		t.Errorf("stats %+v, want those of before: %+v", s, before)
	}
}

func TestRemove(t *testing.T) {
	c := cache.New(cache.Options{Entries: 10, Bytes: 1 << 20})
	for _, name := range []string{"gone.example", "stays.example"} {
		msg, r := parsed(t, response(t, name, dns.TypeA, dns.RcodeSuccess, name+". 300 IN A 192.0.2.1"))
		if !stored(c.Put(nil, key(t, name, dns.TypeA), msg, r, 1, epoch)) {
			t.Fatal(name)
		}
	}
	c.Remove(key(t, "gone.example", dns.TypeA))
	c.Remove(key(t, "never.example", dns.TypeA))
	if _, hit := c.Get(nil, key(t, "gone.example", dns.TypeA), epoch); hit.Freshness != cache.Miss {
		t.Error("still there")
	}
	if _, hit := c.Get(nil, key(t, "stays.example", dns.TypeA), epoch); hit.Freshness != cache.Fresh {
		t.Error("the other is gone too")
	}
}

// Get returns what Put appended.
func TestPutAppends(t *testing.T) {
	c := cache.New(cache.Options{Entries: 100, Bytes: 1 << 20, MinTTL: 30 * time.Second, MaxTTL: 100 * time.Second})
	for i, m := range []*dns.Msg{
		response(t, "a.example", dns.TypeA, 0, "a.example. 300 IN A 192.0.2.1", "a.example. 5 IN A 192.0.2.2"),
		response(t, "a.example", dns.TypeA, dns.RcodeNameError, "--", "example. 300 IN SOA a. b. 1 2 3 4 50"),
		response(t, "A.eXample", dns.TypeA, 0, "a.example. 3 IN CNAME b.example.", "b.example. 5 IN A 192.0.2.2"),
	} {
		k := key(t, "a.example", dns.TypeA)
		msg, r := parsed(t, m)
		out, stored := c.Put([]byte("head"), k, msg, r, 1, epoch)
		got, hit := c.Get([]byte("head"), k, epoch)
		if m.Rcode == dns.RcodeNameError { // stored uncompressed
			out, got = []byte(unpack(t, out[4:]).String()), []byte(unpack(t, got[4:]).String())
		}
		if !stored || hit.Freshness != cache.Fresh || string(got) != string(out) {
			t.Errorf("%d: Put appended %x, Get %x", i, out, got)
		}
	}
}
