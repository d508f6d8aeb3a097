package watch

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestEvents: a change of a file, of the link that leads to it, and of the file that a
// link refers to is an event.
func TestEvents(t *testing.T) {
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, d := range []string{"etc", "v1", "v2"} {
		must(os.Mkdir(at(d), 0o777))
	}
	for _, f := range []string{"etc/plain", "v1/linked", "v2/linked"} {
		must(os.WriteFile(at(f), []byte("a"), 0o666))
	}
	must(os.Symlink(at("v1"), at("etc/data")))
	must(os.Symlink("data/linked", at("etc/linked")))
	e := newEvents()
	if e == nil {
		t.Skip("the system has no events to spare")
	}
	defer e.close()
	paths := []string{at("etc/plain"), at("etc/linked")}
	for _, change := range []struct {
		what string
		do   func() error
	}{
		{"written in place", func() error { return os.WriteFile(at("etc/plain"), []byte("b"), 0o666) }},
		{"renamed into place", func() error {
			must(os.WriteFile(at("v2/new"), nil, 0o666))
			return os.Rename(at("v2/new"), at("etc/plain"))
		}},
		{"written behind a link", func() error { return os.WriteFile(at("v1/linked"), []byte("b"), 0o666) }},
		{"a link exchanged", func() error {
			must(os.Symlink(at("v2"), at("v1/data")))
			return os.Rename(at("v1/data"), at("etc/data"))
		}},
		{"written behind the new link", func() error { return os.WriteFile(at("v2/linked"), []byte("b"), 0o666) }},
		{"deleted", func() error { return os.Remove(at("etc/plain")) }},
	} {
		e.follow(paths, true)
		for quiet := false; !quiet; { // what the change before has left
			select {
			case <-e.changed:
			case <-time.After(20 * time.Millisecond):
				quiet = true
			}
		}
		must(change.do())
		select {
		case <-e.changed:
		case <-time.After(10 * time.Second):
			t.Errorf("%s: no event", change.what)
		}
	}
}
