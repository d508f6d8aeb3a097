package dnstap_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	framestream "github.com/farsightsec/golang-framestream"

	"rideau/resolver/audit/dnstap"
	"rideau/resolver/audit/lines"
)

// stream returns the frames of a file, and whether the stream has an end.
func stream(t *testing.T, path string) (frames []string, ended bool) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := framestream.NewReader(f, &framestream.ReaderOptions{ContentTypes: [][]byte{[]byte(dnstap.ContentType)}})
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	for b := make([]byte, 1<<20); ; {
		n, err := r.ReadFrame(b)
		if err != nil {
			return frames, err == io.EOF && ends(t, path)
		}
		frames = append(frames, string(b[:n]))
	}
}

// ends reports whether a file ends with the frame that ends a stream.
func ends(t *testing.T, path string) bool {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.HasSuffix(string(text), "\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x03")
}

// written returns the files that were renamed, oldest first, and the one that is written.
func written(t *testing.T, path string) []string {
	t.Helper()
	old, err := filepath.Glob(strings.TrimSuffix(path, ".tap") + "-*")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(old)
	return append(old, path)
}

func put(t *testing.T, f *dnstap.File, events ...string) {
	t.Helper()
	var b [][]byte
	for _, e := range events {
		b = append(b, []byte(e))
	}
	if n, err := f.Write(t.Context(), b); n != len(b) || err != nil {
		t.Fatal(n, err)
	}
}

// Each file is a whole stream: those that ended by size, by age, and by the end of
// the program. What a killed program left can be read up to its end.
func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.tap")
	o := lines.Options{Path: path, MaxBytes: 1 << 20, Files: 10}
	f, err := dnstap.NewFile(o)
	if err != nil {
		t.Fatal(err)
	}
	large := strings.Repeat("x", 400<<10)
	put(t, f, "one", large)
	put(t, f, large)
	put(t, f, "two", large) // too large for the first file
	// The program is killed: nothing ends the file, and a frame is half there.
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text[:len(text)-1000], 0o640); err != nil {
		t.Fatal(err)
	}
	if f, err = dnstap.NewFile(o); err != nil {
		t.Fatal(err)
	}
	put(t, f, "three")
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range written(t, path) {
		frames, ended := stream(t, p)
		for _, x := range frames {
			got = append(got, x[:min(len(x), 5)])
		}
		got = append(got, fmt.Sprint(ended))
	}
	if want := "[one xxxxx xxxxx true two false three true]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
	o.MaxBytes, o.Every = 0, time.Nanosecond
	if f, err = dnstap.NewFile(o); err != nil {
		t.Fatal(err)
	}
	put(t, f, "four")
	put(t, f, "five") // the file is too old
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(written(t, path)); n != 5 {
		t.Errorf("%d files", n)
	}
	// A Writer to which nothing is written leaves the file as it is.
	if f, err = dnstap.NewFile(o); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if frames, ended := stream(t, path); fmt.Sprint(frames, ended) != "[five] true" {
		t.Errorf("%q %v", frames, ended)
	}
}

// When the disk has been full, the file goes on after the last whole frame, whether
// it was opened new or not.
func TestFileOnFullDisk(t *testing.T) {
	for _, again := range []bool{false, true} {
		dir := t.TempDir()
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
			t.Skipf("a small disk cannot be had here: %v", err)
		}
		t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
		path := filepath.Join(dir, "a.tap")
		f, err := dnstap.NewFile(lines.Options{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		if again { // the file is opened new by a rotation
			put(t, f, "zero")
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			if f, err = dnstap.NewFile(lines.Options{Path: path}); err != nil {
				t.Fatal(err)
			}
		}
		put(t, f, "one")
		fill := filepath.Join(dir, "fill")
		if err := os.WriteFile(fill, make([]byte, 160<<10), 0o600); err != nil {
			t.Fatal(err)
		}
		large := []byte(strings.Repeat("x", 100<<10))
		for range 3 {
			if n, err := f.Write(t.Context(), [][]byte{large}); n != 0 || err == nil {
				t.Fatalf("a full disk took %d, %v", n, err)
			}
		}
		if err := os.Remove(fill); err != nil {
			t.Fatal(err)
		}
		put(t, f, string(large), "two")
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		frames, ended := stream(t, path)
		if len(frames) != 3 || frames[0] != "one" || frames[1] != string(large) || frames[2] != "two" || !ended {
			t.Errorf("%d frames, ended %v", len(frames), ended)
		}
	}
}

// Programs of Debian read the file.
func TestDebianReadsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.tap")
	f, err := dnstap.NewFile(lines.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	e := dnstap.NewEncoder(node())
	for range 10 {
		put(t, f, string(e.Query(nil, record())))
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		program string
		args    []string
		want    string
	}{
		{"dnstap-ldns", []string{"-y", "-r", path}, "type: CLIENT_RESPONSE"},
		{"dnstap-read", []string{"-y", path}, "type: CLIENT_RESPONSE"},
		{"fstrm_dump", []string{path}, "protobuf:dnstap.Dnstap"},
	} {
		if _, err := exec.LookPath(c.program); err != nil {
			if os.Getenv("RIDEAU_CI") == "1" {
				t.Errorf("%s is not installed", c.program)
			}
			t.Logf("%s is not installed", c.program)
			continue
		}
		text, err := exec.CommandContext(t.Context(), c.program, c.args...).CombinedOutput()
		want := 10
		if c.program == "fstrm_dump" {
			want = 1
		}
		if n := strings.Count(string(text), c.want); err != nil || n != want {
			t.Errorf("%s: %v, %d times %s:\n%.800s", c.program, err, n, c.want, text)
		}
	}
}
