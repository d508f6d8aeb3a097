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
	links *links
	most  atomic.Int64 // streams at a time, so far
	full  atomic.Bool  // the server has not allowed one more
}

// doqLink is a connection, and the next if that was closed.
type doqLink struct {
	u *DoQ

	mu   sync.Mutex
	conn *doqConn // guarded by mu; nil if there is none
}

// doqConn is a connection, or one that is being opened.
type doqConn struct {
	ready chan struct{} // closed when conn or err is set
	conn  *quic.Conn
	err   error
	// silence is how many queries in a row were given up, and heard when a response
	// came, in nanoseconds since the connection was begun. After maxSilence of them, and
	// minSilence, the server has presumably lost the connection, and it is closed.
	silence atomic.Int32
	heard   atomic.Int64
	begun   time.Time
	open    atomic.Int64 // streams
}

// NewDoQ makes a server. It connects to nothing yet.
func NewDoQ(o Options) *DoQ {
	u := new(DoQ)
	u.server = newServer(label("quic", &o, ""), o, "doq")
	u.links = newLinks(func() *link {
		k := &doqLink{u: u}
		return &link{ask: k.ask, close: k.close, octets: k.octets}
	})
	return u
}

// Close gives up the connection. It is closed when it is idle.
func (u *DoQ) Close() { u.links.close() }

// octets counts the octets that came over the connection.
func (k *doqLink) octets() uint64 {
	k.mu.Lock()
	c := k.conn
	k.mu.Unlock()
	if c == nil {
		return 0
	}
	select {
	case <-c.ready:
		return received(c.conn)
	default:
		return 0
	}
}

// received counts the octets that came over a connection, which may be nil.
func received(c *quic.Conn) uint64 {
	if c == nil {
		return 0
	}
	return c.ConnectionStats().BytesReceived
}

// close gives up the connection, which is closed when it is idle.
func (k *doqLink) close() {
	k.mu.Lock()
	k.conn = nil
	k.mu.Unlock()
}

// Exchange implements member.Server.
func (u *DoQ) Exchange(ctx context.Context, dst, query []byte) ([]byte, error) {
	m, err := prepare(query, 0, 2) // the id has to be 0 (RFC 9250 section 4.2.1)
	if err != nil {
		return dst, u.fail(ctx, err)
	}
	binary.BigEndian.PutUint16(m, uint16(len(m)-2))
	resp, err := u.links.exchange(ctx, m)
	if err != nil {
		return dst, u.fail(ctx, err)
	}
	return appendResponse(dst, query, resp), nil
}

// ask sends a framed query. If its connection is closed, it is sent once more, over a
// new one, and so on as long as connections bring answers: a server may allow few
// queries on each.
func (k *doqLink) ask(ctx context.Context, framed []byte) ([]byte, error) {
	barren := 0
	for try := 1; ; try++ {
		c, err := k.connect(ctx)
		if err != nil {
			return nil, err
		}
		resp, err := k.u.askOver(ctx, c, framed)
		if err == nil {
			if err = check(framed[2:], resp); err == nil {
				c.silence.Store(0)
				c.heard.Store(int64(time.Since(c.begun)))
				return resp, nil
			}
			c.conn.CloseWithError(doqProtocolError, "")
		} else if ctx.Err() != nil && c.silence.Add(1) >= maxSilence && time.Since(c.begun)-time.Duration(c.heard.Load()) >= minSilence {
			c.conn.CloseWithError(doqNoError, "")
		}
		if c.conn.Context().Err() != nil || gone(err) {
			k.drop(c)
		}
		if c.heard.Load() == 0 {
			barren++
		}
		if !gone(err) || barren == maxBarren || try == maxTries || ctx.Err() != nil {
			return nil, err
		}
	}
}

// ExchangeStream implements member.Server: QUIC is all there is.
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

// connect returns the connection.
func (k *doqLink) connect(ctx context.Context) (*doqConn, error) {
	k.mu.Lock()
	c := k.conn
	if c == nil {
		c = &doqConn{ready: make(chan struct{}), begun: time.Now()}
		k.conn = c
		go k.dial(c)
	}
	k.mu.Unlock()
	select {
	case <-c.ready:
		return c, c.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (k *doqLink) dial(c *doqConn) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*dialTimeout)
	defer cancel()
	k.u.full.Store(false) // it may be another server
	c.conn, c.err = k.u.dialQUIC(ctx, k.u.tls.NextProtos, quicConfig(k.u.o.IdleTimeout))
	if c.err != nil {
		k.drop(c)
	}
	close(c.ready)
	if c.err == nil {
		<-c.conn.Context().Done() // idle, or gone
		k.drop(c)
	}
}

func (k *doqLink) drop(c *doqConn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.conn == c {
		k.conn = nil
	}
}

// Capacity implements member.Bounded: as many streams as the server has been found to
// allow, or else a third more than there have been. So it is found out by queries
// that are answered, before those that are not take all.
func (u *DoQ) Capacity() int {
	most := int(u.most.Load())
	if u.full.Load() {
		return max(most, fewStreams)
	}
	return max(usualStreams, most/3*4)
}

// openStream opens a stream of c, or waits until there may be one more.
func (u *DoQ) openStream(ctx context.Context, c *doqConn) (*quic.Stream, error) {
	s, err := c.conn.OpenStream()
	var full *quic.StreamLimitReachedError
	if errors.As(err, &full) {
		u.full.Store(true)
		s, err = c.conn.OpenStreamSync(ctx)
	}
	if err != nil {
		return nil, err
	}
	if n := c.open.Add(1); n > u.most.Load() {
		u.most.Store(n)
	}
	return s, nil
}

// askOver sends a framed query over a stream of its own and returns the response.
func (u *DoQ) askOver(ctx context.Context, c *doqConn, framed []byte) ([]byte, error) {
	s, err := u.openStream(ctx, c)
	if err != nil {
		return nil, err
	}
	defer c.open.Add(-1)
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
