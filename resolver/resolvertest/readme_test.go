package resolvertest

import (
	"os"
	"strings"
	"testing"
)

// TestREADME: the README's example runs, and the README mentions every word of the
// language.
func TestREADME(t *testing.T) {
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	readme := string(b)
	_, rest, _ := strings.Cut(readme, "```\n")
	example, _, ok := strings.Cut(rest, "```\n")
	if !ok {
		t.Fatal("no example")
	}
	if errs := runText(t, example); len(errs) != 0 {
		t.Errorf("the example: %q", errs)
	}
	r := new(run)
	words := []string{"answer", "authority", "additional", "ede"}
	for w := range r.actions() {
		words = append(words, w)
	}
	for w := range r.aboutAnswer() {
		words = append(words, w)
	}
	for w := range r.aboutWorld() {
		words = append(words, w)
	}
	for _, w := range words {
		if !strings.Contains(readme, "`"+w+" ") && !strings.Contains(readme, "`"+w+"`") {
			t.Errorf("no word on %q", w)
		}
	}
}
