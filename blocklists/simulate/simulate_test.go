package simulate_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/compile"
	"rideau/blocklists/input"
	"rideau/blocklists/querylog"
	"rideau/blocklists/simulate"
	"rideau/resolver/wire"
)

// list returns a list of names.
func list(id string, names ...string) input.List {
	return input.List{ID: id, Source: id, MaxSkipped: 1, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(strings.Join(names, "\n"))), nil
	}}
}

func load(t *testing.T, p blocklists.Policy) *blocklists.Snapshot {
	t.Helper()
	s, _, err := compile.Load(context.Background(), p, nil, compile.Options{Now: time.Unix(1e9, 0), Slots: new(blocklists.Slots)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// random returns a policy with some of the names on lists of bans of all modes.
func random(t *testing.T, r *rand.Rand) *blocklists.Snapshot {
	p := blocklists.Policy{Groups: []blocklists.Group{{ID: "lab", Clients: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/30")}}}}
	for i, id := range []string{"one", "two", "three"} {
		names := []string{fmt.Sprintf("only%d.example", i)}
		for range r.IntN(6) {
			names = append(names, fmt.Sprintf("n%d.example", r.IntN(20)))
		}
		p.Lists = append(p.Lists, list(id, names...))
		groups := []string{blocklists.GroupAll}
		if r.IntN(3) == 0 {
			groups = []string{"lab"}
		}
		p.Bans = append(p.Bans, blocklists.Ban{ID: id, Lists: []string{id}, Groups: groups,
			Mode: blocklists.Mode(r.IntN(3)), Action: blocklists.Action(r.IntN(2))})
	}
	r.Shuffle(len(p.Bans), func(i, j int) { p.Bans[i], p.Bans[j] = p.Bans[j], p.Bans[i] })
	p.Lists = append(p.Lists, list("let", fmt.Sprintf("n%d.example", r.IntN(20))))
	p.Exceptions = []blocklists.Exception{{ID: "let", Lists: []string{"let"}, Groups: []string{"lab"}}}
	return load(t, p)
}

// verdict returns what a policy decides about a query, as text.
func verdict(s *blocklists.Snapshot, q *querylog.Query) (kind, all string) {
	v := s.Question(&blocklists.Ask{Name: &q.Name, Type: q.Type, Client: q.Client, Group: s.Group(q.Client, nil)})
	switch v.Kind {
	case blocklists.Block:
		kind = "blocked"
	case blocklists.WouldBlock:
		kind = "monitored"
	default:
		return "", ""
	}
	return kind, fmt.Sprint(kind, s.Ban(v.Ban).ID, v.Action)
}

// TestModel: names, clients and counts are those of a plain count.
func TestModel(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 23))
	for range 60 {
		before, after := random(t, r), random(t, r)
		s := simulate.New(simulate.Side{Policy: after}, simulate.Side{Policy: before})
		type seen struct {
			queries        int
			names, clients map[string]bool
		}
		want := map[string]*seen{}
		top := map[string]int{}
		for range 400 {
			var q querylog.Query
			name := fmt.Sprintf("n%d.example.", r.IntN(20))
			if r.IntN(3) == 0 {
				name = "www." + name
			}
			if err := q.Name.SetText(name); err != nil {
				t.Fatal(err)
			}
			q.Type, q.Client = wire.TypeA, netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(9))})
			s.Count(&q)
			b, ball := verdict(before, &q)
			a, aall := verdict(after, &q)
			class := "unchanged"
			switch {
			case ball == aall:
			case a == b:
				class = "changed"
			case a == "blocked":
				class = "newly_blocked"
			case b == "blocked":
				class = "newly_allowed"
			case a == "monitored":
				class = "newly_monitored"
			default:
				class = "no_longer_monitored"
			}
			for _, c := range []string{class, "all"} {
				if want[c] == nil {
					want[c] = &seen{names: map[string]bool{}, clients: map[string]bool{}}
				}
				want[c].queries++
				want[c].names[name] = true
				want[c].clients[q.Client.String()] = true
			}
			top[class+" "+strings.TrimSuffix(name, ".")]++
		}
		got := s.Report(0)
		check := func(class string, queries, names, clients int) {
			t.Helper()
			w := want[class]
			if w == nil {
				w = &seen{}
			}
			if queries != w.queries || names != len(w.names) || clients != len(w.clients) {
				t.Fatalf("%s: %d queries, %d names, %d clients; want %d, %d, %d", class, queries, names, clients, w.queries, len(w.names), len(w.clients))
			}
		}
		check("all", got.Queries, got.Names, got.Clients)
		check("unchanged", got.Same.Queries, got.Same.Names, got.Same.Clients)
		if sum := got.Same.Passed + got.Same.Blocked + got.Same.Monitored + got.Same.Excepted; sum != got.Same.Queries {
			t.Fatalf("unchanged: %d, and %d in parts", got.Same.Queries, sum)
		}
		for _, c := range got.Changes {
			check(c.Class, c.Queries, c.Names, c.Clients)
			by, names := 0, map[string]int{}
			for _, b := range c.By {
				by += b.Queries
			}
			for _, n := range c.Top {
				names[n.Name] += n.Queries
			}
			if by != c.Queries {
				t.Fatalf("%s: %d queries, and %d by bans", c.Class, c.Queries, by)
			}
			for n, k := range names {
				if top[c.Class+" "+n] != k {
					t.Fatalf("%s: %s has %d queries, want %d", c.Class, n, k, top[c.Class+" "+n])
				}
			}
			if !slices.IsSortedFunc(c.Top, func(a, b simulate.Name) int { return b.Queries - a.Queries }) || len(names) != c.Names {
				t.Fatalf("%s: top is %+v", c.Class, c.Top)
			}
		}
	}
}

// TestSides: what is decided before policy, which clients are served and which names are
// special, counts, too.
func TestSides(t *testing.T) {
	p := load(t, blocklists.Policy{Lists: []input.List{list("l", "n.example")},
		Bans: []blocklists.Ban{{ID: "b", Lists: []string{"l"}, Groups: []string{blocklists.GroupAll}}}})
	lan := func(a netip.Addr) bool { return a.Is4() }
	special := func(n *wire.Name) bool { return n.Labels() == 1 }
	s := simulate.New(simulate.Side{Policy: p, Serves: lan, Special: special}, simulate.Side{})
	for _, x := range [][2]string{{"n.example", "10.0.0.1"}, {"www.example", "fd00::1"}, {"n.example", "fd00::2"}, {"test", "10.0.0.1"}, {"www.example", "10.0.0.1"}} {
		q := querylog.Query{Type: wire.TypeA, Client: netip.MustParseAddr(x[1])}
		if err := q.Name.SetText(x[0]); err != nil {
			t.Fatal(err)
		}
		s.Count(&q)
	}
	r := s.Report(1)
	queries := map[string]int{}
	for _, c := range r.Changes {
		queries[c.Class] = c.Queries
	}
	if queries["newly_blocked"] != 1 || queries["newly_refused"] != 2 || r.Same.Queries != 2 || r.Same.Special != 1 || r.Same.Passed != 1 {
		t.Errorf("%+v", r)
	}
	if top := r.Changes[simulate.Refused].Top; len(top) != 1 || top[0].Before.String() != "passed" || top[0].After.String() != "refused" {
		t.Errorf("top of one: %+v", top)
	}
}

// TestAllocations: queries whose names and clients were seen before cost no memory.
func TestAllocations(t *testing.T) {
	p := load(t, blocklists.Policy{Lists: []input.List{list("l", "n.example")},
		Bans: []blocklists.Ban{{ID: "b", Lists: []string{"l"}, Groups: []string{blocklists.GroupAll}}}})
	s := simulate.New(simulate.Side{Policy: p}, simulate.Side{})
	q := querylog.Query{Type: wire.TypeA, Client: netip.MustParseAddr("10.0.0.1")}
	if err := q.Name.SetText("n.example"); err != nil {
		t.Fatal(err)
	}
	s.Count(&q)
	if n := testing.AllocsPerRun(100, func() { s.Count(&q) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
