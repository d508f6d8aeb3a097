// Package member is a server as one of a group: how to ask it, and what the group
// has measured of it.
package member

import (
	"context"
	"sync/atomic"

	"rideau/resolver/limit"
	"rideau/resolver/upstream/acceptance"
	"rideau/resolver/upstream/health"
	"rideau/resolver/upstream/latency"
	"rideau/resolver/upstream/verdict"
)

// Server is one resolver that queries are forwarded to. It is safe for
// concurrent use.
type Server interface {
	// Exchange sends query, a message with one uncompressed question and at
	// most one OPT record, and appends the response to dst, under the query's
	// own id. It keeps neither slice and does not write to query. It returns
	// when ctx ends, or in bounded time.
	Exchange(ctx context.Context, dst, query []byte) ([]byte, error)
	// ExchangeStream is Exchange for a query to which UDP has brought no
	// response: it uses TCP, or is Exchange for a server that is never asked by
	// UDP.
	ExchangeStream(ctx context.Context, dst, query []byte) ([]byte, error)
	// Addr is what operators call the server. Two with one address are the
	// same server.
	Addr() string
	// Endpoint is where to ask the server by UDP; nil if it is not asked so.
	Endpoint() *acceptance.Endpoint
	// TrustsAD reports whether the server is trusted to validate, over a path
	// on which nobody can change a bit.
	TrustsAD() bool
	// Mismatches counts the messages that were no response to what was asked.
	Mismatches() uint64
	// Close closes idle connections, and from now on none is kept. Exchanges
	// go on.
	Close()
}

// Learner is a [Server] that finds out how it is to be asked.
type Learner interface {
	// LearnDue reports whether there is something to find out now.
	LearnDue() bool
	// Suspects reports whether a query was answered in another way than the usual
	// one, so that the time it took says nothing, and Learn has not looked into it.
	Suspects() bool
	// Suspect notes a query that the server has not answered in its time, and another
	// has: it may be what the query has, or what the response would have. It is copied.
	Suspect(query []byte)
	// Learn sends queries of its own, beside those of clients, until it is found
	// out, or ctx ends. probe is a query that every server can answer.
	Learn(ctx context.Context, probe []byte)
}

// Connector is a [Server] that is asked over connections which carry many queries,
// always or now and then.
type Connector interface {
	// Connections is what the server is known to make of them: how many queries it
	// answers on each, 0 if that is not known to be bounded, and whether it answers
	// only what comes alone.
	Connections() (answers int, single bool)
}

// Bounded is a [Server] that can have few queries under way at a time: each takes a
// stream of a connection, also while it is superseded by another.
type Bounded interface {
	// Capacity is how many; 0 if no bound is known.
	Capacity() int
}

// Record is what has been measured of a server. It outlives the group: a
// successor of the same name with the same server continues it. It is made by
// New, and is safe for concurrent use.
type Record struct {
	health.Record
	Use     health.Use
	Streams health.Streams
	// Places are the requests that may be under way to the server.
	Places *limit.Places
	// Suspected is whether a probe is to tell if the server is silent.
	Suspected atomic.Bool
	// Refused is whether an ICMP message has refused a request since the last probe.
	Refused atomic.Bool

	// Requests and those below are counted for Stat, where they are explained.
	Requests      atomic.Uint64
	Failures      [verdict.Reasons]atomic.Uint64
	Latency       latency.Histogram
	Probes        atomic.Uint64
	ProbeFailures atomic.Uint64
	Hedges        atomic.Uint64
	HedgeWins     atomic.Uint64
}

// Member is a server in a group. It is safe for concurrent use, except for
// Inherit and Uses.
type Member struct {
	Server Server
	*Record
	Endpoint *acceptance.Endpoint // the Server's; nil if it is not asked by datagram
	Learning atomic.Bool          // its [Learner] is at work
	Uses     []acceptance.Use     // what InUse returned when it was last looked at; they are the looker's

	bounded    Bounded // nil if the server is not
	trusted    bool    // its AD counts
	inherited  bool    // the record is a predecessor's
	mismatches uint64  // of predecessors
}

