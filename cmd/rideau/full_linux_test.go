package main

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestFullDisk: if the disk has no space for a new version, the old one stays in force, also after a restart, and the configuration can be
// changed all the same.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if err := os.Mkdir(w.path("state"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", w.path("state"), "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("a small disk cannot be had here: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(w.path("state"), syscall.MNT_DETACH) })
	pub := newPublisher(w)
	pub.publish(`"1"`, feedText)
	w.remote(pub.URL+"/list.txt", ", max_growth: 100000")
	p := start(t, w.dir)
	is := func(name, want string) {
		t.Helper()
		if got := outcome(p.ask("udp", name, dns.TypeA)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	var large strings.Builder
	large.WriteString(feedText + "third.example\n")
	for i := range 10_000 {
		fmt.Fprintf(&large, "name-%d.example\n", i)
	}
	pub.publish(`"2"`, large.String())
	if code, r := p.reload("?fetch=true"); code != http.StatusUnprocessableEntity || !strings.Contains(fmt.Sprint(r.Problems), "no space left") {
		t.Errorf("%d %+v", code, r)
	}
	is("second.example", blocked)
	is("third.example", passed)
	// No octet is left.
	fill, err := os.Create(w.path("state/fill"))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = fill.Write(make([]byte, 4096))
	}
	fill.Close()
	began := time.Now()
	w.replace("list.txt", "banned.example\nplain.example\n")
	p.becomes(began, "plain.example", blocked)
	is("second.example", blocked)
	p.stop()
	p = start(t, w.dir)
	is("second.example", blocked)
	is("third.example", passed)
}

// TestStartWithFolderReadOnly: a start that has a last good copy of each list needs no writable folder: a broken disk must not leave a network
// without DNS. A start that lacks a copy fails, and says that it cannot write there.
func TestStartWithFolderReadOnly(t *testing.T) {
	w := newWorld(t)
	pub := newPublisher(w)
	pub.publish("", feedText)
	w.remote(pub.URL+"/list.txt", "")
	if code, out := runRideau(t, w.dir, "fetch", "--config", "rideau.yaml"); code != exitOK {
		t.Fatalf("fetch: %d %s", code, out)
	}
	if err := os.Chmod(w.path("state"), 0o555); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(w.path("state"), 0o755) })
	if os.WriteFile(w.path("state/x"), nil, 0o666) == nil { // this user may write to every folder: the disk has to say no
		const bind = syscall.MS_BIND
		if err := syscall.Mount(w.path("state"), w.path("state"), "", bind, ""); err != nil {
			t.Skipf("this user may write to every folder, and a disk that cannot be written is not to be had: %v", err)
		}
		t.Cleanup(func() { syscall.Unmount(w.path("state"), syscall.MNT_DETACH) })
		if err := syscall.Mount("", w.path("state"), "", bind|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
	}
	p := start(t, w.dir)
	if got := outcome(p.ask("udp", "second.example", dns.TypeA)); got != blocked {
		t.Error(got)
	}
	p.logs(time.Now(), "level=WARN .*cannot be written")
	w.write("list.txt", "banned.example\nthird.example\n")
	p.becomes(time.Now(), "third.example", blocked)
	p.stop()
	w.remote(pub.URL+"/other.txt", "")
	if code, out := runRideau(t, w.dir, "serve", "--config", "rideau.yaml"); code != exitFailure || !strings.Contains(out, "rideau: state.dir: ") {
		t.Errorf("without a copy: %d %s", code, out)
	}
}
