package response_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/miekg/dns"

	"rideau/resolver/wire"
	"rideau/resolver/wire/response"
)

// some returns a response with RRsets of several sizes in all sections,
// sometimes shuffled.
func some(t testing.TB, r *rand.Rand) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion("www.Example.ca.", dns.TypeA)
	m.Response = true
	m.Compress = r.IntN(4) > 0
	section := func(sets int) []dns.RR {
		var out []dns.RR
		for i := range sets {
			owner := []string{"www.example.ca.", "WWW.example.ca.", "b.example.ca.", "example.ca.", "."}[r.IntN(5)]
			typ := []string{"A 192.0.2.%d", "AAAA 2001:db8::%d", "MX %d mx.example.ca.", `TXT "%d ` + string(bytes.Repeat([]byte{'x'}, r.IntN(200))) + `"`, "TYPE65280 \\# 1 %02x"}[r.IntN(5)]
			for j := range 1 + r.IntN(4) {
				out = append(out, rr(t, owner+" 60 IN "+fmt.Sprintf(typ, 10*i+j)))
			}
		}
		if r.IntN(3) == 0 {
			r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
		}
		return out
	}
	m.Answer, m.Ns, m.Extra = section(r.IntN(8)), section(r.IntN(3)), section(r.IntN(4))
	return m
}

// Fit leaves the beginning of the message, whole RRsets only, within the limit,
// and sets TC if something is lost.
func TestFit(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	prefix := []byte{1, 2, 3}
	kept := 0
	for range 3000 {
		m := some(t, r)
		whole := encode(t, m)
		limit := 60 + r.IntN(len(whole))
		b := response.Fit(append(bytes.Clone(prefix), whole...), len(prefix), limit)
		if len(b)-len(prefix) > limit {
			t.Fatalf("%d octets, of %d", len(b)-len(prefix), limit)
		}
		var got dns.Msg
		if err := got.Unpack(b[len(prefix):]); err != nil {
			t.Fatal(err)
		}
		n := 0
		for i, sections := range [][2][]dns.RR{{m.Answer, got.Answer}, {m.Ns, got.Ns}, {m.Extra, got.Extra}} {
			was, is := sections[0], sections[1]
			for j := range is {
				if is[j].String() != was[j].String() {
					t.Fatalf("record %d of section %d is %v, was %v", j, i, is[j], was[j])
				}
			}
			for _, a := range is {
				for _, b := range was[len(is):] {
					if dns.IsRRset([]dns.RR{a, b}) {
						t.Fatalf("of the RRset of %v, %v is lost", a, b)
					}
				}
			}
			n += len(is)
		}
		kept += n
		lost := len(got.Answer)+len(got.Ns) < len(m.Answer)+len(m.Ns)
		if got.Truncated != lost {
			t.Fatalf("TC %v, lost %v", got.Truncated, lost)
		}
		if len(whole) <= limit && (n < len(m.Answer)+len(m.Ns)+len(m.Extra) || lost) {
			t.Fatalf("a message that fits was cut")
		}
	}
	if kept < 3000 {
		t.Errorf("only %d records are left in all messages: the test proves little", kept)
	}
}

// An RRset that fits is kept, even if the next does not fit.
func TestFitKeeps(t *testing.T) {
	m := new(dns.Msg)
	m.SetQuestion("www.example.ca.", dns.TypeA)
	m.Response, m.Compress = true, true
	m.Answer = append(m.Answer, rr(t, "www.example.ca. 60 IN CNAME b.example.ca."), rr(t, "b.example.ca. 60 IN A 192.0.2.1"), rr(t, "b.example.ca. 60 IN A 192.0.2.2"))
	whole := encode(t, m)
	var got dns.Msg
	if err := got.Unpack(response.Fit(whole, 0, len(whole)-1)); err != nil || len(got.Answer) != 1 || !got.Truncated {
		t.Errorf("%v, %v", &got, err)
	}
}

// FitAddresses keeps the addresses of the answer that fit, after its aliases, and
// part of nothing else.
func TestFitAddresses(t *testing.T) {
	for what, tt := range map[string]struct {
		record string
		want   int
	}{
		"A":    {"b.example.ca. 60 IN A 192.0.2.%d", 25},
		"AAAA": {"b.example.ca. 60 IN AAAA 2001:db8::%d", 15},
		"MX":   {"b.example.ca. 60 IN MX %d mx.example.ca.", 0},
	} {
		m := new(dns.Msg)
		m.SetQuestion("www.example.ca.", dns.StringToType[what])
		m.Response, m.Compress = true, true
		m.Answer = append(m.Answer, rr(t, "www.example.ca. 60 IN CNAME b.example.ca."))
		for i := range 100 {
			m.Answer = append(m.Answer, rr(t, fmt.Sprintf(tt.record, i)))
		}
		var got dns.Msg
		if err := got.Unpack(response.FitAddresses(encode(t, m), 0, 512)); err != nil {
			t.Fatal(err)
		}
		if n := len(got.Answer) - 1; n < tt.want || n > tt.want+5 || !got.Truncated {
			t.Errorf("%s: %d of 100 are left, TC %v", what, n, got.Truncated)
		}
		for i, r := range got.Answer {
			if r.String() != m.Answer[i].String() {
				t.Errorf("%s: record %d is %v, was %v", what, i, r, m.Answer[i])
			}
		}
		m.Answer, m.Extra = m.Answer[:1], m.Answer[1:]
		if err := got.Unpack(response.FitAddresses(encode(t, m), 0, 512)); err != nil || len(got.Extra) != 0 || got.Truncated {
			t.Errorf("%s: %d additional records are left, of one RRset", what, len(got.Extra))
		}
	}
}

// FuzzFit: whatever the message, Fit ends, stays within the limit, and leaves a
// message that can be walked.
func FuzzFit(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 10 {
		f.Add(encode(f, some(f, r)), uint16(100))
	}
	f.Fuzz(func(t *testing.T, msg []byte, limit uint16) {
		w := wire.NewWalk(msg)
		if w.Err() != nil || int(limit) < w.Offset() {
			return
		}
		for _, fit := range []func([]byte, int, int) []byte{response.Fit, response.FitAddresses} {
			b := fit(bytes.Clone(msg), 0, int(limit))
			if len(b) > int(limit) {
				t.Fatalf("%d octets of %d", len(b), limit)
			}
			if w = wire.NewWalk(b); w.Err() != nil {
				t.Fatal(w.Err())
			}
		}
	})
}
