package wire_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"rideau/resolver/wire"
)

// relatedCase is a response by its question and its records; those that do not
// belong have a minus sign in front.
type relatedCase struct {
	question string
	records  []string
	refused  bool
}

func relatedCases() map[string]relatedCase {
	return map[string]relatedCase{
		"an address":     {"www.example.com.", []string{"WWW.example.COM. 60 IN A 192.0.2.1"}, false},
		"nothing at all": {"www.example.com.", nil, false},
		"a chain": {"www.example.com.", []string{"www.example.com. 60 IN CNAME a.example.net.", "a.example.net. 60 IN CNAME b.example.org.", "b.example.org. 60 IN A 192.0.2.1",
			"b.example.org. 60 IN RRSIG A 13 3 60 20300101000000 20200101000000 1 example.org. AAAA"}, false},
		"a chain in no order": {"www.example.com.", []string{"b.example.org. 60 IN A 192.0.2.1", "a.example.net. 60 IN CNAME b.example.org.", "www.example.com. 60 IN CNAME a.example.net."}, false},
		"a loop":              {"www.example.com.", []string{"www.example.com. 60 IN CNAME a.example.net.", "a.example.net. 60 IN CNAME www.example.com."}, false},
		"DNAME": {"www.old.example.", []string{"old.example. 60 IN DNAME new.example.", "old.example. 60 IN RRSIG DNAME 13 2 60 20300101000000 20200101000000 1 old.example. AAAA",
			"www.old.example. 60 IN CNAME www.new.example.", "www.new.example. 60 IN A 192.0.2.1"}, false},
		"DNAME without CNAME": {"www.old.example.", []string{"old.example. 60 IN DNAME new.example.", "www.new.example. 60 IN A 192.0.2.1"}, false},
		"another's address":   {"www.example.com.", []string{"www.example.com. 60 IN A 192.0.2.1", "-www.victim.example. 60 IN A 192.0.2.66"}, false},
		"an alias beside the chain": {"www.example.com.", []string{"www.example.com. 60 IN CNAME a.example.net.", "-x.example.com. 60 IN CNAME victim.example.", "-victim.example. 60 IN A 192.0.2.66",
			"a.example.net. 60 IN A 192.0.2.1"}, false},
		"a name below the one that was asked for": {"example.com.", []string{"example.com. 60 IN A 192.0.2.1", "-www.example.com. 60 IN A 192.0.2.66"}, false},
		"a DNAME elsewhere":                       {"www.example.com.", []string{"www.example.com. 60 IN A 192.0.2.1", "-victim.example. 60 IN DNAME evil.example."}, false},
		"another class":                           {"www.example.com.", []string{"www.example.com. 60 IN A 192.0.2.1", `-www.example.com. 60 CH TXT "x"`, "--", "-com. 60 CH NS ns.example.", "--", `-www.example.com. 60 CH TXT "x"`}, false},
		"nothing but another class":               {"www.example.com.", []string{`-www.example.com. 60 CH TXT "x"`}, true},
		"nothing but another's":                   {"www.example.com.", []string{"-www.victim.example. 60 IN A 192.0.2.66"}, true},
		"authority": {"www.example.com.", []string{"www.example.com. 60 IN A 192.0.2.1", "--", "example.com. 60 IN NS ns.example.net.", "com. 60 IN NS a.gtld.example.", ". 60 IN NS a.root.example.",
			"-victim.example. 60 IN NS ns.evil.example.", "-sub.www.example.com. 60 IN NS ns.evil.example.", "-www.victim.example. 60 IN A 192.0.2.66"}, false},
		"authority of the chain's end": {"www.example.com.", []string{"www.example.com. 60 IN CNAME a.example.net.", "--", "example.net. 60 IN SOA a. b. 1 2 3 4 5"}, false},
		"a denial": {"www.example.com.", []string{"--", "example.com. 60 IN SOA a. b. 1 2 3 4 5", "a.example.com. 60 IN NSEC z.example.com. A RRSIG NSEC",
			"a.example.com. 60 IN RRSIG NSEC 13 3 60 20300101000000 20200101000000 1 example.com. AAAA"}, false},
		"a filter's denial": {"www.example.com.", []string{"--", "filter.example. 60 IN SOA a. b. 1 2 3 4 5"}, false},
		"glue": {"www.example.com.", []string{"www.example.com. 60 IN A 192.0.2.1", "--", "example.com. 60 IN NS ns.example.net.", "-victim.example. 60 IN NS ns.victim.example.", "--",
			"ns.example.net. 60 IN A 192.0.2.53", "ns.example.net. 60 IN AAAA 2001:db8::53"}, false},
		"a server's address": {"example.com.", []string{"example.com. 60 IN MX 10 mail.example.net.", "--", "--", "mail.example.net. 60 IN A 192.0.2.25"}, false},
		"services":           {"example.com.", []string{"example.com. 60 IN HTTPS 0 svc.example.net.", "--", "--", "svc.example.net. 60 IN HTTPS 1 pool.example.org. alpn=h2", "pool.example.org. 60 IN A 192.0.2.1"}, false},
		"the name itself":    {"example.com.", []string{"example.com. 60 IN HTTPS 1 . alpn=h2", "--", "--", "example.com. 60 IN A 192.0.2.1"}, false},
		"the root":           {".", []string{". 60 IN NS a.root.example.", "--", "--", "a.root.example. 60 IN A 192.0.2.1"}, false},
	}
}

