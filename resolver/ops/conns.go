package ops

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// maxConns bounds the connections of operators, so that they take no descriptors that
// DNS needs.
const maxConns = 64

// conns are the open connections. It is safe for concurrent use.
type conns struct {
	mu   sync.Mutex
	open map[*opsConn]struct{} // guarded by mu
}

// opsConn is a connection of an operator.
type opsConn struct {
	net.Conn
	of     *conns
	socket bool  // it came by the Unix socket
	peer   *Peer // of the Unix socket; nil if it is not known
	since  time.Time
	busy   atomic.Int32 // requests that are being served
}

// Close implements net.Conn.
func (c *opsConn) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// admit adds c, in place of the oldest connection on which no whole request has come,
// or that is idle, if need be. It reports false if all are served.
func (s *conns) admit(c *opsConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.open) >= maxConns {
		var oldest *opsConn
		for o := range s.open {
			if o.busy.Load() == 0 && (oldest == nil || o.since.Before(oldest.since)) {
				oldest = o
			}
		}
		if oldest == nil {
			return false
		}
		delete(s.open, oldest)
		oldest.Conn.Close()
	}
	s.open[c] = struct{}{}
	return true
}

// boundedListener admits connections to conns.
type boundedListener struct {
	net.Listener
	conns  *conns
	socket bool
}

// Accept implements net.Listener.
func (l boundedListener) Accept() (net.Conn, error) {
	for {
		inner, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &opsConn{Conn: inner, of: l.conns, socket: l.socket, since: time.Now()}
		if l.socket {
			c.peer = peerOf(inner)
		}
		if l.conns.admit(c) {
			return c, nil
		}
		inner.Close()
	}
}

// connKey is the key of a request's connection in its context.
type connKey struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// connOf returns the connection that a request came by, or nil.
func connOf(r *http.Request) *opsConn {
	c, _ := r.Context().Value(connKey{}).(*opsConn)
	return c
}

// bySocket reports whether a request came by the Unix socket, whose mode says who may
// send one.
func bySocket(r *http.Request) bool {
	c := connOf(r)
	return c != nil && c.socket
}
