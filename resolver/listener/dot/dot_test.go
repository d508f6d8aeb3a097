package dot_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"rideau/resolver"
	"rideau/resolver/listener"
	"rideau/resolver/listener/admission"
	"rideau/resolver/listener/dot"
	"rideau/resolver/listener/secure"
	"rideau/resolver/listener/secure/securetest"
)

// echo answers with the query and the QR bit, and as many octets after that as the 13th
// octet says, times 1000. Queries whose 14th octet is 'w' wait until release.
type echo struct {
	release chan struct{}

	mu   sync.Mutex
	last resolver.Query // without Msg
}

func (e *echo) Answer(dst []byte, q *resolver.Query) ([]byte, resolver.Outcome) {
	e.mu.Lock()
	e.last = *q
	e.last.Msg = nil
	e.mu.Unlock()
	if q.Msg[13] == 'w' {
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
	for range 1000 * int(msg[12]) {
		dst = append(dst, 0)
	}
	return dst
}

// query is a framed query whose response has thousands octets more, and which
// waits if kind is 'w'.
func query(id uint16, thousands, kind byte) []byte {
	m := make([]byte, 2, 40)
	m = binary.BigEndian.AppendUint16(m, id)
	m = append(m, make([]byte, 10)...)
	m = append(m, thousands, kind)
	m = append(m, "a name that is as long as usual"[:20]...)
	binary.BigEndian.PutUint16(m, uint16(len(m)-2))
	return m
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

type server struct {
	*listener.Listener
	echo   *echo
	ca     *securetest.Authority
	secure *secure.Config
	fresh  *admission.Gate
	stats  *resolver.Stats
	end    func() // begins to drain
}

// serve serves DoT until the test ends.
func serve(t *testing.T, edit func(*listener.Options, *secure.Settings)) *server {
	t.Helper()
	s := &server{echo: &echo{release: make(chan struct{})}, ca: securetest.NewAuthority(t), stats: new(resolver.Stats)}
	settings := &secure.Settings{Certificates: []tls.Certificate{s.ca.Issue(time.Hour, "dns.example", "127.0.0.1")}}
	o := listener.Options{Addrs: []string{"127.0.0.1:0"}, Drain: 200 * time.Millisecond, Logger: slog.New(slog.DiscardHandler), Stats: s.stats}
	if edit != nil {
		edit(&o, settings)
	}
	s.secure = secure.NewConfig(settings)
	s.fresh = admission.NewGate(admission.Limits{Fresh: 16})
	o.TLS = dot.Wrap(dot.Options{Secure: s.secure, Fresh: s.fresh, HandshakeTimeout: 5 * time.Second})
	var err error
	if s.Listener, err = listener.Listen(s.echo, o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.end = cancel
	done := make(chan error)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := s.Stats(); n.Connections != 0 || n.Pending != 0 || s.fresh.Stats().Open != 0 {
			t.Errorf("after the end: %+v, handshakes %+v", n, s.fresh.Stats())
		}
	})
	return s
}

// client is a configuration that trusts the server.
func (s *server) client() *tls.Config {
	return &tls.Config{RootCAs: s.ca.Pool(), ServerName: "dns.example"}
}

func (s *server) dial(t *testing.T, config *tls.Config) *tls.Conn {
	t.Helper()
	c, err := tls.Dial("tcp", s.Addr().String(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

func (s *server) awaitConnections(t *testing.T, n int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); s.Stats().Connections != n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d connections, want %d", s.Stats().Connections, n)
		}
	}
}

// meter counts what passes a connection in whole calls and in records.
type meter struct {
	net.Conn
	pieces int // octets of one write; 0 is all
	mu     sync.Mutex
	got    bytes.Buffer
}

func (m *meter) Read(b []byte) (int, error) {
	n, err := m.Conn.Read(b)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.got.Write(b[:n])
	return n, err
}

func (m *meter) Write(b []byte) (n int, err error) {
	for err == nil && n < len(b) {
		size := len(b) - n
		if m.pieces > 0 {
			size = min(size, m.pieces)
		}
		var k int
		k, err = m.Conn.Write(b[n : n+size])
		n += k
	}
	return n, err
}

// records counts the records that came since the last call.
func (m *meter) records() (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for b := m.got.Bytes(); len(b) >= 5; n++ {
		b = b[min(len(b), 5+int(binary.BigEndian.Uint16(b[3:]))):]
	}
	m.got.Reset()
	return n
}

func (s *server) metered(t *testing.T, pieces int) (*tls.Conn, *meter) {
	t.Helper()
	raw, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	m := &meter{Conn: raw, pieces: pieces}
	c := tls.Client(m, s.client())
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, m
}

// Queries that come at once, each in a record of its own, are answered with one
// record. Those that wait are answered when they are ready, after others.
func TestPipelining(t *testing.T) {
	s := serve(t, nil)
	raw, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	var held bytes.Buffer
	m := &meter{Conn: raw}
	gathered := &gather{Conn: m, buf: &held}
	c := tls.Client(gathered, s.client())
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	c.Write(query(1, 0, 'e'))
	receive(t, c)
	m.records()
	gathered.hold = true
	const n = 12
	c.Write(query(100, 0, 'w'))
	for i := range uint16(n) {
		c.Write(query(i, 0, 'e'))
	}
	gathered.hold = false
	m.Conn.Write(held.Bytes())
	for i := range uint16(n) {
		if a := receive(t, c); binary.BigEndian.Uint16(a) != i {
			t.Fatalf("response %d is to query %d", i, binary.BigEndian.Uint16(a))
		}
	}
	if r := m.records(); r != 1 {
		t.Errorf("%d responses came in %d records", n, r)
	}
	close(s.echo.release)
	if a := receive(t, c); binary.BigEndian.Uint16(a) != 100 {
		t.Error("the query that waited")
	}
	s.echo.mu.Lock()
	defer s.echo.mu.Unlock()
	if q := s.echo.last; q.Transport != resolver.DoT || q.Keepalive != 100 || !q.Client.IsLoopback() {
		t.Errorf("%v, keepalive %d, from %v", q.Transport, q.Keepalive, q.Client)
	}
}

// gather holds back what is written while hold is set.
type gather struct {
	net.Conn
	buf  *bytes.Buffer
	hold bool
}

func (g *gather) Write(b []byte) (int, error) {
	if g.hold {
		return g.buf.Write(b)
	}
	return g.Conn.Write(b)
}

// Records cut into pieces of any size, and messages of many records.
func TestPieces(t *testing.T) {
	s := serve(t, nil)
	for _, pieces := range []int{1, 3, 5, 6, 100, 1000, 2047, 2048, 2049, 0} {
		c, _ := s.metered(t, pieces)
		for i := range uint16(3) {
			c.Write(query(i, byte(i*7), 'e')[:9])
			c.Write(query(i, byte(i*7), 'e')[9:])
			if a := receive(t, c); binary.BigEndian.Uint16(a) != i || len(a) != 34+7000*int(i) {
				t.Fatalf("in pieces of %d octets: query %d, %d octets", pieces, binary.BigEndian.Uint16(a), len(a))
			}
		}
		size := 40_000
		if pieces > 0 && pieces < 100 {
			size = 4000
		}
		large := make([]byte, 2+size)
		binary.BigEndian.PutUint16(large, uint16(size))
		go c.Write(large)
		if a := receive(t, c); len(a) != size {
			t.Errorf("in pieces of %d octets: a response of %d octets", pieces, len(a))
		}
		c.Close()
	}
}

// Versions, protocols and keys that clients may and may not have.
func TestHandshakes(t *testing.T) {
	for name, c := range map[string]struct {
		client func(*tls.Config)
		min    uint16
		good   bool
	}{
		"nothing said":         {func(*tls.Config) {}, 0, true},
		"dot":                  {func(c *tls.Config) { c.NextProtos = []string{"h2", "dot"} }, 0, true},
		"another protocol":     {func(c *tls.Config) { c.NextProtos = []string{"h2"} }, 0, false},
		"1.2":                  {func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, 0, false},
		"1.2, which is let in": {func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, tls.VersionTLS12, true},
		"1.1":                  {func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS11, tls.VersionTLS11 }, tls.VersionTLS12, false},
		"no post-quantum keys": {func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.X25519} }, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, func(_ *listener.Options, x *secure.Settings) { x.MinVersion = c.min })
			config := s.client()
			c.client(config)
			conn, err := tls.Dial("tcp", s.Addr().String(), config)
			if (err == nil) != c.good {
				t.Fatalf("%v", err)
			}
			if err != nil {
				return
			}
			defer conn.Close()
			conn.Write(query(1, 0, 'e'))
			receive(t, conn)
			want := tls.X25519MLKEM768
			if config.CurvePreferences != nil || config.MaxVersion != 0 {
				want = tls.X25519
			}
			if got := conn.ConnectionState().CurveID; got != want {
				t.Errorf("keys by %v, want %v", got, want)
			}
		})
	}
}

