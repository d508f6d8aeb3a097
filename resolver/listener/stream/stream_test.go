package stream_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rideau/resolver"
	"rideau/resolver/limit"
	"rideau/resolver/listener/session"
	"rideau/resolver/listener/stream"
)

// echo is a handler whose responses are the messages with the QR bit set. Those
// whose 13th octet is 'p' wait until release.
type echo struct {
	release chan struct{}

	mu   sync.Mutex
	seen resolver.Query // the last query, without Msg
}

func (e *echo) Answer(dst []byte, q *resolver.Query) ([]byte, resolver.Outcome) {
	e.mu.Lock()
	e.seen = *q
	e.seen.Msg = nil
	e.mu.Unlock()
	if q.Msg[12] == 'p' {
		return dst, resolver.Outcome{Kind: resolver.Pending, Ban: 255}
	}
	return response(dst, q.Msg), resolver.Outcome{Kind: resolver.Cached, Ban: 255}
}

func (e *echo) Resolve(ctx context.Context, dst []byte, q *resolver.Query) ([]byte, resolver.Outcome) {
	select {
	case <-e.release:
	case <-ctx.Done():
	}
	return response(dst, q.Msg), resolver.Outcome{Kind: resolver.Forwarded, Ban: 255}
}

func (e *echo) Shed(dst []byte, q *resolver.Query) ([]byte, resolver.Outcome) {
	return response(dst, q.Msg), resolver.Outcome{Kind: resolver.Shed, Ban: 255}
}

func response(dst, msg []byte) []byte {
	at := len(dst)
	dst = append(dst, msg...)
	dst[at+2] |= 0x80
	return dst
}

func message(id uint16, kind byte) []byte {
	m := make([]byte, 12)
	binary.BigEndian.PutUint16(m, id)
	return append(m, kind)
}

func framed(all ...[]byte) (b []byte) {
	for _, m := range all {
		b = binary.BigEndian.AppendUint16(b, uint16(len(m)))
		b = append(b, m...)
	}
	return b
}

func receive(t *testing.T, c io.Reader) []byte {
	t.Helper()
	var n [2]byte
	if _, err := io.ReadFull(c, n[:]); err != nil {
		t.Fatal(err)
	}
	m := make([]byte, binary.BigEndian.Uint16(n[:]))
	if _, err := io.ReadFull(c, m); err != nil {
		t.Fatal(err)
	}
	return m
}

// server is a Server and what it needs.
type server struct {
	*stream.Server
	core  *session.Core
	h     *echo
	stats *resolver.Stats
	count *resolver.Counters
}

func newServer(t *testing.T, maxConnections, perClient int, edit ...func(*stream.Options)) *server {
	t.Helper()
	s := &server{h: &echo{release: make(chan struct{})}, stats: new(resolver.Stats)}
	s.count = s.stats.NewCounters()
	s.core = session.New(s.h, limit.NewWaitLimit(100), session.NewLog(slog.New(slog.DiscardHandler)))
	o := stream.Options{
		Transport: resolver.TCP, Table: stream.NewTable(stream.Limits{MaxConnections: maxConnections, MaxConnectionsPerClient: perClient}), MaxPending: 10,
		IdleTimeout: 7 * time.Second, MessageTimeout: 2 * time.Second, WriteTimeout: 3 * time.Second, Drain: time.Second,
	}
	for _, f := range edit {
		f(&o)
	}
	s.Server = stream.NewServer(s.core, o)
	s.core.Begin(context.Background())
	return s
}

// end ends the server as a Listener does.
func (s *server) end() {
	s.core.Drain()
	s.StopReading()
	s.core.Close()
	s.core.Cancel(time.Second)
	s.CloseAll()
	s.Wait()
	s.core.Wait()
}

// certificate is a certificate for a test's server.
func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// A TLS connection is a Stream like any other: the same server answers what
// comes on it, out of order where queries wait.
func TestTLS(t *testing.T) {
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate(t)}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := newServer(t, 10, 10)
	defer s.end()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.Serve(stream.FromConn(c, 3*time.Second), s.count)
		}
	}()
	c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(15 * time.Second))
	if _, err := c.Write(framed(message(1, 'p'), message(2, 'e'), message(3, 'e'))); err != nil {
		t.Fatal(err)
	}
	for _, id := range []uint16{2, 3} {
		if a := receive(t, c); !bytes.Equal(a, response(nil, message(id, 'e'))) {
			t.Errorf("want the response to query %d: %x", id, a)
		}
	}
	close(s.h.release)
	if a := receive(t, c); !bytes.Equal(a, response(nil, message(1, 'p'))) {
		t.Errorf("the query that waited: %x", a)
	}
	s.h.mu.Lock()
	q := s.h.seen
	s.h.mu.Unlock()
	if q.Client != netip.AddrFrom4([4]byte{127, 0, 0, 1}) || q.Transport != resolver.TCP || q.Keepalive != 70 {
		t.Errorf("query of %v by %v, keepalive %d", q.Client, q.Transport, q.Keepalive)
	}
	if n := s.Stats(); n.Accepted != 1 || n.Connections != 1 {
		t.Errorf("%+v", n)
	}
}

// pipe is a connection in memory from some address.
type pipe struct {
	net.Conn
	from string
}

func (p pipe) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(p.from), Port: 1} }

