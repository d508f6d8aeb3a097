package wire_test

import (
	"fmt"
	"net"
	"testing"

	"github.com/miekg/dns"

	"rideau/resolver/wire"
)

// Parse keeps additional records that belong to the response, up to a bound,
// and none behind the first that does not.
func TestAdditionalRecords(t *testing.T) {
	address := func(name string) dns.RR {
		return &dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 300}, A: net.IPv4(192, 0, 2, 1)}
	}
	for _, c := range []struct {
		name  string
		extra func(m *dns.Msg)
		want  int
	}{
		{"of the question's name", func(m *dns.Msg) { m.Extra = append(m.Extra, address("EXAMPLE.org.")) }, 1},
		{"of a target", func(m *dns.Msg) { m.Extra = append(m.Extra, address("mx7.example.org.")) }, 1},
		{"of nobody", func(m *dns.Msg) { m.Extra = append(m.Extra, address("www.example.org.")) }, 0},
		{"of a name server", func(m *dns.Msg) {
			m.Ns = []dns.RR{&dns.NS{Hdr: dns.RR_Header{Name: "example.org.", Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: 300}, Ns: "ns.example.net."}}
			m.Extra = append(m.Extra, address("ns.example.net."))
		}, 1},
		{"behind one of nobody", func(m *dns.Msg) {
			m.Extra = append(m.Extra, address("mx1.example.org."), address("bank.example."), address("mx2.example.org."))
		}, 1},
		{"too many", func(m *dns.Msg) {
			for i := range 100 {
				m.Extra = append(m.Extra, address(fmt.Sprintf("mx%d.example.org.", i)))
			}
		}, 64},
	} {
		m := new(dns.Msg).SetQuestion("example.org.", dns.TypeMX)
		m.Response, m.Compress = true, true
		for i := range 100 {
			m.Answer = append(m.Answer, &dns.MX{Hdr: dns.RR_Header{Name: "example.org.", Rrtype: dns.TypeMX, Class: dns.ClassINET, Ttl: 300}, Mx: fmt.Sprintf("mx%d.example.org.", i)})
		}
		c.extra(m)
		m.SetEdns0(1232, false)
		msg := encode(t, m)
		var r wire.Response
		var scratch wire.Name
		err := r.Parse(msg, &scratch)
		if err != nil {
			t.Fatal(err)
		}
		got := new(dns.Msg)
		if err := got.Unpack(msg[:r.End]); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if len(got.Extra) != c.want || len(got.Answer) != 100 || len(got.Ns) != len(m.Ns) {
			t.Errorf("%s: %d additional records, want %d", c.name, len(got.Extra), c.want)
		}
		// The OPT record may stand behind such a record: it still counts.
		if !r.EDNS {
			t.Errorf("%s: EDNS was not seen", c.name)
		}
	}
}
