package lines_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rideau/resolver/audit/lines"
)

func texts(s ...string) [][]byte {
	var out [][]byte
	for _, t := range s {
		out = append(out, []byte(t))
	}
	return out
}

// A file is appended to. What a crash left of a line becomes a line of its own.
func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "events.json")
	for i := range 2 {
		w, err := lines.File(lines.Options{Path: path, MaxBytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		if n, err := w.Write(t.Context(), texts("a", "b")); n != 2 || err != nil {
			t.Fatal(n, err)
		}
		w.Close()
		if i == 0 {
			f, _ := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			f.WriteString(`{"torn`)
			f.Close()
		}
	}
	got, err := os.ReadFile(path)
	if want := "a\nb\n{\"torn\na\nb\n"; string(got) != want || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o027 != 0 {
		t.Errorf("%v may be read or written by others, %v", info.Mode(), err)
	}
}

// A file ends at its size, and only so many old ones are kept.
func TestRotation(t *testing.T) {
	dir := t.TempDir()
	w, err := lines.File(lines.Options{Path: filepath.Join(dir, "events.json"), MaxBytes: 1 << 20, Files: 2, Compress: "gzip"})
	if err != nil {
		t.Fatal(err)
	}
	line := strings.Repeat("x", 64<<10)
	for range 80 {
		if n, err := w.Write(t.Context(), texts(line, line)); n != 2 || err != nil {
			t.Fatal(n, err)
		}
	}
	w.Close()
	var all []os.DirEntry
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if all, err = os.ReadDir(dir); err != nil {
			t.Fatal(err)
		}
		if len(all) == 3 {
			return
		}
	}
	t.Errorf("%d files are left, want 3", len(all))
}

// full is a disk that has space for some octets.
type full struct {
	text  []byte
	space int
}

func (f *full) Write(b []byte) (int, error) {
	n := min(len(b), f.space)
	f.text, f.space = append(f.text, b[:n]...), f.space-n
	if n < len(b) {
		return n, errors.New("no space left")
	}
	return n, nil
}

// On a full disk each line is written whole, once, or stands alone as a torn one.
func TestFullDisk(t *testing.T) {
	for space := range 14 {
		f := &full{space: space}
		w := lines.To(f)
		all := texts("one", "two", "three")
		n, err := w.Write(t.Context(), all)
		if err == nil {
			t.Fatalf("%d octets: no error", space)
		}
		f.space = 100
		if m, err := w.Write(t.Context(), all[n:]); err != nil || n+m != 3 {
			t.Fatal(n, m, err)
		}
		var whole []string
		for _, l := range strings.Split(strings.TrimSuffix(string(f.text), "\n"), "\n") {
			if l == "one" || l == "two" || l == "three" {
				whole = append(whole, l)
			}
		}
		if got := strings.Join(whole, " "); got != "one two three" {
			t.Errorf("%d octets: %q", space, f.text)
		}
	}
}
