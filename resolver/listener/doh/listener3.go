package doh

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"rideau/resolver"
	"rideau/resolver/listener/admission"
	"rideau/resolver/listener/overquic"
	"rideau/resolver/listener/session"
)

// Listener3 serves an address by HTTP/3. It is safe for concurrent use.
type Listener3 struct {
	o       Options
	core    *session.Core
	quic    *overquic.Listener
	server  *http3.Server
	handler *Handler
	stats   *resolver.Stats
	open    atomic.Int64
	// requests are those that are being answered.
	requests atomic.Int64
}

// farewell is how long connections stay open after the last response.
const farewell = 50 * time.Millisecond

// excessiveLoad is H3_EXCESSIVE_LOAD (RFC 9114 section 8.1).
const excessiveLoad = 0x107

// New3 makes a Listener3 of a socket, which it owns. Connections wait until Serve.
func New3(udp *net.UDPConn, o Options) (*Listener3, error) {
	l := &Listener3{o: o, core: session.New(nil, o.WaitLimit, session.NewLog(o.Logger)), handler: newHandler(resolver.DoH3, o)}
	l.server = &http3.Server{Handler: http.HandlerFunc(l.serve), MaxHeaderBytes: maxHeader, IdleTimeout: o.IdleTimeout,
		ConnContext: func(ctx context.Context, c *quic.Conn) context.Context {
			return context.WithValue(context.WithValue(ctx, placeKey{}, overquic.Place(c)), whoKey{}, &who{secure: o.Secure})
		}}
	var err error
	l.quic, err = overquic.Listen(overquic.Options{Conn: udp, TLS: o.Secure.For(http3.NextProtoH3), Gate: o.Gate, Proxies: o.Proxies, ManyHandshakes: o.ManyHandshakes,
		MaxStreams: o.MaxStreams, MaxOneWay: controlStreams, HandshakeTimeout: o.MessageTimeout, IdleTimeout: o.IdleTimeout, Busy: excessiveLoad})
	return l, err
}

// controlStreams are a client's control stream and the two of QPACK (RFC 9114 section
// 6.2), and a few of types that nobody knows.
const controlStreams = 8

// Use sets what answers, and what counts the queries. It is called before Serve.
func (l *Listener3) Use(h session.Handler, stats *resolver.Stats) {
	l.core.Use(h)
	l.stats = stats
}

// Set sets where clients ask, and what they are told of HTTP/3.
func (l *Listener3) Set(s Settings) { l.handler.settings.Store(&s) }

// Addr is the address that is bound.
func (l *Listener3) Addr() netip.AddrPort { return l.quic.Addr() }

// Descriptors calls f with the socket, see listener.Listener.
func (l *Listener3) Descriptors(f func(network string, a netip.AddrPort, fd int) error) error {
	return l.quic.Descriptors(f)
}

// Last has no effect: clients connect anew whether another server takes over or not.
func (l *Listener3) Last() {}

// Close closes a Listener3 that is not served.
func (l *Listener3) Close() {
	if l.core.Abandon() {
		l.quic.Close()
	}
}

// Stats returns the figures of this moment.
func (l *Listener3) Stats() Stats { return Stats{l.core.Stats(), int(l.open.Load())} }

// Serve is Listener.Serve.
func (l *Listener3) Serve(ctx context.Context) error {
	if !l.core.Begin(ctx) {
		return errServed
	}
	l.handler.exchange = l.core.NewExchange(l.stats.NewCounters())
	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		l.quic.Serve(l.connection)
	}()
	<-ctx.Done()
	l.core.Drain()
	l.quic.StopAccepting()
	<-accepting
	// Shutdown tells clients, and waits for them to end their connections, which
	// those may never do. What is awaited here are the responses.
	until, cancel := context.WithCancel(context.Background())
	told := make(chan struct{})
	go func() {
		defer close(told)
		l.server.Shutdown(until)
	}()
	for end := time.Now().Add(l.o.Drain); l.requests.Load() > 0 && time.Now().Before(end); {
		time.Sleep(2 * time.Millisecond)
	}
	select {
	case <-told:
	case <-time.After(farewell):
	}
	cancel()
	<-told
	l.core.Close()
	l.core.Cancel(100 * time.Millisecond)
	l.quic.Close()
	l.quic.Wait()
	l.core.Wait()
	return nil
}

// connection serves a connection until it ends.
func (l *Listener3) connection(c *quic.Conn, _ *admission.Conn) {
	l.open.Add(1)
	defer l.open.Add(-1)
	l.server.ServeQUICConn(c)
}

// placeKey is the key of a connection's place in the contexts of its requests.
type placeKey struct{}

// serve answers a request.
func (l *Listener3) serve(w http.ResponseWriter, r *http.Request) {
	l.requests.Add(1)
	defer l.requests.Add(-1)
	if place, ok := r.Context().Value(placeKey{}).(*admission.Conn); ok {
		place.Begin()
		defer place.End()
	}
	// HTTP/3 has no time for a request of its own.
	now := time.Now()
	c := http.NewResponseController(w)
	c.SetReadDeadline(now.Add(l.o.MessageTimeout))
	c.SetWriteDeadline(now.Add(l.o.WriteTimeout))
	l.handler.ServeHTTP(w, r)
}
