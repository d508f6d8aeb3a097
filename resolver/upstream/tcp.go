package upstream

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
)

// stream is a TCP connection to a server. Whoever took it from [idle] or
// dialled it has it alone.
type stream struct {
	conn  net.Conn
	timer *time.Timer // closes it while idle
	head  [2]byte
}

// idle are the connections that wait for another query.
type idle struct {
	timeout time.Duration
	max     int

	mu      sync.Mutex // guards what follows
	streams []*stream  // the one used last is last
	closed  bool
}

// take returns the connection used last, or nil.
func (i *idle) take() *stream {
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

// clear closes all of them.
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

// askTCP asks over an idle connection if there is one. The server may have
// closed that one meanwhile, or may have started anew; the query is then sent
// again, once, over a new one (RFC 7766 section 6.2.4).
func (u *Do53) askTCP(ctx context.Context, dst []byte, m frame) ([]byte, error) {
	if s := u.idle.take(); s != nil {
		out, err := u.askStream(ctx, s, dst, m)
		if err == nil || ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) {
			return out, err
		}
		u.idle.clear()
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", u.addr)
	if err != nil {
		return dst, err
	}
	return u.askStream(ctx, &stream{conn: conn}, dst, m)
}

// askStream asks over s and then keeps or closes it.
func (u *Do53) askStream(ctx context.Context, s *stream, dst []byte, m frame) ([]byte, error) {
	stop := context.AfterFunc(ctx, func() { s.conn.SetDeadline(past()) })
	out, err := u.converse(s, dst, m)
	if stop() && err == nil {
		u.idle.put(s)
	} else {
		s.conn.Close()
	}
	return out, err
}

var errMismatches = errors.New("the server sends answers to other questions")

// converse sends m and reads until its response comes. What comes before, or
// to another question, is passed over.
func (u *Do53) converse(s *stream, dst []byte, m frame) ([]byte, error) {
	base := len(dst)
	m.renew()
	query := m.message()
	if _, err := s.conn.Write(m); err != nil { // in one write: RFC 7766 section 8
		return dst, err
	}
	for range maxMismatches {
		var err error
		if dst, err = s.read(dst[:base]); err != nil {
			return dst[:base], err
		}
		resp := dst[base:]
		switch compare(query, resp) {
		case answers:
			u.guise.learn(query, resp)
			return dst, nil
		case rejects:
			flags := binary.BigEndian.Uint16(resp[2:])
			return appendRejection(dst[:base], query, flags), nil
		}
		u.mismatches.Add(1)
	}
	return dst[:base], errMismatches
}

// read appends one message, however the network has cut it.
func (s *stream) read(dst []byte) ([]byte, error) {
	base := len(dst)
	if _, err := io.ReadFull(s.conn, s.head[:]); err != nil {
		return dst, err
	}
	end := base + int(binary.BigEndian.Uint16(s.head[:]))
	dst = slices.Grow(dst, end-base)[:end]
	_, err := io.ReadFull(s.conn, dst[base:])
	return dst, err
}
