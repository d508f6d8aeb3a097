package server_test

import (
	"os"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"rideau/cmd/rideau/internal/server"
	"rideau/resolver/resolvertest"
)

// TestSnapshotOfOthers: a snapshot that somebody else may have written is not read.
func TestSnapshotOfOthers(t *testing.T) {
	up := new(resolvertest.Upstream)
	up.Start(t)
	if err := up.Load(". SOA\n* A\n\tanswer any.example. 300 IN A 192.0.2.1\n"); err != nil {
		t.Fatal(err)
	}
	i := start(t, up.Addr().String(), "a.example")
	i.answers("b.example.", dns.RcodeSuccess)
	i.stop()
	good, err := os.ReadFile(i.path("cache"))
	if err != nil {
		t.Fatal(err)
	}
	again := func(want string) {
		t.Helper()
		i.log = new(syncBuffer)
		started := make(chan server.Facts, 1)
		i.Server = server.New(server.Options{Config: i.path("rideau.yaml"), Log: i.log, Workers: 1,
			Started: func(f server.Facts) { started <- f }})
		i.run(started)
		i.stop()
		if log := i.log.String(); !strings.Contains(log, want) {
			t.Errorf("the log has no %q:\n%s", want, log)
		}
		// The file is replaced, also where it was a link.
		if info, err := os.Lstat(i.path("cache")); err != nil || info.Mode() != 0o600 {
			t.Errorf("after the end: %v, %v", info, err)
		}
	}
	put := func(path string, mode os.FileMode) {
		t.Helper()
		os.Remove(path)
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	for mode, want := range map[os.FileMode]string{0o600: "cache restored", 0o644: "cache restored", 0o620: "others can write it", 0o602: "others can write it"} {
		put(i.path("cache"), mode)
		again(want)
	}
	put(i.path("elsewhere"), 0o600)
	os.Remove(i.path("cache"))
	if err := os.Symlink("elsewhere", i.path("cache")); err != nil {
		t.Fatal(err)
	}
	again("it is a symbolic link")
	if os.Geteuid() != 0 {
		t.Skip("a file of another user: only root can make one")
	}
	put(i.path("cache"), 0o600)
	if err := os.Chown(i.path("cache"), 1234, 1234); err != nil {
		t.Fatal(err)
	}
	again("it belongs to another user, 1234")
}
