package stream

import (
	"net/netip"
	"sync/atomic"
	"time"

	"rideau/resolver"
	"rideau/resolver/listener/session"
)

// Options of a Server. All are to be set.
type Options struct {
	// Transport is what queries say that they came by.
	Transport resolver.Transport
	// MaxConnections bounds the open connections. To admit one more, another is
	// closed, as RFC 7766 section 6.2.3 allows: one that has sent no whole query,
	// or else the one that has been idle for longest, see connTable.toClose; if
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
	// MaxPending bounds the queries of one connection that wait. At the bound
	// the connection is not read until one has its response.
	MaxPending int
	// IdleTimeout closes a connection that has sent no whole message for so
	// long and has no query that waits. Clients that ask are told of it.
	IdleTimeout time.Duration
	// MessageTimeout is how long a message may take from its first octet to
	// its last.
	MessageTimeout time.Duration
	// WriteTimeout closes a connection whose client does not take its
	// responses.
	WriteTimeout time.Duration
	// Drain is how long the Core drains.
	Drain time.Duration
}

// Server serves connections. It is safe for concurrent use.
type Server struct {
	core   *session.Core
	o      Options
	conns  connTable
	pages  pages
	unread unread
	count  struct{ accepted, refused, evicted, timedOut atomic.Uint64 }
}

// NewServer makes a Server. It starts no goroutine.
func NewServer(core *session.Core, o Options) *Server {
	s := &Server{core: core, o: o}
	s.conns.init(&o)
	return s
}

// Stats are a Server's figures at one moment; totals count from its start.
type Stats struct {
	Connections int    // open now
	Accepted    uint64 // connections that were admitted
	Refused     uint64 // connections closed at once, because of a limit
	Evicted     uint64 // connections closed in favour of new ones
	TimedOut    uint64 // connections closed because a message or a response took too long, or too many responses were not read
}

// Stats returns the figures of this moment.
func (s *Server) Stats() Stats {
	c := &s.count
	return Stats{s.Connections(), c.accepted.Load(), c.refused.Load(), c.evicted.Load(), c.timedOut.Load()}
}

// Connections is how many connections are open.
func (s *Server) Connections() int { return int(s.conns.open.Load()) }

// StopReading admits no more connections, and ends each as soon as its queries
// have responses. Connections that have sent no query yet get a moment to do so.
func (s *Server) StopReading() { s.conns.stopReading() }

// CloseAll closes all connections at once.
func (s *Server) CloseAll() { s.conns.closeAll() }

// Wait waits for the goroutines of all connections, after StopReading.
func (s *Server) Wait() { s.conns.running.Wait() }