// A certificate is replaced while a connection is open: that goes on, and the next gets
// the new one, also if it resumes the old one.
func TestCertificateReplaced(t *testing.T) {
	s := serve(t, nil)
	config := s.client()
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	old := s.dial(t, config)
	old.Write(query(1, 0, 'e'))
	receive(t, old)
	s.secure.Use(&secure.Settings{Certificates: []tls.Certificate{s.ca.Issue(2*time.Hour, "dns.example"), s.ca.Issue(3*time.Hour, "other.example")}})
	if c := s.dial(t, config); !c.ConnectionState().DidResume {
		t.Error("the connection was not resumed")
	}
	for name, hours := range map[string]int{"dns.example": 2, "other.example": 3} {
		c := s.dial(t, &tls.Config{RootCAs: s.ca.Pool(), ServerName: name})
		if left := time.Until(c.ConnectionState().PeerCertificates[0].NotAfter); left > time.Duration(hours)*time.Hour || left < time.Duration(hours)*time.Hour-time.Minute {
			t.Errorf("the certificate for %s lives for %v", name, left)
		}
	}
	old.Write(query(2, 0, 'e'))
	receive(t, old)
}

// Where clients have to show certificates, those without a good one get no answer.
func TestClientCertificates(t *testing.T) {
	s := serve(t, nil)
	stranger := securetest.NewAuthority(t)
	for _, auth := range []tls.ClientAuthType{tls.NoClientCert, tls.VerifyClientCertIfGiven, tls.RequireAndVerifyClientCert} {
		s.secure.Use(&secure.Settings{Certificates: []tls.Certificate{s.ca.Issue(time.Hour, "dns.example")}, Clients: s.ca.Pool(), ClientAuth: auth})
		for name, c := range map[string]struct {
			shown []tls.Certificate
			good  bool
		}{
			"none":       {nil, auth != tls.RequireAndVerifyClientCert},
			"good":       {[]tls.Certificate{s.ca.Issue(time.Hour, "client")}, true},
			"expired":    {[]tls.Certificate{s.ca.Issue(-time.Minute, "client")}, auth == tls.NoClientCert},
			"a stranger": {[]tls.Certificate{stranger.Issue(time.Hour, "client")}, auth == tls.NoClientCert},
		} {
			config := s.client()
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if len(c.shown) == 0 {
					return new(tls.Certificate), nil
				}
				return &c.shown[0], nil
			}
			conn := s.dial(t, config)
			conn.Write(query(1, 0, 'e'))
			_, err := io.ReadFull(conn, make([]byte, 36))
			if (err == nil) != c.good {
				t.Errorf("%v, certificate %s: %v", auth, name, err)
			}
			conn.Close()
		}
	}
}

