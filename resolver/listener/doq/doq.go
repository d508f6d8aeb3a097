// Package doq serves DNS over QUIC (RFC 9250): each query comes on a stream of its own,
// and its response leaves on it.
//
// A stream is read until its message is whole, and no longer than a message may take.
// Its memory follows the octets that have come. What a client must not send ends its
// connection.
package doq

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"rideau/resolver"
	"rideau/resolver/limit"
	"rideau/resolver/listener/admission"
	"rideau/resolver/listener/overquic"
	"rideau/resolver/listener/proxied"
	"rideau/resolver/listener/secure"
	"rideau/resolver/listener/session"
	"rideau/resolver/wire"
)

// Protocol is DoQ's name in TLS.
const Protocol = "doq"

// Codes of errors (RFC 9250 section 4.3).
const (
	noError       = 0x0
	protocolError = 0x2
	excessiveLoad = 0x4
	unspecified   = 0x5
)

// Options of a Listener. All are to be set.
type Options struct {
	// Conn is the socket. The Listener closes it.
	Conn   *net.UDPConn
	Secure *secure.Config
	// Gate bounds the connections.
	Gate           *admission.Gate
	Proxies        *proxied.Sources // see overquic.Options
	ManyHandshakes int              // see overquic.Options
	// MaxStreams is how many queries one connection may have outstanding.
	MaxStreams int
	// WaitLimit bounds the queries that wait.
	WaitLimit *limit.WaitLimit
	// HandshakeTimeout, MessageTimeout and WriteTimeout are how long a handshake, a
	// query and a response may take; IdleTimeout how long a connection may be idle.
	HandshakeTimeout, MessageTimeout, WriteTimeout, IdleTimeout time.Duration
	// Drain is how long queries may still wait after the context of Serve has ended.
	Drain  time.Duration
	Logger *slog.Logger
}

// Listener serves an address. It is safe for concurrent use.
type Listener struct {
	o        Options
	core     *session.Core
	quic     *overquic.Listener
	stats    *resolver.Stats
	exchange *session.Exchange
	buffers  sync.Pool // of *[]byte
	draining chan struct{}
	open     atomic.Int64 // connections
	streams  atomic.Int64
}

// Listen begins to take connections, which wait until Serve. It owns the socket.
func Listen(o Options) (*Listener, error) {
	l := &Listener{o: o, core: session.New(nil, o.WaitLimit, session.NewLog(o.Logger)), draining: make(chan struct{})}
	l.buffers.New = func() any { return new(make([]byte, bufferSize)) }
	var err error
	l.quic, err = overquic.Listen(overquic.Options{Conn: o.Conn, TLS: o.Secure.For(Protocol), Gate: o.Gate, Proxies: o.Proxies, ManyHandshakes: o.ManyHandshakes,
		MaxStreams: o.MaxStreams, MaxOneWay: -1, HandshakeTimeout: o.HandshakeTimeout, IdleTimeout: o.IdleTimeout, Busy: excessiveLoad})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// bufferSize holds the usual query and the usual response.
const bufferSize = 2 << 10

// Use sets what answers, and what counts the queries. It is called before Serve.
func (l *Listener) Use(h session.Handler, stats *resolver.Stats) {
	l.core.Use(h)
	l.stats = stats
}

// Addr is the address that is bound.
func (l *Listener) Addr() netip.AddrPort { return l.quic.Addr() }

// Descriptors calls f with the socket, see listener.Listener.
func (l *Listener) Descriptors(f func(network string, a netip.AddrPort, fd int) error) error {
	return l.quic.Descriptors(f)
}

// Last has no effect: whether another server takes over or not, a connection cannot.
func (l *Listener) Last() {}

// Close closes a Listener that is not served.
func (l *Listener) Close() {
	if l.core.Abandon() {
		l.quic.Close()
	}
}

// Stats are a Listener's figures at one moment.
type Stats struct {
	session.Stats
	Connections, Streams int // open now
}

// Stats returns the figures of this moment.
func (l *Listener) Stats() Stats {
	return Stats{l.core.Stats(), int(l.open.Load()), int(l.streams.Load())}
}

// Serve answers queries until ctx ends. Then no connection and no stream is taken any more,
// queries that wait get their responses, and all connections end.
func (l *Listener) Serve(ctx context.Context) error {
	if !l.core.Begin(ctx) {
		return errors.New("doq: served or closed before")
	}
	l.exchange = l.core.NewExchange(l.stats.NewCounters())
	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		l.quic.Serve(l.connection)
	}()
	<-ctx.Done()
	l.core.Drain()
	l.quic.StopAccepting()
	<-accepting
	close(l.draining)
	for end := time.Now().Add(l.o.Drain); l.open.Load() > 0 && time.Now().Before(end); {
		time.Sleep(2 * time.Millisecond)
	}
	l.core.Close()
	l.core.Cancel(100 * time.Millisecond)
	l.quic.Close()
	l.quic.Wait()
	l.core.Wait()
	return nil
}

