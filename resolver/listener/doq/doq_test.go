package doq_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"rideau/resolver"
	"rideau/resolver/limit"
	"rideau/resolver/listener"
	"rideau/resolver/listener/admission"
	"rideau/resolver/listener/doq"
	"rideau/resolver/listener/secure"
	"rideau/resolver/listener/secure/securetest"
)

// echo answers with the query and the QR bit, and as many octets after that as the
// octet at the end says, times 1000. With 'w' before that octet a query waits until release, with 'd' it gets no
// response.
type echo struct {
	release chan struct{}

	mu      sync.Mutex
	last    resolver.Query // without Msg
	waiting int
}

func (e *echo) Answer(dst []byte, q *resolver.Query) ([]byte, resolver.Outcome) {
	e.mu.Lock()
	e.last = *q
	e.last.Msg = nil
	e.mu.Unlock()
	switch q.Msg[len(q.Msg)-2] {
	case 'w':
		return dst, resolver.Outcome{Kind: resolver.Pending, Ban: 255}
	case 'd':
		return dst, resolver.Outcome{Kind: resolver.Dropped, Ban: 255}
	}
	return response(dst, q.Msg), resolver.Outcome{Kind: resolver.Cached, Ban: 255}
}

func (e *echo) Resolve(ctx context.Context, dst []byte, q *resolver.Query) ([]byte, resolver.Outcome) {
	e.count(1)
	defer e.count(-1)
	select {
	case <-e.release:
	case <-ctx.Done():
	}
	return response(dst, q.Msg), resolver.Outcome{Kind: resolver.Forwarded, Ban: 255}
}

func (e *echo) count(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.waiting += n
}

func (e *echo) await(t *testing.T, n int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		e.mu.Lock()
		got := e.waiting
		e.mu.Unlock()
		if got == n {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d queries wait, want %d", got, n)
		}
	}
}

func (e *echo) Shed(dst []byte, q *resolver.Query) ([]byte, resolver.Outcome) {
	return response(dst, q.Msg), resolver.Outcome{Kind: resolver.Shed, Ban: 255}
}

func response(dst, msg []byte) []byte {
	at := len(dst)
	dst = append(dst, msg...)
	dst[at+2] |= 0x80
	return append(dst, make([]byte, 1000*int(msg[len(msg)-1]))...)
}

// message is a query for a name, with the kind and the size of its response at its end.
func message(thousands, kind byte) []byte {
	m := []byte{0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, 'd', 'n', 's', 0, 0, 1, 0, 1}
	return append(m, kind, thousands)
}

func framed(m []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...) }

type server struct {
	*doq.Listener
	echo *echo
	ca   *securetest.Authority
	gate *admission.Gate
	end  func()
}

func serve(t *testing.T, limits admission.Limits, edit ...func(*doq.Options)) *server {
	t.Helper()
	s := &server{echo: &echo{release: make(chan struct{})}, ca: securetest.NewAuthority(t), gate: admission.NewGate(limits)}
	c, err := listener.BindUDP(netip.MustParseAddrPort("127.0.0.1:0"), false, nil)
	if err != nil {
		t.Fatal(err)
	}
	o := doq.Options{Conn: c, Secure: secure.NewConfig(&secure.Settings{Certificates: []tls.Certificate{s.ca.Issue(time.Hour, "dns.example")}}), Gate: s.gate,
		ManyHandshakes: 8, MaxStreams: 20, WaitLimit: limit.NewWaitLimit(1000), HandshakeTimeout: time.Second, MessageTimeout: 5 * time.Second,
		WriteTimeout: 5 * time.Second, IdleTimeout: 10 * time.Second, Drain: time.Second, Logger: slog.New(slog.DiscardHandler)}
	for _, f := range edit {
		f(&o)
	}
	if s.Listener, err = doq.Listen(o); err != nil {
		t.Fatal(err)
	}
	s.Use(s.echo, new(resolver.Stats))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	s.end = cancel
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := s.Stats(); n.Connections != 0 || n.Streams != 0 || n.Waiting != 0 || s.gate.Stats().Open != 0 {
			t.Errorf("after the end: %+v, %+v", n, s.gate.Stats())
		}
	})
	return s
}

