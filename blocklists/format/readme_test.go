package format_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"rideau/blocklists/format"
)

// Each example in the README, a block marked with the name of a format, reads
// without a skipped line and as the block marked "entries" after it says.
func TestReadmeExamples(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join("..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$").FindAllStringSubmatch(string(readme), -1)
	seen := map[format.Format]bool{}
	for i, b := range blocks {
		f, err := format.ParseFormat(b[1])
		if err != nil {
			continue
		}
		seen[f] = true
		t.Run(b[1], func(t *testing.T) {
			got, stats, err := read(t, format.Options{File: "README.md", Format: f}, b[2])
			if err != nil || stats.Skipped != 0 {
				t.Fatalf("error %v, problems %v", err, stats.Problems)
			}
			if i+1 == len(blocks) || blocks[i+1][1] != "entries" {
				t.Fatal("the example is not followed by its entries")
			}
			if want := strings.Split(strings.TrimSpace(blocks[i+1][2]), "\n"); strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Errorf("entries:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
	if len(seen) != 6 {
		t.Errorf("examples for %d formats of 6: %v", len(seen), seen)
	}
}
