package doh_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"rideau/resolver"
	"rideau/resolver/limit"
	"rideau/resolver/listener"
	"rideau/resolver/listener/admission"
	"rideau/resolver/listener/doh"
	"rideau/resolver/listener/secure"
	"rideau/resolver/listener/secure/securetest"
)

// fake answers with the query, the QR bit, and what add appends. A message whose last
// octet is 'w' waits until release; with 'd' there is no response.
type fake struct {
	release chan struct{}
	add     func(msg []byte) []byte

	mu      sync.Mutex
	last    resolver.Query // without Msg
	asked   int
	waiting int
}

func (f *fake) Answer(dst []byte, q *resolver.Query) ([]byte, resolver.Outcome) {
	f.mu.Lock()
	f.last = *q
	f.last.Msg = nil
	f.asked++
	f.mu.Unlock()
	switch q.Msg[len(q.Msg)-1] {
	case 'w':
		return dst, resolver.Outcome{Kind: resolver.Pending, Ban: 255}
	case 'd':
		return dst, resolver.Outcome{Kind: resolver.Dropped, Ban: 255}
	}
	return append(dst, f.response(q.Msg)...), resolver.Outcome{Kind: resolver.Cached, Ban: 255}
}

func (f *fake) Resolve(ctx context.Context, dst []byte, q *resolver.Query) ([]byte, resolver.Outcome) {
	f.count(1)
	defer f.count(-1)
	select {
	case <-f.release:
	case <-ctx.Done():
	}
	return append(dst, f.response(q.Msg)...), resolver.Outcome{Kind: resolver.Forwarded, Ban: 255}
}

func (f *fake) Shed(dst []byte, q *resolver.Query) ([]byte, resolver.Outcome) {
	return append(dst, f.response(q.Msg)...), resolver.Outcome{Kind: resolver.Shed, Ban: 255}
}

func (f *fake) response(msg []byte) []byte {
	m := bytes.Clone(msg)
	m[2] |= 0x80
	if f.add != nil {
		m = f.add(m)
	}
	return m
}

func (f *fake) count(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting += n
}

func (f *fake) waits() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.waiting
}

func (f *fake) await(t *testing.T, n int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		f.mu.Lock()
		got := f.waiting
		f.mu.Unlock()
		if got == n {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d queries wait, want %d", got, n)
		}
	}
}

// query is a query for www.example, with kind behind it.
func query(kind string) []byte {
	return append([]byte{0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, 'w', 'w', 'w', 7, 'e', 'x', 'a', 'm', 'p', 'l', 'e', 0, 0, 1, 0, 1}, kind...)
}

func encoded(m []byte) string { return base64.RawURLEncoding.EncodeToString(m) }

// server is a Listener and a Listener3 with the same certificate, and clients of each
// version.
type server struct {
	tcp  *doh.Listener
	quic *doh.Listener3
	fake *fake
	ca   *securetest.Authority
	gate *admission.Gate
	end  func()
}

