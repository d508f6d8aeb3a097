package upstream

import (
	"cmp"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"rideau/resolver/upstream/choice"
	"rideau/resolver/upstream/health"
	"rideau/resolver/upstream/member"
	"rideau/resolver/wire"
)

const (
	// minLimit is how long a response by UDP is waited for at least before
	// the query is sent again: less than any client's patience, and long
	// enough for most names that a resolver has to resolve itself. TCP's timer
	// has the same lower bound on Linux.
	minLimit = 200 * time.Millisecond
	// minSoleLimit is the same for a group of one server: to ask a server
	// twice that is busy with a name does not help it.
	minSoleLimit = 500 * time.Millisecond
	// minStreamLimit is the same for transports that retransmit by themselves
	// (RFC 6298 section 2.4), and minSharedLimit if there are others: their answer
	// takes nothing from the health of a server that is late once.
	minStreamLimit = time.Second
	minSharedLimit = 500 * time.Millisecond
	// firstLimit is the limit of a server by UDP that has not answered yet, and
	// firstStreamLimit that of another, with its handshakes, if there are others.
	firstLimit       = 400 * time.Millisecond
	firstStreamLimit = 500 * time.Millisecond
	// minHedge is how long a response is waited for at least before another
	// server is asked beside: on a local network the 95th percentile is below
	// what a busy machine needs to notice a response.
	minHedge = 10 * time.Millisecond
)

// probeUDPSize is the UDP payload that probes announce, which no path has to
// fragment.
const probeUDPSize = 1232

// Options go with [NewGroup]. The zero value is good.
type Options struct {
	// Strategy is which server is asked first.
	Strategy choice.Strategy
	// Weights are the shares of the servers with [choice.Weighted], in their order,
	// each from 1 to 100; nil for equal ones. It is not kept.
	Weights []int
	// NoHedge leaves out the second request where a server is slower than
	// usual.
	NoHedge bool
	// MaxInFlight is how many requests to one server may be under way; 0 for
	// 2000.
	MaxInFlight int
	// AttemptTimeout is how long a server has at most before the next is asked
	// too; 0 for 2 seconds. It has less once it is known how long it takes. The
	// first may still answer.
	AttemptTimeout time.Duration
	// LeastAttempt is how long a server has at least, up to AttemptTimeout, however
	// fast it usually is; 0 for 200 milliseconds by datagram and 500 on a connection,
	// and if there is no other server for 500 milliseconds and a second.
	LeastAttempt time.Duration
	// Timeout is the time for an exchange in all; 0 for 4.5 seconds.
	Timeout time.Duration
	// ProbeInterval is how long a server may be silent before it is probed; 0
	// for 10 seconds.
	ProbeInterval time.Duration
	// ProbeName is the name whose SOA probes ask for; nil for the root. It
	// is not kept. Any response will do.
	ProbeName *wire.Name
	// Logger gets a message when a server goes down and when it comes back; nil
	// for none.
	Logger *slog.Logger
}

// Group is several servers that can stand in for one another. It is safe for
// concurrent use, except for [Group.Inherit].
type Group struct {
	name           string
	members        []*member.Member
	strategy       choice.Strategy
	chooser        *choice.Chooser
	hedge          bool
	maxInFlight    int64
	attemptTimeout time.Duration
	leastAttempt   time.Duration
	timeout        time.Duration
	probeInterval  time.Duration
	probe          []byte // the query
	logger         *slog.Logger

	running  atomic.Bool   // Run sends probes
	suspect  chan struct{} // has space for one: a member is to be probed
	identity Identity
	budget   choice.Budget
}

// NewGroup makes a group of servers. It starts nothing: without [Group.Run] a
// group works, but notices that a server is back only when all others fail.
// name is for the log and for Inherit. More than 256 servers, or a number of
// weights that is not theirs, is a mistake in the program, and panics.
func NewGroup(name string, o Options, servers ...member.Server) *Group {
	g := &Group{
		name:           name,
		strategy:       o.Strategy,
		hedge:          !o.NoHedge,
		maxInFlight:    cmp.Or(int64(max(o.MaxInFlight, 0)), 2000),
		attemptTimeout: cmp.Or(max(o.AttemptTimeout, 0), 2*time.Second),
		leastAttempt:   o.LeastAttempt,
		timeout:        cmp.Or(max(o.Timeout, 0), 4500*time.Millisecond),
		probeInterval:  cmp.Or(max(o.ProbeInterval, 0), 10*time.Second),
		logger:         o.Logger,
		suspect:        make(chan struct{}, 1),
	}
	g.attemptTimeout = min(g.attemptTimeout, g.timeout)
	if g.logger == nil {
		g.logger = slog.New(slog.DiscardHandler)
	}
	probed := o.ProbeName
	if probed == nil || probed.Len() == 0 {
		probed = new(wire.Name)
		if err := probed.SetText("."); err != nil {
			panic(err) // the root is a name
		}
	}
	g.probe = wire.AppendQuery(nil, 0, probed, wire.TypeSOA, wire.ClassIN, false, false, true, probeUDPSize)
	for _, s := range servers {
		g.members = append(g.members, member.New(s))
	}
	g.chooser = choice.NewChooser(o.Strategy, o.Weights, g.maxInFlight, g.members)
	return g
}

// Identity implements [Upstream].
func (g *Group) Identity() *Identity { return &g.identity }

