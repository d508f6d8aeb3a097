package compare_test

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
	"rideau/blocklists/compare"
	"rideau/blocklists/compile"
	"rideau/blocklists/input"
	"rideau/resolver/wire"
)

// random returns a policy of a few lists, bans, exceptions and groups over few
// names, so that many entries are about the same ones.
func random(rnd *rand.Rand) blocklists.Policy {
	p := blocklists.Policy{Groups: []blocklists.Group{{ID: "lab", Clients: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}}}}
	for _, id := range []string{"one", "two", "three", "ok"} {
		var text strings.Builder
		for range 3 + rnd.IntN(6) {
			text.WriteString([]string{"", "=", "*."}[rnd.IntN(3)])
			text.WriteString([]string{"", "", "a.", "b.", "x."}[rnd.IntN(5)])
			fmt.Fprintf(&text, "n%d.example\n", rnd.IntN(8))
		}
		s := text.String()
		p.Lists = append(p.Lists, input.List{ID: id, Source: id, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(s)), nil }})
	}
	for i, id := range []string{"one", "two", "three"} {
		b := blocklists.Ban{ID: "ban-" + id, EDE: 15, TTL: time.Minute, Lists: []string{id}, Groups: []string{blocklists.GroupAll}, Mode: blocklists.Mode(rnd.IntN(3)), Action: blocklists.Action(rnd.IntN(2))}
		if i == 1 {
			b.Groups = []string{"lab"}
		}
		p.Bans = append(p.Bans, b)
	}
	p.Exceptions = []blocklists.Exception{{ID: "lent", Lists: []string{"ok"}, Groups: []string{[]string{"lab", "all"}[rnd.IntN(2)]}}}
	return p
}

func load(t *testing.T, p blocklists.Policy) *blocklists.Snapshot {
	t.Helper()
	s, _, err := compile.Load(context.Background(), p, nil, compile.Options{Now: time.Now(), Slots: new(blocklists.Slots)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// words returns a verdict as reports describe it.
func words(s *blocklists.Snapshot, v blocklists.Verdict) string {
	switch v.Kind {
	case blocklists.Allow:
		return "let through by lent"
	case blocklists.Block:
		return fmt.Sprintf("blocked by %s (%v)", s.Ban(v.Ban).ID, v.Action)
	case blocklists.WouldBlock:
		return "watched by " + s.Ban(v.Ban).ID
	}
	return "passed"
}

// TestNames compares the names whose verdict changes with the verdicts of both policies
// on every name that their lists are about.
func TestNames(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 9))
		before, after := load(t, random(rnd)), load(t, random(rnd))
		r, err := compare.Compare(context.Background(), compare.Side{Snapshot: before}, compare.Side{Snapshot: after}, compare.Options{Examples: -1})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]bool{}
		for _, n := range r.Names {
			if n.Count != len(n.Examples) {
				t.Errorf("seed %d: %d names, %d reported", seed, n.Count, len(n.Examples))
			}
			for _, g := range n.Groups {
				for _, e := range n.Examples {
					name, _, _ := strings.Cut(e, " ")
					got[strings.Join([]string{g, name, n.Before, n.After}, "|")] = true
				}
			}
		}
		want := map[string]bool{}
		for _, id := range []string{"all", "lab"} {
			for _, p := range []*blocklists.Snapshot{before, after} {
				for _, l := range p.Policy().Lists {
					f, _ := l.Open()
					text, _ := io.ReadAll(f)
					for _, entry := range strings.Fields(string(text)) {
						ask := strings.Replace(strings.TrimPrefix(entry, "="), "*", "x", 1)
						var name wire.Name
						if err := name.SetText(ask); err != nil {
							t.Fatal(err)
						}
						b := words(before, before.Name(&name, before.GroupNamed(id)))
						a := words(after, after.Name(&name, after.GroupNamed(id)))
						if a != b {
							want[strings.Join([]string{id, entry, b, a}, "|")] = true
						}
					}
				}
			}
		}
		for k := range want {
			if !got[k] {
				t.Errorf("seed %d: %s is not reported", seed, k)
			}
		}
		for k := range got {
			if !want[k] {
				t.Errorf("seed %d: %s is reported by mistake", seed, k)
			}
		}
	}
}

// TestLists compares what lists gain and lose with a comparison line by line.
func TestLists(t *testing.T) {
	rnd := rand.New(rand.NewPCG(4, 5))
	before, after := random(rnd), random(rnd)
	after.Lists = after.Lists[1:]
	after.Lists = append(after.Lists, input.List{ID: "new", Source: "new", Open: before.Lists[0].Open})
	after.Bans = after.Bans[1:]
	r, err := compare.Compare(context.Background(), compare.Side{Snapshot: load(t, before)}, compare.Side{Snapshot: load(t, after)}, compare.Options{Examples: -1})
	if err != nil {
		t.Fatal(err)
	}
	lines := func(p blocklists.Policy, id string) (out []string) {
		for _, l := range p.Lists {
			if l.ID == id {
				f, _ := l.Open()
				text, _ := io.ReadAll(f)
				out = strings.Fields(string(text))
			}
		}
		return out
	}
	for _, l := range r.Lists {
		a, b := lines(before, l.ID), lines(after, l.ID)
		minus := func(x, y []string) []string {
			return slices.DeleteFunc(slices.Clone(x), func(s string) bool { return slices.Contains(y, s) })
		}
		if added, gone := minus(b, a), minus(a, b); l.Added != len(added) || l.Removed != len(gone) || !slices.Equal(l.New, added) && len(added) > 0 || !slices.Equal(l.Gone, gone) && len(gone) > 0 {
			t.Errorf("%+v, want %q and %q", l, added, gone)
		}
	}
	if len(r.Lists) != 5 || len(r.Bans) == 0 || r.Bans[0].ID != "ban-one" || r.Bans[0].What != "removed" {
		t.Errorf("%+v", r)
	}
	has := func(id string) bool {
		return slices.ContainsFunc(r.Lists, func(l compare.List) bool { return l.ID == id })
	}
	if i := slices.IndexFunc(r.Lists, func(l compare.List) bool { return l.ID == "one" }); i < 0 || r.Lists[i].After != 0 || !has("new") {
		t.Errorf("lists %+v", r.Lists)
	}
}