func serve(t *testing.T, edit func(*doh.Options, *admission.Limits)) *server {
	t.Helper()
	limits := admission.Limits{Connections: 50}
	s := &server{fake: &fake{release: make(chan struct{})}, ca: securetest.NewAuthority(t)}
	o := doh.Options{
		Secure:   secure.NewConfig(&secure.Settings{Certificates: []tls.Certificate{s.ca.Issue(time.Hour, "dns.example", "127.0.0.1")}}),
		Settings: doh.Settings{Path: "/dns-query", AltSvc: `h3=":443"; ma=3600`}, ManyHandshakes: 16, MaxStreams: 20, WaitLimit: limit.NewWaitLimit(1000),
		MessageTimeout: 5 * time.Second, WriteTimeout: 20 * time.Second, IdleTimeout: 10 * time.Second, Drain: time.Second, Logger: slog.New(slog.DiscardHandler),
	}
	if edit != nil {
		edit(&o, &limits)
	}
	s.gate = admission.NewGate(limits)
	o.Gate = s.gate
	l, err := listener.BindTCP(netip.MustParseAddrPort("127.0.0.1:0"), false, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := listener.BindUDP(netip.MustParseAddrPort("127.0.0.1:0"), false, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.tcp = doh.New(l, o)
	if s.quic, err = doh.New3(c, o); err != nil {
		t.Fatal(err)
	}
	stats := new(resolver.Stats)
	s.tcp.Use(s.fake, stats)
	s.quic.Use(s.fake, stats)
	ctx, cancel := context.WithCancel(context.Background())
	s.end = cancel
	done := make(chan error, 2)
	go func() { done <- s.tcp.Serve(ctx) }()
	go func() { done <- s.quic.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		a, b := s.tcp.Stats(), s.quic.Stats()
		if a.Connections != 0 || b.Connections != 0 || a.Waiting != 0 || b.Waiting != 0 || s.gate.Stats().Open != 0 {
			t.Errorf("after the end: %+v, %+v, %+v", a, b, s.gate.Stats())
		}
	})
	return s
}

// clients are one for each version of HTTP, with the URL that it asks.
func (s *server) clients(t *testing.T) map[string]*client {
	t.Helper()
	config := func() *tls.Config { return &tls.Config{RootCAs: s.ca.Pool(), ServerName: "dns.example"} }
	one := &http.Transport{TLSClientConfig: config(), TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}, MaxResponseHeaderBytes: 1 << 20}
	two := &http.Transport{TLSClientConfig: config(), ForceAttemptHTTP2: true}
	three := &http3.Transport{TLSClientConfig: config()}
	t.Cleanup(func() { one.CloseIdleConnections(); two.CloseIdleConnections(); three.Close() })
	over := func(rt http.RoundTripper, a netip.AddrPort, proto string) *client {
		return &client{http.Client{Transport: rt, Timeout: 20 * time.Second}, "https://" + a.String(), proto}
	}
	return map[string]*client{"HTTP 1.1": over(one, s.tcp.Addr(), "HTTP/1.1"), "HTTP 2": over(two, s.tcp.Addr(), "HTTP/2.0"), "HTTP 3": over(three, s.quic.Addr(), "HTTP/3.0")}
}

type client struct {
	http.Client
	url   string
	proto string
}

