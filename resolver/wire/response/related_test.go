package response_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"rideau/resolver/wire"
	"rideau/resolver/wire/response"
)

// relatedCase is a response: its question, of type A if it names no other, and
// its records. A minus sign marks records that do not belong.
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
		"two addresses":                {"www.example.com.", []string{"www.example.com. 60 IN A 192.0.2.1", "www.example.com. 60 IN A 192.0.2.2"}, false},
		"an address of the other kind": {"www.example.com.", []string{"www.example.com. 60 IN A 192.0.2.1", "-www.example.com. 60 IN AAAA 2001:db8::1"}, false},
		"nothing of the type":          {"www.example.com. AAAA", []string{"-www.example.com. 60 IN A 192.0.2.1"}, false},
		"another class":                {"www.example.com.", []string{"-www.example.com. 60 CH A \\# 4 c0000201", "--", "-example.com. 60 CH NS ns.example.com.", "example.com. 60 IN NS ns.example.com."}, false},
		"a loop":                       {"www.example.com.", []string{"www.example.com. 60 IN CNAME a.example.net.", "a.example.net. 60 IN CNAME www.example.com."}, false},
		"DNAME": {"www.old.example.", []string{"old.example. 60 IN DNAME new.example.", "old.example. 60 IN RRSIG DNAME 13 2 60 20300101000000 20200101000000 1 old.example. AAAA",
			"www.old.example. 60 IN CNAME www.new.example.", "www.new.example. 60 IN A 192.0.2.1"}, false},
		"DNAME without CNAME": {"www.old.example.", []string{"old.example. 60 IN DNAME new.example.", "www.new.example. 60 IN A 192.0.2.1"}, false},
		"another's address":   {"www.example.com.", []string{"www.example.com. 60 IN A 192.0.2.1", "-www.victim.example. 60 IN A 192.0.2.66"}, false},
		"an alias beside the chain": {"www.example.com.", []string{"www.example.com. 60 IN CNAME a.example.net.", "-x.example.com. 60 IN CNAME victim.example.", "-victim.example. 60 IN A 192.0.2.66",
			"a.example.net. 60 IN A 192.0.2.1"}, false},
		"a name below the one that was asked for": {"example.com.", []string{"example.com. 60 IN A 192.0.2.1", "-www.example.com. 60 IN A 192.0.2.66"}, false},
		"a DNAME elsewhere":                       {"www.example.com.", []string{"www.example.com. 60 IN A 192.0.2.1", "-victim.example. 60 IN DNAME evil.example."}, false},
		"another class beside":                    {"www.example.com.", []string{"www.example.com. 60 IN A 192.0.2.1", `-www.example.com. 60 CH TXT "x"`, "--", "-com. 60 CH NS ns.example.", "--", `-www.example.com. 60 CH TXT "x"`}, false},
		"nothing but another class":               {"www.example.com.", []string{`-www.example.com. 60 CH TXT "x"`}, false},
		"nothing but another's":                   {"www.example.com.", []string{"-www.victim.example. 60 IN A 192.0.2.66"}, true},
		"authority": {"www.example.com.", []string{"www.example.com. 60 IN A 192.0.2.1", "--", "example.com. 60 IN NS ns.example.net.", "com. 60 IN NS a.gtld.example.", ". 60 IN NS a.root.example.",
			"-victim.example. 60 IN NS ns.evil.example.", "-sub.www.example.com. 60 IN NS ns.evil.example.", "-www.victim.example. 60 IN A 192.0.2.66"}, false},
		"authority of the chain's end": {"www.example.com.", []string{"www.example.com. 60 IN CNAME a.example.net.", "--", "example.net. 60 IN SOA a. b. 1 2 3 4 5"}, false},
		"a denial": {"www.example.com.", []string{"--", "example.com. 60 IN SOA a. b. 1 2 3 4 5", "a.example.com. 60 IN NSEC z.example.com. A RRSIG NSEC",
			"a.example.com. 60 IN RRSIG NSEC 13 3 60 20300101000000 20200101000000 1 example.com. AAAA"}, false},
		"a filter's denial": {"www.example.com.", []string{"--", "filter.example. 60 IN SOA a. b. 1 2 3 4 5"}, false},
		"glue": {"www.example.com.", []string{"www.example.com. 60 IN A 192.0.2.1", "--", "example.com. 60 IN NS ns.example.net.", "-victim.example. 60 IN NS ns.victim.example.", "--",
			"ns.example.net. 60 IN A 192.0.2.53", "ns.example.net. 60 IN AAAA 2001:db8::53"}, false},
		"a server's address": {"example.com. MX", []string{"example.com. 60 IN MX 10 mail.example.net.", "--", "--", "mail.example.net. 60 IN A 192.0.2.25"}, false},
		"services":           {"example.com. HTTPS", []string{"example.com. 60 IN HTTPS 0 svc.example.net.", "--", "--", "svc.example.net. 60 IN HTTPS 1 pool.example.org. alpn=h2", "pool.example.org. 60 IN A 192.0.2.1"}, false},
		"the name itself":    {"example.com. HTTPS", []string{"example.com. 60 IN HTTPS 1 . alpn=h2", "--", "--", "example.com. 60 IN A 192.0.2.1"}, false},
		"the root":           {". NS", []string{". 60 IN NS a.root.example.", "--", "--", "a.root.example. 60 IN A 192.0.2.1"}, false},
	}
}

