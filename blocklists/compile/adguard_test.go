package compile_test

import (
	"os"
	"strings"
	"testing"

	"rideau/blocklists"
	"rideau/blocklists/compile"
	"rideau/blocklists/format"
	"rideau/blocklists/input"
	"rideau/resolver/wire"
)

// Rules of adblock syntax block the names that AdGuard's own filter blocks. The file says where the two differ, and why.
func TestAdblockLikeAdGuard(t *testing.T) {
	text, err := os.ReadFile("testdata/adguard.txt")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "# ") {
			continue
		}
		rows++
		col := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		list := strings.ReplaceAll(col[0], " ;; ", "\n") + "\n"
		p := guarded(list, func(l *input.List) { l.Format, l.MaxSkipped, l.AllowTLD, l.EmptyOK = format.Adblock, 1, true, true })
		snap, _, err := compile.Load(t.Context(), p, nil, compile.Options{Now: day, Slots: new(blocklists.Slots)})
		if err != nil {
			t.Fatalf("%q: %v", col[0], err)
		}
		for _, f := range strings.Fields(col[1]) {
			f, differs := strings.CutSuffix(f, "!")
			text, blocked := strings.CutSuffix(f, "+")
			text = strings.TrimRight(text, "-@")
			var name wire.Name
			if err := name.SetText(text); err != nil {
				t.Fatal(err)
			}
			if got := snap.Name(&name, 0).Kind == blocklists.Block; (got != blocked) != differs {
				t.Errorf("%s: %s is blocked: %v, by AdGuard: %v", col[0], text, got, blocked)
			}
			if differs && len(col) < 3 {
				t.Errorf("%s: the difference is not argued", col[0])
			}
		}
	}
	if rows < 500 {
		t.Errorf("%d rows", rows)
	}
}
