// Package overquic accepts connections by QUIC: it binds an address, makes handshakes,
// bounds both, and hands each connection to a protocol.
//
// A client has to show that its address is its own (a Retry, RFC 9000 section
// 8.1.2) once many handshakes are under way, so that forged addresses take no memory
// that others need. There is no 0-RTT: what comes by it can be sent again by others.
package overquic

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"rideau/resolver/listener/admission"
	"rideau/resolver/listener/proxied"
	"rideau/resolver/listener/session"
)

// Options of a Listener. All are to be set.
type Options struct {
	// Conn is the socket. The Listener closes it.
	Conn *net.UDPConn
	// TLS is how handshakes are made.
	TLS *tls.Config
	// Gate bounds the connections, also those of others that share it.
	Gate *admission.Gate
	// Proxies are those that say for which clients they speak. Those that do so by the PROXY protocol, which QUIC has not, are refused. nil: there
	// are none.
	Proxies *proxied.Sources
	// ManyHandshakes is how many may be under way before clients have to show that
	// their addresses are their own.
	ManyHandshakes int
	// MaxStreams is how many streams a client may have open on a connection, and
	// MaxOneWay how many on which it only sends; negative is none. A stream counts until
	// its ReleaseStreamCredit is called: one that a client gives up does no less.
	MaxStreams, MaxOneWay int
	// HandshakeTimeout is how long a handshake may take, IdleTimeout how long nothing
	// may come on a connection.
	HandshakeTimeout, IdleTimeout time.Duration
	// Busy is the protocol's code for having too much to do.
	Busy quic.ApplicationErrorCode
}

// Listener accepts connections. It is safe for concurrent use.
type Listener struct {
	o         Options
	transport *quic.Transport
	listener  *quic.Listener
	running   sync.WaitGroup
}

// What a client may send before it is read. A query fits, and most clients send no
// more on a stream; the window of a stream that is read grows.
const (
	streamWindow    = 4 << 10
	maxStreamWindow = 68 << 10
	connWindow      = 64 << 10
	maxConnWindow   = 256 << 10
)

// errTurnedAway is why a connection is refused.
var errTurnedAway = errors.New("too many connections")

// Listen begins to accept. Connections wait until Serve takes them.
func Listen(o Options) (*Listener, error) {
	l := &Listener{o: o}
	l.transport = &quic.Transport{Conn: o.Conn, VerifySourceAddress: func(net.Addr) bool { return o.Gate.Stats().Fresh >= o.ManyHandshakes },
		ConnContext: l.admit}
	var err error
	l.listener, err = l.transport.Listen(o.TLS, &quic.Config{
		HandshakeIdleTimeout: o.HandshakeTimeout, MaxIdleTimeout: o.IdleTimeout,
		InitialStreamReceiveWindow: streamWindow, MaxStreamReceiveWindow: maxStreamWindow,
		InitialConnectionReceiveWindow: connWindow, MaxConnectionReceiveWindow: maxConnWindow,
		MaxIncomingStreams: int64(o.MaxStreams), MaxIncomingUniStreams: int64(o.MaxOneWay), RequireStreamCreditRelease: true,
	})
	if err != nil {
		o.Conn.Close()
		return nil, err
	}
	return l, nil
}

// place is the key of a connection's place in its context.
type place struct{}

// Place is what counts a connection.
func Place(c *quic.Conn) *admission.Conn {
	p, _ := c.Context().Value(place{}).(*admission.Conn)
	return p
}

// admit counts a connection, or refuses it.
func (l *Listener) admit(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
	if l.o.Proxies.How(Client(info.RemoteAddr)) == proxied.Header {
		return ctx, proxied.ErrNone
	}
	p := l.o.Gate.Admit(Client(info.RemoteAddr), nil)
	if p == nil {
		return ctx, errTurnedAway
	}
	context.AfterFunc(ctx, p.Leave)
	return context.WithValue(ctx, place{}, p), nil
}

// Client is a client's address, without zone, and IPv4 as IPv4.
func Client(a net.Addr) netip.Addr {
	u, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.Addr{}
	}
	return u.AddrPort().Addr().Unmap().WithZone("")
}

// Addr is the address that is bound.
func (l *Listener) Addr() netip.AddrPort { return l.o.Conn.LocalAddr().(*net.UDPAddr).AddrPort() }

// Descriptors calls f with the socket, see session.Descriptor.
func (l *Listener) Descriptors(f func(network string, a netip.AddrPort, fd int) error) error {
	return session.Descriptor("udp", l.o.Conn, l.Addr(), f)
}

// Serve calls handle for each connection, on a goroutine of its own, until
// StopAccepting. handle returns when the connection has ended. The place counts the
// connection: handle says when it is busy and when it is idle.
func (l *Listener) Serve(handle func(*quic.Conn, *admission.Conn)) {
	for {
		c, err := l.listener.Accept(context.Background())
		if err != nil {
			return
		}
		p := Place(c)
		p.Idle()
		if !p.Close(func() { c.CloseWithError(l.o.Busy, "") }) {
			c.CloseWithError(l.o.Busy, "")
			continue
		}
		l.running.Go(func() { handle(c, p) })
	}
}

// StopAccepting takes no more connections. Those that are open go on.
func (l *Listener) StopAccepting() { l.listener.Close() }

// Wait waits until all calls of handle have returned.
func (l *Listener) Wait() { l.running.Wait() }

// Close ends all connections, and closes the socket.
func (l *Listener) Close() {
	l.transport.Close()
	l.o.Conn.Close()
}
