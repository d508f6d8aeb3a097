package text_test

import (
	"strings"
	"testing"

	"rideau/blocklists/compare"
	"rideau/cmd/rideau/internal/text"
)

// TestWriteComparison: each kind of difference is a line of its own, with its examples below.
func TestWriteComparison(t *testing.T) {
	var b strings.Builder
	text.WriteComparison(&b, &compare.Report{
		Bans:    []compare.Change{{ID: "ban-one", What: "removed"}, {What: "in another order"}},
		Groups:  []compare.Change{{ID: "lab", What: "changed", Keys: []string{"clients: 10.0.0.0/8, was nothing"}}},
		Lists:   []compare.List{{ID: "one", Before: 5, Removed: 5, Gone: []string{"a.example"}}, {ID: "new", After: 2, Added: 2, Counted: true}},
		Names:   []compare.Names{{Groups: []string{"all", "lab"}, Before: "passed", After: "blocked by b (nxdomain)", Count: 3, Examples: []string{"a.example (one:1)"}}},
		Partial: true,
	})
	const want = `ban ban-one removed
bans in another order
group lab changed
  clients: 10.0.0.0/8, was nothing
list one: 0 entries, was 5: 0 added, 5 removed
  - a.example
list new: 2 entries, was 0: 2 added, 0 removed (by number: what the list had is not known)
3 names for all, lab: blocked by b (nxdomain), was passed
  a.example (one:1)
  and 2 more
names that a list had and has no longer are counted above, not told
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	b.Reset()
	if text.WriteComparison(&b, &compare.Report{}); b.String() != "no difference\n" {
		t.Errorf("without a difference: %q", b.String())
	}
}