// connection serves a connection until it ends.
func (l *Listener) connection(c *quic.Conn, place *admission.Conn) {
	l.open.Add(1)
	defer l.open.Add(-1)
	ctx, cancel := context.WithCancel(c.Context())
	defer cancel()
	go func() {
		select {
		case <-l.draining:
			cancel()
		case <-ctx.Done():
		}
	}()
	state := c.ConnectionState().TLS
	x := &conn{l: l, quic: c, client: session.Client{Addr: overquic.Client(c.RemoteAddr()), Transport: resolver.DoQ, Claims: l.o.Secure.Claims(&state)}}
	for {
		s, err := c.AcceptStream(ctx)
		if err != nil {
			break
		}
		l.streams.Add(1)
		place.Begin()
		x.running.Go(func() {
			defer l.streams.Add(-1)
			defer place.End()
			x.serve(s)
			s.ReleaseStreamCredit() // only now may the client open another
		})
	}
	x.running.Wait()
	select { // a close overtakes responses that were written just now
	case <-c.Context().Done():
	case <-time.After(farewell):
	}
	c.CloseWithError(noError, "")
}

// farewell is how long a connection stays open after its last response.
const farewell = 50 * time.Millisecond

// conn is a connection.
type conn struct {
	l       *Listener
	quic    *quic.Conn
	client  session.Client
	running sync.WaitGroup
}

// serve answers the query of one stream.
func (x *conn) serve(s *quic.Stream) {
	l := x.l
	buf := l.buffers.Get().(*[]byte)
	defer func() {
		if cap(*buf) == bufferSize {
			l.buffers.Put(buf)
		}
	}()
	received := time.Now()
	s.SetReadDeadline(received.Add(l.o.MessageTimeout))
	msg, err := readMessage(s, buf)
	switch {
	case errors.Is(err, errProtocol):
		x.quic.CloseWithError(protocolError, "")
		return
	case err != nil: // the client has given up, or takes too long
		s.CancelRead(unspecified)
		s.CancelWrite(unspecified)
		return
	}
	var view wire.Query
	if wire.ID(msg) != 0 || view.Parse(msg) == wire.FaultDrop || view.Keepalive { // RFC 9250 sections 4.2.1 and 5.5.2
		x.quic.CloseWithError(protocolError, "")
		return
	}
	out := l.buffers.Get().(*[]byte)
	defer l.buffers.Put(out)
	// The client may give up with STOP_SENDING, which ends the stream's context.
	ans := l.exchange.Serve(s.Context(), (*out)[session.LengthLen:session.LengthLen], msg, x.client)
	if !session.Sendable(ans) {
		s.CancelRead(excessiveLoad)
		s.CancelWrite(excessiveLoad)
		return
	}
	s.SetWriteDeadline(time.Now().Add(l.o.WriteTimeout))
	if _, err := s.Write(session.Frame((*out)[:bufferSize], 0, ans)); err != nil {
		s.CancelWrite(unspecified)
		return
	}
	s.Close()
	s.CancelRead(noError) // for a client that leaves its side open
}

// errProtocol is what a client must not send.
var errProtocol = errors.New("doq: a stream that is not one query")

// readMessage reads the one message of a stream. buf grows as the message arrives; the
// message lies in it.
func readMessage(s io.Reader, buf *[]byte) ([]byte, error) {
	b := (*buf)[:cap(*buf)]
	for n, want := 0, 0; ; {
		if n == len(b) {
			grown := make([]byte, min(2*len(b), session.MaxFrame+1))
			copy(grown, b)
			b, *buf = grown, grown
		}
		k, err := s.Read(b[n:])
		n += k
		if want == 0 && n >= session.LengthLen {
			want = session.LengthLen + int(binary.BigEndian.Uint16(b))
			if want < session.LengthLen+session.HeaderLen {
				return nil, errProtocol
			}
		}
		switch {
		case want > 0 && n > want:
			return nil, errProtocol // a second message (RFC 9250 section 4.2)
		case want > 0 && n == want:
			return b[session.LengthLen:n], nil
		case err == io.EOF:
			return nil, errProtocol // the end, before the message's
		case err != nil:
			return nil, err
		}
	}
}
