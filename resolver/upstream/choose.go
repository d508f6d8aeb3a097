package upstream

import (
	"fmt"
	"sync/atomic"
)

// Strategy is how a group chooses whom to ask first. Whoever that is, the
// others are asked if it does not answer.
type Strategy uint8

// Strategies.
const (
	// Ordered takes the first that is up.
	Ordered Strategy = iota
	// Weighted takes each in its turn, as often as its weight says.
	Weighted
	// Fastest takes the one that has answered fastest lately, and now and then
	// another, to see whether it has become faster.
	Fastest
)

// exploreEvery is how many requests there are, with Fastest, for one that
// goes to another than the fastest.
const exploreEvery = 32

// schedule is the order in which upstreams of these weights take turns: each
// as often as its weight says, and as evenly spread as can be.
func schedule(weights []int, n int) []uint8 {
	if weights == nil {
		for range n {
			weights = append(weights, 1)
		}
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

// choose returns who is to be asked first, by the group's strategy, of those
// who are up and have room, and has entered there for the caller; nil if there
// is none.
func (g *Group) choose() *member {
	switch g.strategy {
	case Weighted:
		return g.chooseWeighted()
	case Fastest:
		return g.chooseFastest()
	}
	for _, m := range g.members {
		if m.ready() && m.enter(g.maxInFlight) {
			return m
		}
	}
	return nil
}

// chooseWeighted takes the next turn. That of one that is down goes to whoever
// comes next, so that all others get their part of it.
func (g *Group) chooseWeighted() *member {
	turn, n := g.turns.Add(1), uint32(len(g.schedule))
	var seen memberSet
	for i, left := uint32(0), len(g.members); i < n && left > 0; i++ {
		at := int(g.schedule[(turn+i)%n])
		if seen.has(at) {
			continue
		}
		seen.add(at)
		left--
		if m := g.members[at]; m.ready() && m.enter(g.maxInFlight) {
			return m
		}
	}
	return nil
}

func (g *Group) chooseFastest() *member {
	if turn := g.turns.Add(1); turn%exploreEvery == 0 {
		if m := g.explore(int(turn / exploreEvery)); m != nil {
			return m
		}
	}
	// Nobody knows yet how fast one is without samples: that is found out by
	// one request at a time.
	for _, m := range g.members {
		if (m.rtt.Cost() == 0 || m.is(Trial)) && !m.is(Down) && m.claim() && m.enter(g.maxInFlight) {
			return m
		}
	}
	for full := (memberSet{}); ; {
		best := -1
		for i, m := range g.members {
			if m.is(Up) && !full.has(i) && (best < 0 || m.faster(g.members[best])) {
				best = i
			}
		}
		if best < 0 {
			return nil
		}
		if m := g.members[best]; m.enter(g.maxInFlight) {
			return m
		}
		full.add(best)
	}
}

// maxMembers is how many upstreams a group may have.
const maxMembers = 256

// memberSet is a set of a group's members.
type memberSet [maxMembers / 64]uint64

func (s *memberSet) has(i int) bool { return s[i/64]>>(i%64)&1 != 0 }

func (s *memberSet) add(i int) { s[i/64] |= 1 << (i % 64) }

// explore takes another than the fastest, each in its turn.
func (g *Group) explore(turn int) *member {
	for i := range g.members {
		if m := g.members[(turn+i)%len(g.members)]; m.ready() && m.enter(g.maxInFlight) {
			return m
		}
	}
	return nil
}

// faster reports whether m is known to be faster than o.
func (m *member) faster(o *member) bool {
	mine, other := m.rtt.Cost(), o.rtt.Cost()
	return mine != 0 && (other == 0 || mine < other)
}

const (
	// A hedge costs as much as hedgePrice requests bring in, and no more than
	// hedgeSaved hedges can be saved up: what is asked for twice is a tenth
	// more, and a server that becomes slow under load is not made slower.
	hedgePrice = 10
	hedgeSaved = 16
)

// hedgeBudget bounds hedges. Its lower 16 bits are what is spent and not yet
// brought in again, the others the number of requests that this takes account
// of. It is safe for concurrent use and never locks.
type hedgeBudget struct{ account atomic.Uint64 }

// affordsHedge reports whether there may be a hedge now.
func (g *Group) affordsHedge() bool {
	_, spent := g.budget.settle(g.sent())
	return spent <= hedgePrice*(hedgeSaved-1)
}

// takeHedge is affordsHedge for who means to.
func (g *Group) takeHedge() bool { return g.budget.take(g.sent()) }

// sent is how many requests there were.
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

// settle is what is spent after so many requests in all.
func (b *hedgeBudget) settle(requests uint64) (now, spent uint64) {
	was := b.account.Load()
	then := was >> 16
	spent = was & (1<<16 - 1)
	now = max(requests, then) // counts of several servers may seem to go back
	return now, spent - min(spent, now-then)
}
