package listener_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rideau/resolver"
	"rideau/resolver/listener"
)

func TestDrain(t *testing.T) {
	noLeak(t)
	engines(t, func(t *testing.T, o listener.Options) {
		f := newFake()
		s := serve(t, f, o)
		u, c := dial(t, "udp", s.Addr()), dial(t, "tcp", s.Addr())
		idle := dial(t, "tcp", s.Addr())
		send(t, u, query(1, wait, "u"))
		send(t, c, framed(query(2, wait, "t")))
		eventually(t, "both wait", func() bool { return s.Stats().Pending == 2 && s.Stats().Connections == 2 })
		stopped := make(chan struct{})
		go func() { s.stop(); close(stopped) }()
		if _, err := idle.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("idle connection: %v, want EOF", err)
		}
		eventually(t, "no new connections", func() bool {
			c, err := net.Dial("tcp", s.Addr().String())
			if err == nil {
				c.Close()
			}
			return err != nil
		})
		close(f.release)
		if a := receive(t, u); !isReply(query(1, wait, "u"), a) {
			t.Errorf("udp answered %x", a)
		}
		if a := receiveFramed(t, c); !isReply(query(2, wait, "t"), a) {
			t.Errorf("tcp answered %x", a)
		}
		<-stopped
		if n := s.Stats(); n.Pending != 0 || n.Connections != 0 {
			t.Errorf("left: %+v", n)
		}
	})
}

// A client that has connected is answered, even if the server begins to stop
// before the query comes.
func TestDrainAnswersConnectedClients(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux can close a listening socket for new connections alone")
	}
	noLeak(t)
	s := serve(t, newFake(), listener.Options{})
	const n = 50
	stopped := make(chan struct{})
	var all []net.Conn
	for range n { // the last ones are in the kernel's queue
		all = append(all, dial(t, "tcp", s.Addr()))
	}
	go func() { s.stop(); close(stopped) }()
	for range n { // and some more connect while it stops, until one is refused
		c, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			break
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(15 * time.Second))
		all = append(all, c)
	}
	for i, c := range all {
		q := query(uint16(i), settle, "")
		send(t, c, framed(q))
		if a := receiveFramed(t, c); !isReply(q, a) {
			t.Errorf("connection %d of %d: answered %x", i, len(all), a)
		}
	}
	<-stopped
}

// Where no other Listener takes over, queries and connections are answered until nothing
// waits.
func TestDrainLast(t *testing.T) {
	noLeak(t)
	engines(t, func(t *testing.T, o listener.Options) {
		f := newFake()
		s := serve(t, f, o)
		u := dial(t, "udp", s.Addr())
		send(t, u, query(1, wait, "u"))
		eventually(t, "it waits", func() bool { return s.Stats().Pending == 1 })
		s.Last()
		stopped := make(chan struct{})
		go func() { s.stop(); close(stopped) }()
		for i := range 20 {
			u, c := dial(t, "udp", s.Addr()), dial(t, "tcp", s.Addr())
			q := query(uint16(i), settle, "")
			send(t, u, q)
			send(t, c, framed(q))
			if a := receive(t, u); !isReply(q, a) {
				t.Errorf("udp answered %x", a)
			}
			if a := receiveFramed(t, c); !isReply(q, a) {
				t.Errorf("tcp answered %x", a)
			}
			c.Close()
			time.Sleep(time.Millisecond) // sleeps: the server stops meanwhile
		}
		close(f.release)
		if a := receive(t, u); !isReply(query(1, wait, "u"), a) {
			t.Errorf("udp answered %x", a)
		}
		<-stopped
	})
}

// What comes between Listen and Serve is answered.
func TestQueuedBeforeServe(t *testing.T) {
	l, err := listener.Listen(nil, listener.Options{Addrs: []string{"127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	u, c := dial(t, "udp", l.Addr()), dial(t, "tcp", l.Addr())
	q := query(7, settle, "")
	send(t, u, q)
	send(t, c, framed(q))
	l.Use(newFake(), new(resolver.Stats))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- l.Serve(ctx) }()
	if a := receive(t, u); !isReply(q, a) {
		t.Errorf("udp answered %x", a)
	}
	if a := receiveFramed(t, c); !isReply(q, a) {
		t.Errorf("tcp answered %x", a)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestDrainEnds(t *testing.T) {
	noLeak(t)
	engines(t, func(t *testing.T, o listener.Options) {
		o.Drain = 50 * time.Millisecond
		s := serve(t, newFake(), o)
		u, c := dial(t, "udp", s.Addr()), dial(t, "tcp", s.Addr())
		send(t, u, query(1, stuck, ""))
		send(t, c, framed(query(2, stuck, "")))
		eventually(t, "both wait", func() bool { return s.Stats().Pending == 2 })
		s.stop()
		// The handler answers when its context ends, and sockets are open then.
		if a := receive(t, u); !isReply(query(1, stuck, ""), a) {
			t.Errorf("udp answered %x", a)
		}
		if a := receiveFramed(t, c); !isReply(query(2, stuck, ""), a) {
			t.Errorf("tcp answered %x", a)
		}
	})
}

func TestHandOver(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("addresses are shared on Linux alone")
	}
	for name, ask := range map[string]string{"127.0.0.1:0": "127.0.0.1", "0.0.0.0:0": "127.0.0.2", "[::]:0": "::1"} {
		t.Run(name, func(t *testing.T) {
			needs(t, name)
			handOver(t, name, netip.MustParseAddr(ask))
		})
	}
}

// handOver replaces a listener by another while clients send queries. No query is
// lost.
func handOver(t *testing.T, addr string, ask netip.Addr) {
	f := newFake()
	close(f.release)
	old := serve(t, f, listener.Options{Addrs: []string{addr}})
	to := netip.AddrPortFrom(ask, old.Addr().Port()).String()
	next := serve(t, f, listener.Options{Addrs: []string{old.Addr().String()}, ReusePort: true})

	var stop atomic.Bool
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			b := make([]byte, 512)
			for n := uint16(0); !stop.Load(); n++ {
				// A new socket each time, as its port decides which listener gets the query.
				c, err := net.Dial("udp", to)
				if err != nil {
					t.Error(err)
					return
				}
				q := query(n, []byte{settle, wait}[n%2], fmt.Sprint(i))
				c.SetDeadline(time.Now().Add(5 * time.Second))
				c.Write(q)
				if got, err := c.Read(b); err != nil || !isReply(q, b[:got]) {
					t.Errorf("during hand-over: %x, %v", b[:got], err)
				}
				c.Close()
			}
		})
	}
	served := func(s *server) uint64 { return s.stats.Totals().Queries[resolver.UDP][0][resolver.Cached] }
	eventually(t, "both serve", func() bool { return served(old) > 20 && served(next) > 20 })
	old.stop()
	was := served(next)
	eventually(t, "the next serves alone", func() bool { return served(next) > was+20 })
	stop.Store(true)
	wg.Wait()
	c := dial(t, "tcp", netip.MustParseAddrPort(to))
	send(t, c, framed(query(9, settle, "")))
	receiveFramed(t, c)
}
