package stream

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"rideau/resolver"
	"rideau/resolver/listener/proxied"
	"rideau/resolver/listener/session"
)

// Accept admits connections until t is closed, and serves each on a goroutine
// of its own. They count their queries in counters, in turn.
//
// When the Core drains, t has a deadline. What the kernel has accepted by then
// is still admitted, however late this goroutine gets to it: a client that has
// connected must get responses.
func (s *Server) Accept(t *net.TCPListener, counters []*resolver.Counters) {
	const maxBackoff = time.Second
	const queued = time.Second // for connections that are in the queue already
	backoff := time.Duration(0)
	over := false // the deadline has passed
	for n := 0; ; n++ {
		if over && !hasQueued(t) {
			t.Close() // at once: nobody would accept a client that connects now
			return
		}
		tc, err := t.AcceptTCP()
		if err != nil {
			if s.core.Phase() != session.Serving {
				if over || !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Close()
					return
				}
				over = true
				t.SetDeadline(time.Now().Add(queued))
				continue
			}
			if errors.Is(err, syscall.ECONNABORTED) {
				continue
			}
			s.core.AcceptFailed(err)
			if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
				s.evict()
			}
			backoff = min(max(2*backoff, 5*time.Millisecond), maxBackoff)
			time.Sleep(backoff)
			continue
		}
		backoff = 0
		if s.core.Proxies.How(tc.RemoteAddr().(*net.TCPAddr).AddrPort().Addr()) == proxied.Header {
			s.acceptProxied(tc, counters[n%len(counters)])
			continue
		}
		s.begin(tc, fromTCP(tc, s.o.WriteTimeout), counters[n%len(counters)])
	}
}

// begin admits a connection and serves it on a goroutine of its own, or closes it.
func (s *Server) begin(tc *net.TCPConn, st Stream, counters *resolver.Counters) {
	if s.o.Wrap != nil {
		st = s.o.Wrap(st)
	}
	c := s.newConn(st, counters)
	if !s.admit(c) {
		// Without lingering, so that a flood of connections leaves no state
		// in the kernel.
		tc.SetLinger(0)
		tc.Close()
		return
	}
	go c.serve()
}

// Serve admits a connection and answers its queries, until the client or the
// server ends it. It closes st. A connection of a client that has all that it may
// have waits for one of those to end.
func (s *Server) Serve(st Stream, counters *resolver.Counters) {
	c := s.newConn(st, counters)
	if !s.admit(c) {
		st.Close()
		return
	}
	c.serve()
}

// Table has the open connections of one or more Servers, and bounds them together.
// It is safe for concurrent use.
type Table struct {
	max    int
	shares shares
	unread unread

	mu      sync.Mutex
	conns   map[*conn]struct{}     // guarded by mu
	clients map[netip.Addr]*client // guarded by mu: those that have connections
}

// Limits are those of a Table. All are to be set but Resolver.
type Limits struct {
	// MaxConnections bounds the open connections. To admit one more, another is
	// closed, as RFC 7766 section 6.2.3 allows: one that has sent no whole query,
	// or else the one that has been idle for longest, see Table.toClose; if
	// all are busy the new one is refused.
	MaxConnections int
	// MaxConnectionsPerClient bounds those of one client: an IPv4 address or
	// an IPv6 /64. More wait until one of them ends, or is idle and closed for
	// that, as long as MaxConnections allows them.
	MaxConnectionsPerClient int
	// Resolver reports whether a client asks for many others. It may have a
	// quarter of MaxConnections, if that is more. nil reports false. It is safe
	// for concurrent use.
	Resolver func(netip.Addr) bool
}

// NewTable makes a Table without connections.
func NewTable(l Limits) *Table {
	return &Table{max: l.MaxConnections, shares: sharesOf(l), conns: make(map[*conn]struct{}), clients: make(map[netip.Addr]*client)}
}

// admit adds c to the table, in place of another if need be. If its client has all
// that it may have, c waits for one of those to end. It reports false if c is
// refused.
func (s *Server) admit(c *conn) bool {
	t := s.o.Table
	key, most := t.shares.of(c.client.Addr)
	reason := error(nil)
	t.mu.Lock()
	var victim *conn
	owner := t.clients[key]
	if owner == nil {
		owner = &client{key: key, max: most}
	}
	over := owner.conns >= owner.max
	switch {
	case s.stopped:
		t.mu.Unlock()
		return false
	case len(t.conns) < t.max:
	case over:
		reason = errClientLimit
	default:
		if victim = t.toClose(owner.conns); victim == nil {
			reason = errTotalLimit
		} else {
			t.forget(victim)
		}
	}
	if reason == nil {
		t.conns[c] = struct{}{}
		c.owner, t.clients[key] = owner, owner
		s.open.Add(1)
		s.running.Add(1)
		if over {
			t.wait(c)
		} else {
			owner.conns++
		}
	}
	t.mu.Unlock()
	if victim != nil {
		s.count.evicted.Add(1)
		victim.sock.Close()
	}
	if reason != nil {
		s.refused(c, reason)
		return false
	}
	if !over {
		s.count.accepted.Add(1)
	}
	return true
}

// refused counts and logs a connection that was refused.
func (s *Server) refused(c *conn, why error) {
	s.count.refused.Add(1)
	s.core.Log.Warn(session.LogRefusal, "a connection was refused", &net.AddrError{Err: why.Error(), Addr: c.client.Addr.String()})
}

var (
	errClientLimit = errors.New("the client has too many connections")
	errTotalLimit  = errors.New("too many connections, and none of them may be closed")
)

// evict closes a connection, if there is one that may be closed.
func (s *Server) evict() {
	t := s.o.Table
	t.mu.Lock()
	victim := t.toClose(0)
	if victim != nil {
		t.forget(victim)
	}
	t.mu.Unlock()
	if victim != nil {
		s.count.evicted.Add(1)
		victim.sock.Close()
	}
}

// forget takes c out of the table. It is called with mu held.
func (t *Table) forget(c *conn) {
	if _, ok := t.conns[c]; !ok {
		return
	}
	delete(t.conns, c)
	if c.waits {
		t.unwait(c)
	} else {
		c.owner.conns--
	}
	t.admitWaiting(c.owner)
	if o := c.owner; o.conns == 0 && t.clients[o.key] == o {
		delete(t.clients, o.key)
	}
}

// left is called when the goroutine of c ends.
func (s *Server) left(c *conn) {
	t := s.o.Table
	t.mu.Lock()
	t.forget(c)
	t.mu.Unlock()
	s.open.Add(-1)
	s.running.Done()
}

// StopReading admits no more connections, and ends each as soon as its queries
// have responses. Connections that have sent no query yet have the time of
// conn.lastRead to do so; so have those that wait, which are admitted.
func (s *Server) StopReading() {
	t := s.o.Table
	t.mu.Lock()
	defer t.mu.Unlock()
	s.stopped = true
	for c := range t.conns {
		if c.srv != s {
			continue
		}
		if c.waits {
			t.unwait(c)
			t.begin(c)
		}
		c.sock.SetReadDeadline(c.lastRead())
	}
}

// CloseAll closes all connections of the Server at once.
func (s *Server) CloseAll() {
	t := s.o.Table
	t.mu.Lock()
	all := make([]*conn, 0, len(t.conns))
	for c := range t.conns {
		if c.srv != s {
			continue
		}
		if c.waits {
			t.forget(c)
		}
		all = append(all, c)
	}
	t.mu.Unlock()
	for _, c := range all {
		go c.sock.Close() // which may wait for the client, see Stream
	}
}
