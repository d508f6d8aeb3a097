package upstream

import (
	"slices"

	"rideau/resolver/limit"
	"rideau/resolver/upstream/choice"
	"rideau/resolver/upstream/health"
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

// choose returns the server to ask first by the group's strategy, of those that
// are up and have a place for one more request, which s says whose it is. That
// place has been taken. Those that give no answers come last. It returns nil if
// there is none.
func (g *Group) choose(s *limit.Share) *member {
	m := g.chooseOf(s, false)
	if m == nil && slices.ContainsFunc(g.members, g.goesLast) {
		m = g.chooseOf(s, true)
	}
	return m
}

// chooseOf is choose from all servers, or from those that give answers.
func (g *Group) chooseOf(s *limit.Share, all bool) *member {
	switch g.strategy {
	case Weighted:
		return g.chooseWeighted(s, all)
	case Fastest:
		return g.chooseFastest(s, all)
	}
	for _, m := range g.members {
		if !g.passes(m, all) && m.Ready() && m.places.Take(g.maxInFlight, s, false) {
			return m
		}
	}
	return nil
}

// chooseWeighted chooses by the next turn. The turn of a server that is down
// goes to the one that comes next, so that the others share it.
func (g *Group) chooseWeighted(s *limit.Share, all bool) *member {
	turn, n := g.turns.Add(1), uint32(len(g.schedule))
	var seen choice.Set
	for i, left := uint32(0), len(g.members); i < n && left > 0; i++ {
		at := int(g.schedule[(turn+i)%n])
		if seen.Has(at) {
			continue
		}
		seen.Add(at)
		left--
		if m := g.members[at]; !g.passes(m, all) && m.Ready() && m.places.Take(g.maxInFlight, s, false) {
			return m
		}
	}
	return nil
}

func (g *Group) chooseFastest(s *limit.Share, all bool) *member {
	if turn := g.turns.Add(1); turn%exploreEvery == 0 {
		if m := g.explore(int(turn/exploreEvery), s, all); m != nil {
			return m
		}
	}
	// A server without samples is measured by one request at a time.
	for _, m := range g.members {
		if (m.RTT.Cost() == 0 || m.Is(health.Trial)) && !m.Is(health.Down) && m.Claim() && m.places.Take(g.maxInFlight, s, false) {
			return m
		}
	}
	for full := (choice.Set{}); ; {
		best := -1
		for i, m := range g.members {
			if m.Is(health.Up) && !full.Has(i) && (all || !g.goesLast(m)) && (best < 0 || m.faster(g.members[best])) {
				best = i
			}
		}
		if best < 0 {
			return nil
		}
		if m := g.members[best]; m.places.Take(g.maxInFlight, s, false) {
			return m
		}
		full.Add(best)
	}
}

// explore chooses by turns, whatever the speed.
func (g *Group) explore(turn int, s *limit.Share, all bool) *member {
	for i := range g.members {
		if m := g.members[(turn+i)%len(g.members)]; !g.passes(m, all) && m.Ready() && m.places.Take(g.maxInFlight, s, false) {
			return m
		}
	}
	return nil
}

// faster reports whether m is known to be faster than o.
func (m *member) faster(o *member) bool {
	mine, other := m.RTT.Cost(), o.RTT.Cost()
	return mine != 0 && (other == 0 || mine < other)
}

// sent is the number of requests so far.
func (g *Group) sent() (n uint64) {
	for _, m := range g.members {
		n += m.requests.Load()
	}
	return n
}