// Handshakes that never end are bounded, and take nothing from honest clients. All
// of them leave nothing behind.
func TestHalfOpen(t *testing.T) {
	s := serve(t, func(o *listener.Options, _ *secure.Settings) { o.MaxConnections, o.MaxConnectionsPerClient = 400, 400 })
	before := runtime.NumGoroutine()
	var all []net.Conn
	for i := range 300 {
		c, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if i%2 == 0 {
			c.Write([]byte{22, 3, 1, 2, 0}[:1+i%5]) // an octet or more of a handshake, then silence
		}
		all = append(all, c)
		if i%30 == 0 {
			for { // until those before are admitted: what comes at the same time may take its place
				if n := s.fresh.Stats(); n.Fresh+int(n.Evicted) > i {
					break
				}
				time.Sleep(time.Millisecond)
			}
			start := time.Now()
			honest := s.dial(t, s.client())
			honest.Write(query(1, 0, 'e'))
			receive(t, honest)
			honest.Close()
			if d := time.Since(start); d > 2*time.Second {
				t.Errorf("an honest client waited for %v", d)
			}
		}
	}
	if n := s.fresh.Stats().Fresh; n > 16 {
		t.Errorf("%d handshakes under way", n)
	}
	if n := runtime.NumGoroutine() - before; n > 100 {
		t.Errorf("%d goroutines more", n)
	}
	for _, c := range all {
		c.Close()
	}
	s.awaitConnections(t, 0)
}

