package do53

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"rideau/resolver/upstream/acceptance"
)

// stream is a TCP connection to a server. It has one user at a time: the
// exchange that got it from [idle] or dialled it.
type stream struct {
	conn  net.Conn
	timer *time.Timer // closes it while idle
	head  [2]byte
}

// idle is a bounded stack of connections that are kept for the next query. It
// is safe for concurrent use.
type idle struct {
	timeout time.Duration
	max     int

	mu      sync.Mutex // guards what follows
	streams []*stream  // the one used last is last
	closed  bool
}

// get removes and returns the connection used last, or nil.
func (i *idle) get() *stream {
	i.mu.Lock()
	defer i.mu.Unlock()
	n := len(i.streams)
	if n == 0 {
		return nil
	}
	s := i.streams[n-1]
	i.streams = i.streams[:n-1]
	s.timer.Stop()
	return s
}

// put keeps the connection for a while, or closes it.
func (i *idle) put(s *stream) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed || len(i.streams) >= i.max {
		s.conn.Close()
		return
	}
	i.streams = append(i.streams, s)
	s.timer = time.AfterFunc(i.timeout, func() { i.expire(s) })
}

func (i *idle) expire(s *stream) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if at := slices.Index(i.streams, s); at >= 0 {
		i.streams = slices.Delete(i.streams, at, at+1)
		s.conn.Close()
	}
}

// clear closes all idle connections.
func (i *idle) clear() {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, s := range i.streams {
		s.timer.Stop()
		s.conn.Close()
	}
	i.streams = nil
}

func (i *idle) close() {
	i.mu.Lock()
	i.closed = true
	i.mu.Unlock()
	i.clear()
}

// askTCP sends f over an idle connection if there is one. The server may have
// closed that one meanwhile, or may have restarted; the query is then sent
// again, once, over a new one (RFC 7766 section 6.2.4).
func (s *Server) askTCP(ctx context.Context, dst []byte, f frame) ([]byte, acceptance.Result, error) {
	if c := s.idle.get(); c != nil {
		out, result, err := s.askOver(ctx, c, dst, f)
		if err == nil || ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) {
			return out, result, err
		}
		s.idle.clear()
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", s.addr)
	if err != nil {
		return dst, 0, err
	}
	return s.askOver(ctx, &stream{conn: conn}, dst, f)
}

// askOver sends f over c and then keeps or closes it.
func (s *Server) askOver(ctx context.Context, c *stream, dst []byte, f frame) ([]byte, acceptance.Result, error) {
	stop := context.AfterFunc(ctx, func() { c.conn.SetDeadline(past()) })
	out, result, err := c.exchange(s.endpoint, dst, f)
	if stop() && err == nil {
		s.idle.put(c)
	} else {
		c.conn.Close()
	}
	return out, result, err
}

var errMismatches = errors.New("the server sends answers to other questions")

// exchange sends f and reads until its response comes. What comes before, or
// in response to another query, is skipped.
func (c *stream) exchange(e *acceptance.Endpoint, dst []byte, f frame) ([]byte, acceptance.Result, error) {
	base := len(dst)
	f.renewID()
	query := f.message()
	if _, err := c.conn.Write(f); err != nil { // in one write: RFC 7766 section 8
		return dst, 0, err
	}
	for range acceptance.MaxMismatches {
		var err error
		if dst, err = c.read(dst[:base]); err != nil {
			return dst[:base], 0, err
		}
		result, msg := acceptance.Accept(acceptance.Stream, e, query, dst[base:])
		if result != acceptance.Mismatch {
			return append(dst[:base], msg...), result, nil
		}
		e.Mismatched()
	}
	return dst[:base], 0, errMismatches
}

// read appends one message, in however many pieces it arrives.
func (c *stream) read(dst []byte) ([]byte, error) {
	base := len(dst)
	if _, err := io.ReadFull(c.conn, c.head[:]); err != nil {
		return dst, err
	}
	end := base + int(binary.BigEndian.Uint16(c.head[:]))
	dst = slices.Grow(dst, end-base)[:end]
	_, err := io.ReadFull(c.conn, dst[base:])
	return dst, err
}
