package config_test

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rideau/config"
)

var update = flag.Bool("update", false, "write the messages of testdata/bad anew")

// TestBad compares the messages for every file of testdata/bad with the file beside it. The lines that are wrong are marked in the file itself, so that the
// line numbers are checked against something that -update does not write.
func TestBad(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			text := read(t, file)
			c, err := config.Parse(filepath.Base(file), text)
			var problems config.Problems
			if c != nil || !errors.As(err, &problems) || len(problems) == 0 {
				t.Fatalf("accepted, or no Problems: %v, %v", c, err)
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".txt"
			got := err.Error() + "\n"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want := string(read(t, golden)); got != want {
				t.Errorf("messages:\n%s\nwant:\n%s", got, want)
			}
			checkLines(t, text, problems)
		})
	}
}

// checkLines compares the lines of the problems with the lines that bear the mark.
func checkLines(t *testing.T, text []byte, problems config.Problems) {
	t.Helper()
	var marked, named []int
	for i, line := range bytes.Split(text, []byte("\n")) {
		if bytes.Contains(line, []byte("# <-")) {
			marked = append(marked, i+1)
		}
	}
	for _, p := range problems {
		named = append(named, p.Line)
		if p.Message == "" || p.Remedy == "" {
			t.Errorf("no message or no remedy: %v", p)
		}
	}
	if !slices.IsSorted(named) {
		t.Errorf("problems are not in the order of lines: %v", named)
	}
	if named = slices.Compact(named); len(marked) > 0 && !slices.Equal(named, marked) {
		t.Errorf("lines %v are called wrong, %v are", named, marked)
	}
}

func read(t testing.TB, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
