package doh

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"rideau/resolver"
	"rideau/resolver/limit"
	"rideau/resolver/listener/admission"
	"rideau/resolver/listener/proxied"
	"rideau/resolver/listener/secure"
	"rideau/resolver/listener/session"
)

// Options of a Listener or a Listener3. All are to be set.
type Options struct {
	Secure *secure.Config
	// Gate bounds the connections.
	Gate           *admission.Gate
	ManyHandshakes int // see overquic.Options; for a Listener3
	// Proxies are those that say for which clients they speak; nil for none.
	Proxies *proxied.Sources
	// Settings are those at first.
	Settings Settings
	// MaxStreams is how many requests one connection may have outstanding.
	MaxStreams int
	// WaitLimit bounds the queries that wait.
	WaitLimit *limit.WaitLimit
	// MessageTimeout is how long a request may take from its first octet to its
	// last, and a handshake; WriteTimeout how long a response may, with the time
	// that its query waits; IdleTimeout how long a connection may be idle.
	MessageTimeout, WriteTimeout, IdleTimeout time.Duration
	// Drain is how long queries may still wait after the context of Serve has ended.
	Drain  time.Duration
	Logger *slog.Logger
}

// Listener serves an address by HTTP/1.1 and HTTP/2. It is safe for concurrent use.
type Listener struct {
	o       Options
	core    *session.Core
	tcp     *net.TCPListener
	server  *http.Server
	handler *Handler
	stats   *resolver.Stats
	open    atomic.Int64

	counters *resolver.Counters // of HTTP/2
	date     date
	mu       sync.Mutex
	two      map[*h2]struct{} // guarded by mu: connections by HTTP/2; nil once none are taken any more
}

// date is the time of day for responses, as HTTP writes it. It is safe for concurrent use.
type date struct{ text atomic.Pointer[dated] }

type dated struct {
	second int64
	text   string
}

// now returns the time of day.
func (d *date) now() string {
	now := time.Now()
	last := d.text.Load()
	if last == nil || last.second != now.Unix() {
		last = &dated{now.Unix(), now.UTC().Format(http.TimeFormat)}
		d.text.Store(last)
	}
	return last.text
}

// addH2 counts a connection by HTTP/2. It reports false if none is taken any more.
func (l *Listener) addH2(c *h2) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.two == nil {
		return false
	}
	l.two[c] = struct{}{}
	return true
}

func (l *Listener) removeH2(c *h2) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.two, c)
}

// endH2 has all connections by HTTP/2 end when their requests are answered, and takes no more.
func (l *Listener) endH2() {
	l.mu.Lock()
	all := l.two
	l.two = nil
	l.mu.Unlock()
	for c := range all {
		go c.end()
	}
}

// New makes a Listener of a socket, which it owns. Connections wait until Serve.
func New(tcp *net.TCPListener, o Options) *Listener {
	l := &Listener{o: o, core: session.New(nil, o.WaitLimit, session.NewLog(o.Logger)), tcp: tcp, handler: newHandler(resolver.DoH, o), two: map[*h2]struct{}{}}
	l.server = &http.Server{
		Handler: l.handler, TLSConfig: o.Secure.For("h2", "http/1.1"),
		ReadHeaderTimeout: o.MessageTimeout, ReadTimeout: o.MessageTimeout, WriteTimeout: o.WriteTimeout, IdleTimeout: o.IdleTimeout,
		MaxHeaderBytes: maxHeader, ErrorLog: log.New(io.Discard, "", 0), ConnState: connState, DisableGeneralOptionsHandler: true,
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, whoKey{}, &who{secure: o.Secure})
		},
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){"h2": func(_ *http.Server, t *tls.Conn, _ http.Handler) {
			if c, ok := t.NetConn().(*conn); ok {
				c.place.Idle()
				l.serveH2(t, c.place)
			}
		}},
	}
	l.server.RegisterOnShutdown(l.endH2)
	return l
}

// Use sets what answers, and what counts the queries. It is called before Serve.
func (l *Listener) Use(h session.Handler, stats *resolver.Stats) {
	l.core.Use(h)
	l.stats = stats
}

// Set sets where clients ask, and what they are told of HTTP/3.
func (l *Listener) Set(s Settings) { l.handler.settings.Store(&s) }

// Addr is the address that is bound.
func (l *Listener) Addr() netip.AddrPort { return l.tcp.Addr().(*net.TCPAddr).AddrPort() }

// Descriptors calls f with the socket, see listener.Listener.
func (l *Listener) Descriptors(f func(network string, a netip.AddrPort, fd int) error) error {
	return session.Descriptor("tcp", l.tcp, l.Addr(), f)
}

