package stream

import (
	"sync"
	"sync/atomic"
	"time"

	"rideau/resolver"
	"rideau/resolver/listener/session"
)

// Options of a Server. All are to be set but Wrap.
type Options struct {
	// Transport is what queries say that they came by.
	Transport resolver.Transport
	// Wrap makes the Stream that is served of one by TCP, which is a net.Conn as
	// well; nil serves that one.
	Wrap func(Stream) Stream
	// Table has the connections, also those of other Servers that share it.
	Table *Table
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
	core    *session.Core
	o       Options
	pages   pages
	open    atomic.Int64   // connections whose goroutines have not ended
	running sync.WaitGroup // for their end
	headers atomic.Int64   // connections of proxies whose headers have not come
	stopped bool           // guarded by Table.mu: nothing is admitted any more
	count   struct{ accepted, refused, evicted, timedOut atomic.Uint64 }
}

// NewServer makes a Server. It starts no goroutine.
func NewServer(core *session.Core, o Options) *Server { return &Server{core: core, o: o} }

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
func (s *Server) Connections() int { return int(s.open.Load()) }

// Wait waits for the goroutines of all connections, after StopReading.
func (s *Server) Wait() { s.running.Wait() }
