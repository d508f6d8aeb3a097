package blocklists_test

import (
	"strings"
	"testing"

	"github.com/miekg/dns"

	"rideau/blocklists"
	"rideau/resolver/wire"
)

// BenchmarkResponse measures the cost of policy for a response that no ban is about, under a policy with names and
// addresses.
func BenchmarkResponse(b *testing.B) {
	p := blocklists.Policy{}
	p.Lists = append(p.Lists, list("l", "banned.example", "192.0.2.66", "198.51.100.0/24", "2001:db8:66::/48"))
	p.Bans = append(p.Bans, ban("b", "l"))
	s := load(b, p, nil)
	for _, c := range []struct{ name, records string }{
		{"A", "www.example.org. 60 IN A 192.0.2.1|www.example.org. 60 IN A 192.0.2.2"},
		{"AAAA", "www.example.org. 60 IN AAAA 2001:db8::1|www.example.org. 60 IN AAAA 2001:db8::2"},
		{"CNAME", "www.example.org. 60 IN CNAME www.example.net.|www.example.net. 60 IN A 192.0.2.1"},
		{"HTTPS", "www.example.org. 60 IN HTTPS 1 . alpn=h2 ipv4hint=192.0.2.1 ipv6hint=2001:db8::1"},
		{"MX", "www.example.org. 60 IN MX 1 a.example.org.|www.example.org. 60 IN MX 2 b.example.org."},
		{"TXT", `www.example.org. 60 IN TXT "v=spf1 -all"`},
		{"RRSIG", "www.example.org. 60 IN A 192.0.2.1|www.example.org. 60 IN RRSIG A 13 3 60 20300101000000 20200101000000 1 example.org. AAAA"},
	} {
		name := wireName(b, "www.example.org")
		m := new(dns.Msg).SetQuestion("www.example.org.", dns.StringToType[c.name])
		m.Response, m.Compress = true, true
		for _, r := range strings.Split(c.records, "|") {
			rr, err := dns.NewRR(r)
			if err != nil {
				b.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		msg, err := m.Pack()
		if err != nil {
			b.Fatal(err)
		}
		q := blocklists.Ask{Name: &name, Type: wire.Type(m.Question[0].Qtype)}
		var scratch wire.Name
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if v, trim := s.Response(msg, &q, blocklists.Verdict{}, &scratch); v.Kind != blocklists.Pass || trim {
					b.Fatal(v)
				}
			}
		})
	}
}
