package listener_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"rideau/resolver"
	"rideau/resolver/listener"
)

// fake answers what a message's 13th octet says; see query. The answer is the
// message with the QR bit set.
type fake struct {
	release chan struct{} // what a pending query waits for; closed: nothing

	mu   sync.Mutex
	seen resolver.Query // the last query, without Msg
}

const (
	settle   = 'e'
	wait     = 'p' // until release
	stuck    = 's' // until the context ends
	drop     = 'd'
	panicNow = 'P'
	panicLow = 'R' // in Resolve
	large    = 'l' // 3000 octets
	monster  = 'm' // more than a datagram can hold
)

func newFake() *fake { return &fake{release: make(chan struct{})} }

func kind(q *resolver.Query) byte {
	if len(q.Msg) <= 12 {
		return settle
	}
	return q.Msg[12]
}

func outcome(k resolver.Kind) resolver.Outcome { return resolver.Outcome{Kind: k, Ban: 255} }

func reply(dst []byte, q *resolver.Query) []byte {
	at := len(dst)
	dst = append(dst, q.Msg...)
	if len(q.Msg) > 2 {
		dst[at+2] |= 0x80
	}
	return dst
}

func (f *fake) Answer(dst []byte, q *resolver.Query) ([]byte, resolver.Outcome) {
	f.mu.Lock()
	f.seen = *q
	f.seen.Msg = nil
	f.mu.Unlock()
	switch kind(q) {
	case wait, stuck, panicLow:
		return dst, outcome(resolver.Pending)
	case drop:
		return dst, outcome(resolver.Dropped)
	case panicNow:
		panic("told to")
	case monster:
		return append(reply(dst, q), make([]byte, 65520-len(q.Msg))...), outcome(resolver.Cached)
	case large:
		return append(reply(dst, q), make([]byte, 3000-len(q.Msg))...), outcome(resolver.Cached)
	}
	return reply(dst, q), outcome(resolver.Cached)
}

func (f *fake) Resolve(ctx context.Context, dst []byte, q *resolver.Query) ([]byte, resolver.Outcome) {
	switch kind(q) {
	case panicLow:
		panic("told to")
	case wait:
		select {
		case <-f.release:
		case <-ctx.Done():
			return dst, outcome(resolver.Dropped)
		}
	case stuck:
		<-ctx.Done()
	}
	return reply(dst, q), outcome(resolver.Forwarded)
}

func (f *fake) Shed(dst []byte, q *resolver.Query) ([]byte, resolver.Outcome) {
	dst = reply(dst, q)
	dst[len(dst)-len(q.Msg)+3] |= 2 // SERVFAIL
	return dst, outcome(resolver.Shed)
}

// query is a message with that id, told to be answered as kind says, with a tail.
func query(id uint16, kind byte, tail string) []byte {
	m := make([]byte, 12, 13+len(tail))
	binary.BigEndian.PutUint16(m, id)
	return append(append(m, kind), tail...)
}

func isReply(q, a []byte) bool {
	want := bytes.Clone(q)
	want[2] |= 0x80
	return bytes.Equal(want, a)
}

// engines are the ways UDP is served here.
func engines(t *testing.T, f func(t *testing.T, o listener.Options)) {
	t.Run("native", func(t *testing.T) { f(t, listener.Options{}) })
	if runtime.GOOS == "linux" {
		t.Run("portable", func(t *testing.T) { f(t, listener.Options{Portable: true}) })
	}
}

// server is a Listener that serves until stop or the test's end.
type server struct {
	*listener.Listener
	log   *bytes.Buffer
	stats *resolver.Stats
	stop  func() // ends the context and waits for Serve to return
}

func serve(t testing.TB, h listener.Handler, o listener.Options) *server {
	t.Helper()
	s := &server{log: new(bytes.Buffer), stats: new(resolver.Stats)}
	if o.Addrs == nil {
		o.Addrs = []string{"127.0.0.1:0"}
	}
	if o.Workers == 0 {
		o.Workers = 2
	}
	o.Stats = s.stats
	o.Logger = slog.New(slog.NewTextHandler(s.log, nil))
	l, err := listener.Listen(h, o)
	if err != nil {
		t.Fatal(err)
	}
	s.Listener = l
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Serve(ctx) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(20 * time.Second):
			t.Error("Serve does not return")
		}
	})
	t.Cleanup(s.stop)
	return s
}

func dial(t testing.TB, network string, to netip.AddrPort) net.Conn {
	t.Helper()
	c, err := net.Dial(network, to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(15 * time.Second))
	return c
}

