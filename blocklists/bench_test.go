package blocklists_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"rideau/blocklists"
	"rideau/blocklists/format"
	"rideau/blocklists/input"
	"rideau/resolver/wire"
)

// BenchmarkName measures the cost of policy for a query: to find its client's group, and to decide about its
// name. It must not grow with the number of lists or groups.
func BenchmarkName(b *testing.B) {
	for _, lists := range []int{1, 32} {
		for _, groups := range []int{1, 64} {
			s, hits, misses := benchPolicy(b, lists, groups, 100_000)
			client := netip.MustParseAddr("10.0.0.9")
			for what, names := range map[string][]wire.Name{"hit": hits, "miss": misses} {
				b.Run(fmt.Sprintf("lists=%d/groups=%d/%s", lists, groups, what), func(b *testing.B) {
					b.ReportAllocs()
					i := 0
					for b.Loop() {
						if v := s.Name(&names[i&0xFFF], s.Group(client, nil)); (v.Kind == blocklists.Block) != (what == "hit") {
							b.Fatal(v)
						}
						i++
					}
				})
			}
		}
	}
}

// benchPolicy returns a policy of so many lists, with one ban
// for each and entries names in all, some names that they have, and some that they do not have.
func benchPolicy(tb testing.TB, lists, groups, entries int) (s *blocklists.Snapshot, hits, misses []wire.Name) {
	rnd := rand.New(rand.NewPCG(7, 11))
	name := func() string {
		return fmt.Sprintf("h%x.d%x.example%d.com", rnd.Uint32(), rnd.Uint32(), rnd.IntN(1000))
	}
	p := blocklists.Policy{}
	for g := range groups {
		p.Groups = append(p.Groups, blocklists.Group{ID: fmt.Sprint("g", g),
			Clients: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(g), 0, 0}), 16)}})
	}
	for l := range lists {
		var text strings.Builder
		for range entries / lists {
			n := name()
			fmt.Fprintln(&text, n)
			if len(hits) < 4096 && rnd.IntN(20) == 0 {
				hits = append(hits, wireName(tb, "www."+n))
			}
		}
		id := fmt.Sprint("l", l)
		p.Lists = append(p.Lists, list(id, text.String()))
		p.Bans = append(p.Bans, ban("b"+id, id))
	}
	for len(misses) < 4096 {
		misses = append(misses, wireName(tb, "www."+name()))
	}
	for len(hits) < 4096 {
		hits = append(hits, hits[rnd.IntN(len(hits))])
	}
	return load(tb, p, nil), hits, misses
}

func wireName(tb testing.TB, text string) (n wire.Name) {
	if err := n.SetText(text); err != nil {
		tb.Fatal(err)
	}
	return n
}

// TestRuledAllocations: decisions by rules do not allocate.
func TestRuledAllocations(t *testing.T) {
	zone := func(id, text string) input.List {
		return input.List{ID: id, Source: id, Format: format.RPZ, AllowTLD: true,
			Open: func() (io.ReadCloser, error) {
				return io.NopCloser(strings.NewReader("@ 1 SOA . . 1 2 3 4 5\n" + text)), nil
			}}
	}
	ads := list("ads", "||ads.example^", "@@||fine.ads.example^", "||typed.example^$dnstype=A", "||late.ads.example^$important")
	ads.Format = format.Adblock
	p := blocklists.Policy{
		Lists: []input.List{ads, zone("one", "32.7.0.0.10.rpz-client-ip 1 CNAME .\n32.1.2.0.192.rpz-ip 1 CNAME .\nnone.example.rpz-nsdname 1 CNAME .\n"),
			zone("two", "*.zone.example 1 CNAME .\nzone.example 1 A 192.0.2.1\n"), list("net", "203.0.113.0/24"), list("ok", "ok.zone.example")},
		Exceptions: []blocklists.Exception{{ID: "ok", Groups: []string{blocklists.GroupAll}, Lists: []string{"ok"}}},
	}
	for _, id := range []string{"ads", "one", "two", "net"} {
		b := ban(id, id)
		b.Action = blocklists.Given
		p.Bans = append(p.Bans, b)
	}
	s := load(t, p, nil)
	for _, c := range []struct {
		name, client string
		want         blocklists.Kind
	}{
		{"x.ads.example", "10.0.0.1", blocklists.Block}, {"x.fine.ads.example", "10.0.0.1", blocklists.Pass}, {"late.ads.example", "10.0.0.1", blocklists.Block},
		{"typed.example", "10.0.0.1", blocklists.Block}, {"x.zone.example", "10.0.0.1", blocklists.Block}, {"zone.example", "10.0.0.1", blocklists.Block},
		{"ok.zone.example", "10.0.0.1", blocklists.Allow}, {"www.example", "10.0.0.7", blocklists.Block}, {"www.example", "10.0.0.1", blocklists.Pass},
		{"1.113.0.203.in-addr.arpa", "10.0.0.1", blocklists.Block},
	} {
		name := wireName(t, c.name)
		client := netip.MustParseAddr(c.client)
		var v blocklists.Verdict
		if n := testing.AllocsPerRun(100, func() {
			v = s.Question(&blocklists.Ask{Name: &name, Type: wire.TypeA, Client: client})
		}); n != 0 {
			t.Errorf("%s: %v allocations", c.name, n)
		}
		if v.Kind != c.want {
			t.Errorf("%s for %s: %+v", c.name, c.client, v)
		}
	}
}
