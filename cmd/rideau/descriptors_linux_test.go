package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
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

// TestConnectionsFitDescriptors: where the process may open few files, connections are bounded over all addresses, a warning names the limit and
// the remedy, and connections that clients keep take nothing that DNS, upstream servers and operators need. A soft limit alone is raised.
func TestConnectionsFitDescriptors(t *testing.T) {
	t.Parallel()
	limited := func(dir, ulimit string) *process {
		cmd := rideau(context.Background(), dir)
		cmd.Args[0] = "sh"
		cmd.Path, _ = exec.LookPath("sh")
		cmd.Args = append(cmd.Args, "-c", ulimit+" && exec rideau serve --config rideau.yaml") // see TestMain
		return startCommand(t, dir, cmd)
	}
	w := newWorld(t)
	w.config(func(s *settings) {
		s.listen = []string{"127.0.0.1:0", "127.0.0.1:0"}
		s.moreListen = ", workers: 1, tcp: {max_connections: 1000, max_connections_per_client: 1000}"
	})
	p := limited(w.dir, "ulimit -n 300")
	p.logs(time.Now(), `level=WARN msg="this process may have 300 files open \(RLIMIT_NOFILE\), so that \d+ connections [^\n]*not the 1000 of listen.tcp.max_connections; let it have \d+ \(LimitNOFILE=`)
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for i := range 400 {
		d := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i%50))}}
		if c, err := d.Dial("tcp", p.dns[i%2]); err == nil { // one that is refused may end before it is made
			conns = append(conns, c)
		}
	}
	for i, name := range []string{"plain.example", "new1.example", "new2.example"} {
		for _, transport := range []string{"udp", "tcp"} {
			if m, err := ask(transport, p.dns[i%2], transport+name, dns.TypeA); err != nil || m.Rcode != dns.RcodeSuccess {
				t.Errorf("%s by %s beside many connections: %v %v", name, transport, m, err)
			}
		}
	}
	if open := p.metric("process_open_fds"); open > 300-75+5 { // a quarter is kept for upstream servers; a few are those of this request and of Go
		t.Errorf("%v files are open", open)
	}
	if strings.Contains(p.stderr.String(), "too many open files") {
		t.Error("files ran out")
	}

	w = newWorld(t)
	p = limited(w.dir, "ulimit -Sn 200")
	if strings.Contains(p.stderr.String(), "RLIMIT_NOFILE") {
		t.Error("a soft limit that can be raised is warned of")
	}
	if n := p.metric("process_max_fds"); n <= 200 {
		t.Errorf("%v files may be open", n)
	}
}