// New makes a member of a server of which nothing is known.
func New(s Server) *Member {
	r := &Record{Places: limit.NewPlaces()}
	r.Init()
	m := &Member{Server: s, Record: r, Endpoint: s.Endpoint(), trusted: s.TrustsAD()}
	m.bounded, _ = s.(Bounded)
	return m
}

// Take takes a place for a request, of limit or of what the server can have, as
// [limit.Places.Take] does.
func (m *Member) Take(limit int64, s *limit.Share, again bool) bool {
	if m.bounded != nil {
		if n := m.bounded.Capacity(); n > 0 {
			limit = min(limit, int64(n))
		}
	}
	return m.Places.Take(limit, s, again)
}

// Holds reports whether a request takes its place until it has ended, and not only
// until it is superseded.
func (m *Member) Holds() bool { return m.bounded != nil }

// Inherited reports whether m has the record of a predecessor.
func (m *Member) Inherited() bool { return m.inherited }

// Inherit makes m continue what o has measured of the same server: it shares o's
// record, or with copied only begins with o's health and last answer. It must be
// called before m is used. o may be in use, and is not changed.
func (m *Member) Inherit(o *Member, copied bool) {
	if m.Endpoint != nil && o.Endpoint != nil && m.Endpoint != o.Endpoint {
		m.Endpoint.Inherit(o.Endpoint)
	}
	if copied {
		m.Learn(&o.Record.Record)
		return
	}
	m.Record, m.inherited, m.mismatches = o.Record, true, o.countMismatches()
}

// countMismatches counts those of predecessors too.
func (m *Member) countMismatches() uint64 { return m.mismatches + m.Server.Mismatches() }

// Trust clears AD in a response unless the server is trusted to validate, over
// a path on which nobody can set a bit (RFC 6840 section 5.8, RFC 4035 section
// 4.9.3). All responses pass here before anybody else reads them; validation of
// our own belongs in this place.
func (m *Member) Trust(resp []byte) {
	if !m.trusted {
		acceptance.ClearAD(resp)
	}
}

// Faster reports whether m is known to be faster than o.
func (m *Member) Faster(o *Member) bool {
	mine, other := m.RTT.Cost(), o.RTT.Cost()
	return mine != 0 && (other == 0 || mine < other)
}

// InUse is what queries to the server use, as far as it is found out by plain UDP,
// TCP or TLS.
func (m *Member) InUse() []acceptance.Use {
	var all []acceptance.Use
	if m.Endpoint != nil {
		all = m.Endpoint.Uses()
	}
	if c, ok := m.Server.(Connector); ok {
		_, single := c.Connections()
		all = append(all, acceptance.Use{What: "pipelining", Used: !single})
	}
	return all
}

// Stat is what is known of the server now.
func (m *Member) Stat() Stat {
	s := Stat{
		Addr:          m.Server.Addr(),
		Requests:      m.Requests.Load(),
		Latency:       m.Latency.Total(),
		Probes:        m.Probes.Load(),
		ProbeFailures: m.ProbeFailures.Load(),
		Mismatches:    m.countMismatches(),
		Healthy:       !m.Is(health.Down),
		Health:        m.Health(),
		LastAnswer:    m.LastAnswer(),
		RTT:           m.RTT.Smoothed(),
		P95:           m.RTT.P95(),
		InFlight:      m.Places.Taken(),
		Hedges:        m.Hedges.Load(),
		HedgeWins:     m.HedgeWins.Load(),
		Uses:          m.InUse(),
	}
	if c, ok := m.Server.(Connector); ok {
		s.ConnectionAnswers, _ = c.Connections()
	}
	for r := range m.Failures {
		s.Failures = append(s.Failures, Failure{verdict.Reason(r).String(), m.Failures[r].Load()})
	}
	for why := range limit.Reason(limit.Reasons) {
		s.Busy = append(s.Busy, Failure{why.String(), m.Places.Refused(why)})
	}
	return s
}
