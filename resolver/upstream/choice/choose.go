package choice

import (
	"slices"
	"sync/atomic"

	"rideau/resolver/limit"
	"rideau/resolver/upstream/health"
	"rideau/resolver/upstream/member"
)

// Strategy is how a group chooses the server to ask first. If that one does not
// answer, the others are asked, whatever the strategy.
type Strategy uint8

// Strategies.
const (
	// Ordered chooses the first that is up.
	Ordered Strategy = iota
	// Weighted chooses them in turn, each as often as its weight says.
	Weighted
	// Fastest chooses the one that has answered fastest lately, and now and
	// then another, to measure whether it has become faster.
	Fastest
)

// exploreEvery: with Fastest, one of so many requests goes to another server
// than the fastest.
const exploreEvery = 32

// Chooser chooses the server to ask first. It is safe for concurrent use.
type Chooser struct {
	strategy    Strategy
	members     []*member.Member
	maxInFlight int64
	schedule    []uint8       // of Weighted
	turns       atomic.Uint32 // choices made
}

// NewChooser makes a Chooser of servers, of which each may have so many requests
// under way. weights are their shares with [Weighted], each from 1 to 100; nil for
// equal ones. More than MaxServers, or a number of weights that is not theirs, is a
// mistake in the program, and panics.
func NewChooser(s Strategy, weights []int, maxInFlight int64, members []*member.Member) *Chooser {
	if len(members) > MaxServers {
		panic("upstream: too many upstreams in a group")
	}
	c := &Chooser{strategy: s, members: members, maxInFlight: maxInFlight}
	if s == Weighted {
		c.schedule = Schedule(weights, len(members))
	}
	return c
}

// Choose returns the server to ask first by the strategy, of those that
// are up and have a place for one more request, which s says whose it is. That
// place has been taken. Those that give no answers come last. It returns nil if
// there is none.
func (c *Chooser) Choose(s *limit.Share) *member.Member {
	m := c.chooseOf(s, false)
	if m == nil && slices.ContainsFunc(c.members, c.GoesLast) {
		m = c.chooseOf(s, true)
	}
	return m
}

// chooseOf is Choose from all servers, or from those that give answers.
func (c *Chooser) chooseOf(s *limit.Share, all bool) *member.Member {
	switch c.strategy {
	case Weighted:
		return c.chooseWeighted(s, all)
	case Fastest:
		return c.chooseFastest(s, all)
	}
	for _, m := range c.members {
		if !c.passes(m, all) && m.Ready() && m.Take(c.maxInFlight, s, false) {
			return m
		}
	}
	return nil
}

// chooseWeighted chooses by the next turn. The turn of a server that is down
// goes to the one that comes next, so that the others share it.
func (c *Chooser) chooseWeighted(s *limit.Share, all bool) *member.Member {
	turn, n := c.turns.Add(1), uint32(len(c.schedule))
	var seen Set
	for i, left := uint32(0), len(c.members); i < n && left > 0; i++ {
		at := int(c.schedule[(turn+i)%n])
		if seen.Has(at) {
			continue
		}
		seen.Add(at)
		left--
		if m := c.members[at]; !c.passes(m, all) && m.Ready() && m.Take(c.maxInFlight, s, false) {
			return m
		}
	}
	return nil
}

func (c *Chooser) chooseFastest(s *limit.Share, all bool) *member.Member {
	if turn := c.turns.Add(1); turn%exploreEvery == 0 {
		if m := c.explore(int(turn/exploreEvery), s, all); m != nil {
			return m
		}
	}
	// A server without samples is measured by one request at a time.
	for _, m := range c.members {
		if (m.RTT.Cost() == 0 || m.Is(health.Trying)) && !m.Is(health.Down) && m.Claim() && m.Take(c.maxInFlight, s, false) {
			return m
		}
	}
	for full := (Set{}); ; {
		best := -1
		for i, m := range c.members {
			if m.Is(health.Up) && !full.Has(i) && (all || !c.GoesLast(m)) && (best < 0 || m.Faster(c.members[best])) {
				best = i
			}
		}
		if best < 0 {
			return nil
		}
		if m := c.members[best]; m.Take(c.maxInFlight, s, false) {
			return m
		}
		full.Add(best)
	}
}

// explore chooses by turns, whatever the speed.
func (c *Chooser) explore(turn int, s *limit.Share, all bool) *member.Member {
	for i := range c.members {
		if m := c.members[(turn+i)%len(c.members)]; !c.passes(m, all) && m.Ready() && m.Take(c.maxInFlight, s, false) {
			return m
		}
	}
	return nil
}

// GoesLast reports whether m is asked after all others that are up, since it
// gives no answers. In an order that the operator has chosen, a server that has
// ever answered keeps its place: with split DNS it may be the only one that knows
// some of the names, while others would deny them.
func (c *Chooser) GoesLast(m *member.Member) bool {
	return m.Use.Little() && (c.strategy != Ordered || !m.Use.Any())
}

// passes reports whether m is passed over by the choice of the first server,
// since it goes last. Now and then it is not, to see whether that has changed, and
// never with all.
func (c *Chooser) passes(m *member.Member, all bool) bool {
	return !all && c.GoesLast(m) && !m.Use.Try()
}
