package upstream

import (
	"context"
	"log/slog"
	"time"

	"rideau/resolver/wire"
)

// probeUDPSize is the UDP payload that probes announce, which no path has to
// fragment.
const probeUDPSize = 1232

// Options go with [NewGroup]. The zero value is good.
type Options struct {
	// AttemptTimeout is how long an upstream has before the next is asked
	// too; 0 for 2 seconds. The first may still answer.
	AttemptTimeout time.Duration
	// Timeout is the time for an exchange in all; 0 for 5 seconds.
	Timeout time.Duration
	// ProbeInterval is how long an upstream may be silent before it is
	// probed; 0 for 10 seconds.
	ProbeInterval time.Duration
	// ProbeName is the name whose SOA probes ask for; nil for the root. It
	// is not kept. Any response will do.
	ProbeName *wire.Name
	// Logger hears when an upstream goes down and when it comes back; nil
	// for none.
	Logger *slog.Logger
}

// Group is several upstreams that can stand in for one another. It is safe
// for concurrent use, except for [Group.Inherit].
type Group struct {
	name           string
	members        []*member
	attemptTimeout time.Duration
	timeout        time.Duration
	probeInterval  time.Duration
	probe          []byte // the query
	logger         *slog.Logger
}

// member is an upstream in a group.
type member struct {
	up Upstream
	*record
	own        bool   // the record is not a predecessor's
	mismatches uint64 // of predecessors
}

// NewGroup makes a group that asks ups in their order. It starts nothing:
// without [Group.Run] a group works, but hears that an upstream is back only
// when all others fail. name is for the log and for Inherit.
func NewGroup(name string, o Options, ups ...Upstream) *Group {
	g := &Group{
		name:           name,
		attemptTimeout: positive(o.AttemptTimeout, 2*time.Second),
		timeout:        positive(o.Timeout, 5*time.Second),
		probeInterval:  positive(o.ProbeInterval, 10*time.Second),
		logger:         o.Logger,
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
	for _, up := range ups {
		g.members = append(g.members, &member{up: up, record: newRecord(), own: true})
	}
	return g
}

func positive(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

// Inherit takes over what old knows of upstreams that both have, by their
// addresses. From a group of the same name that is health, last answer and
// counters, on which both then go on; from any other it is health and last
// answer. Call it before the group is used. nil changes nothing; old may be
// in use, and is not changed.
func (g *Group) Inherit(old *Group) {
	if old == nil {
		return
	}
	taken := make(map[*record]bool)
	for _, m := range g.members {
		for _, o := range old.members {
			if !m.own || m.up.Addr() != o.up.Addr() || taken[o.record] {
				continue
			}
			taken[o.record] = true
			if g.name == old.name {
				m.record, m.own, m.mismatches = o.record, false, o.countMismatches()
			} else {
				m.learn(o.record)
			}
			break
		}
	}
}

// Run probes the upstreams: all that have not answered yet at once, and then
// those that have been silent for the probe interval. It returns when ctx has
// ended and the last probe with it.
func (g *Group) Run(ctx context.Context) { g.run(ctx) }

// Close lets go of idle connections, and from now on none is kept. Exchanges
// go on.
func (g *Group) Close() {
	for _, m := range g.members {
		if c, ok := m.up.(interface{ Close() }); ok {
			c.Close()
		}
	}
}

// LastAnswer is when an upstream last gave a response, to a query or a probe,
// whatever it said; zero if none ever did.
func (g *Group) LastAnswer() time.Time {
	var last time.Time
	for _, m := range g.members {
		if t := m.lastAnswerTime(); t.After(last) {
			last = t
		}
	}
	return last
}

// Stats returns the upstreams' state, in their order.
func (g *Group) Stats() []Stat {
	stats := make([]Stat, len(g.members))
	for i, m := range g.members {
		s := &stats[i]
		*s = Stat{
			Addr:          m.up.Addr(),
			Requests:      m.requests.Load(),
			Latency:       m.latency.Latency(),
			Probes:        m.probes.Load(),
			ProbeFailures: m.probeFailures.Load(),
			Mismatches:    m.countMismatches(),
			Healthy:       m.healthy(),
			LastAnswer:    m.lastAnswerTime(),
		}
		for r := range m.failures {
			s.Failures = append(s.Failures, Failure{Reason(r).String(), m.failures[r].Load()})
		}
	}
	return stats
}

func (m *member) countMismatches() uint64 {
	if c, ok := m.up.(interface{ Mismatches() uint64 }); ok {
		return m.mismatches + c.Mismatches()
	}
	return m.mismatches
}

// first is the upstream that is asked first; nil if none is believed to be up.
func (g *Group) first() *member {
	for _, m := range g.members {
		if m.healthy() {
			return m
		}
	}
	return nil
}

// heard notes that m answered in time.
func (g *Group) heard(m *member) {
	if m.answered() {
		g.logger.Info("upstream answers again", "group", g.name, "upstream", m.up.Addr())
	}
}

// missed notes that what was sent to m at sent was not answered.
func (g *Group) missed(m *member, sent time.Time, why error) {
	if m.unanswered(sent) {
		g.logger.Warn("upstream does not answer; it is asked last until it does",
			"group", g.name, "upstream", m.up.Addr(), "error", why)
	}
}
