package compare_test

import (
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/compare"
	"rideau/blocklists/format"
	"rideau/blocklists/input"
)

// What an entry takes out of a list is not told as an entry that the list gained.
func TestRulesAreTold(t *testing.T) {
	policy := func(text string) blocklists.Policy {
		l := input.List{ID: "l", Source: "l", Format: format.Adblock, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }}
		return blocklists.Policy{Lists: []input.List{l}, Bans: []blocklists.Ban{{ID: "b", TTL: time.Minute, Lists: []string{"l"}, Groups: []string{blocklists.GroupAll}}}}
	}
	before := load(t, policy("||x.example^\n"))
	after := load(t, policy("||x.example^\n@@||a.x.example^\n@@|b.x.example^$important\n||x.example^$badfilter\n||y.example^$important\n"))
	r, err := compare.Compare(t.Context(), compare.Side{Snapshot: before}, compare.Side{Snapshot: after}, compare.Options{Examples: -1})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"@@a.x.example", "@@=b.x.example $important", "x.example $badfilter", "y.example $important"}
	if len(r.Lists) != 1 || !slices.Equal(r.Lists[0].New, want) {
		t.Errorf("%+v, want %q", r.Lists, want)
	}
}
