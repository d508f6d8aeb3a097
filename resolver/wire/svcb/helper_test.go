package svcb_test

import (
	"testing"

	"github.com/miekg/dns"
)

// encode returns the message in wire form.
func encode(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// rr returns the record that text describes.
func rr(t testing.TB, text string) dns.RR {
	t.Helper()
	r, err := dns.NewRR(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// question returns a query for the name and type.
func question(name string, qtype uint16) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	return m
}

// full returns a compressed message with every kind of record that policy and
// cache examine.
func full(t testing.TB) *dns.Msg {
	m := question("www.Example.ca.", dns.TypeHTTPS)
	m.Response, m.Compress, m.RecursionAvailable = true, true, true
	for _, s := range []string{
		"www.example.ca. 300 IN CNAME edge.example.net.",
		"edge.example.net. 60 IN HTTPS 1 svc.Example.net. alpn=h2 ipv4hint=192.0.2.1,192.0.2.2 ipv6hint=2001:db8::1",
		"example.net. 60 IN MX 10 mail.example.net.",
		"_x._tcp.example.net. 60 IN SRV 1 2 443 srv.example.net.",
		"example.net. 60 IN NAPTR 10 20 \"u\" \"sip+E2U\" \"\" naptr.example.net.",
		"example.net. 60 IN DNAME example.org.",
	} {
		m.Answer = append(m.Answer, rr(t, s))
	}
	m.Ns = append(m.Ns, rr(t, "example.net. 3600 IN NS ns1.example.net."))
	m.Extra = append(m.Extra, rr(t, "ns1.example.net. 3600 IN AAAA 2001:db8::53"))
	o := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT, Class: 1232}}
	o.Option = append(o.Option, &dns.EDNS0_EDE{InfoCode: 6, ExtraText: "bogus"})
	m.Extra = append(m.Extra, o)
	return m
}
