package limit

import (
	"sync/atomic"
	"time"
)

// bucket is token buckets by hash, each stored as the time up to which its
// tokens are spent (the generic cell rate algorithm). A key has a place in each
// row, and has tokens if any of them has: a key that shares one place with a
// busy one has another.
type bucket struct {
	interval atomic.Int64 // between two tokens, in nanoseconds; 0 for no bound
	depth    atomic.Int64 // nanoseconds that may be spent ahead
	// floor is the time up to which every key has spent its tokens: at the
	// beginning of a flood nobody has saved any.
	floor atomic.Int64
	// uneven: keys get tokens at somewhat different intervals, so that thousands
	// do not pass at one moment and none at the next.
	uneven bool
	cells  [rows][places]atomic.Int64
}

const (
	rows   = 3
	places = 1 << 14
	// maxAhead is how far ahead of now a time may be, in nanoseconds, that was
	// stored at a lower rate.
	maxAhead = int64(time.Minute)
)

func (b *bucket) set(perSecond float64, depth int64) {
	if perSecond <= 0 {
		b.interval.Store(0)
		return
	}
	b.depth.Store(depth)
	b.interval.Store(max(int64(1e9/perSecond), 1))
}

// spend spends n tokens of a key, or reports false if it has none. A key that has
// one spends all n, and waits for longer.
func (b *bucket) spend(h uint64, now, n int64) bool {
	interval, depth := b.interval.Load(), b.depth.Load()
	if b.uneven {
		interval += interval * int64(h>>56) >> 10
	}
	var at [rows]*atomic.Int64
	spent, least := int64(1<<63-1), max(now, b.floor.Load())
	for i := range at {
		at[i] = &b.cells[i][h>>(16*i)%places]
		t := at[i].Load()
		if t > now+maxAhead+2*depth {
			t = least // the clock was set back, or the rate was another
		}
		spent = min(spent, max(t, least))
	}
	if spent > now+depth {
		return false
	}
	// What was spent in the other places was another key's: only those places
	// are changed that are behind (a conservative update). Two goroutines at a
	// time may spend one token, which does not matter.
	spent += interval * n
	for _, c := range at {
		if t := c.Load(); t < spent || t > now+maxAhead+2*depth {
			c.Store(spent)
		}
	}
	return true
}