// A client that asks for much and takes nothing loses its connection, and what is held
// for it is bounded. Others are served meanwhile.
func TestUnread(t *testing.T) {
	s := serve(t, func(o *listener.Options, _ *secure.Settings) { o.WriteTimeout = 500 * time.Millisecond })
	debug.FreeOSMemory()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	var greedy []*tls.Conn
	for range 8 {
		c := s.dial(t, s.client())
		greedy = append(greedy, c)
		go c.Write(bytes.Repeat(query(1, 60, 'e'), 500))
	}
	honest := s.dial(t, s.client())
	for i := range uint16(50) {
		honest.Write(query(i, 0, 'e'))
		receive(t, honest)
	}
	runtime.ReadMemStats(&now)
	if grown := int64(now.HeapAlloc) - int64(before.HeapAlloc); grown > 32<<20 {
		t.Errorf("%d octets more of memory", grown)
	}
	s.awaitConnections(t, 1)
	if n := s.Stats(); n.TimedOut == 0 {
		t.Errorf("%+v", n)
	}
	for _, c := range greedy {
		c.Close()
	}
}

// A message that does not come to its end costs its connection.
func TestSlowMessage(t *testing.T) {
	s := serve(t, func(o *listener.Options, _ *secure.Settings) { o.MessageTimeout = 200 * time.Millisecond })
	c := s.dial(t, s.client())
	c.Write([]byte{0xff})
	start := time.Now()
	if _, err := c.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
	c = s.dial(t, s.client())
	c.Write([]byte{0xff, 0xff, 1})
	if _, err := c.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
}

// The server's end lets a client have what it asked for, and then ends the connection by TLS.
func TestEnd(t *testing.T) {
	s := serve(t, nil)
	c := s.dial(t, s.client())
	c.Write(query(1, 0, 'w'))
	for s.Stats().Pending == 0 {
		time.Sleep(time.Millisecond)
	}
	s.Last()
	s.end()
	time.AfterFunc(50*time.Millisecond, func() { close(s.echo.release) })
	if a := receive(t, c); binary.BigEndian.Uint16(a) != 1 {
		t.Error("the response to the query that waited")
	}
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the end: %v", err)
	}
}

// A query costs no more allocations than TLS itself makes.
func TestAllocations(t *testing.T) {
	if race {
		t.Skip("the race detector drops what a pool holds, so that more is allocated")
	}
	s := serve(t, nil)
	c := s.dial(t, s.client())
	burst, b := bytes.Repeat(query(1, 0, 'e'), 20), make([]byte, 20*36)
	run := func(n int) {
		for range n {
			c.Write(burst)
			if _, err := io.ReadFull(c, b); err != nil {
				t.Fatal(err)
			}
		}
	}
	run(50)
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	run(200)
	runtime.ReadMemStats(&after)
	if n := after.Mallocs - before.Mallocs; n > 4*200 {
		t.Errorf("%d allocations for 200 bursts of 20 queries", n)
	}
}
