package blocklists_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"rideau/blocklists"
	"rideau/blocklists/format"
	"rideau/blocklists/input"
	"rideau/resolver/wire"
)

// allBut is a ban on all names but those on lists.
func allBut(id string, lists ...string) blocklists.Ban {
	b := ban(id)
	b.AllBut = lists
	return b
}

// TestAllBut: a ban on all names but those on its lists lets through what the lists name, in each format and by each kind of entry, and
// other bans are as they were.
func TestAllBut(t *testing.T) {
	adblock := list("adblock", "@@||ads.example.ca^", "@@||only.example.ca^$dnstype=A")
	adblock.Format = format.Adblock
	hosts := list("hosts", "0.0.0.0 host.example.ca")
	hosts.Format = format.Hosts
	watched := allBut("watched", "plain")
	watched.Mode = blocklists.Monitor
	p := blocklists.Policy{
		Lists: []input.List{list("plain", "a.ca", "=exact.ca", "*.below.ca", "192.0.2.0/24"), adblock, hosts, list("banned", "x.a.ca", "198.51.100.1")},
		Bans:  []blocklists.Ban{watched, allBut("rest", "plain", "adblock", "hosts"), ban("b", "banned")},
	}
	s := load(t, p, nil)
	expect(t, s, "10.0.0.1", map[string]string{
		"a.ca": "pass", "www.a.ca": "pass", "exact.ca": "pass", "www.exact.ca": "rest/plain", "www.below.ca": "pass", "below.ca": "rest/plain",
		"ads.example.ca": "would watched/plain", "only.example.ca": "would watched/plain", "host.example.ca": "would watched/plain", "other.ca": "rest/plain", ".": "rest/plain",
		"x.a.ca": "b/banned", "1.2.0.192.in-addr.arpa": "pass", "1.3.0.192.in-addr.arpa": "rest/plain", "1.100.51.198.in-addr.arpa": "b/banned",
	})
	for _, c := range []struct {
		name string
		typ  uint16
		want string
	}{
		{"ca", dns.TypeA, "nodata"}, {"ca", dns.TypeNS, "nodata"}, {".", dns.TypeDNSKEY, "pass"}, {"ca", dns.TypeDS, "pass"}, {"below.ca", dns.TypeDNSKEY, "pass"},
		{"example.ca", dns.TypeDS, "pass"}, {"other.ca", dns.TypeDS, "nxdomain"}, {"www.exact.ca", dns.TypeDNSKEY, "nxdomain"}, {"b.c.other.ca", dns.TypeTXT, "nxdomain"},
	} {
		var n wire.Name
		if err := n.SetText(c.name); err != nil {
			t.Fatal(err)
		}
		got := "pass"
		if v := s.Question(&blocklists.Ask{Name: &n, Type: wire.Type(c.typ)}); v.Kind == blocklists.Block {
			got = v.Action.String()
			if !v.Unlisted {
				t.Errorf("%s %d: the verdict does not say why", c.name, c.typ)
			}
		}
		if got != c.want {
			t.Errorf("%s %s: %s, want %s", c.name, dns.TypeToString[c.typ], got, c.want)
		}
	}
	var n wire.Name
	if err := n.SetText("other.ca"); err != nil {
		t.Fatal(err)
	}
	if v := s.Question(&blocklists.Ask{Name: &n, Final: true}); v.Kind != blocklists.Pass {
		t.Errorf("what a ban's own answer leads to is blocked: %+v", v)
	}
	if v := s.Addr(netip.MustParseAddr("203.0.113.5"), 0); v.Kind != blocklists.Pass {
		t.Errorf("an address of an answer is blocked: %+v", v)
	}
	for _, name := range []string{"www.a.ca", "other.ca", "ca"} {
		if err := n.SetText(name); err != nil {
			t.Fatal(err)
		}
		if got := testing.AllocsPerRun(100, func() { s.Question(&blocklists.Ask{Name: &n, Type: wire.TypeA}) }); got != 0 {
			t.Errorf("%s: %v allocations", name, got)
		}
	}
}

// TestAllButNames: the names above many names are known, whatever their order and number.
func TestAllButNames(t *testing.T) {
	var names []string
	for i := range 40_000 {
		names = append(names, fmt.Sprintf("a.h%d.z%d.example", i, i%20_000))
	}
	l := input.List{ID: "l", Source: "l", Format: format.Plain, MaxShrink: 1, Open: list("l", strings.Join(names, "\n")).Open}
	s := load(t, blocklists.Policy{Lists: []input.List{l}, Bans: []blocklists.Ban{allBut("rest", "l")}}, nil)
	var n wire.Name
	for i := range 40_000 {
		for _, name := range []string{names[i], names[i][2:], fmt.Sprintf("z%d.example", i%20_000)} {
			if err := n.SetText(name); err != nil {
				t.Fatal(err)
			}
			if v := s.Question(&blocklists.Ask{Name: &n, Type: wire.TypeDS}); v.Kind != blocklists.Pass {
				t.Fatalf("DS of %s: %+v", name, v)
			}
		}
	}
}