// connect serves a connection in memory from an address, under a fake clock.
func (s *server) connect(from string) net.Conn {
	a, b := net.Pipe()
	go s.Serve(stream.FromConn(pipe{b, from}, 3*time.Second), s.count)
	synctest.Wait()
	return a
}

// A connection ends when it is idle, when a message takes too long, and when its
// client does not take responses: each at its time, and at most an eighth later.
func TestTimeouts(t *testing.T) {
	for name, c := range map[string]struct {
		send     []byte
		after    time.Duration
		timedOut uint64
	}{
		"idle from the beginning": {nil, 7 * time.Second, 0},
		"slow message":            {framed(message(1, 'e'))[:5], 2 * time.Second, 1},
		"nobody reads":            {framed(message(1, 'e')), 3 * time.Second, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, 10, 10)
				client := s.connect("192.0.2.1")
				defer client.Close()
				start := time.Now()
				client.Write(c.send)
				synctest.Wait()
				if n := s.Connections(); n != 1 {
					t.Fatalf("%d connections", n)
				}
				for s.Connections() > 0 {
					time.Sleep(10 * time.Millisecond)
				}
				if d := time.Since(start); d < c.after || d > c.after+c.after/8+50*time.Millisecond {
					t.Errorf("it ended after %v, want %v", d, c.after)
				}
				if n := s.Stats().TimedOut; n != c.timedOut {
					t.Errorf("%d timed out, want %d", n, c.timedOut)
				}
				s.end()
			})
		})
	}
}

// Servers with one Table have its connections together: a new one on any takes the
// place of the idle one on any, and a client has its share over all. The end of one
// Server leaves the connections of others.
func TestTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := stream.NewTable(stream.Limits{MaxConnections: 3, MaxConnectionsPerClient: 2})
		one, two := newServer(t, 0, 0, func(o *stream.Options) { o.Table = table }), newServer(t, 0, 0, func(o *stream.Options) { o.Table = table })
		ended := func(c net.Conn) bool {
			c.SetReadDeadline(time.Now().Add(time.Millisecond))
			_, err := c.Read(make([]byte, 1))
			return err == io.EOF
		}
		connect := func(s *server, from string) net.Conn {
			c := s.connect(from)
			time.Sleep(time.Second)
			return c
		}
		first, second, third := connect(one, "192.0.2.1"), connect(two, "192.0.2.1"), connect(two, "192.0.2.2")
		if ended(first) || ended(second) || ended(third) {
			t.Fatal("the first three connections")
		}
		if c := connect(one, "192.0.2.1"); !ended(c) || ended(first) || ended(second) {
			t.Error("a third connection of a client that has two with both servers")
		}
		fourth := connect(one, "192.0.2.3")
		if ended(fourth) || !ended(first) || ended(second) || ended(third) {
			t.Error("a fourth connection: the one that was idle for longest is to end")
		}
		if a, b := one.Stats(), two.Stats(); a.Connections != 1 || b.Connections != 2 {
			t.Errorf("%+v %+v", a, b)
		}
		two.end()
		if ended(fourth) || !ended(second) || !ended(third) {
			t.Error("the end of one server is to end its connections alone")
		}
		fourth.SetReadDeadline(time.Time{})
		go fourth.Write(framed(message(9, 'e')))
		if a := receive(t, fourth); !bytes.Equal(a, response(nil, message(9, 'e'))) {
			t.Errorf("after the end of the other server: %x", a)
		}
		one.end()
	})
}

// The connection that has been idle for longest is closed for a new one, unless
// the client has all that it may have, or all others are busy.
func TestEviction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, 3, 2)
		defer s.end()
		var conns []net.Conn
		connect := func(from string) net.Conn {
			c := s.connect(from)
			conns = append(conns, c)
			time.Sleep(time.Second)
			return c
		}
		defer func() {
			for _, c := range conns {
				c.Close()
			}
		}()
		ended := func(c net.Conn) bool {
			c.SetReadDeadline(time.Now().Add(time.Millisecond))
			_, err := c.Read(make([]byte, 1))
			return err == io.EOF
		}
		busy := connect("192.0.2.1")
		busy.Write(framed(message(1, 'p')))
		synctest.Wait()
		first := connect("2001:db8:0:1::1")
		second := connect("2001:db8:0:1::2") // of the same /64
		if refused := connect("2001:db8:0:1::3"); !ended(refused) || ended(first) || ended(second) || ended(busy) {
			t.Error("a third connection of the client")
		}
		third := connect("192.0.2.2")
		if ended(third) || !ended(first) || ended(second) || ended(busy) {
			t.Error("a fourth connection: the one that was idle for longest is to end")
		}
		second.Write(framed(message(2, 'p')))
		third.Write(framed(message(3, 'p')))
		synctest.Wait()
		if refused := connect("192.0.2.3"); !ended(refused) || ended(second) || ended(third) || ended(busy) {
			t.Error("a connection while all others are busy")
		}
		if n := s.Stats(); n.Accepted != 4 || n.Refused != 2 || n.Evicted != 1 || n.Connections != 3 {
			t.Errorf("%+v", n)
		}
		close(s.h.release)
		for i, c := range []net.Conn{busy, second, third} {
			c.SetReadDeadline(time.Time{})
			if a := receive(t, c); !bytes.Equal(a, response(nil, message(uint16(i+1), 'p'))) {
				t.Errorf("connection %d: %x", i, a)
			}
		}
	})
}
