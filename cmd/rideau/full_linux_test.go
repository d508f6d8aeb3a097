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

// TestFullDisk: when there is no room for a new version the old one serves, now and after a restart, and the configuration can be
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
	// Not an octet is left.
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