func (s *server) dial(t *testing.T) (*quic.Conn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := quic.DialAddr(ctx, s.Addr().String(), &tls.Config{RootCAs: s.ca.Pool(), ServerName: "dns.example", NextProtos: []string{"doq"}}, &quic.Config{MaxIdleTimeout: 20 * time.Second})
	if err == nil {
		t.Cleanup(func() { c.CloseWithError(0, "") })
	}
	return c, err
}

func (s *server) mustDial(t *testing.T) *quic.Conn {
	t.Helper()
	c, err := s.dial(t)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// stream opens a stream and sends octets on it; with fin that is the end of it.
func stream(t *testing.T, c *quic.Conn, fin bool, octets ...[]byte) *quic.Stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	st, err := c.OpenStreamSync(ctx)
	if err != nil {
		t.Fatal(err)
	}
	st.SetReadDeadline(time.Now().Add(10 * time.Second))
	for _, o := range octets {
		st.Write(o)
	}
	if fin {
		st.Close()
	}
	return st
}

func wantResponse(t *testing.T, st *quic.Stream, m []byte) {
	t.Helper()
	got, err := io.ReadAll(st)
	if want := framed(response(nil, m)); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d octets, want %d: %v", len(got), len(want), err)
	}
}

// Each query has a stream, and its response comes on it when it is ready.
func TestStreams(t *testing.T) {
	s := serve(t, admission.Limits{Connections: 10})
	c := s.mustDial(t)
	slow := message(0, 'w')
	late := stream(t, c, true, framed(slow))
	s.echo.await(t, 1)
	for i := range byte(60) { // more than may be open at once, and up to what a message can hold
		m := message(i, 'e')
		wantResponse(t, stream(t, c, i%2 == 0, framed(m)[:1], framed(m)[1:]), m)
	}
	large := append(message(0, 'e'), make([]byte, 40_000)...)
	large = append(large, 'e', 1)
	wantResponse(t, stream(t, c, true, framed(large)), large)
	close(s.echo.release)
	wantResponse(t, late, slow)
	s.echo.mu.Lock()
	defer s.echo.mu.Unlock()
	if q := s.echo.last; q.Transport != resolver.DoQ || q.Keepalive != 0 || q.Client != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("%v, keepalive %d, from %v", q.Transport, q.Keepalive, q.Client)
	}
}

