package main

import (
	"context"
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
func newSteady(t *testing.T, network, to, name string, perSecond int) *steady {
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
func (s *steady) datagrams(t *testing.T) func(n int) {
	var socks [4]*net.UDPConn
	for i := range socks {
		c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
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

// end stops asking, and waits for the last answers.
func (s *steady) end(t *testing.T) {
	close(s.stop)
	s.wg.Wait()
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		s.mu.Lock()
		last := len(s.got) == 0 || s.got[len(s.got)-1]
		s.mu.Unlock()
		if last {
			return
		}
	}
	t.Errorf("%s: the last query has no answer", s.network)
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

// TestRestart: a server that is stopped answers until its last query has its answer, and
// the next one takes queries before it has read its lists. Queries are lost only in
// between. RIDEAU_RESTART_RATE is the queries a second.
func TestRestart(t *testing.T) {
	rate, _ := strconv.Atoi(os.Getenv("RIDEAU_RESTART_RATE"))
	if rate == 0 {
		rate = 200
	}
	w := newWorld(t)
	w.config(func(s *settings) { s.listen = []string{freeAddress(t, "127.0.0.1")} })
	p := start(t, w.dir)
	for _, quick := range []bool{false, true} {
		p.ask("udp", "plain.example", dns.TypeA)
		udp := newSteady(t, "udp", p.dns[0], "plain.example", rate)
		tcp := newSteady(t, "tcp", p.dns[0], "plain.example", rate)
		begun := time.Now()
		p.within(begun, "asked", func() (string, bool) {
			lost, of := tcp.lost(begun, time.Now())
			return "", of-lost > rate/4
		})
		if !quick {
			go ask("udp", p.dns[0], "slow.example", dns.TypeA)
			p.within(time.Now(), "asked upstream", w.asked("slow.example."))
		}
		term := time.Now()
		p.signal(syscall.SIGTERM)
		<-p.ended
		ended := time.Now()
		p = startCommand(t, w.dir, rideau(context.Background(), w.dir, "serve", "--config", "rideau.yaml"))
		started := time.Now()
		p.within(time.Now(), "answers", func() (string, bool) {
			lost, of := tcp.lost(started, time.Now())
			return "", of-lost > rate/4
		})
		for _, s := range []*steady{udp, tcp} {
			s.end(t)
			l0, _ := s.lost(begun, term)
			l1, n1 := s.lost(term, ended)
			l2, n2 := s.lost(ended, started)
			l3, _ := s.lost(started, time.Now())
			t.Logf("%s, a slow query %v: lost %d before the signal, %d of %d in %v of stopping, %d of %d in %v of starting, %d after", s.network, !quick,
				l0, l1, n1, ended.Sub(term).Round(time.Millisecond), l2, n2, started.Sub(ended).Round(time.Millisecond), l3)
			if l0 > 0 || l3 > 0 {
				t.Errorf("%s: lost while a server was up: %d before, %d after", s.network, l0, l3)
			}
			if !quick && l1 > n1/2 {
				t.Errorf("%s: %d of %d queries lost while a query waited", s.network, l1, n1)
			}
		}
	}
}
