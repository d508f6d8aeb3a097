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
// its records. A minus sign marks records that do not belong, a plus sign those that
// are made.
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
		"DNAME": {"www.old.example.", []string{"old.example. 60 IN DNAME new.example.", "old.example. 60 IN RRSIG DNAME 13 2 60 20300101000000 20200101000000 1 old.example. AAAA",
			"www.old.example. 60 IN CNAME www.new.example.", "www.new.example. 60 IN A 192.0.2.1"}, false},
		"DNAME without CNAME": {"www.old.example.", []string{"old.example. 70 IN DNAME new.example.", "+www.old.example. 70 IN CNAME www.new.example.", "www.new.example. 60 IN A 192.0.2.1"}, false},
		"DNAME alone":         {"www.old.example.", []string{"old.example. 70 IN DNAME new.example.", "+www.old.example. 70 IN CNAME www.new.example."}, false},
		"DNAME and another CNAME": {"www.old.example.", []string{"old.example. 70 IN DNAME new.example.", "-www.old.example. 60 IN CNAME evil.example.", "+www.old.example. 70 IN CNAME www.new.example.",
			"www.new.example. 60 IN A 192.0.2.1", "-evil.example. 60 IN A 192.0.2.66"}, false},
		"two DNAMEs of one name": {"www.old.example.", []string{"-old.example. 60 IN DNAME other.example.", "old.example. 60 IN DNAME new.example.", "www.old.example. 60 IN CNAME www.new.example.",
			"-www.other.example. 60 IN A 192.0.2.66", "www.new.example. 60 IN A 192.0.2.1"}, false},
		"DNAMEs one after the other, without CNAME": {"x.a.example.", []string{"a.example. 60 IN DNAME b.example.", "+x.a.example. 60 IN CNAME x.b.example.", "b.example. 50 IN DNAME c.example.",
			"+x.b.example. 50 IN CNAME x.c.example.", "x.c.example. 60 IN A 192.0.2.1"}, false},
		"DNAME of the name itself":      {"old.example.", []string{"-old.example. 60 IN DNAME new.example.", "old.example. 60 IN A 192.0.2.1"}, false},
		"DNAME, asked for":              {"old.example. DNAME", []string{"old.example. 60 IN DNAME new.example."}, false},
		"CNAME of a DNAME, asked for":   {"www.old.example. CNAME", []string{"old.example. 60 IN DNAME new.example.", "+www.old.example. 60 IN CNAME www.new.example.", "-www.new.example. 60 IN CNAME x.example."}, false},
		"CNAME, asked for":              {"www.example.com. CNAME", []string{"www.example.com. 60 IN CNAME a.example.net.", "-www.example.com. 60 IN CNAME b.example.net.", "-a.example.net. 60 IN CNAME c.example.net."}, false},
		"CNAME to itself, asked for":    {"www.example.com. CNAME", []string{"www.example.com. 60 IN CNAME www.example.com.", "www.example.com. 60 IN RRSIG CNAME 13 3 60 20300101000000 20200101000000 1 example.com. AAAA"}, false},
		"the same CNAME twice":          {"www.example.com.", []string{"www.example.com. 60 IN CNAME a.example.net.", "-WWW.example.com. 30 IN CNAME A.example.net.", "a.example.net. 60 IN A 192.0.2.1"}, false},
		"two CNAMEs":                    {"www.example.com.", []string{"www.example.com. 60 IN CNAME a.example.net.", "-www.example.com. 60 IN CNAME b.example.net.", "a.example.net. 60 IN A 192.0.2.1", "-b.example.net. 60 IN A 192.0.2.66"}, false},
		"a CNAME beside other data":     {"www.example.com.", []string{"-www.example.com. 60 IN A 192.0.2.66", "www.example.com. 60 IN CNAME a.example.net.", "a.example.net. 60 IN A 192.0.2.1"}, false},
		"a CNAME beside its proof":      {"www.example.com. NSEC", []string{"www.example.com. 60 IN NSEC x.example.com. CNAME RRSIG NSEC", "-www.example.com. 60 IN CNAME a.example.net."}, false},
		"an address twice":              {"www.example.com.", []string{"www.example.com. 60 IN A 192.0.2.1", "www.example.com. 60 IN A 192.0.2.2", "-www.example.com. 90 IN A 192.0.2.1"}, false},
		"an exchanger twice":            {"example.com. MX", []string{"example.com. 60 IN MX 10 mail.example.com.", "example.com. 60 IN MX 20 mail.example.com.", "-example.com. 60 IN MX 10 MAIL.example.com."}, false},
		"an SOA record of another zone": {"www.example.com.", []string{"www.example.com. 60 IN CNAME a.example.net.", "--", "-example.org. 60 IN SOA a. b. 1 2 3 4 5", "-example.com. 60 IN SOA a. b. 1 2 3 4 5", "net. 60 IN SOA a. b. 1 2 3 4 5", "-example.net. 60 IN SOA a. b. 1 2 3 4 5"}, false},
		"server names twice": {"www.example.com.", []string{"www.example.com. 60 IN A 192.0.2.1", "--", "example.com. 60 IN NS ns.example.net.", "-example.com. 60 IN NS ns.example.net.", "--",
			"ns.example.net. 60 IN A 192.0.2.53", "-ns.example.net. 60 IN A 192.0.2.53"}, false},
		"another's address": {"www.example.com.", []string{"www.example.com. 60 IN A 192.0.2.1", "-www.victim.example. 60 IN A 192.0.2.66"}, false},
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
		"a filter's denial": {"www.example.com.", []string{"--", "-filter.example. 60 IN SOA a. b. 1 2 3 4 5"}, false},
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
		rr, err := dns.NewRR(strings.TrimLeft(text, "-+"))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		for _, m := range []*dns.Msg{all, left} {
			if m == all && text[0] != '+' || m == left && text[0] != '-' {
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
			found, ok := new(response.Relation).Relate([]byte("head"), msg, true, nil)
			out, dropped := found.Msg, found.Dropped
			if string(msg) != before {
				t.Fatalf("%s: the message was written to", what)
			}
			want := strings.Count("\n"+strings.Join(tt.records, "\n"), "\n-") - strings.Count("\n"+strings.Join(tt.records, "\n"), "\n--")
			if dropped != want || ok == tt.refused {
				t.Errorf("%s: %d dropped, want %d; %v", what, dropped, want, ok)
			}
			if !ok {
				continue
			}
			if found.Changed == (dropped == 0 && !strings.Contains("\n"+strings.Join(tt.records, "\n"), "\n+")) {
				t.Errorf("%s: changed is %v", what, found.Changed)
			}
			if !found.Changed {
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
		"proofs":            {dns.TypeNSEC, []string{"www.example.com. 60 IN NSEC z.example.com. A", "-" + strings.Replace(sig, "RRSIG A", "RRSIG NSEC", 1)}},
		"keys":              {dns.TypeDNSKEY, []string{"www.example.com. 60 IN DNSKEY 257 3 13 AAAA", "-" + strings.Replace(sig, "RRSIG A", "RRSIG DNSKEY", 1)}},
		"a signature alone": {dns.TypeA, []string{"-" + sig}},
	} {
		c := relatedCase{question: "www.example.com. " + dns.TypeToString[tt.qtype], records: tt.records}
		all, left := c.message(t)
		msg, err := all.Pack()
		if err != nil {
			t.Fatal(err)
		}
		found, ok := new(response.Relation).Relate(nil, msg, false, nil)
		if !ok {
			t.Errorf("%s: refused", what)
			continue
		}
		got := new(dns.Msg)
		if err := got.Unpack(found.Msg); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if !strings.EqualFold(got.String(), left.String()) {
			t.Errorf("%s: got %v\nwant %v", what, got, left)
		}
		if found, ok := new(response.Relation).Relate(nil, msg, true, nil); !ok || found.Dropped != 0 {
			t.Errorf("%s: with DO %d dropped, %v", what, found.Dropped, ok)
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
			found, ok := new(response.Relation).Relate(nil, msg, true, nil)
			out := found.Msg
			if found.Dropped != 0 || !ok || found.Changed == (&out[0] == &msg[0]) {
				t.Fatalf("%s: %d dropped, changed %v, %v of %v", what, found.Dropped, found.Changed, ok, m)
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

// What is as it should be is not copied, and nothing is allocated for it.
func TestRelatedAllocations(t *testing.T) {
	rel := new(response.Relation)
	for what, tt := range relatedCases() {
		_, left := tt.message(t)
		left.Compress = true
		msg, err := left.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(100, func() { rel.Relate(nil, msg, true, nil) }); n != 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
}

// links is a chain of n aliases, and the address at its end.
func links(n int) (out []dns.RR) {
	for i := range n {
		out = append(out, &dns.CNAME{Hdr: dns.RR_Header{Name: fmt.Sprintf("n%d.example.", i), Rrtype: dns.TypeCNAME, Class: 1, Ttl: 60}, Target: fmt.Sprintf("n%d.example.", i+1)})
	}
	return append(out, &dns.A{Hdr: dns.RR_Header{Name: fmt.Sprintf("n%d.example.", n), Rrtype: dns.TypeA, Class: 1, Ttl: 60}, A: []byte{192, 0, 2, 1}})
}

// A chain is whole, or none: it is never cut where it is long, in whatever order it comes.
func TestRelatedEndless(t *testing.T) {
	for what, tt := range map[string]struct {
		answer []dns.RR
		want   response.Ending
	}{
		"as long as may be": {links(response.MaxChain), response.Whole},
		"longer":            {links(response.MaxChain + 1), response.Endless},
		"much longer":       {links(1500), response.Endless},
		"to itself":         {[]dns.RR{rr(t, "n0.example. 60 IN CNAME n0.example.")}, response.Endless},
		"in a circle":       {[]dns.RR{rr(t, "n0.example. 60 IN CNAME n1.example."), rr(t, "n1.example. 60 IN CNAME N0.example.")}, response.Endless},
		"into a circle": {[]dns.RR{rr(t, "n0.example. 60 IN CNAME n1.example."), rr(t, "n1.example. 60 IN CNAME n2.example."), rr(t, "n2.example. 60 IN CNAME n1.example."),
			rr(t, "n1.example. 60 IN A 192.0.2.1")}, response.Endless},
		"a circle of DNAMEs": {[]dns.RR{rr(t, "example. 60 IN DNAME example.net."), rr(t, "example.net. 60 IN DNAME example.")}, response.Endless},
	} {
		for _, reverse := range []bool{false, true} {
			m := new(dns.Msg).SetQuestion("n0.example.", dns.TypeA)
			m.Response, m.Compress, m.Answer = true, true, slices.Clone(tt.answer)
			if reverse {
				slices.Reverse(m.Answer)
			}
			found, ok := new(response.Relation).Relate(nil, encode(t, m), true, nil)
			if !ok || found.Ending != tt.want || found.Dropped != 0 {
				t.Errorf("%s, reverse %v: ends as %v, %d dropped, %v", what, reverse, found.Ending, found.Dropped, ok)
			}
			if n := wire.Count(found.Msg, wire.Answer); found.Ending == response.Whole && n != len(tt.answer) {
				t.Errorf("%s, reverse %v: %d records", what, reverse, n)
			}
		}
	}
}

// elsewhere is a Router.
type elsewhere string

func (e elsewhere) Elsewhere(target *wire.Name) bool { return target.String() == string(e) }

// A chain that says nothing about its last name is Dangling, and one that leads to a name
// of another upstream ends there, whatever else there is.
func TestRelatedEnds(t *testing.T) {
	const soa = " 60 IN SOA a. b. 1 2 3 4 5"
	chain := []string{"www.example.com. 60 IN CNAME a.example.net.", "a.example.net. 60 IN CNAME b.example.org.", "b.example.org. 60 IN A 192.0.2.1", "--", "example.org. 60 IN NS ns.example.org.", "--", "ns.example.org. 60 IN A 192.0.2.53"}
	for what, tt := range map[string]struct {
		records []string
		router  response.Router
		rcode   int
		want    response.Ending
		end     string
		left    string // numbers of records
	}{
		"whole":                    {chain, nil, 0, response.Whole, "", "3 1 1"},
		"the router has nothing":   {chain, elsewhere("www.example.com."), 0, response.Whole, "", "3 1 1"},
		"the first is elsewhere":   {chain, elsewhere("a.example.net."), 0, response.Elsewhere, "a.example.net.", "1 0 0"},
		"the second is elsewhere":  {chain, elsewhere("b.example.org."), 0, response.Elsewhere, "b.example.org.", "2 0 0"},
		"it does not exist there":  {[]string{chain[0], "--", "example.net." + soa}, elsewhere("a.example.net."), dns.RcodeNameError, response.Elsewhere, "a.example.net.", "1 0 0"},
		"a DNAME leads elsewhere":  {[]string{"com. 60 IN DNAME net.", "www.example.net. 60 IN A 192.0.2.1"}, elsewhere("www.example.net."), 0, response.Elsewhere, "www.example.net.", "2 0 0"},
		"no address":               {chain[:2], nil, 0, response.Dangling, "b.example.org.", "2 0 0"},
		"a denial":                 {[]string{chain[0], chain[1], "--", "example.org." + soa}, nil, 0, response.Whole, "", "2 1 0"},
		"a denial by another zone": {[]string{chain[0], chain[1], "--", "example.com." + soa}, nil, 0, response.Dangling, "b.example.org.", "2 0 0"},
		"it does not exist":        {chain[:2], nil, dns.RcodeNameError, response.Whole, "", "2 0 0"},
		"no address by a DNAME":    {[]string{"com. 60 IN DNAME net."}, nil, 0, response.Dangling, "www.example.net.", "2 0 0"},
		"a name that is too long":  {[]string{"com. 60 IN DNAME " + strings.Repeat(strings.Repeat("x", 60)+".", 4)}, nil, dns.RcodeYXDomain, response.Whole, "", "1 0 0"},
	} {
		c := relatedCase{question: "www.example.com.", records: tt.records}
		m, _ := c.message(t)
		m.Rcode = tt.rcode
		rel := new(response.Relation)
		found, ok := rel.Relate(nil, encode(t, m), true, tt.router)
		if !ok {
			t.Fatalf("%s: refused", what)
		}
		left := fmt.Sprint(wire.Count(found.Msg, wire.Answer), wire.Count(found.Msg, wire.Authority), wire.Count(found.Msg, wire.Additional))
		if found.Ending != tt.want || left != tt.left || tt.end != "" && rel.End().String() != tt.end {
			t.Errorf("%s: ends as %v, at %s, with %s records", what, found.Ending, rel.End(), left)
		}
		if code := wire.HeaderRcode(found.Msg); found.Ending != response.Whole && code != 0 {
			t.Errorf("%s: code %d", what, code)
		}
	}
	c := relatedCase{question: "www.example.com.", records: []string{"com. 60 IN DNAME " + strings.Repeat(strings.Repeat("x", 60)+".", 4)}}
	m, _ := c.message(t)
	if found, ok := new(response.Relation).Relate(nil, encode(t, m), true, nil); !ok || wire.HeaderRcode(found.Msg) != wire.YXDomain {
		t.Errorf("a DNAME makes too long a name, and the code is %d", wire.HeaderRcode(found.Msg))
	}
}

// Signatures are kept up to a bound for each RRset, wherever they are.
func TestRelatedSignatures(t *testing.T) {
	sig := func(owner, covered string, n int) (out []string) {
		for i := range n {
			out = append(out, fmt.Sprintf("%s 60 IN RRSIG %s 13 3 60 20300101000000 20200101000000 %d example.com. AAAA", owner, covered, i))
		}
		return out
	}
	for what, tt := range map[string]struct {
		records []string
		want    string
	}{
		"as a zone has them":  {slices.Concat([]string{"www.example.com. 60 IN A 192.0.2.1"}, sig("www.example.com.", "A", 8)), "9 0"},
		"of an address":       {slices.Concat([]string{"www.example.com. 60 IN A 192.0.2.1"}, sig("www.example.com.", "A", 300)), "9 0"},
		"of another type":     {slices.Concat([]string{"www.example.com. 60 IN A 192.0.2.1"}, sig("www.example.com.", "TXT", 3)), "1 0"},
		"of an alias and all": {slices.Concat([]string{"www.example.com. 60 IN CNAME a.example.com."}, sig("www.example.com.", "CNAME", 30), []string{"a.example.com. 60 IN A 192.0.2.1"}, sig("a.example.com.", "A", 30)), "18 0"},
		"of a DNAME":          {slices.Concat([]string{"com. 60 IN DNAME net."}, sig("com.", "DNAME", 30), []string{"www.example.com. 60 IN CNAME www.example.net.", "www.example.net. 60 IN A 192.0.2.1"}), "11 0"},
		"of a denial":         {slices.Concat([]string{"--", "example.com. 60 IN SOA a. b. 1 2 3 4 5"}, sig("example.com.", "SOA", 30), []string{"a.example.com. 60 IN NSEC z.example.com. A"}, sig("a.example.com.", "NSEC", 30)), "0 18"},
		"the same again":      {slices.Concat([]string{"www.example.com. 60 IN A 192.0.2.1"}, slices.Repeat(sig("www.example.com.", "A", 1), 30)), "2 0"},
	} {
		c := relatedCase{question: "www.example.com.", records: tt.records}
		m, _ := c.message(t)
		found, ok := new(response.Relation).Relate(nil, encode(t, m), true, nil)
		if got := fmt.Sprint(wire.Count(found.Msg, wire.Answer), wire.Count(found.Msg, wire.Authority)); !ok || got != tt.want {
			t.Errorf("%s: %s records, want %s", what, got, tt.want)
		}
	}
}

// Each record is kept once, however many there are.
func TestRelatedDuplicates(t *testing.T) {
	for _, n := range []int{2, 15, 17, 400} {
		for _, f := range []string{"www.example.com. 60 IN A 192.0.%d.%d", "www.example.com. 60 IN MX %d m%d.example.com.", "www.example.com. 60 IN TXT \"%d\" \"%d\""} {
			var answer []dns.RR
			for i := range n {
				answer = append(answer, rr(t, fmt.Sprintf(f, i/250, i%250)))
			}
			m := new(dns.Msg).SetQuestion("www.example.com.", answer[0].Header().Rrtype)
			m.Response, m.Compress = true, true
			for range 3 {
				m.Answer = append(m.Answer, answer...)
			}
			found, ok := new(response.Relation).Relate(nil, encode(t, m), true, nil)
			var got dns.Msg
			if err := got.Unpack(found.Msg); err != nil || !ok {
				t.Fatal(err, ok)
			}
			if fmt.Sprint(got.Answer) != fmt.Sprint(answer) || found.Dropped != 2*n {
				t.Errorf("%d times %s: %d left, %d dropped", n, f, len(got.Answer), found.Dropped)
			}
		}
	}
}

// What fitted into a message still does when its records have another order.
func TestRelatedLarge(t *testing.T) {
	owner := strings.Repeat("a-long-label-of-a-content-network.", 5) + "example.net."
	for what, data := range map[string]string{"A": "A 192.%d.%d.1", "AAAA": "AAAA 2001:db8::%x:%x", "SRV": "SRV %d %d 443 server." + owner, "NS": "NS h%d-%d." + owner} {
		m := new(dns.Msg).SetQuestion("www.example.com.", dns.StringToType[what])
		m.Response, m.Compress = true, true
		for i := range 1500 {
			m.Answer = append(m.Answer, rr(t, owner+" 60 IN "+fmt.Sprintf(data, i/250, i%250)))
		}
		m.Answer = append(m.Answer, rr(t, "www.example.com. 60 IN CNAME "+owner))
		msg := encode(t, m)
		if what == "SRV" {
			msg = compressTargets(t, m)
		}
		found, ok := new(response.Relation).Relate(nil, msg, false, nil)
		if !ok || !found.Changed || wire.Count(found.Msg, wire.Answer) != 1501 || len(found.Msg) > len(msg)+100 {
			t.Errorf("%s: %d octets became %d, with %d records, %v", what, len(msg), len(found.Msg), wire.Count(found.Msg, wire.Answer), ok)
			continue
		}
		var got dns.Msg
		if err := got.Unpack(found.Msg); err != nil {
			t.Fatal(err)
		}
		want := append([]dns.RR{m.Answer[1500]}, m.Answer[:1500]...)
		if fmt.Sprint(got.Answer) != fmt.Sprint(want) {
			t.Errorf("%s: the records are others", what)
		}
	}
}

// compressTargets is a message of SRV records whose targets are compressed, as
// some servers do it.
func compressTargets(t *testing.T, m *dns.Msg) []byte {
	short := m.Copy()
	short.Answer = nil
	msg := encode(t, short)
	add := func(owner string, typ uint16, data string) int {
		msg = append(msg, owner...)
		msg = append(msg, 0, byte(typ), 0, 1, 0, 0, 0, 60, byte(len(data)>>8), byte(len(data)))
		msg = append(msg, data...)
		wire.AddCount(msg, 0, wire.Answer, 1)
		return len(msg) - len(data)
	}
	full := func(name string) string {
		b := make([]byte, 256)
		n, err := dns.PackDomainName(name, b, 0, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	pointer := func(off int) string { return string([]byte{0xC0 | byte(off>>8), byte(off)}) }
	first, target := 0, ""
	for _, rr := range m.Answer[:1500] {
		s := rr.(*dns.SRV)
		fixed := string([]byte{byte(s.Priority >> 8), byte(s.Priority), byte(s.Weight >> 8), byte(s.Weight), byte(s.Port >> 8), byte(s.Port)})
		if first == 0 {
			first = len(msg)
			off := add(full(s.Hdr.Name), dns.TypeSRV, fixed+full(s.Target))
			target = pointer(off + 6)
			continue
		}
		add(pointer(first), dns.TypeSRV, fixed+target)
	}
	add("\xc0\x0c", dns.TypeCNAME, pointer(first))
	return msg
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
		rel := new(response.Relation)
		found, ok := rel.Relate(nil, msg, true, nil)
		if !ok || found.Ending == response.Endless {
			return
		}
		total := func(m []byte) int {
			return wire.Count(m, wire.Answer) + wire.Count(m, wire.Authority) + wire.Count(m, wire.Additional)
		}
		out := found.Msg
		if n := total(msg) - found.Dropped; total(out) < n || total(out) > n+response.MaxChain || !found.Changed && total(out) != n {
			t.Fatalf("%d records of %d, %d dropped", total(out), total(msg), found.Dropped)
		}
		var again wire.Response
		if err := again.Parse(slices.Clone(out), scratch); err != nil {
			t.Fatalf("what is left: %v", err)
		}
		twice, ok := rel.Relate(nil, out, true, nil)
		if !ok || twice.Ending != found.Ending || twice.Dropped != 0 || twice.Changed {
			t.Fatalf("the second time: %d dropped, ends as %v and not %v, changed %v, %v", twice.Dropped, twice.Ending, found.Ending, twice.Changed, ok)
		}
	})
}

func BenchmarkRelated(b *testing.B) {
	rel := new(response.Relation)
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
				rel.Relate(nil, msg, true, nil)
			}
		})
	}
}
