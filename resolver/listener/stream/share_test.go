package stream_test

import (
	"bytes"
	"crypto/tls"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"rideau/resolver"
	"rideau/resolver/listener/stream"
)

// listen has s accept connections over TCP. It returns the address.
func (s *server) listen(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go s.Accept(l.(*net.TCPListener), []*resolver.Counters{s.count})
	return l.Addr().String()
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

// A client that makes a connection for each query, of which far more are under
// way than it may have connections, gets all its responses.
func TestConnectionForEachQuery(t *testing.T) {
	const perClient, queries = 8, 100
	s := newServer(t, 200, perClient)
	addr := s.listen(t)
	var all sync.WaitGroup
	for i := range queries {
		c := dial(t, addr)
		all.Go(func() {
			defer c.Close()
			if _, err := c.Write(framed(message(uint16(i), 'p'))); err != nil {
				t.Error(err)
				return
			}
			want := framed(response(nil, message(uint16(i), 'p')))
			got := make([]byte, len(want))
			if _, err := readFull(c, got); err != nil || !bytes.Equal(got, want) {
				t.Errorf("query %d: %x, %v", i, got, err)
			}
		})
	}
	eventually(t, "they are not all there", func() bool { return s.Connections() == queries })
	eventually(t, "the first do not wait", func() bool { return s.core.Waiting() == perClient })
	if n := s.Stats(); n.Accepted != perClient || n.Refused != 0 {
		t.Errorf("%+v", n)
	}
	close(s.h.release)
	all.Wait()
	eventually(t, "connections are left", func() bool { return s.Connections() == 0 })
	if n := s.Stats(); n.Accepted != queries || n.Refused != 0 {
		t.Errorf("%+v", n)
	}
	s.end()
}

func readFull(c net.Conn, b []byte) (int, error) {
	at := 0
	for at < len(b) {
		n, err := c.Read(b[at:])
		if at += n; err != nil {
			return at, err
		}
	}
	return at, nil
}

// A client that keeps its connections loses idle ones for new ones, and never one
// that it uses.
func TestIdleYields(t *testing.T) {
	const perClient = 4
	s := newServer(t, 100, perClient)
	defer s.end()
	addr := s.listen(t)
	exchange := func(c net.Conn, id uint16) error {
		if _, err := c.Write(framed(message(id, 'e'))); err != nil {
			return err
		}
		_, err := readFull(c, make([]byte, 15))
		return err
	}
	used := dial(t, addr)
	stop := make(chan struct{})
	done := make(chan error)
	go func() {
		for id := uint16(0); ; id++ {
			select {
			case <-stop:
				done <- nil
				return
			case <-time.After(2 * time.Millisecond):
			}
			if err := exchange(used, id); err != nil {
				done <- err
				return
			}
		}
	}()
	for i := range 20 {
		if err := exchange(dial(t, addr), uint16(i)); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Errorf("the connection in use: %v", err)
	}
	if n := s.Stats(); n.Accepted != 21 || n.Refused != 0 || n.Evicted < 21-perClient {
		t.Errorf("%+v", n)
	}
}

// Connections that wait are the first to go when others need a place, and those
// of a resolver have a larger share.
func TestWaitingGivesWay(t *testing.T) {
	s := newServer(t, 20, 2, func(o *stream.Options) {
		o.Table = stream.NewTable(stream.Limits{MaxConnections: 20, MaxConnectionsPerClient: 2,
			Resolver: func(a netip.Addr) bool { return a == netip.MustParseAddr("192.0.2.53") }})
	})
	from := func(ip string) net.Conn {
		a, b := net.Pipe()
		t.Cleanup(func() { a.Close() })
		a.SetDeadline(time.Now().Add(20 * time.Second))
		go s.Serve(stream.FromConn(pipe{b, ip}, 3*time.Second), s.count)
		return a
	}
	busy := func(ip string, n int) (all []net.Conn) {
		for i := range n {
			c := from(ip)
			go c.Write(framed(message(uint16(i), 'p')))
			all = append(all, c)
		}
		return all
	}
	busy("192.0.2.53", 7)
	eventually(t, "a resolver's queries", func() bool { return s.core.Waiting() == 5 }) // a quarter of 20
	busy("192.0.2.1", 13)
	eventually(t, "a client's queries", func() bool { return s.core.Waiting() == 7 })
	eventually(t, "their connections", func() bool { return s.Connections() == 20 })
	busy("192.0.2.2", 1)
	eventually(t, "another client's query", func() bool { return s.core.Waiting() == 8 })
	if n := s.Stats(); n.Evicted != 1 {
		t.Errorf("%+v", n)
	}
	close(s.h.release)
	s.end()
}

// When the server ends, connections that wait get their responses.
func TestWaitingDrain(t *testing.T) {
	s := newServer(t, 20, 1)
	addr := s.listen(t)
	first, second := dial(t, addr), dial(t, addr)
	first.Write(framed(message(1, 'p')))
	second.Write(framed(message(2, 'e')))
	eventually(t, "they are not there", func() bool { return s.core.Waiting() == 1 && s.Connections() == 2 })
	s.core.Drain()
	s.StopReading()
	if a := receive(t, second); !bytes.Equal(a, response(nil, message(2, 'e'))) {
		t.Errorf("%x", a)
	}
	close(s.h.release)
	s.end()
}

// Clients that take nothing do not keep the server from closing all connections,
// nor others from being served meanwhile.
func TestCloseAllOverTLS(t *testing.T) {
	const clients = 10
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate(t)}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := newServer(t, 20, 20)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			// So small that a few responses fill it.
			c.(*tls.Conn).NetConn().(*net.TCPConn).SetWriteBuffer(1 << 10)
			go s.Serve(stream.FromConn(c, time.Hour), s.count)
		}
	}()
	for range clients {
		c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		go func() { // it asks, and reads nothing
			for {
				if _, err := c.Write(framed(append(message(1, 'e'), make([]byte, 8000)...))); err != nil {
					return
				}
			}
		}()
	}
	eventually(t, "they do not stall", func() bool { return s.Connections() == clients })
	s.core.Drain()
	s.StopReading()
	start := time.Now()
	s.CloseAll()
	s.Wait()
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("it took %v", took)
	}
	s.end()
}
