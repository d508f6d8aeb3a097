package format

import (
	"slices"
	"testing"
)

// TestTable: each format can be read and detected, at a turn of its own.
func TestTable(t *testing.T) {
	var turns []int
	for _, n := range notations {
		if n.name == "" || n.read == nil || n.marks == nil {
			t.Errorf("%+v is not complete", n.name)
		}
		if f, err := ParseFormat(string(n.name)); err != nil || f != n.name {
			t.Errorf("%s: %v", n.name, err)
		}
		turns = append(turns, n.turn)
	}
	slices.Sort(turns)
	for i, turn := range turns {
		if turn != i+1 {
			t.Fatalf("turns %v are not 1 to %d", turns, len(turns))
		}
	}
}