// message is the response, and that which is left of it.
func (tt *relatedCase) message(t testing.TB, qtype uint16) (all, left *dns.Msg) {
	t.Helper()
	all, left = new(dns.Msg).SetQuestion(tt.question, qtype), new(dns.Msg).SetQuestion(tt.question, qtype)
	section := 0
	for _, text := range tt.records {
		if text == "--" {
			section++
			continue
		}
		rr, err := dns.NewRR(strings.TrimPrefix(text, "-"))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		for _, m := range []*dns.Msg{all, left} {
			if m == all || text[0] != '-' {
				to := []*[]dns.RR{&m.Answer, &m.Ns, &m.Extra}[section]
				*to = append(*to, rr)
			}
		}
	}
	left.Id, left.Response, all.Response = all.Id, true, true
	return all, left
}

// What belongs to the question stays, with or without compression, and what
// does not goes.
func TestRelated(t *testing.T) {
	for what, tt := range relatedCases() {
		for _, compress := range []bool{true, false} {
			all, left := tt.message(t, dns.TypeA)
			all.Compress = compress
			msg, err := all.Pack()
			if err != nil {
				t.Fatal(err)
			}
			before := string(msg)
			out, dropped, ok := wire.AppendRelated([]byte("head"), msg, true)
			if string(msg) != before {
				t.Fatalf("%s: the message was written to", what)
			}
			want := len(all.Answer) + len(all.Ns) + len(all.Extra) - len(left.Answer) - len(left.Ns) - len(left.Extra)
			if dropped != want || ok == tt.refused {
				t.Errorf("%s: %d dropped, want %d; %v", what, dropped, want, ok)
			}
			if !ok {
				continue
			}
			if dropped == 0 {
				if &out[0] != &msg[0] || len(out) != len(msg) {
					t.Errorf("%s: it was copied", what)
				}
				continue
			}
			var r wire.Response
			if err := r.Parse(slices.Clone(out[4:]), new(wire.Name)); err != nil {
				t.Errorf("%s: what is left: %v", what, err)
			}
			got := new(dns.Msg)
			if err := got.Unpack(out[4:]); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if !strings.EqualFold(got.String(), left.String()) {
				t.Errorf("%s: got %v\nwant %v", what, got, left)
			}
		}
	}
}