func send(t *testing.T, c net.Conn, m []byte) {
	t.Helper()
	if _, err := c.Write(m); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, c net.Conn) []byte {
	t.Helper()
	b := make([]byte, 65536)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

func framed(m ...[]byte) []byte {
	var b []byte
	for _, m := range m {
		b = binary.BigEndian.AppendUint16(b, uint16(len(m)))
		b = append(b, m...)
	}
	return b
}

func receiveFramed(t *testing.T, c net.Conn) []byte {
	t.Helper()
	m, err := readFramed(c)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func readFramed(c net.Conn) ([]byte, error) {
	var n [2]byte
	if _, err := io.ReadFull(c, n[:]); err != nil {
		return nil, err
	}
	m := make([]byte, binary.BigEndian.Uint16(n[:]))
	_, err := io.ReadFull(c, m)
	return m, err
}

// eventually waits until ok says so.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// noLeak fails the test if it leaves goroutines of this package running.
func noLeak(t *testing.T) {
	t.Cleanup(func() {
		b := make([]byte, 1<<20)
		for end := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			stacks := string(b[:runtime.Stack(b, true)])
			if !strings.Contains(stacks, "rideau/resolver/listener.(") {
				return
			}
			if time.Now().After(end) {
				t.Errorf("goroutines left:\n%s", stacks)
				return
			}
		}
	})
}

func TestPortZeroIsOnePortForBoth(t *testing.T) {
	s := serve(t, newFake(), listener.Options{Addrs: []string{"127.0.0.1:0", "[::1]:0"}})
	if n := len(s.Addrs()); n != 2 {
		t.Fatalf("%d addresses, want 2", n)
	}
	for _, a := range s.Addrs() {
		u, c := dial(t, "udp", a), dial(t, "tcp", a)
		send(t, u, query(1, settle, "u"))
		if a := receive(t, u); !isReply(query(1, settle, "u"), a) {
			t.Errorf("udp answered %x", a)
		}
		send(t, c, framed(query(2, settle, "t")))
		if a := receiveFramed(t, c); !isReply(query(2, settle, "t"), a) {
			t.Errorf("tcp answered %x", a)
		}
	}
}

func TestAddressInUse(t *testing.T) {
	engines(t, func(t *testing.T, o listener.Options) {
		s := serve(t, newFake(), o)
		for _, workers := range []int{1, 2} {
			_, err := listener.Listen(newFake(), listener.Options{Addrs: []string{"127.0.0.1:0", s.Addr().String()}, Workers: workers})
			if err == nil || !strings.Contains(err.Error(), "address already in use; another server has it") {
				t.Errorf("second listener with %d workers: %v", workers, err)
			}
		}
	})
	t.Run("udp alone", func(t *testing.T) {
		u, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer u.Close()
		_, err = listener.Listen(newFake(), listener.Options{Addrs: []string{u.LocalAddr().String()}})
		if err == nil || !strings.Contains(err.Error(), "listen on udp "+u.LocalAddr().String()) {
			t.Fatalf("got %v", err)
		}
		// All or nothing: TCP, which was free, must be free again.
		c, err := net.Listen("tcp4", u.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	})
}

func TestBadAddress(t *testing.T) {
	for _, s := range []string{"", "127.0.0.1", "localhost:53", ":dns", ":65536", "::1:53"} {
		if _, err := listener.Listen(newFake(), listener.Options{Addrs: []string{s}}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("address %q", s)) {
			t.Errorf("%q: %v", s, err)
		}
	}
	if _, err := listener.Listen(newFake(), listener.Options{}); err == nil {
		t.Error("no address was no error")
	}
}

func TestServeOnce(t *testing.T) {
	s := serve(t, newFake(), listener.Options{})
	s.stop()
	if err := s.Serve(context.Background()); err != listener.ErrServed {
		t.Errorf("served again: %v", err)
	}
	l, err := listener.Listen(newFake(), listener.Options{Addrs: []string{s.Addr().String()}})
	if err != nil {
		t.Fatalf("after Serve has ended: %v", err)
	}
	l.Close()
	if err := l.Serve(context.Background()); err != listener.ErrServed {
		t.Errorf("served after Close: %v", err)
	}
}

func TestQueryFields(t *testing.T) {
	f := newFake()
	s := serve(t, f, listener.Options{Addrs: []string{":0"}, IdleTimeout: 7 * time.Second})
	for _, a := range s.Addrs() {
		local := "127.0.0.1"
		if a.Addr().Is6() {
			local = "::1"
		}
		to := netip.AddrPortFrom(netip.MustParseAddr(local), a.Port())
		for _, network := range []string{"udp", "tcp"} {
			c := dial(t, network, to)
			before := time.Now()
			m := query(1, settle, "")
			if network == "tcp" {
				m = framed(m)
			}
			send(t, c, m)
			receive(t, c)
			f.mu.Lock()
			q := f.seen
			f.mu.Unlock()
			if q.Client != to.Addr() {
				t.Errorf("%s: client %v, want %v", network, q.Client, to.Addr())
			}
			if q.Transport.String() != network {
				t.Errorf("transport %v, want %v", q.Transport, network)
			}
			if q.Received.Before(before) || q.Received.After(time.Now()) {
				t.Errorf("%s: received %v is not now", network, q.Received)
			}
			if want := map[string]uint16{"tcp": 70}[network]; q.Keepalive != want {
				t.Errorf("%s: keepalive %d, want %d", network, q.Keepalive, want)
			}
		}
	}
}

func TestStats(t *testing.T) {
	engines(t, func(t *testing.T, o listener.Options) {
		f := newFake()
		close(f.release)
		s := serve(t, f, o)
		u, c := dial(t, "udp", s.Addr()), dial(t, "tcp", s.Addr())
		for _, k := range []byte{settle, wait, drop} {
			send(t, u, query(1, k, ""))
			send(t, c, framed(query(1, k, "")))
			if k != drop {
				receive(t, u)
				receiveFramed(t, c)
			}
		}
		// A last answer on the same socket says that the drop has been seen.
		send(t, u, query(1, settle, ""))
		send(t, c, framed(query(1, settle, "")))
		receive(t, u)
		receiveFramed(t, c)
		eventually(t, "all queries are counted", func() bool {
			n := s.stats.Totals()
			for _, transport := range []resolver.Transport{resolver.UDP, resolver.TCP} {
				for k, want := range map[resolver.Kind]uint64{resolver.Cached: 2, resolver.Forwarded: 1, resolver.Dropped: 1} {
					if n.Queries[transport][0][k] != want {
						return false
					}
				}
			}
			return true
		})
	})
}

func TestPanics(t *testing.T) {
	engines(t, func(t *testing.T, o listener.Options) {
		s := serve(t, newFake(), o)
		u, c := dial(t, "udp", s.Addr()), dial(t, "tcp", s.Addr())
		for range 3 {
			send(t, u, query(1, panicNow, ""))
			send(t, u, query(2, panicLow, ""))
			if a := receive(t, u); a[1] != 2 || a[3] != 2 {
				t.Errorf("udp, after a panic in Resolve: %x, want SERVFAIL for query 2", a)
			}
			send(t, u, query(3, settle, ""))
			if a := receive(t, u); !isReply(query(3, settle, ""), a) {
				t.Errorf("udp, after panics: %x", a)
			}
			send(t, c, framed(query(1, panicNow, ""), query(2, panicLow, "")))
			if a := receiveFramed(t, c); a[1] != 2 || a[3] != 2 {
				t.Errorf("tcp, after a panic in Resolve: %x, want SERVFAIL for query 2", a)
			}
			send(t, c, framed(query(3, settle, "")))
			if a := receiveFramed(t, c); !isReply(query(3, settle, ""), a) {
				t.Errorf("tcp, after panics: %x", a)
			}
		}
		if n := s.Stats().Panics; n != 12 {
			t.Errorf("%d panics counted, want 12", n)
		}
		eventually(t, "none waits", func() bool { return s.Stats().Pending == 0 })
		s.stop()
		if n := strings.Count(s.log.String(), "told to"); n < 1 || n > 3 {
			t.Errorf("%d panics logged, want one a second:\n%s", n, s.log)
		}
	})
}

func TestShed(t *testing.T) {
	engines(t, func(t *testing.T, o listener.Options) {
		f := newFake()
		o.Limiter = listener.NewLimiter(3)
		s := serve(t, f, o)
		other := serve(t, f, listener.Options{Limiter: o.Limiter})
		u, c := dial(t, "udp", s.Addr()), dial(t, "tcp", other.Addr())
		for i := range uint16(2) {
			send(t, u, query(i, wait, ""))
		}
		send(t, c, framed(query(2, wait, "")))
		eventually(t, "three wait", func() bool { return o.Limiter.Pending() == 3 && s.Stats().Pending == 2 && other.Stats().Pending == 1 })
		send(t, u, query(3, wait, ""))
		if a := receive(t, u); a[1] != 3 || a[3] != 2 {
			t.Errorf("udp over the bound: %x, want SERVFAIL for query 3", a)
		}
		send(t, c, framed(query(4, wait, "")))
		if a := receiveFramed(t, c); a[1] != 4 || a[3] != 2 {
			t.Errorf("tcp over the bound: %x, want SERVFAIL for query 4", a)
		}
		if s.Stats().Shed != 1 || other.Stats().Shed != 1 {
			t.Errorf("shed %d and %d, want 1 and 1", s.Stats().Shed, other.Stats().Shed)
		}
		close(f.release)
		for range 2 {
			if a := receive(t, u); a[3] != 0 {
				t.Errorf("udp: %x", a)
			}
		}
		if a := receiveFramed(t, c); a[1] != 2 || a[3] != 0 {
			t.Errorf("tcp: %x", a)
		}
		eventually(t, "none waits", func() bool { return o.Limiter.Pending() == 0 })
	})
}
