package main

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// steady asks at a steady rate, and knows which queries were answered.
type steady struct {
	network, to string
	query       []byte

	mu   sync.Mutex
	sent []time.Time // by number
	got  []bool

	stop chan struct{}
	wg   sync.WaitGroup
}

// newSteady asks for a name perSecond times a second, with datagrams of four sockets or
// with a connection for each query, until end is called.
func newSteady(t testing.TB, network, to, name string, perSecond int) *steady {
	t.Helper()
	b, err := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	s := &steady{network: network, to: to, query: b, stop: make(chan struct{})}
	var ask func(n int)
	if network == "udp" {
		ask = s.datagrams(t)
	} else {
		ask = func(n int) { s.wg.Go(func() { s.connection(n) }) }
	}
	s.wg.Go(func() {
		began := time.Now()
		for n := 0; ; n++ {
			select {
			case <-s.stop:
				return
			case <-time.After(time.Until(began.Add(time.Duration(n) * time.Second / time.Duration(perSecond)))):
			}
			s.mu.Lock()
			s.sent, s.got = append(s.sent, time.Now()), append(s.got, false)
			s.mu.Unlock()
			ask(n)
		}
	})
	return s
}

// datagrams returns what sends query n.
func (s *steady) datagrams(t testing.TB) func(n int) {
	var socks [4]*net.UDPConn
	for i := range socks {
		c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetReadBuffer(4 << 20) // answers to what has waited come at once
		socks[i] = c
		go func() {
			b := make([]byte, 1500)
			for {
				k, _, err := c.ReadFrom(b)
				if err != nil {
					return
				}
				if k >= 12 {
					s.answered(int(binary.BigEndian.Uint16(b))*len(socks) + i)
				}
			}
		}()
	}
	to := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(s.to))
	return func(n int) {
		q := append([]byte(nil), s.query...)
		binary.BigEndian.PutUint16(q, uint16(n/len(socks)))
		socks[n%len(socks)].WriteTo(q, to)
	}
}

func (s *steady) connection(n int) {
	// Of many clients: one alone may not have many connections.
	d := net.Dialer{Timeout: 3 * time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(n%250+1))}}
	c, err := d.Dial("tcp", s.to)
	if err != nil {
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(3 * time.Second))
	m := dns.Conn{Conn: c}
	if _, err := m.Write(s.query); err != nil {
		return
	}
	if _, err := m.ReadMsg(); err == nil {
		s.answered(n)
	}
}

func (s *steady) answered(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n < len(s.got) {
		s.got[n] = true
	}
}

// end stops asking, and waits for the answers to the queries of the last moment.
func (s *steady) end(t testing.TB) {
	close(s.stop)
	s.wg.Wait()
	now := time.Now()
	for time.Since(now) < 2*time.Second {
		if lost, _ := s.lost(now.Add(-200*time.Millisecond), now); lost == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%s: the last queries have no answer", s.network)
}

// lost counts the queries that were sent between two instants and those of them that
// have no answer.
func (s *steady) lost(from, to time.Time) (lost, of int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, at := range s.sent {
		if !at.Before(from) && at.Before(to) {
			of++
			if !s.got[i] {
				lost++
			}
		}
	}
	return lost, of
}

// restartRate is how many queries a second come by each transport during a restart.
func restartRate() int {
	if rate, err := strconv.Atoi(os.Getenv("RIDEAU_RESTART_RATE")); err == nil {
		return rate
	}
	return 200
}

// losses are the queries of one transport that were lost while a server stopped, and from
// then on until the next one served, of how many.
type losses struct{ stopping, ofStopping, starting, ofStarting int }

// restart ends p by SIGTERM and starts the next server while clients ask, and returns that
// and what was lost, by transport. Where slow is true, a query waits for upstream meanwhile.
func (w *world) restart(p *process, slow bool, next func() *process) (*process, map[string]losses) {
	t, rate := w.t, restartRate()
	t.Helper()
	p.ask("udp", "plain.example", dns.TypeA)
	var all []*steady
	for _, network := range []string{"tcp", "udp"} {
		if only := os.Getenv("RIDEAU_RESTART_NETWORK"); only == "" || only == network {
			all = append(all, newSteady(t, network, p.dns[0], "plain.example", rate))
		}
	}
	enough := func(since time.Time) func() (string, bool) {
		return func() (string, bool) {
			lost, of := all[0].lost(since, time.Now())
			return "", of-lost > rate/4
		}
	}
	begun := time.Now()
	p.within(begun, "asked", enough(begun))
	if slow {
		go ask("udp", p.dns[0], "slow.example", dns.TypeA)
		p.within(time.Now(), "asked upstream", w.asked("slow.example."))
	}
	term := time.Now()
	p.signal(syscall.SIGTERM)
	<-p.ended
	ended := time.Now()
	p = next()
	started := time.Now()
	p.within(time.Now(), "answers", enough(started))
	out := map[string]losses{}
	for _, s := range all {
		s.end(t)
		before, _ := s.lost(begun, term)
		after, _ := s.lost(started, time.Now())
		var l losses
		l.stopping, l.ofStopping = s.lost(term, ended)
		l.starting, l.ofStarting = s.lost(ended, started)
		out[s.network] = l
		t.Logf("%s, a slow query %v: lost %d before the signal, %d of %d in %v of stopping, %d of %d in %v of starting, %d after", s.network, slow,
			before, l.stopping, l.ofStopping, ended.Sub(term).Round(time.Millisecond), l.starting, l.ofStarting, started.Sub(ended).Round(time.Millisecond), after)
		if before > 0 || after > 0 {
			t.Errorf("%s: lost while a server was up: %d before, %d after", s.network, before, after)
		}
	}
	return p, out
}

// TestRestart: a server that is stopped answers until its last query has its answer, and
// the next one takes queries before it has read its lists. Queries are lost only in
// between. RIDEAU_RESTART_RATE is the queries a second by each transport,
// RIDEAU_RESTART_NETWORK, udp or tcp, the only one of them.
func TestRestart(t *testing.T) {
	w := newWorld(t)
	w.config(func(s *settings) { s.listen = []string{freeAddress(t, "127.0.0.1")} })
	p := start(t, w.dir)
	for _, slow := range []bool{true, false} {
		var lost map[string]losses
		p, lost = w.restart(p, slow, func() *process { return start(t, w.dir) })
		for network, l := range lost {
			if slow && l.stopping > l.ofStopping/2 {
				t.Errorf("%s: %d of %d queries lost while a query waited", network, l.stopping, l.ofStopping)
			}
		}
	}
}
