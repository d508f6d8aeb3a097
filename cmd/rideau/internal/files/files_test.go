//go:build unix

package files_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"rideau/cmd/rideau/internal/files"
)

// TestSecret: the file of a secret that others can write is refused; one that others can read, or a link, is warned of.
func TestSecret(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "token")
	make := func(mode os.FileMode) {
		t.Helper()
		os.Remove(file)
		if err := os.WriteFile(file, []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
	}
	check := func(path, problem, warning string) {
		t.Helper()
		a, err := files.Of(path)
		if err != nil {
			t.Fatal(err)
		}
		warnings, err := a.Secret()
		if (err == nil) != (problem == "") || err != nil && !strings.Contains(err.Error(), problem) {
			t.Errorf("%s: %v, want %q", path, err, problem)
		}
		if all := strings.Join(warnings, "\n"); (all == "") != (warning == "") || !strings.Contains(all, warning) {
			t.Errorf("%s: warnings %q, want %q", path, all, warning)
		}
	}
	for mode, want := range map[os.FileMode][2]string{0o600: {}, 0o640: {}, 0o660: {}, 0o644: {"", "chmod o-r"}, 0o604: {"", "chmod o-r"},
		0o602: {"chmod o-w"}, 0o666: {"chmod o-w"}} {
		make(mode)
		check(file, want[0], want[1])
	}
	make(0o600)
	for name, leads := range map[string]string{"relative": "token", "absolute": file} {
		link := filepath.Join(dir, name)
		if err := os.Symlink(leads, link); err != nil {
			t.Fatal(err)
		}
		check(link, "", "is a link to")
	}
	// A volume of Kubernetes.
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "..2026"), 0o755), os.WriteFile(filepath.Join(dir, "..2026", "mounted"), nil, 0o640),
		os.Symlink("..2026", filepath.Join(dir, "..data")), os.Symlink("..data/mounted", filepath.Join(dir, "mounted"))); err != nil {
		t.Fatal(err)
	}
	check(filepath.Join(dir, "mounted"), "", "")
	if os.Geteuid() != 0 {
		t.Skip("files of other users: only root can make them")
	}
	if err := os.Lchown(filepath.Join(dir, "relative"), 1234, 1234); err != nil {
		t.Fatal(err)
	}
	check(filepath.Join(dir, "relative"), "a link of another user", "")
	if err := os.Chown(file, 1234, 1234); err != nil {
		t.Fatal(err)
	}
	check(file, "belongs to another user, 1234", "")
}

// TestOpen: a link is not followed, and neither is a pipe waited for.
func TestOpen(t *testing.T) {
	dir := t.TempDir()
	file, link, pipe := filepath.Join(dir, "file"), filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Symlink("file", link), os.Symlink("missing", link+"2"), syscall.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	f, a, err := files.Open(file, os.O_RDONLY, 0)
	if err != nil || !a.Own || a.Foreign || a.EveryoneWrites() || a.GroupWrites() {
		t.Errorf("%+v, %v", a, err)
	}
	f.Close()
	for _, path := range []string{link, link + "2"} {
		if _, _, err := files.Open(path, os.O_WRONLY|os.O_CREATE, 0o600); !errors.Is(err, files.ErrLink) {
			t.Errorf("%s: %v", path, err)
		}
	}
	ended := make(chan error, 2)
	go func() { _, _, err := files.Open(pipe, os.O_RDONLY, 0); ended <- err }()
	go func() { _, _, err := files.Open(pipe, os.O_WRONLY|os.O_APPEND, 0); ended <- err }()
	for range 2 {
		select {
		case err := <-ended:
			if err == nil {
				t.Error("a pipe was opened")
			}
		case <-time.After(10 * time.Second):
			t.Fatal("a pipe is waited for")
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, "missing")); err == nil {
		t.Error("the link's target was made")
	}
}

// TestHandOver: what root made in a folder of another user goes to that user, and nothing else.
func TestHandOver(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	top := t.TempDir()
	state, outside := filepath.Join(top, "state"), filepath.Join(top, "outside")
	if err := errors.Join(os.Mkdir(state, 0o750), os.WriteFile(outside, nil, 0o600), os.WriteFile(filepath.Join(state, "l.json"), nil, 0o600),
		os.WriteFile(filepath.Join(state, "two"), nil, 0o600), os.Link(filepath.Join(state, "two"), filepath.Join(top, "names")),
		os.Symlink(outside, filepath.Join(state, "link"))); err != nil {
		t.Fatal(err)
	}
	owner := func(path string) int {
		t.Helper()
		a, err := files.Of(path)
		if err != nil {
			t.Fatal(err)
		}
		return a.Owner
	}
	if uid, root, err := files.HandOver(state, false); uid != 0 || !root || err != nil || owner(filepath.Join(state, "l.json")) != 0 {
		t.Errorf("a folder of root: %d, %v, %v", uid, root, err)
	}
	if err := os.Chown(top, 1234, 1234); err != nil {
		t.Fatal(err)
	}
	if uid, _, err := files.HandOver(state, true); uid != 1234 || err != nil || owner(state) != 1234 || owner(filepath.Join(state, "l.json")) != 1234 {
		t.Errorf("a new folder: %d, %v", uid, err)
	}
	if err := os.WriteFile(filepath.Join(state, "m.json"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if uid, _, err := files.HandOver(state, false); uid != 1234 || err != nil || owner(filepath.Join(state, "m.json")) != 1234 {
		t.Errorf("an old folder: %d, %v", uid, err)
	}
	if owner(outside) != 0 || owner(filepath.Join(top, "names")) != 0 {
		t.Error("a file outside was given away")
	}
}
