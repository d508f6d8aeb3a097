package designation_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"rideau/resolver/designation"
	"rideau/resolver/wire"
)

func ask(t *testing.T, s *designation.Set, name string, qtype uint16) (*dns.Msg, bool) {
	t.Helper()
	q, err := new(dns.Msg).SetQuestion(name, qtype).Pack()
	if err != nil {
		t.Fatal(err)
	}
	var v wire.Query
	if f := v.Parse(q); f != wire.FaultNone {
		t.Fatal(f)
	}
	out, ok := s.Append([]byte("before"), &v, q)
	if !ok {
		if string(out) != "before" {
			t.Errorf("%q was appended", out)
		}
		return nil, false
	}
	m := new(dns.Msg)
	if err := m.Unpack(out[len("before"):]); err != nil {
		t.Fatal(err)
	}
	return m, true
}

// TestAppend: the records are as another implementation reads them, in any letters, and for no other question.
func TestAppend(t *testing.T) {
	s, err := designation.New([]designation.Service{
		{Priority: 1, Target: "dns.example", ALPN: []string{"h2", "h3"}, Port: 443, IPv4: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")},
			IPv6: []netip.Addr{netip.MustParseAddr("2001:db8::1")}, Path: "/dns-query"},
		{Priority: 2, Target: "dns.example", ALPN: []string{"dot"}, Port: 853, IPv4: []netip.Addr{netip.MustParseAddr("192.0.2.1")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	m, ok := ask(t, s, "_dns.Resolver.arpa.", dns.TypeSVCB)
	if !ok || m.Rcode != dns.RcodeSuccess || len(m.Answer) != 2 || len(m.Ns) != 0 {
		t.Fatalf("%v", m)
	}
	for i, want := range []string{
		`_dns.Resolver.arpa. 300 IN SVCB 1 dns.example. alpn="h2,h3" port="443" ipv4hint="192.0.2.1,192.0.2.2" ipv6hint="2001:db8::1" dohpath="/dns-query{?dns}"`,
		`_dns.Resolver.arpa. 300 IN SVCB 2 dns.example. alpn="dot" port="853" ipv4hint="192.0.2.1"`,
	} {
		if got := strings.ReplaceAll(m.Answer[i].String(), "\t", " "); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	for name, qtype := range map[string]uint16{"_dns.resolver.arpa.": dns.TypeHTTPS, "resolver.arpa.": dns.TypeSVCB, "x._dns.resolver.arpa.": dns.TypeSVCB, "_dns.example.": dns.TypeSVCB} {
		if m, ok := ask(t, s, name, qtype); ok {
			t.Errorf("%s: %v", name, m)
		}
	}
	m, ok = ask(t, s, "resolver.arpa.", 261)
	if !ok || len(m.Answer) != 1 || string(rdataOf(t, m.Answer[0])) != "\x0dexterr=3,6-24" {
		t.Errorf("RESINFO: %v", m)
	}
	none, err := designation.New(nil)
	if _, ok := ask(t, none, "_dns.resolver.arpa.", dns.TypeSVCB); ok || err != nil {
		t.Error("an answer without services")
	}
	if _, err := designation.New([]designation.Service{{Target: strings.Repeat("a", 64) + ".example"}}); err == nil {
		t.Error("a name that is none is accepted")
	}
}

// rdataOf returns the RDATA of a record of a type that the other implementation does not know, or of one that it reads as text.
func rdataOf(t *testing.T, rr dns.RR) []byte {
	t.Helper()
	b := make([]byte, 512)
	n, err := dns.PackRR(rr, b, 0, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	return b[n-int(rr.Header().Rdlength) : n]
}