func (c *client) do(t *testing.T, method, path string, body io.Reader, header ...string) (*http.Response, []byte) {
	t.Helper()
	r, err := http.NewRequest(method, c.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/dns-message")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := c.Do(r)
	if err != nil && len(path) > 16<<10 {
		return &http.Response{StatusCode: http.StatusRequestHeaderFieldsTooLarge, Proto: c.proto}, nil // the client knows the bound
	}
	if err != nil {
		t.Fatalf("%s %.60s: %.200v", method, path, err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	return res, text
}

// TestRequests: what each request is answered, by each version of HTTP.
func TestRequests(t *testing.T) {
	s := serve(t, nil)
	good := query("")
	for name, c := range s.clients(t) {
		t.Run(name, func(t *testing.T) {
			for _, r := range []struct {
				method, path string
				body         []byte
				header       []string
				want         int
			}{
				{"GET", "/dns-query?dns=" + encoded(good), nil, nil, 200},
				{"GET", "/dns-query?a=b&dns=" + encoded(good), nil, nil, 200},
				{"GET", "/dns-query?dns=" + strings.ReplaceAll(encoded(good), "A", "%41"), nil, nil, 200},
				{"HEAD", "/dns-query?dns=" + encoded(good), nil, nil, 200},
				{"POST", "/dns-query", good, nil, 200},
				{"POST", "/dns-query", good, []string{"Content-Type", "Application/DNS-Message; x=y"}, 200},
				{"POST", "/dns-query?dns=" + encoded(good), good, nil, 200},
				{"POST", "/dns-query", append(query("e"), make([]byte, 65000)...), nil, 200},
				{"GET", "/dns-query", nil, nil, 400},
				{"GET", "/dns-query?dns=", nil, nil, 400},
				{"GET", "/dns-query?dns?dns=" + encoded(good), nil, nil, 400}, // as iOS 16 makes of a template
				{"GET", "/dns-query?dns=" + encoded(good) + "&dns=" + encoded(good), nil, nil, 400},
				{"GET", "/dns-query?dns=" + base64.URLEncoding.EncodeToString(append(good, 1, 2)), nil, nil, 400}, // with padding
				{"GET", "/dns-query?dns=%zz", nil, nil, 400},
				{"GET", "/dns-query?dns=" + encoded(good[:11]), nil, nil, 400},
				{"GET", "/dns-query?dns=" + encoded(append([]byte{0, 0, 0x80}, good[3:]...)), nil, nil, 400}, // a response
				{"GET", "/dns-query?dns=" + encoded(make([]byte, 40_000)), nil, nil, 431},
				{"GET", "/", nil, nil, 404},
				{"GET", "/dns-query/?dns=" + encoded(good), nil, nil, 404},
				{"POST", "/dns", good, nil, 404},
				{"PUT", "/dns-query", good, nil, 405},
				{"OPTIONS", "/dns-query", nil, nil, 405},
				{"POST", "/dns-query", nil, nil, 400},
				{"POST", "/dns-query", good, []string{"Content-Type", "application/dns-json"}, 415},
				{"POST", "/dns-query", good, []string{"Content-Type", ""}, 415},
				{"POST", "/dns-query", good, []string{"Content-Encoding", "gzip"}, 415},
				{"POST", "/dns-query", make([]byte, 65536), nil, 413},
				{"POST", "/dns-query", query("d"), nil, 429},
			} {
				s.fake.mu.Lock()
				before := s.fake.asked
				s.fake.mu.Unlock()
				var body io.Reader
				if r.body != nil {
					body = bytes.NewReader(r.body)
				}
				res, got := c.do(t, r.method, r.path, body, r.header...)
				if res.StatusCode != r.want || res.Proto != c.proto {
					t.Errorf("%s %.60s by %s: %d %s, want %d", r.method, r.path, res.Proto, res.StatusCode, got, r.want)
				}
				s.fake.mu.Lock()
				asked, last := s.fake.asked > before, s.fake.last
				s.fake.mu.Unlock()
				if asked != (r.want == 200 || r.want == 429) {
					t.Errorf("%s %.60s: asked: %v", r.method, r.path, asked)
				}
				if r.want != 200 {
					continue
				}
				want := resolver.DoH
				if c.proto == "HTTP/3.0" {
					want = resolver.DoH3
				}
				if last.Transport != want || last.Client != netip.MustParseAddr("127.0.0.1") || last.Keepalive != 0 {
					t.Errorf("by %v from %v", last.Transport, last.Client)
				}
				if r.method == "HEAD" {
					got = make([]byte, res.ContentLength)
				} else if got[2]&0x80 == 0 {
					t.Errorf("%.60s: %.60x", r.path, got)
				}
				if res.ContentLength != int64(len(got)) || res.Header.Get("Content-Type") != "application/dns-message" || res.Header.Get("Age") != "" {
					t.Errorf("%.60s: %d octets, %v", r.path, res.ContentLength, res.Header)
				}
			}
			if res, _ := c.do(t, "PUT", "/dns-query", nil); res.Header.Get("Allow") != "GET, HEAD, POST" || res.Header.Get("Alt-Svc") != `h3=":443"; ma=3600` {
				t.Errorf("%v", res.Header)
			}
			settings := doh.Settings{Path: "/other"}
			s.tcp.Set(settings)
			s.quic.Set(settings)
			if res, _ := c.do(t, "GET", "/other?dns="+encoded(good), nil); res.StatusCode != 200 || res.Header.Get("Alt-Svc") != "" {
				t.Errorf("the new path: %d, %v", res.StatusCode, res.Header)
			}
			settings = doh.Settings{Path: "/dns-query", AltSvc: `h3=":443"; ma=3600`}
			s.tcp.Set(settings)
			s.quic.Set(settings)
		})
	}
}

// TestLifetime: a response may be kept for the lowest TTL of its answers, a negative one for
// that of its SOA record, and a failure not at all.
func TestLifetime(t *testing.T) {
	s := serve(t, nil)
	record := func(kind uint16, ttl byte, data ...byte) []byte {
		return append([]byte{0xc0, 12, byte(kind >> 8), byte(kind), 0, 1, 0, 0, 1, ttl, 0, byte(len(data))}, data...)
	}
	soa := record(6, 90, append(append([]byte{0, 0}, make([]byte, 16)...), 0, 0, 0, 60)...)
	with := func(rcode, answers, authority byte, records ...[]byte) func([]byte) []byte {
		return func(m []byte) []byte {
			m[3] |= rcode
			m[7], m[9] = answers, authority
			return append(m, bytes.Join(records, nil)...)
		}
	}
	c := s.clients(t)["HTTP 2"]
	for want, add := range map[string]func([]byte) []byte{
		"max-age=266": with(0, 2, 0, record(1, 44, 1, 2, 3, 4), record(1, 10, 1, 2, 3, 4)),
		"max-age=60":  with(0, 0, 1, soa),
		"max-age=257": with(0, 1, 1, record(1, 1, 1, 2, 3, 4), soa),
		"max-age=0":   with(2, 1, 0, record(1, 44, 1, 2, 3, 4)),
	} {
		s.fake.add = add
		if res, _ := c.do(t, "GET", "/dns-query?dns="+encoded(query("")), nil); res.Header.Get("Cache-Control") != want {
			t.Errorf("%s, want %s", res.Header.Get("Cache-Control"), want)
		}
	}
	s.fake.add = with(3, 0, 1, soa)
	if res, _ := c.do(t, "GET", "/dns-query?dns="+encoded(query("")), nil); res.Header.Get("Cache-Control") != "max-age=60" {
		t.Errorf("NXDOMAIN: %s", res.Header.Get("Cache-Control"))
	}
}

// endless is a body without end.
type endless struct{ sent atomic.Int64 }

func (e *endless) Read(b []byte) (int, error) {
	if e.sent.Add(int64(len(b))) > 64<<20 {
		return 0, io.EOF
	}
	return len(b), nil
}

// TestBodies: a body without end is refused after the size of a message, and one that
// does not come costs its client no more than the time for a message.
func TestBodies(t *testing.T) {
	s := serve(t, func(o *doh.Options, _ *admission.Limits) { o.MessageTimeout = 300 * time.Millisecond })
	for name, c := range s.clients(t) {
		t.Run(name, func(t *testing.T) {
			body := new(endless)
			r, _ := http.NewRequest("POST", c.url+"/dns-query", io.NopCloser(body))
			r.Header.Set("Content-Type", "application/dns-message")
			if res, err := c.Do(r); err == nil {
				res.Body.Close()
				if res.StatusCode != 413 {
					t.Errorf("%d", res.StatusCode)
				}
			}
			if body.sent.Load() > 16<<20 {
				t.Errorf("%d octets were sent", body.sent.Load()) // what the system holds is among them
			}
			reader, writer := io.Pipe()
			defer writer.Close()
			go writer.Write([]byte{0})
			r, _ = http.NewRequest("POST", c.url+"/dns-query", reader)
			r.Header.Set("Content-Type", "application/dns-message")
			start := time.Now()
			res, err := c.Do(r)
			if err == nil {
				res.Body.Close()
				if res.StatusCode != 408 {
					t.Errorf("%d", res.StatusCode)
				}
			}
			if d := time.Since(start); d > 5*time.Second {
				t.Errorf("it took %v", d)
			}
		})
	}
	s.fake.mu.Lock()
	defer s.fake.mu.Unlock()
	if s.fake.asked > 0 {
		t.Error("something was answered")
	}
}

// TestWaiting: queries that wait hold up no others; a client that gives up ends its query; and
// the end of the server lets the others have their responses.
func TestWaiting(t *testing.T) {
	s := serve(t, nil)
	all := s.clients(t)
	codes := make(chan string, len(all))
	for name, c := range all {
		if name == "HTTP 2" {
			continue // its queries end by themselves; their number is bounded
		}
		given, cancel := context.WithCancel(context.Background())
		go func() {
			r, _ := http.NewRequestWithContext(given, "GET", c.url+"/dns-query?dns="+encoded(query("w")), nil)
			c.Do(r)
		}()
		s.fake.await(t, 1)
		c.do(t, "GET", "/dns-query?dns="+encoded(query("")), nil)
		cancel()
		s.fake.await(t, 0)
	}
	for name, c := range all {
		go func() {
			res, err := c.Get(c.url + "/dns-query?dns=" + encoded(query("w")))
			if err != nil {
				codes <- fmt.Sprint(name, ": ", err)
				return
			}
			res.Body.Close()
			codes <- res.Status
		}()
	}
	s.fake.await(t, len(all))
	s.end()
	time.AfterFunc(50*time.Millisecond, func() { close(s.fake.release) })
	for range all {
		if got := <-codes; got != "200 OK" {
			t.Error(got)
		}
	}
}

// TestConnections: connections of a client are bounded, and idle ones give their places up.
// Those on which nothing is asked take nothing from others.
func TestConnections(t *testing.T) {
	s := serve(t, func(_ *doh.Options, l *admission.Limits) { l.PerClient, l.Fresh = 8, 4 })
	for range 40 {
		c, err := net.Dial("tcp", s.tcp.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	for name, c := range s.clients(t) {
		if res, _ := c.do(t, "GET", "/dns-query?dns="+encoded(query("")), nil); res.StatusCode != 200 {
			t.Errorf("%s: %d", name, res.StatusCode)
		}
	}
	if n := s.gate.Stats(); n.Open > 8 || n.Fresh > 4 || n.Evicted < 30 {
		t.Errorf("%+v", n)
	}
}
