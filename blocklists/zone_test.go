package blocklists_test

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"rideau/blocklists"
	"rideau/blocklists/format"
	"rideau/blocklists/input"
	"rideau/resolver/wire"
)

func zonesAbout(t testing.TB, n int) (s *blocklists.Snapshot, msg []byte, q blocklists.Ask) {
	zone := list("zone")
	zone.Format = format.RPZ
	zone.Open = func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader("$TTL 300\n@ SOA localhost. root.localhost. 1 3600 600 86400 300\n32.1.0.99.10.rpz-ip CNAME .\n32.1.0.99.10.rpz-nsip CNAME .\nns.nowhere.example.rpz-nsdname CNAME .\n")), nil
	}
	s = load(t, blocklists.Policy{Lists: []input.List{zone}, Bans: []blocklists.Ban{ban("zone", "zone")}}, nil)
	name := wireName(t, "many.example")
	m := new(dns.Msg).SetQuestion("many.example.", dns.TypeA)
	m.Response = true
	add := func(to *[]dns.RR, text string) {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		*to = append(*to, rr)
	}
	for i := range n {
		add(&m.Answer, fmt.Sprintf("many.example. 300 IN A 10.0.%d.%d", i%7, 200-i))
	}
	for i := range 4 {
		add(&m.Ns, fmt.Sprintf("example. 300 IN NS ns%d.example.", i))
		add(&m.Extra, fmt.Sprintf("ns%d.example. 300 IN A 10.2.0.%d", i, 9-i))
	}
	msg, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return s, msg, blocklists.Ask{Name: &name, Type: wire.TypeA, Group: s.Group(netip.MustParseAddr("10.0.0.1"), nil)}
}

// TestZoneAllocations: to sort addresses and name servers does not allocate.
func TestZoneAllocations(t *testing.T) {
	for _, n := range []int{1, 8, 64} {
		s, msg, q := zonesAbout(t, n)
		var scratch wire.Name
		asked := s.Question(&q)
		if v, _ := s.Response(msg, &q, asked, &scratch); v.Kind != blocklists.Pass {
			t.Fatalf("%d addresses: %v", n, v.Kind)
		}
		if a := testing.AllocsPerRun(100, func() { s.Response(msg, &q, asked, &scratch) }); a != 0 {
			t.Errorf("%d addresses: %v allocations", n, a)
		}
	}
}

// BenchmarkZone measures the cost of policy zones' triggers on addresses and name servers for a response.
func BenchmarkZone(b *testing.B) {
	for _, n := range []int{1, 8, 40} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, msg, q := zonesAbout(b, n)
			var scratch wire.Name
			asked := s.Question(&q)
			b.ReportAllocs()
			for b.Loop() {
				s.Response(msg, &q, asked, &scratch)
			}
		})
	}
}
