package listener_test

import (
	"bytes"
	"context"
	"encoding/binary"
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
	"rideau/resolver/listener/session"
)

// fake does what a message's 13th octet says; see query. The response is the
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

// query is a message with that id, of a kind that fake knows, with a tail.
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

// hasIPv6 reports whether ::1 is this machine's. Containers often lack it, and the
// kernel may let [::] be bound all the same.
func hasIPv6() bool {
	c, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// needs skips a test of an IPv6 address on a machine that has none.
func needs(t testing.TB, addr string) {
	t.Helper()
	if strings.HasPrefix(addr, "[") && !hasIPv6() {
		t.Skip("this machine has no IPv6")
	}
}

func serve(t testing.TB, h session.Handler, o listener.Options) *server {
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

// eventually polls until ok returns true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// noLeak fails the test if it leaves goroutines of the listener running.
func noLeak(t *testing.T) {
	t.Cleanup(func() {
		b := make([]byte, 1<<20)
		for end := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			stacks := string(b[:runtime.Stack(b, true)])
			// Functions, and no names of files, which begin alike with -trimpath.
			left := false
			for _, of := range []string{".(", "/session.", "/datagram.", "/stream."} {
				left = left || strings.Contains(stacks, "rideau/resolver/listener"+of)
			}
			if !left {
				return
			}
			if time.Now().After(end) {
				t.Errorf("goroutines left:\n%s", stacks)
				return
			}
		}
	})
}