// Last has no effect: clients connect anew whether another server takes over or not.
func (l *Listener) Last() {}

// Close closes a Listener that is not served.
func (l *Listener) Close() {
	if l.core.Abandon() {
		l.tcp.Close()
	}
}

// Stats are a Listener's figures at one moment.
type Stats struct {
	session.Stats
	Connections int // open now
}

// Stats returns the figures of this moment.
func (l *Listener) Stats() Stats { return Stats{l.core.Stats(), int(l.open.Load())} }

// DefaultWriteTimeout is longer than a query waits.
const DefaultWriteTimeout = 30 * time.Second

var errServed = errors.New("doh: served or closed before")

// Serve answers requests until ctx ends. Then no connection and no request is taken any
// more, queries that wait get their responses, and all connections end.
func (l *Listener) Serve(ctx context.Context) error {
	if !l.core.Begin(ctx) {
		return errServed
	}
	l.counters = l.stats.NewCounters()
	l.handler.exchange = l.core.NewExchange(l.counters)
	ended := make(chan error, 1)
	go func() { ended <- l.server.ServeTLS(&accepting{l.tcp, l}, "", "") }()
	var err error
	select {
	case <-ctx.Done():
	case err = <-ended:
		ended <- nil
	}
	l.core.Drain()
	until, cancel := context.WithTimeout(context.Background(), l.o.Drain)
	defer cancel()
	if l.server.Shutdown(until) != nil {
		l.core.Close()
		l.core.Cancel(100 * time.Millisecond)
		l.server.Close()
	}
	<-ended
	l.core.Close()
	l.core.Cancel(100 * time.Millisecond)
	l.core.Wait()
	for end := time.Now().Add(time.Second); l.open.Load() > 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond) // their goroutines are about to end
	}
	return err
}

// accepting admits connections.
type accepting struct {
	*net.TCPListener
	l *Listener
}

// Accept implements net.Listener.
func (a *accepting) Accept() (net.Conn, error) {
	for {
		tcp, err := a.AcceptTCP()
		if err != nil {
			if a.l.core.Phase() == session.Serving && !errors.Is(err, net.ErrClosed) {
				a.l.core.AcceptFailed(err)
			}
			return nil, err
		}
		c := &conn{TCPConn: tcp, l: a.l}
		from := tcp.RemoteAddr().(*net.TCPAddr).AddrPort().Addr()
		if c.place = a.l.o.Gate.Admit(from, func() { tcp.Close() }); c.place == nil {
			tcp.SetLinger(0) // a flood of connections leaves no state in the kernel
			tcp.Close()
			continue
		}
		a.l.open.Add(1)
		return c, nil
	}
}

// conn is a connection that was admitted: of a proxy, as one of the proxy's until RemoteAddr knows the client.
type conn struct {
	*net.TCPConn
	l     *Listener
	place *admission.Conn // written by RemoteAddr alone, with mu held
	asked sync.Once
	from  net.Addr // set by asked

	mu    sync.Mutex
	ended bool // guarded by mu
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		c.ended = true
		c.l.open.Add(-1)
		c.place.Leave()
	}
	return c.TCPConn.Close()
}

// RemoteAddr implements net.Conn. The goroutine of the connection calls it before all else: of a proxy's connection, the
// first call reads who the client is, and admits the connection as the client's, or closes it.
func (c *conn) RemoteAddr() net.Addr {
	c.asked.Do(func() {
		c.from = c.TCPConn.RemoteAddr()
		via := c.from.(*net.TCPAddr).AddrPort()
		if c.l.o.Proxies.How(via.Addr()) != proxied.Header {
			return
		}
		c.SetReadDeadline(time.Now().Add(c.l.o.MessageTimeout))
		client, err := proxied.Read(c.TCPConn, via.Addr())
		if err != nil {
			c.l.core.ProxyFailed(err)
			c.Close()
			return
		}
		c.SetReadDeadline(time.Time{})
		c.from = &net.TCPAddr{IP: client.AsSlice(), Port: int(via.Port())}
		place := c.l.o.Gate.Admit(client, func() { c.TCPConn.Close() })
		if place == nil {
			c.Close()
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.place.Leave()
		if c.place = place; c.ended {
			place.Leave()
		}
	})
	return c.from
}

// connState says of a connection whether something is asked on it.
func connState(nc net.Conn, s http.ConnState) {
	t, ok := nc.(*tls.Conn)
	if !ok {
		return
	}
	c, ok := t.NetConn().(*conn)
	if !ok {
		return
	}
	switch s {
	case http.StateActive:
		c.place.Busy()
	case http.StateIdle:
		c.place.Idle()
	}
}
