// Package choice has what a group of servers chooses one by: which is asked first, and
// whether two may be asked.
package choice

import (
	"fmt"
	"slices"
	"sync/atomic"
)

// MaxServers is how many servers a group may have.
const MaxServers = 256

// Schedule is the order in which n servers of these weights take turns: each as
// often as its weight says, and as evenly spread as possible. With nil all
// weights are 1.
func Schedule(weights []int, n int) []uint8 {
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

// Set is a set of servers, by their indexes.
type Set [MaxServers / 64]uint64

// Has reports whether i is in s.
func (s *Set) Has(i int) bool { return s[i/64]>>(i%64)&1 != 0 }

// Add adds i.
func (s *Set) Add(i int) { s[i/64] |= 1 << (i % 64) }

const (
	// Every hedgePrice requests pay for one hedge, and no more than hedgeSaved
	// hedges can be saved up: hedges add a tenth of all requests at most, and do
	// not make a server slower that is slow under load.
	hedgePrice = 10
	hedgeSaved = 16
)

// Budget bounds hedges, which are requests to another server beside one that is slow. The lower 16 bits of the account are what has been
// spent and not been paid for yet, the others the number of requests that are
// included in that. It is safe for concurrent use and never locks.
type Budget struct{ account atomic.Uint64 }

// Affords reports whether there is a hedge left after so many requests in all.
func (b *Budget) Affords(requests uint64) bool {
	_, spent := b.settle(requests)
	return spent <= hedgePrice*(hedgeSaved-1)
}

// Take pays for a hedge after so many requests in all, and reports whether there was
// one left.
func (b *Budget) Take(requests uint64) bool {
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
func (b *Budget) settle(requests uint64) (now, spent uint64) {
	was := b.account.Load()
	then := was >> 16
	spent = was & (1<<16 - 1)
	now = max(requests, then) // counts of several servers may seem to go back
	return now, spent - min(spent, now-then)
}