// message returns the response, and the response that should remain of it.
func (tt *relatedCase) message(t testing.TB) (all, left *dns.Msg) {
	t.Helper()
	name, text, _ := strings.Cut(tt.question, " ")
	qtype, ok := dns.StringToType[text]
	if !ok {
		qtype = dns.TypeA
	}
	all, left = new(dns.Msg).SetQuestion(name, qtype), new(dns.Msg).SetQuestion(name, qtype)
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

// Records that belong to the question remain, with or without compression, and
// all others are removed.
func TestRelated(t *testing.T) {
	for what, tt := range relatedCases() {
		for _, compress := range []bool{true, false} {
			all, left := tt.message(t)
			all.Compress = compress
			msg, err := all.Pack()
			if err != nil {
				t.Fatal(err)
			}
			before := string(msg)
			out, dropped, moved, ok := response.AppendRelated([]byte("head"), msg, true)
			if string(msg) != before {
				t.Fatalf("%s: the message was written to", what)
			}
			want := len(all.Answer) + len(all.Ns) + len(all.Extra) - len(left.Answer) - len(left.Ns) - len(left.Extra)
			if dropped != want || moved || ok == tt.refused {
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

// Without DO there are no signatures and proofs of denial, except of the type
// that was asked for (RFC 4035 section 3.2.1).
func TestRelatedWithoutDO(t *testing.T) {
	const sig = "www.example.com. 60 IN RRSIG A 13 3 60 20300101000000 20200101000000 1 example.com. AAAA"
	const proof = "a.example.com. 60 IN NSEC z.example.com. A RRSIG NSEC"
	const hashed = "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.example.com. 60 IN NSEC3 1 0 0 - 0p9mhaveqvm6t7vbl5lop2u3t2rp3ton A"
	for what, tt := range map[string]struct {
		qtype   uint16
		records []string
	}{
		"a signed address":  {dns.TypeA, []string{"www.example.com. 60 IN A 192.0.2.1", "-" + sig, "--", "-" + proof}},
		"a signed denial":   {dns.TypeA, []string{"--", "example.com. 60 IN SOA a. b. 1 2 3 4 5", "-" + proof, "-" + hashed, "-" + sig}},
		"a signed server":   {dns.TypeNS, []string{"www.example.com. 60 IN NS ns.example.net.", "--", "--", "ns.example.net. 60 IN A 192.0.2.53", "-ns.example.net. 60 IN RRSIG A 13 3 60 20300101000000 20200101000000 1 example.net. AAAA"}},
		"signatures":        {dns.TypeRRSIG, []string{sig, "--", "-" + proof}},
		"proofs":            {dns.TypeNSEC, []string{"www.example.com. 60 IN NSEC z.example.com. A", "-" + sig}},
		"keys":              {dns.TypeDNSKEY, []string{"www.example.com. 60 IN DNSKEY 257 3 13 AAAA", "-" + sig}},
		"a signature alone": {dns.TypeA, []string{"-" + sig}},
	} {
		c := relatedCase{question: "www.example.com. " + dns.TypeToString[tt.qtype], records: tt.records}
		all, left := c.message(t)
		msg, err := all.Pack()
		if err != nil {
			t.Fatal(err)
		}
		out, _, _, ok := response.AppendRelated(nil, msg, false)
		if !ok {
			t.Errorf("%s: refused", what)
			continue
		}
		got := new(dns.Msg)
		if err := got.Unpack(out); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if !strings.EqualFold(got.String(), left.String()) {
			t.Errorf("%s: got %v\nwant %v", what, got, left)
		}
		if _, dropped, _, ok := response.AppendRelated(nil, msg, true); !ok || dropped != 0 {
			t.Errorf("%s: with DO %d dropped, %v", what, dropped, ok)
		}
	}
}

// An answer section comes out in the order of its chain, whatever order it came
// in, and is copied only if it has to change.
func TestRelatedOrder(t *testing.T) {
	signed := func(name, what string) string {
		return name + " 60 IN RRSIG " + what + " 13 2 60 20300101000000 20200101000000 1 example. AAAA"
	}
	for what, tt := range map[string]relatedCase{
		"aliases": {"www.example.", []string{"www.example. 60 IN CNAME a.example.", signed("www.example.", "CNAME"), "a.example. 60 IN CNAME b.example.", "b.example. 60 IN A 192.0.2.1",
			"b.example. 60 IN A 192.0.2.2", signed("b.example.", "A"), "--", "example. 60 IN NS ns.example.", "--", "ns.example. 60 IN A 192.0.2.53"}, false},
		"DNAME": {"www.old.example.", []string{"old.example. 60 IN DNAME new.example.", signed("old.example.", "DNAME"),
			"www.old.example. 60 IN CNAME www.new.example.", "www.new.example. 60 IN A 192.0.2.1"}, false},
		"DNAMEs": {"a.b.example.", []string{"b.example. 60 IN DNAME c.example.", "a.b.example. 60 IN CNAME a.c.example.", "c.example. 60 IN DNAME d.example.",
			"a.c.example. 60 IN CNAME a.d.example.", "a.d.example. 60 IN A 192.0.2.1"}, false},
	} {
		ordered, _ := tt.message(t)
		for shuffle := range 50 {
			m := ordered.Copy()
			rnd := rand.New(rand.NewPCG(1, uint64(shuffle)))
			rnd.Shuffle(len(m.Answer), func(i, j int) {
				// Records of one name and type are an RRset, which has no
				// order.
				m.Answer[i], m.Answer[j] = m.Answer[j], m.Answer[i]
			})
			m.Compress = shuffle%2 == 0
			msg, err := m.Pack()
			if err != nil {
				t.Fatal(err)
			}
			out, dropped, moved, ok := response.AppendRelated(nil, msg, true)
			if dropped != 0 || !ok || moved == (&out[0] == &msg[0]) {
				t.Fatalf("%s: %d dropped, moved %v, %v of %v", what, dropped, moved, ok, m)
			}
			got := new(dns.Msg)
			if err := got.Unpack(out); err != nil {
				t.Fatal(err)
			}
			place := map[string]int{}
			for i, rr := range ordered.Answer {
				if owner := rr.Header().Name; place[owner] == 0 {
					place[owner] = i + 1
				}
			}
			if len(got.Answer) != len(ordered.Answer) || len(got.Ns) != len(ordered.Ns) || len(got.Extra) != len(ordered.Extra) ||
				!slices.IsSortedFunc(got.Answer, func(a, b dns.RR) int { return place[a.Header().Name] - place[b.Header().Name] }) {
				t.Fatalf("%s: %v\nbecame %v", what, m, got)
			}
		}
	}
}

func TestRelatedAllocations(t *testing.T) {
	for what, tt := range relatedCases() {
		_, left := tt.message(t)
		left.Compress = true
		msg, err := left.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(100, func() { response.AppendRelated(nil, msg, true) }); n != 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
}

// The work is bounded, however many records and aliases a response has; what
// was not examined is removed.
func TestRelatedBounds(t *testing.T) {
	m := new(dns.Msg).SetQuestion("n0.example.", dns.TypeA)
	m.Response = true
	const links = 1500 // in the reverse of the order in which they are followed
	for i := links; i >= 0; i-- {
		m.Answer = append(m.Answer, &dns.CNAME{Hdr: dns.RR_Header{Name: fmt.Sprintf("n%d.example.", i), Rrtype: dns.TypeCNAME, Class: 1, Ttl: 60}, Target: fmt.Sprintf("n%d.example.", i+1)})
	}
	m.Compress = true
	msg, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	out, dropped, _, ok := response.AppendRelated(nil, msg, true)
	if ok && (dropped < links/2 || wire.Count(out, wire.Answer) != links+1-dropped) {
		t.Errorf("%d dropped, %d left", dropped, wire.Count(out, wire.Answer))
	}
	if dropped == 0 {
		t.Error("a chain of any length is followed")
	}
}

// A response that parses comes out with no more records, readable, and
// unchanged by a second call.
func FuzzRelated(f *testing.F) {
	for _, tt := range relatedCases() {
		all, _ := tt.message(f)
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
		out, dropped, moved, ok := response.AppendRelated(nil, msg, true)
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
		if _, n, again, ok := response.AppendRelated(nil, out, true); !ok || again && !moved || n != 0 && dropped < 2 {
			t.Fatalf("%d dropped of what is left, moved %v, %v", n, again, ok)
		}
	})
}

func BenchmarkRelated(b *testing.B) {
	for _, what := range []string{"an address", "a chain", "glue"} {
		tt := relatedCases()[what]
		_, left := tt.message(b)
		left.Compress = true
		msg, err := left.Pack()
		if err != nil {
			b.Fatal(err)
		}
		b.Run(what, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				response.AppendRelated(nil, msg, true)
			}
		})
	}
}
