package main

import (
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// TestFewDescriptors: while the process can open no more files, connections wait or
// are refused, and queries over UDP are answered as before, from the cache and from
// upstream. Afterwards everything works again.
func TestFewDescriptors(t *testing.T) {
	w := newWorld(t)
	p := start(t, w.dir)
	p.ask("udp", "plain.example", dns.TypeA)
	p.ask("tcp", "plain.example", dns.TypeA)
	var old unix.Rlimit
	limit := unix.Rlimit{Cur: uint64(p.metric("process_open_fds")) + 8, Max: 1 << 10}
	if err := unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_NOFILE, nil, &old); err != nil {
		t.Fatal(err)
	}
	limit.Max = old.Max
	if err := unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_NOFILE, &limit, nil); err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn
	for range 40 {
		if c, err := net.DialTimeout("tcp", p.dns[0], time.Second); err == nil {
			conns = append(conns, c)
		}
	}
	// With the last descriptor used, the oldest idle connection is closed for the
	// next one: when no more wait, one descriptor is free.
	p.within(time.Now(), "connections are accepted as far as that is possible", func() (string, bool) {
		open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
		return fmt.Sprintf("%d descriptors of %d, %v", len(open), limit.Cur, err), len(open) >= int(limit.Cur)-1
	})
	for i := range 20 {
		for _, name := range []string{"plain.example", fmt.Sprintf("new%d.example", i)} {
			if m, err := ask("udp", p.dns[0], name, dns.TypeA); err != nil || m.Rcode != dns.RcodeSuccess {
				t.Errorf("%s without descriptors: %v %v", name, m, err)
			}
		}
	}
	for _, c := range conns {
		c.Close()
	}
	p.within(time.Now(), "served by TCP again", func() (string, bool) {
		m, err := ask("tcp", p.dns[0], "plain.example", dns.TypeA)
		if err != nil {
			return err.Error(), false
		}
		return outcome(m), outcome(m) == passed
	})
	if code, _ := p.get("/healthz"); code != 200 {
		t.Errorf("health: %d", code)
	}
	if n := p.metric("rideau_panics_total"); n != 0 {
		t.Errorf("%v panics", n)
	}
}