// Inherit makes g continue what old has measured of the servers that both have,
// by their addresses. With a group of the same name it shares health, last
// answer and counters; of any other it copies health and last answer. It must be
// called before g is used. nil changes nothing; old may be in use, and is not
// changed.
func (g *Group) Inherit(old *Group) {
	if old == nil {
		return
	}
	taken := make(map[*member.Record]bool)
	for _, m := range g.members {
		for _, o := range old.members {
			if m.Inherited() || m.Server.Addr() != o.Server.Addr() || taken[o.Record] {
				continue
			}
			taken[o.Record] = true
			m.Inherit(o, g.name != old.name)
			break
		}
	}
}

// Close closes idle connections, and from now on none is kept. Exchanges go on.
func (g *Group) Close() {
	for _, m := range g.members {
		m.Server.Close()
	}
}

// LastAnswer is when a server last gave any response, to a query or a probe;
// zero if none ever did.
func (g *Group) LastAnswer() time.Time {
	var last time.Time
	for _, m := range g.members {
		if t := m.LastAnswer(); t.After(last) {
			last = t
		}
	}
	return last
}

// Stats returns one Stat for each server, in their order.
func (g *Group) Stats() []member.Stat {
	stats := make([]member.Stat, len(g.members))
	for i, m := range g.members {
		stats[i] = m.Stat()
	}
	return stats
}

// Servers implements [Several].
func (g *Group) Servers() []string {
	all := make([]string, len(g.members))
	for i, m := range g.members {
		all[i] = m.Server.Addr()
	}
	return all
}

// index is 1 plus the index of m; 0 if it is of another group.
func (g *Group) index(m *member.Member) uint16 { return uint16(1 + slices.Index(g.members, m)) }

// sent is the number of requests so far.
func (g *Group) sent() (n uint64) {
	for _, m := range g.members {
		n += m.Requests.Load()
	}
	return n
}

// heardOf notes that m has answered a request of sent after took. With sample
// that tells how long it takes.
func (g *Group) heardOf(m *member.Member, sent time.Time, took time.Duration, sample bool) {
	if sample {
		m.RTT.Observe(took)
	}
	if took > g.attemptTimeout {
		m.AnsweredLate()
	} else if m.Answered(sent, !m.Is(health.Up) && g.noneUp()) {
		g.logger.Info("upstream answers again", "group", g.name, "upstream", m.Server.Addr(), "state", m.Health().String())
	}
}

// noneUp reports whether all servers are down or trying.
func (g *Group) noneUp() bool {
	for _, m := range g.members {
		if m.Is(health.Up) {
			return false
		}
	}
	return true
}

// lost notes that a request to m was lost: it was not answered within limit, and was
// for a name that may be expected to be answered.
func (g *Group) lost(m *member.Member, limit time.Duration) {
	m.RTT.Lost(limit)
	if m.Lost() && g.hasBetter(m) && m.Demote(g.probeInterval) {
		g.logger.Warn("upstream loses too much; others are asked first until it does better",
			"group", g.name, "upstream", m.Server.Addr(), "state", m.Health().String())
	}
}

// missed notes that m did not answer a request of sent.
// probed is whether it is a client's request, so that a probe tells what to think
// of that.
func (g *Group) missed(m *member.Member, sent time.Time, why error, probed bool) {
	var silence time.Duration
	if errors.Is(why, ErrTimeout) {
		silence = health.UnhealthyAfter * g.limit(m)
		if probed {
			silence += g.limit(m) // the probe has two parts of three
		}
	}
	if m.Unanswered(sent, silence, g.probeInterval) {
		g.logger.Warn("upstream does not answer; it is asked last until it does",
			"group", g.name, "upstream", m.Server.Addr(), "state", m.Health().String(), "error", why)
	}
}

// doubt has m probed if the last requests were not answered: the probe tells
// whether it is the server that is silent, or the zone.
func (g *Group) doubt(m *member.Member) {
	if m.Failing() && !m.Is(health.Down) {
		g.suspectNow(m)
	}
}

// suspectNow has m probed.
func (g *Group) suspectNow(m *member.Member) {
	if !m.Suspected.Swap(true) {
		select {
		case g.suspect <- struct{}{}:
		default:
		}
	}
}

// hasBetter reports whether another server is known to lose less than half of
// what m loses.
func (g *Group) hasBetter(m *member.Member) bool {
	for _, o := range g.members {
		if o != m && o.LosesLess(&m.Record.Record, g.probeInterval) {
			return true
		}
	}
	return false
}

// limit is how long a request to m may take before it counts against m's health.
func (g *Group) limit(m *member.Member) time.Duration { return g.limitOf(m, minStreamLimit) }

// turn is how long m is waited for before others are asked, or m again.
func (g *Group) turn(m *member.Member) time.Duration {
	if len(g.members) > 1 {
		return g.limitOf(m, minSharedLimit)
	}
	return g.limit(m)
}

// limitOf is the limit of m, and leastOfStream at least if m is asked over connections.
func (g *Group) limitOf(m *member.Member, leastOfStream time.Duration) time.Duration {
	least, unknown := leastOfStream, g.attemptTimeout
	switch {
	case m.Endpoint != nil && len(g.members) == 1:
		least, unknown = minSoleLimit, minSoleLimit
	case m.Endpoint != nil:
		least, unknown = minLimit, firstLimit
	case len(g.members) > 1:
		unknown = firstStreamLimit
	}
	return min(m.RTT.Limit(max(least, g.leastAttempt), max(unknown, g.leastAttempt)), g.attemptTimeout)
}

// hedgeAfter is how long m is waited for before another server is asked beside
// it; 0 if there is to be none, or there is no other.
func (g *Group) hedgeAfter(m *member.Member) time.Duration {
	p95 := m.RTT.P95()
	if !g.hedge || p95 == 0 || len(g.members) == 1 {
		return 0
	}
	return max(p95, minHedge)
}