// What a client must not send ends its connection with DOQ_PROTOCOL_ERROR (RFC 9250
// section 4.3.3), and reaches nothing that answers.
func TestProtocolErrors(t *testing.T) {
	good := message(0, 'e')
	edit := func(f func(m []byte)) []byte {
		m := bytes.Clone(good)
		f(m)
		return m
	}
	keepalive := append(edit(func(m []byte) { m[11] = 1 })[:21], 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 4, 0, 11, 0, 0)
	s := serve(t, admission.Limits{Connections: 100})
	for name, octets := range map[string][]byte{
		"an id":                  framed(edit(func(m []byte) { m[1] = 7 })),
		"a response":             framed(edit(func(m []byte) { m[2] |= 0x80 })),
		"two queries":            append(framed(good), framed(good)...),
		"a part of a query":      framed(good)[:10],
		"nothing":                {},
		"half a length":          {0},
		"no header":              framed(good[:11]),
		"a query of no octets":   {0, 0},
		"the keepalive option":   framed(keepalive),
		"more than a header has": {0, 12, 0, 0},
	} {
		c := s.mustDial(t)
		_, err := io.ReadAll(stream(t, c, true, octets))
		var e *quic.ApplicationError
		if !errors.As(err, &e) || !e.Remote || e.ErrorCode != 2 {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := s.mustDial(t)
	if _, err := c.OpenUniStream(); err == nil {
		t.Error("a client may open a stream on which it only sends")
	}
	s.echo.mu.Lock()
	defer s.echo.mu.Unlock()
	if s.echo.last.Client.IsValid() {
		t.Error("something was answered")
	}
}

// A query that gets no response has its stream reset, and others are answered.
func TestNoResponse(t *testing.T) {
	s := serve(t, admission.Limits{Connections: 10})
	c := s.mustDial(t)
	_, err := io.ReadAll(stream(t, c, true, framed(message(0, 'd'))))
	var e *quic.StreamError
	if !errors.As(err, &e) || e.ErrorCode != 4 {
		t.Errorf("%v", err)
	}
	wantResponse(t, stream(t, c, true, framed(message(0, 'e'))), message(0, 'e'))
}

// Streams are bounded, also those that the client has given up: a connection cannot
// make more work than its streams. Those with an octet and silence end in time.
func TestManyStreams(t *testing.T) {
	s := serve(t, admission.Limits{Connections: 10}, func(o *doq.Options) { o.MessageTimeout = 300 * time.Millisecond })
	c := s.mustDial(t)
	before := runtime.NumGoroutine()
	for range 20 {
		stream(t, c, false, []byte{0})
	}
	if _, err := c.OpenStream(); err == nil {
		t.Error("one stream too many")
	}
	for end := time.Now().Add(10 * time.Second); s.Stats().Streams > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%+v", s.Stats())
		}
	}
	for i := range 2000 { // queries that wait and are given up at once
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		st, err := c.OpenStreamSync(ctx)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		st.Write(framed(message(0, 'w')))
		st.CancelRead(3)
		st.CancelWrite(3)
		if i%100 == 0 {
			if n := runtime.NumGoroutine() - before; n > 100 {
				t.Fatalf("%d goroutines more", n)
			}
		}
	}
	s.echo.await(t, 0)
	wantResponse(t, stream(t, c, true, framed(message(0, 'e'))), message(0, 'e'))
}

// Connections are bounded by client; one that is idle gives its place to another. A
// client that takes no responses does not hold a stream for long.
func TestBounds(t *testing.T) {
	s := serve(t, admission.Limits{Connections: 10, PerClient: 2}, func(o *doq.Options) { o.WriteTimeout = 200 * time.Millisecond })
	busy, idle := s.mustDial(t), s.mustDial(t)
	late := stream(t, busy, true, framed(message(0, 'w')))
	s.echo.await(t, 1)
	third := s.mustDial(t)
	wantResponse(t, stream(t, third, true, framed(message(1, 'e'))), message(1, 'e'))
	var e *quic.ApplicationError
	if _, err := idle.AcceptStream(context.Background()); !errors.As(err, &e) || e.ErrorCode != 4 {
		t.Errorf("the idle connection: %v", err)
	}
	slow := stream(t, third, true, framed(message(0, 'w')))
	s.echo.await(t, 2)
	if _, err := s.dial(t); err == nil {
		t.Error("a third connection of a client whose others are busy")
	}
	close(s.echo.release)
	wantResponse(t, late, message(0, 'w'))
	wantResponse(t, slow, message(0, 'w'))
}

// The server's end: what waits is answered, and the connection ends without an error.
func TestEnd(t *testing.T) {
	s := serve(t, admission.Limits{Connections: 10})
	c := s.mustDial(t)
	late := stream(t, c, true, framed(message(0, 'w')))
	s.echo.await(t, 1)
	s.end()
	time.AfterFunc(50*time.Millisecond, func() { close(s.echo.release) })
	wantResponse(t, late, message(0, 'w'))
	_, err := c.AcceptStream(context.Background())
	var e *quic.ApplicationError
	if !errors.As(err, &e) || e.ErrorCode != 0 {
		t.Errorf("the end: %v", err)
	}
}
