package main

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// hostile are connections that take places or memory at a server until stop is
// called. When the server closes one, it is made again.
type hostile struct {
	wg   sync.WaitGroup
	done chan struct{}
	open sync.Map // of net.Conn
	sent chan struct{}
}

// newHostile makes n connections from some addresses, each of which sends a message
// and reads nothing.
func newHostile(addresses, n int, server string, msg []byte) *hostile {
	h := &hostile{done: make(chan struct{}), sent: make(chan struct{}, n)}
	small := func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4096) })
	}
	for i := range n {
		a := i % addresses
		ip := netip.AddrFrom4([4]byte{127, 1, byte(a / 250), byte(1 + a%250)})
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: ip.AsSlice()}, Timeout: 2 * time.Second, Control: small}
		h.wg.Go(func() { h.hold(d, server, msg) })
	}
	return h
}

func (h *hostile) hold(d net.Dialer, server string, msg []byte) {
	for first := true; ; first = false {
		c, err := d.Dial("tcp", server)
		if err == nil {
			h.open.Store(c, true)
			_, _ = c.Write(msg)
		}
		if first {
			h.sent <- struct{}{}
		}
		if err == nil {
			awaitClosed(c, h.done)
			h.open.Delete(c)
			c.Close()
		}
		select {
		case <-h.done:
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// awaitClosed waits until a connection is closed by its other end, without reading, or
// until done.
func awaitClosed(c net.Conn, done <-chan struct{}) {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for closed := false; !closed; {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		err := raw.Control(func(fd uintptr) {
			p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
			_, _ = unix.Poll(p, 0)
			closed = p[0].Revents != 0
		})
		if err != nil {
			return
		}
	}
}

func (h *hostile) stop() {
	close(h.done)
	h.open.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
	h.wg.Wait()
}

// pipelined returns n queries for a name, framed.
func pipelined(t testing.TB, name string, n int) (b []byte) {
	q := packed(t, name, dns.TypeTXT, 1232, "")
	for range n {
		b = append(append(b, byte(len(q)>>8), byte(len(q))), q...)
	}
	return b
}

// TestHostileTCP: clients that take places without asking, or do not read their
// responses, take nothing from others, and little memory.
func TestHostileTCP(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector takes memory of its own")
	}
	w := largeWorld(t, 60000)
	w.config(func(s *settings) { s.moreListen = ", tcp: {max_connections: 1024, max_connections_per_client: 64}" })
	half := []byte{0, 40, 1, 2, 3}
	whole := append(pipelined(t, "plain.example.", 1), half...)
	table := []string{"| Hostile clients over TCP | answered | p50 | p99 | memory before | at most |", "|---|---:|---:|---:|---:|---:|"}
	for _, c := range []struct {
		name         string
		addresses, n int
		msg          []byte
	}{
		{"none", 0, 0, nil},
		{"half messages, 1 address", 1, 64, half},
		{"half messages, 16 addresses", 16, 1024, half},
		{"half messages, 1,000 addresses", 1000, 1024, half},
		{"a query and half a message, 16 addresses", 16, 1024, whole},
		{"large responses not read, 1 address", 1, 64, pipelined(t, "t60000.example.", 100)},
		{"large responses not read, 16 addresses", 16, 1024, pipelined(t, "t60000.example.", 100)},
		{"large responses not read, 1,000 addresses", 1000, 1024, pipelined(t, "t60000.example.", 100)},
	} {
		p := start(t, w.dir)
		for _, name := range []string{"plain.example", "t60000.example"} {
			p.ask("tcp", name, dns.TypeTXT)
		}
		p.ask("tcp", "plain.example", dns.TypeA)
		least := resident(t, p.cmd.Process.Pid)
		most := least
		h := newHostile(max(c.addresses, 1), c.n, p.dns[0], c.msg)
		for range c.n {
			<-h.sent
		}
		var got asker
		d := net.Dialer{Timeout: 2 * time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 2, 0, 1)}}
		client := dns.Client{Net: "tcp", Timeout: 2 * time.Second, Dialer: &d}
		tick := time.NewTicker(10 * time.Millisecond)
		for range 100 {
			<-tick.C
			began := time.Now()
			m, _, err := client.Exchange(new(dns.Msg).SetQuestion("plain.example.", dns.TypeA), p.dns[0])
			got.note(began, err == nil && outcome(m) == passed)
			most = max(most, resident(t, p.cmd.Process.Pid))
		}
		tick.Stop()
		h.stop()
		p.stop()
		table = append(table, fmt.Sprintf("| %s | %v | %.0f MiB | %.0f MiB |", c.name, &got, least/(1<<20), most/(1<<20)))
		if got.answered*100 < got.asked*95 { // other tests may run
			t.Errorf("%s: %v", c.name, &got)
		}
		if most > least+192<<20 {
			t.Errorf("%s: from %.0f to %.0f MiB", c.name, least/(1<<20), most/(1<<20))
		}
	}
	publish(t, "Hostile clients over TCP", table)
}
