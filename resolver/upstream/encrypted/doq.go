package encrypted

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"rideau/resolver/wire"
)

// Error codes of RFC 9250 section 4.3.
const (
	doqNoError          = 0
	doqProtocolError    = 2
	doqRequestCancelled = 3
)

// quicConfig bounds the memory that a server can make us use, and allows it to
// open no streams.
func quicConfig(idle time.Duration) *quic.Config {
	return &quic.Config{
		HandshakeIdleTimeout:           dialTimeout,
		MaxIdleTimeout:                 idle,
		MaxIncomingStreams:             -1,
		InitialStreamReceiveWindow:     64 << 10,
		MaxStreamReceiveWindow:         128 << 10,
		InitialConnectionReceiveWindow: 512 << 10,
		MaxConnectionReceiveWindow:     4 << 20,
	}
}

// dialQUIC connects, and authenticates the server.
func (s *server) dialQUIC(ctx context.Context, alpn []string, q *quic.Config) (*quic.Conn, error) {
	var conn *quic.Conn
	err := s.each(ctx, func(ctx context.Context, a netip.AddrPort) error {
		c := s.configFor(a).Clone()
		c.NextProtos, c.MinVersion = alpn, 0x0304 // QUIC has TLS 1.3
		var err error
		conn, err = quic.DialAddr(ctx, a.String(), c, q)
		return err
	})
	return conn, err
}

// DoQ is a server asked over QUIC (RFC 9250): one stream for each query, over
// one connection. It is safe for concurrent use.
type DoQ struct {
	server

	mu   sync.Mutex
	conn *doqConn // guarded by mu; nil if there is none
}

// doqConn is a connection, or one that is being opened.
type doqConn struct {
	ready chan struct{} // closed when conn or err is set
	conn  *quic.Conn
	err   error
	// silence is how many queries in a row were given up. After maxSilence of
	// them the server has presumably lost the connection, and it is closed.
	silence atomic.Int32
}

// NewDoQ makes a server. It connects to nothing yet.
func NewDoQ(o Options) *DoQ {
	u := new(DoQ)
	u.server = newServer(label("quic", &o, ""), o, "doq")
	return u
}

// Close gives up the connection. It is closed when it is idle.
func (u *DoQ) Close() {
	u.mu.Lock()
	u.conn = nil
	u.mu.Unlock()
}

// Exchange implements upstream.Server. A query on a connection that turns out to
// be closed is sent once more, over a new one.
func (u *DoQ) Exchange(ctx context.Context, dst, query []byte) ([]byte, error) {
	m, err := prepare(query, 0, 2) // the id has to be 0 (RFC 9250 section 4.2.1)
	if err != nil {
		return dst, u.fail(ctx, err)
	}
	binary.BigEndian.PutUint16(m, uint16(len(m)-2))
	for try := 0; ; try++ {
		c, made, err := u.connect(ctx)
		if err != nil {
			return dst, u.fail(ctx, err)
		}
		resp, err := ask(ctx, c.conn, m)
		if err == nil {
			if dst, err = accept(dst, query, m[2:], resp); err == nil {
				c.silence.Store(0)
				return dst, nil
			}
			c.conn.CloseWithError(doqProtocolError, "")
		} else if ctx.Err() != nil && c.silence.Add(1) >= maxSilence {
			c.conn.CloseWithError(doqNoError, "")
		}
		if c.conn.Context().Err() != nil || gone(err) {
			u.drop(c)
		}
		if !gone(err) || made || try > 0 || ctx.Err() != nil {
			return dst, u.fail(ctx, err)
		}
	}
}

// ExchangeStream implements upstream.Server: QUIC is all there is.
func (u *DoQ) ExchangeStream(ctx context.Context, dst, query []byte) ([]byte, error) {
	return u.Exchange(ctx, dst, query)
}

// gone reports whether an error is that of a connection, and not of a stream or
// of a message.
func gone(err error) bool {
	var app *quic.ApplicationError
	var transport *quic.TransportError
	var idle *quic.IdleTimeoutError
	var reset *quic.StatelessResetError
	return errors.As(err, &app) || errors.As(err, &transport) || errors.As(err, &idle) || errors.As(err, &reset) || errors.Is(err, net.ErrClosed)
}

// connect returns the connection, and whether it was opened for that.
func (u *DoQ) connect(ctx context.Context) (c *doqConn, made bool, err error) {
	u.mu.Lock()
	if c = u.conn; c == nil {
		made = true
		c = &doqConn{ready: make(chan struct{})}
		u.conn = c
		go u.dial(c)
	}
	u.mu.Unlock()
	select {
	case <-c.ready:
		return c, made, c.err
	case <-ctx.Done():
		return nil, made, ctx.Err()
	}
}

func (u *DoQ) dial(c *doqConn) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*dialTimeout)
	defer cancel()
	c.conn, c.err = u.dialQUIC(ctx, u.tls.NextProtos, quicConfig(u.o.IdleTimeout))
	if c.err != nil {
		u.drop(c)
	}
	close(c.ready)
	if c.err == nil {
		<-c.conn.Context().Done() // idle, or gone
		u.drop(c)
	}
}

func (u *DoQ) drop(c *doqConn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.conn == c {
		u.conn = nil
	}
}

// ask sends a framed query over a stream of its own and returns the response.
func ask(ctx context.Context, conn *quic.Conn, framed []byte) ([]byte, error) {
	s, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() {
		s.CancelRead(doqRequestCancelled)
		s.CancelWrite(doqRequestCancelled)
	})
	defer stop()
	if _, err := s.Write(framed); err != nil {
		s.CancelRead(doqRequestCancelled) // otherwise the stream stays open, and their number is limited
		return nil, orDone(ctx, err)
	}
	s.Close() // STREAM FIN (RFC 9250 section 4.2)
	var head [2]byte
	if _, err := io.ReadFull(s, head[:]); err != nil {
		return nil, orDone(ctx, err)
	}
	n := int(binary.BigEndian.Uint16(head[:]))
	if n < wire.HeaderLen {
		s.CancelRead(doqProtocolError)
		return nil, wire.ErrMessage
	}
	resp := make([]byte, n)
	if _, err := io.ReadFull(s, resp); err != nil {
		return nil, orDone(ctx, err)
	}
	s.CancelRead(doqNoError)
	return resp, nil
}

// orDone is the context's error if that is why a stream ended.
func orDone(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