// Who did not set DO gets no signatures and proofs but those of the type that
// was asked for (RFC 4035 section 3.2.1).
func TestRelatedWithoutDO(t *testing.T) {
	const sig = "www.example.com. 60 IN RRSIG A 13 3 60 20300101000000 20200101000000 1 example.com. AAAA"
	const proof = "a.example.com. 60 IN NSEC z.example.com. A RRSIG NSEC"
	const hashed = "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.example.com. 60 IN NSEC3 1 0 0 - 0p9mhaveqvm6t7vbl5lop2u3t2rp3ton A"
	for what, tt := range map[string]struct {
		qtype   uint16
		records []string
		refused bool
	}{
		"a signed address":  {dns.TypeA, []string{"www.example.com. 60 IN A 192.0.2.1", "-" + sig, "--", "-" + proof}, false},
		"a signed denial":   {dns.TypeA, []string{"--", "example.com. 60 IN SOA a. b. 1 2 3 4 5", "-" + proof, "-" + hashed, "-" + sig}, false},
		"a signed server":   {dns.TypeNS, []string{"www.example.com. 60 IN NS ns.example.net.", "--", "--", "ns.example.net. 60 IN A 192.0.2.53", "-ns.example.net. 60 IN RRSIG A 13 3 60 20300101000000 20200101000000 1 example.net. AAAA"}, false},
		"signatures":        {dns.TypeRRSIG, []string{sig, "--", "-" + proof}, false},
		"proofs":            {dns.TypeNSEC, []string{"www.example.com. 60 IN NSEC z.example.com. A", "-" + sig}, false},
		"keys":              {dns.TypeDNSKEY, []string{"www.example.com. 60 IN DNSKEY 257 3 13 AAAA", "-" + sig}, false},
		"a signature alone": {dns.TypeA, []string{"-" + sig}, true},
	} {
		c := relatedCase{question: "www.example.com.", records: tt.records}
		all, left := c.message(t, tt.qtype)
		msg, err := all.Pack()
		if err != nil {
			t.Fatal(err)
		}
		out, _, ok := wire.AppendRelated(nil, msg, false)
		if ok == tt.refused {
			t.Errorf("%s: %v", what, ok)
		}
		if !ok {
			continue
		}
		got := new(dns.Msg)
		if err := got.Unpack(out); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if !strings.EqualFold(got.String(), left.String()) {
			t.Errorf("%s: got %v\nwant %v", what, got, left)
		}
		if _, dropped, ok := wire.AppendRelated(nil, msg, true); !ok || dropped != 0 {
			t.Errorf("%s: with DO %d dropped, %v", what, dropped, ok)
		}
	}
}

func TestRelatedAllocations(t *testing.T) {
	for what, tt := range relatedCases() {
		_, left := tt.message(t, dns.TypeA)
		left.Compress = true
		msg, err := left.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(100, func() { wire.AppendRelated(nil, msg, true) }); n != 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
}

// However many records and aliases a response has, the work has an end, and
// what was not looked at does not stay.
func TestRelatedBounds(t *testing.T) {
	m := new(dns.Msg).SetQuestion("n0.example.", dns.TypeA)
	m.Response = true
	const links = 1500 // against the order in which they are followed
	for i := links; i >= 0; i-- {
		m.Answer = append(m.Answer, &dns.CNAME{Hdr: dns.RR_Header{Name: fmt.Sprintf("n%d.example.", i), Rrtype: dns.TypeCNAME, Class: 1, Ttl: 60}, Target: fmt.Sprintf("n%d.example.", i+1)})
	}
	m.Compress = true
	msg, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	out, dropped, ok := wire.AppendRelated(nil, msg, true)
	if ok && (dropped < links/2 || wire.Count(out, wire.Answer) != links+1-dropped) {
		t.Errorf("%d dropped, %d left", dropped, wire.Count(out, wire.Answer))
	}
	if dropped == 0 {
		t.Error("a chain of any length is followed")
	}
}

// Whatever parses comes out with no more than it had, readable, and as it is if
// it goes through again; no answer stays that nothing leads to.
func FuzzRelated(f *testing.F) {
	for _, tt := range relatedCases() {
		all, _ := tt.message(f, dns.TypeA)
		all.Compress = true
		msg, err := all.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(msg)
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		var r wire.Response
		scratch := new(wire.Name)
		if len(msg) > 4096 || r.Parse(msg, scratch) != nil {
			return
		}
		msg = msg[:r.End]
		out, dropped, ok := wire.AppendRelated(nil, msg, true)
		if !ok {
			return
		}
		total := func(m []byte) int {
			return wire.Count(m, wire.Answer) + wire.Count(m, wire.Authority) + wire.Count(m, wire.Additional)
		}
		if total(out) != total(msg)-dropped {
			t.Fatalf("%d records of %d, %d dropped", total(out), total(msg), dropped)
		}
		var again wire.Response
		if err := again.Parse(slices.Clone(out), scratch); err != nil {
			t.Fatalf("what is left: %v", err)
		}
		if _, n, ok := wire.AppendRelated(nil, out, true); !ok || n != 0 && dropped < 2 {
			t.Fatalf("%d dropped of what is left, %v", n, ok)
		}
	})
}

func BenchmarkRelated(b *testing.B) {
	for _, what := range []string{"an address", "a chain", "glue"} {
		tt := relatedCases()[what]
		_, left := tt.message(b, dns.TypeA)
		left.Compress = true
		msg, err := left.Pack()
		if err != nil {
			b.Fatal(err)
		}
		b.Run(what, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				wire.AppendRelated(nil, msg, true)
			}
		})
	}
}
