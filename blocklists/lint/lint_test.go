package lint_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/compile"
	"rideau/blocklists/input"
	"rideau/blocklists/lint"
	"rideau/resolver/wire"
)

// covers reports whether an entry covers a name, both as text.
func covers(entry, name string) bool {
	switch {
	case strings.HasPrefix(entry, "="):
		return name == entry[1:]
	case strings.HasPrefix(entry, "*."):
		return strings.HasSuffix(name, entry[1:])
	}
	return name == entry || strings.HasSuffix(name, "."+entry)
}

// within reports whether an entry covers all that another does, which is
// at the same name or below.
func within(inner, outer string) bool {
	bare := strings.TrimPrefix(strings.TrimPrefix(inner, "="), "*.")
	switch {
	case inner == outer:
		return false
	case strings.HasPrefix(outer, "="):
		return false
	case strings.HasPrefix(inner, "*."):
		return covers(outer, "x."+bare) && (outer != inner) && strings.Count(strings.TrimPrefix(outer, "*."), ".") <= strings.Count(bare, ".")
	case strings.HasPrefix(inner, "="):
		return covers(outer, bare)
	}
	return covers(outer, bare) && covers(outer, "x."+bare)
}

// TestAgainstModel compares what is found in random lists with a comparison of
// each pair of entries, and of each entry with each name.
func TestAgainstModel(t *testing.T) {
	for seed := range uint64(100) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		entry := func() string {
			name := fmt.Sprintf("n%d.example", rnd.IntN(6))
			for range rnd.IntN(3) {
				name = fmt.Sprintf("%c.%s", 'a'+rune(rnd.IntN(3)), name)
			}
			return []string{"", "", "=", "*."}[rnd.IntN(4)] + name
		}
		var all []string
		var text strings.Builder
		for range 3 + rnd.IntN(20) {
			all = append(all, entry())
			fmt.Fprintln(&text, all[len(all)-1])
		}
		p := blocklists.Policy{
			Lists: []input.List{{ID: "l", Source: "l", Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text.String())), nil }}},
			Bans:  []blocklists.Ban{{ID: "b", EDE: 15, TTL: time.Minute, Groups: []string{blocklists.GroupAll}, Lists: []string{"l"}}},
		}
		s, _, err := compile.Load(context.Background(), p, nil, compile.Options{Now: time.Now(), Slots: new(blocklists.Slots)})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for range 10 {
			names = append(names, strings.TrimPrefix(strings.TrimPrefix(entry(), "="), "*."))
		}
		r, err := lint.Check(context.Background(), s, lint.Options{Examples: -1, Log: func(each func(*wire.Name)) error {
			for _, text := range names {
				var n wire.Name
				if err := n.SetText(text); err != nil {
					return err
				}
				each(&n)
			}
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		repeated, shadowed, unmet := 0, 0, 0
		seen := map[string]bool{}
		for _, e := range all {
			if seen[e] {
				repeated++
				continue
			}
			seen[e] = true
			in, met := false, false
			for _, o := range all {
				in = in || within(e, o)
			}
			for _, n := range names {
				met = met || covers(e, n)
			}
			if in {
				shadowed++
			}
			if !met {
				unmet++
			}
		}
		if r.Entries != len(all) || r.Repeated.Count != repeated || r.Shadowed.Count != shadowed || r.Unmet.Count != unmet {
			t.Errorf("seed %d: %q, asked %q:\n%+v\nwant %d repeated, %d shadowed, %d unmet", seed, all, names, r, repeated, shadowed, unmet)
		}
	}
}
