package blocklists_test

import (
	"io"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"rideau/blocklists"
	"rideau/blocklists/format"
	"rideau/blocklists/input"
	"rideau/resolver/wire"
)

// TestProtectedChain: a list does not block a name that is protected from it because of what the
// name leads to, either; other lists do.
func TestProtectedChain(t *testing.T) {
	protected, err := input.NewProtected([]string{"canada.ca"}, "x")
	if err != nil {
		t.Fatal(err)
	}
	feed := list("feed", "cdn.example", "192.0.2.1", "both.example", "192.0.2.3")
	feed.Guards.Protected = protected
	zone := input.List{ID: "zone", Source: "zone", Format: format.RPZ, Guards: input.Guards{Protected: protected}, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader("@ 1 SOA . . 1 2 3 4 5\nzone.example 1 CNAME .\n32.2.2.0.192.rpz-ip 1 CNAME .\n")), nil
	}}
	mine := list("mine", "mine.example", "both.example", "192.0.2.3")
	bz := ban("zone", "zone")
	bz.Action = blocklists.Given
	s := load(t, blocklists.Policy{Lists: []input.List{feed, zone, mine}, Bans: []blocklists.Ban{ban("feed", "feed"), bz, ban("mine", "mine")}}, nil)
	for _, c := range []struct {
		name, record string
		want         blocklists.Kind
	}{
		{"www.canada.ca.", "CNAME cdn.example.", blocklists.Pass},
		{"www.canada.ca.", "A 192.0.2.1", blocklists.Pass},
		{"www.canada.ca.", "CNAME zone.example.", blocklists.Pass},
		{"www.canada.ca.", "A 192.0.2.2", blocklists.Pass},
		{"www.canada.ca.", "CNAME mine.example.", blocklists.Block},
		{"www.canada.ca.", "CNAME both.example.", blocklists.Block},
		{"www.canada.ca.", "A 192.0.2.3", blocklists.Block},
		{"www.other.ca.", "CNAME cdn.example.", blocklists.Block},
		{"www.other.ca.", "CNAME zone.example.", blocklists.Block},
		{"www.other.ca.", "A 192.0.2.2", blocklists.Block},
	} {
		m := new(dns.Msg).SetQuestion(c.name, dns.TypeA)
		rr, err := dns.NewRR(c.name + " 60 IN " + c.record)
		if err != nil {
			t.Fatal(err)
		}
		m.Response, m.Answer = true, []dns.RR{rr}
		msg, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		name := wireName(t, c.name)
		var scratch wire.Name
		for _, g := range []blocklists.GroupID{0, s.Everyone()} {
			ask := blocklists.Ask{Name: &name, Type: wire.TypeA, Group: g}
			if v, _ := s.Response(msg, &ask, blocklists.Verdict{}, &scratch); v.Kind != c.want {
				t.Errorf("%s %s for %d: %+v", c.name, c.record, g, v)
			}
			if n := testing.AllocsPerRun(10, func() { s.Response(msg, &ask, blocklists.Verdict{}, &scratch) }); n != 0 {
				t.Errorf("%s %s: %v allocations", c.name, c.record, n)
			}
		}
	}
}
