package server

import (
	"io"
	"maps"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestReloadDisk: where no last good copy can be written, because the disk is full or read-only, a reload works all the same. The copies
// that there are stay as they were.
func TestReloadDisk(t *testing.T) {
	t.Parallel()
	f := newReloadFixture(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "feed.example\n") })
	kept := map[string]string{}
	for _, name := range []string{"feed.json", "list.json"} {
		text, err := os.ReadFile(f.path("state/" + name))
		if err != nil {
			t.Fatal(err)
		}
		kept[name] = string(text)
	}
	copies, err := os.MkdirTemp(f.dir, "copies")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(copies, os.DirFS(f.path("state"))); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", f.path("state"), "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("a small disk cannot be had here: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(f.path("state"), syscall.MNT_DETACH) })
	if err := os.CopyFS(f.path("state"), os.DirFS(copies)); err != nil {
		t.Fatal(err)
	}
	full := func() {
		fill, err := os.Create(f.path("state/fill"))
		if err != nil {
			t.Fatal(err)
		}
		defer fill.Close()
		for err == nil {
			_, err = fill.Write(make([]byte, 4096))
		}
	}
	readOnly := func() {
		if err := syscall.Mount("", f.path("state"), "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
	}
	for i, broken := range []func(){full, readOnly} {
		broken()
		name := []string{"full.example", "readonly.example"}[i]
		f.write("list.txt", listText+name+"\n")
		files, logged := f.files(), strings.Count(f.log.String(), "cannot be written; the old one")
		result, err := f.Reload(t.Context(), "the test")
		if err != nil || !result.Changed {
			t.Fatalf("%s: %+v, %v", name, result, err)
		}
		f.serves(f.addr, name+".", true)
		f.serves(f.addr, "feed.example.", true)
		if after := f.files(); !maps.Equal(after, files) {
			t.Errorf("%s: files\n%q\nwere\n%q", name, after, files)
		}
		if strings.Count(f.log.String(), "cannot be written; the old one") == logged {
			t.Errorf("%s: nothing is logged: %s", name, f.log.String())
		}
	}
	for name, want := range kept {
		if got, err := os.ReadFile(f.path("state/" + name)); err != nil || string(got) != want {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
}
