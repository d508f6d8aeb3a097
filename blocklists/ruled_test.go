package blocklists_test

import (
	"net/netip"
	"testing"

	"github.com/miekg/dns"

	"rideau/blocklists"
	"rideau/blocklists/format"
	"rideau/blocklists/input"
	"rideau/resolver/wire"
)

// TestSomeTypes: a name that is blocked for some query types only gets no answer that denies
// the others.
func TestSomeTypes(t *testing.T) {
	ads := list("ads", "||aaaa.example^$dnstype=AAAA", "||but.example^", "@@||but.example^$dnstype=TXT", "||both.example^$dnstype=A", "||both.example^",
		"||www.whole.example^$dnstype=A", "||whole.example^", "||late.example^$important", "||late.example^$dnstype=A,important",
		"||back.example^", "||back.example^$badfilter", "||back.example^$dnstype=A", "||not.example^$dnstype=~TXT", "@@||undone.example^$dnstype=TXT", "@@||undone.example^$dnstype=TXT,badfilter", "||undone.example^")
	ads.Format = format.Adblock
	sink, refuse := ban("sink", "sink"), ban("refuse", "refuse")
	sink.Action, refuse.Action = blocklists.Sinkhole, blocklists.Refuse
	sunk, refused := list("sink", "||sink.example^$dnstype=A"), list("refuse", "||refuse.example^$dnstype=A")
	sunk.Format, refused.Format = format.Adblock, format.Adblock
	s := load(t, blocklists.Policy{Lists: []input.List{ads, sunk, refused}, Bans: []blocklists.Ban{ban("ads", "ads"), sink, refuse}}, nil)
	g := s.Group(netip.MustParseAddr("10.0.0.1"), nil)
	for _, c := range []struct {
		name  string
		qtype wire.Type
		want  blocklists.Action
	}{
		{"aaaa.example", wire.TypeAAAA, blocklists.NoData}, {"x.aaaa.example", wire.TypeAAAA, blocklists.NoData},
		{"but.example", wire.TypeA, blocklists.NoData}, {"both.example", wire.TypeA, blocklists.NXDomain}, {"both.example", wire.TypeAAAA, blocklists.NXDomain},
		{"www.whole.example", wire.TypeA, blocklists.NXDomain}, {"www.whole.example", wire.TypeAAAA, blocklists.NXDomain},
		{"late.example", wire.TypeA, blocklists.NXDomain}, {"back.example", wire.TypeA, blocklists.NoData},
		{"not.example", wire.TypeA, blocklists.NoData}, {"undone.example", wire.TypeA, blocklists.NXDomain},
		{"sink.example", wire.TypeA, blocklists.Sinkhole}, {"refuse.example", wire.TypeA, blocklists.Refuse},
	} {
		name := wireName(t, c.name)
		if v := s.Question(&blocklists.Ask{Name: &name, Type: c.qtype, Group: g}); v.Kind != blocklists.Block || v.Action != c.want {
			t.Errorf("%s, type %d: %v %v, want %v", c.name, c.qtype, v.Kind, v.Action, c.want)
		}
	}
}

// TestCancelledInOtherOrder: a rule is cancelled by one that names the same query types.
func TestCancelledInOtherOrder(t *testing.T) {
	ads := list("ads", "||turned.example^$dnstype=A|TXT", "||turned.example^$dnstype=TXT|A|A,badfilter")
	ads.Format = format.Adblock
	s := load(t, blocklists.Policy{Lists: []input.List{ads}, Bans: []blocklists.Ban{ban("ads", "ads")}}, nil)
	name := wireName(t, "turned.example")
	if v := s.Question(&blocklists.Ask{Name: &name, Type: wire.TypeA, Group: s.Group(netip.MustParseAddr("10.0.0.1"), nil)}); v.Kind != blocklists.Pass {
		t.Errorf("%v, want it let through", v.Kind)
	}
}

// TestExceptedChain: a name that a list excepts passes with all that it leads to,
// unless an important rule blocks that, and other lists still block it.
func TestExceptedChain(t *testing.T) {
	ads := list("ads", "||banned.example^", "||late.example^$important", "@@||fine.example.org^", "@@||typed.example.org^$dnstype=AAAA",
		"@@||whole.example.org^$important")
	ads.Format = format.Adblock
	addrs := list("addrs", "198.51.100.0/24")
	s := load(t, blocklists.Policy{
		Lists: []input.List{ads, list("other", "other.example"), addrs},
		Bans:  []blocklists.Ban{ban("ads", "ads"), ban("other", "other", "addrs")},
	}, nil)
	g := s.Group(netip.MustParseAddr("10.0.0.1"), nil)
	var scratch wire.Name
	for _, c := range []struct {
		name   string
		qtype  wire.Type
		answer string
		want   string
	}{
		{"fine.example.org", wire.TypeA, "300 IN CNAME edge.banned.example.", "pass"},
		{"www.fine.example.org", wire.TypeHTTPS, "300 IN HTTPS 1 edge.banned.example.", "pass"},
		{"fine.example.org", wire.TypeA, "300 IN CNAME late.example.", "ads/ads"},
		{"fine.example.org", wire.TypeA, "300 IN CNAME other.example.", "other/other"},
		{"fine.example.org", wire.TypeA, "300 IN A 198.51.100.7", "other/addrs"},
		{"typed.example.org", wire.TypeA, "300 IN CNAME edge.banned.example.", "ads/ads"},
		{"typed.example.org", wire.TypeAAAA, "300 IN CNAME edge.banned.example.", "pass"},
		{"whole.example.org", wire.TypeA, "300 IN CNAME late.example.", "pass"},
		{"www.example.org", wire.TypeA, "300 IN CNAME edge.banned.example.", "ads/ads"},
	} {
		name := wireName(t, c.name)
		q := blocklists.Ask{Name: &name, Type: c.qtype, Group: g}
		m := new(dns.Msg).SetQuestion(c.name+".", uint16(c.qtype))
		m.Response = true
		rr, err := dns.NewRR(c.name + ". " + c.answer)
		if err != nil {
			t.Fatal(err)
		}
		m.Answer = []dns.RR{rr}
		msg, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		asked := s.Question(&q)
		v, _ := s.Response(msg, &q, asked, &scratch)
		if got := text(s, v); got != c.want {
			t.Errorf("%s, type %d, %s: %s, want %s", c.name, c.qtype, c.answer, got, c.want)
		}
		if n := testing.AllocsPerRun(10, func() { s.Response(msg, &q, asked, &scratch) }); n != 0 {
			t.Errorf("%s, type %d, %s: %v allocations", c.name, c.qtype, c.answer, n)
		}
	}
}
