package blocklists_test

import (
	"net/netip"
	"testing"

	"rideau/blocklists"
	"rideau/blocklists/format"
	"rideau/resolver/wire"
)

// TestSomeTypes: a name that is blocked for some types alone does not stop
// existing for the others.
func TestSomeTypes(t *testing.T) {
	ads := list("ads", "||aaaa.example^$dnstype=AAAA", "||but.example^", "@@||but.example^$dnstype=TXT", "||both.example^$dnstype=A", "||both.example^",
		"||www.whole.example^$dnstype=A", "||whole.example^", "||late.example^$important", "||late.example^$dnstype=A,important",
		"||back.example^", "||back.example^$badfilter", "||back.example^$dnstype=A", "||not.example^$dnstype=~TXT", "@@||undone.example^$dnstype=TXT", "@@||undone.example^$dnstype=TXT,badfilter", "||undone.example^")
	ads.Format = format.Adblock
	sink, refuse := ban("sink", "sink"), ban("refuse", "refuse")
	sink.Action, refuse.Action = blocklists.Sinkhole, blocklists.Refuse
	sunk, refused := list("sink", "||sink.example^$dnstype=A"), list("refuse", "||refuse.example^$dnstype=A")
	sunk.Format, refused.Format = format.Adblock, format.Adblock
	s := load(t, blocklists.Policy{Lists: []blocklists.List{ads, sunk, refused}, Bans: []blocklists.Ban{ban("ads", "ads"), sink, refuse}}, nil)
	g := s.Group(netip.MustParseAddr("10.0.0.1"))
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
