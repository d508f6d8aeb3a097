package encrypted_test

import (
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"rideau/resolver/upstream/encrypted"
	"rideau/resolver/upstream/member"
)

// path passes on what goes to and from a server, by TCP and UDP, and forgets
// connections when it is told to: these bring nothing any more, and nobody is told
// of that. New ones work.
type path struct {
	addr  netip.AddrPort
	known atomic.Int64 // connections so far, and addresses of clients by UDP
	dead  atomic.Int64 // those up to this number are forgotten
}

func (p *path) forget() { p.dead.Store(p.known.Load()) }

func newPath(t *testing.T, s *server) *path {
	t.Helper()
	for range 100 { // until a port is free for both
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := netip.MustParseAddrPort(l.Addr().String())
		u, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
		if err != nil {
			l.Close()
			continue
		}
		p := &path{addr: addr}
		t.Cleanup(func() { l.Close(); u.Close() })
		go p.streams(t, l, s.addr)
		go p.datagrams(t, u, s.addr)
		return p
	}
	t.Fatal("no port")
	return nil
}

func (p *path) streams(t *testing.T, l net.Listener, to netip.AddrPort) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		o, err := net.Dial("tcp", to.String())
		if err != nil {
			c.Close()
			continue
		}
		n := p.known.Add(1)
		t.Cleanup(func() { c.Close(); o.Close() })
		pass := func(to, from net.Conn) {
			b := make([]byte, 64<<10)
			for {
				k, err := from.Read(b)
				forgotten := n <= p.dead.Load()
				if err != nil {
					if !forgotten {
						to.Close()
					}
					return
				}
				if !forgotten {
					to.Write(b[:k])
				}
			}
		}
		go pass(o, c)
		go pass(c, o)
	}
}

func (p *path) datagrams(t *testing.T, u *net.UDPConn, to netip.AddrPort) {
	type client struct {
		n    int64
		conn *net.UDPConn
	}
	clients := map[netip.AddrPort]*client{}
	b := make([]byte, 64<<10)
	for {
		k, from, err := u.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		c := clients[from]
		if c == nil {
			conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
			if err != nil {
				continue
			}
			t.Cleanup(func() { conn.Close() })
			c = &client{p.known.Add(1), conn}
			clients[from] = c
			go func() {
				b := make([]byte, 64<<10)
				for {
					k, err := conn.Read(b)
					if err != nil {
						return
					}
					if c.n > p.dead.Load() {
						u.WriteToUDPAddrPort(b[:k], from)
					}
				}
			}()
		}
		if c.n > p.dead.Load() {
			c.conn.Write(b[:k])
		}
	}
}

// A path that forgets connections costs the first query a moment, however it goes
// to the server, and however many there are at the time.
func TestSilentDeath(t *testing.T) {
	ca := newAuthority(t)
	cert, _ := ca.certificate(t, false, "dns.example")
	var p *path
	via := func(t *testing.T, s *server) netip.AddrPort {
		p = newPath(t, s)
		return p.addr
	}
	kindsVia(t, cert, echo, encrypted.Options{Name: "dns.example", Roots: ca.pool}, via, func(t *testing.T, s *server, u member.Server) {
		for range 2 {
			for range 3 {
				if err := ask(t, u, "n.example", 10*time.Second); err != nil {
					t.Fatal(err)
				}
			}
			p.forget()
			start := time.Now()
			if err := ask(t, u, "first.example", 10*time.Second); err != nil {
				t.Error(err)
			}
			t.Logf("the first query took %v", time.Since(start))
			askMany(t, u, 20, 0)()
			p.forget()
			askMany(t, u, 20, 0)()
		}
		if took := quickest(t, u); took > 2*time.Second {
			t.Errorf("afterwards a query takes %v", took)
		}
	})
}

func quickest(t *testing.T, u member.Server) time.Duration {
	best := time.Hour
	for range 3 {
		start := time.Now()
		if err := ask(t, u, "n.example", 10*time.Second); err != nil {
			t.Error(err)
		}
		best = min(best, time.Since(start))
	}
	return best
}

// A server that is slow with one name, and answers nothing else meanwhile, is asked
// over one more connection at most, and answers over the first.
func TestSlowName(t *testing.T) {
	ca := newAuthority(t)
	cert, _ := ca.certificate(t, false, "dns.example")
	slow := func(q []byte, n int) [][]byte {
		if n > 0 {
			time.Sleep(1200 * time.Millisecond) // sleeps: the server is slow
		}
		return echo(q, n)
	}
	kinds(t, cert, slow, encrypted.Options{Name: "dns.example", Roots: ca.pool}, func(t *testing.T, s *server, u member.Server) {
		for range 2 {
			if err := ask(t, u, "n.example", 10*time.Second); err != nil {
				t.Fatal(err)
			}
		}
		if n := s.conns.Load(); n > 3 {
			t.Errorf("%d connections", n)
		}
	})
}
