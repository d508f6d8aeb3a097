package upstream

import (
	"fmt"
	"slices"
	"sync/atomic"

	"rideau/resolver/limit"
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

// schedule is the order in which n servers of these weights take turns: each as
// often as its weight says, and as evenly spread as possible. With nil all
// weights are 1.
func schedule(weights []int, n int) []uint8 {
	if weights == nil {
		weights = slices.Repeat([]int{1}, n)
	}
	if len(weights) != n {
		panic(fmt.Sprintf("upstream: %d weights for %d upstreams", len(weights), n))
	}
	total := 0
	for _, w := range weights {
		if w < 1 || w > 100 {
			panic(fmt.Sprintf("upstream: weight %d is not from 1 to 100", w))
		}
		total += w
	}
	turns, credit := make([]uint8, total), make([]int, n)
	for t := range turns {
		best := 0
		for i, w := range weights {
			if credit[i] += w; credit[i] > credit[best] {
				best = i
			}
		}
		credit[best] -= total
		turns[t] = uint8(best)
	}
	return turns
}

// choose returns the server to ask first by the group's strategy, of those that
// are up and have a place for one more request, which s says whose it is. That
// place has been taken. It returns nil if there is none.
func (g *Group) choose(s *limit.Share) *member {
	switch g.strategy {
	case Weighted:
		return g.chooseWeighted(s)
	case Fastest:
		return g.chooseFastest(s)
	}
	for _, m := range g.members {
		if m.Ready() && m.enter(g.maxInFlight, s, false) {
			return m
		}
	}
	return nil
}

// chooseWeighted chooses by the next turn. The turn of a server that is down
// goes to the one that comes next, so that the others share it.
func (g *Group) chooseWeighted(s *limit.Share) *member {
	turn, n := g.turns.Add(1), uint32(len(g.schedule))
	var seen memberSet
	for i, left := uint32(0), len(g.members); i < n && left > 0; i++ {
		at := int(g.schedule[(turn+i)%n])
		if seen.has(at) {
			continue
		}
		seen.add(at)
		left--
		if m := g.members[at]; m.Ready() && m.enter(g.maxInFlight, s, false) {
			return m
		}
	}
	return nil
}

func (g *Group) chooseFastest(s *limit.Share) *member {
	if turn := g.turns.Add(1); turn%exploreEvery == 0 {
		if m := g.explore(int(turn/exploreEvery), s); m != nil {
			return m
		}
	}
	// A server without samples is measured by one request at a time.
	for _, m := range g.members {
		if (m.RTT.Cost() == 0 || m.Is(health.Trial)) && !m.Is(health.Down) && m.Claim() && m.enter(g.maxInFlight, s, false) {
			return m
		}
	}
	for full := (memberSet{}); ; {
		best := -1
		for i, m := range g.members {
			if m.Is(health.Up) && !full.has(i) && (best < 0 || m.faster(g.members[best])) {
				best = i
			}
		}
		if best < 0 {
			return nil
		}
		if m := g.members[best]; m.enter(g.maxInFlight, s, false) {
			return m
		}
		full.add(best)
	}
}

// maxMembers is how many servers a group may have.
const maxMembers = 256

// memberSet is a set of a group's members, by their indexes.
type memberSet [maxMembers / 64]uint64

func (s *memberSet) has(i int) bool { return s[i/64]>>(i%64)&1 != 0 }
func (s *memberSet) add(i int)      { s[i/64] |= 1 << (i % 64) }

// explore chooses by turns, whatever the speed.
func (g *Group) explore(turn int, s *limit.Share) *member {
	for i := range g.members {
		if m := g.members[(turn+i)%len(g.members)]; m.Ready() && m.enter(g.maxInFlight, s, false) {
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

const (
	// Every hedgePrice requests pay for one hedge, and no more than hedgeSaved
	// hedges can be saved up: hedges add a tenth of all requests at most, and do
	// not make a server slower that is slow under load.
	hedgePrice = 10
	hedgeSaved = 16
)

// hedgeBudget bounds hedges. The lower 16 bits of the account are what has been
// spent and not been paid for yet, the others the number of requests that are
// included in that. It is safe for concurrent use and never locks.
type hedgeBudget struct{ account atomic.Uint64 }

// affordsHedge reports whether the budget has a hedge left.
func (g *Group) affordsHedge() bool {
	_, spent := g.budget.settle(g.sent())
	return spent <= hedgePrice*(hedgeSaved-1)
}

// takeHedge pays for a hedge, and reports whether the budget had one left.
func (g *Group) takeHedge() bool { return g.budget.take(g.sent()) }

// sent is the number of requests so far.
func (g *Group) sent() (n uint64) {
	for _, m := range g.members {
		n += m.requests.Load()
	}
	return n
}

func (b *hedgeBudget) take(requests uint64) bool {
	for {
		was := b.account.Load()
		now, spent := b.settle(requests)
		if spent > hedgePrice*(hedgeSaved-1) {
			return false
		}
		if b.account.CompareAndSwap(was, now<<16|(spent+hedgePrice)) {
			return true
		}
	}
}

// settle returns what is spent after so many requests in all.
func (b *hedgeBudget) settle(requests uint64) (now, spent uint64) {
	was := b.account.Load()
	then := was >> 16
	spent = was & (1<<16 - 1)
	now = max(requests, then) // counts of several servers may seem to go back
	return now, spent - min(spent, now-then)
}

// enter takes a place for a request; see [limit.Places].
func (m *member) enter(max int64, s *limit.Share, again bool) bool {
	return m.places.Take(max, s, again)
}
