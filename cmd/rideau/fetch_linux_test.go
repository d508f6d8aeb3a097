package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestFetchAsRoot: what root fetches belongs to the owner of the state folder; where that is root, fetch says so.
func TestFetchAsRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("it is about what root makes")
	}
	t.Parallel()
	w := newWorld(t)
	pub := newPublisher(w)
	pub.publish("", feedText)
	w.remote(pub.URL+"/list.txt", "")
	fetch := func(want string) {
		t.Helper()
		if code, out := runRideau(t, w.dir, "fetch", "--config", "rideau.yaml"); code != exitOK || !strings.Contains(out, want) {
			t.Errorf("fetch: %d %s; want %q", code, out, want)
		}
	}
	owners := func(uid uint32) {
		t.Helper()
		n := 0
		err := filepath.WalkDir(w.path("state"), func(path string, _ os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			n++
			if got := info.Sys().(*syscall.Stat_t).Uid; got != uid {
				t.Errorf("%s belongs to %d, not to %d", path, got, uid)
			}
			return nil
		})
		if err != nil || n < 3 {
			t.Errorf("%d files, %v", n, err)
		}
	}
	fetch("belong to root, and only root can read them; if rideau runs as another user, chown -R USER")
	owners(0)
	if err := os.Chown(w.path("state"), 1234, 1234); err != nil {
		t.Fatal(err)
	}
	fetch("the files belong to user 1234, as the folder does")
	owners(1234)
	// A folder that fetch makes, in one of that user.
	if err := os.RemoveAll(w.path("state")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(w.dir, 1234, 1234); err != nil {
		t.Fatal(err)
	}
	fetch("the files belong to user 1234, as the folder does")
	owners(1234)
}
