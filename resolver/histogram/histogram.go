// Package histogram counts how long answers to queries take, from ten microseconds
// on: most come from the cache or from policy. The histogram of upstreams, in
// package latency, begins at a millisecond.
package histogram

import (
	"sync/atomic"
	"time"
)

// Bounds are the upper bounds of a histogram's buckets. A last bucket without
// bound follows.
var Bounds = [...]time.Duration{
	10 * time.Microsecond, 25 * time.Microsecond, 50 * time.Microsecond, 100 * time.Microsecond,
	250 * time.Microsecond, 500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond,
	5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second,
	2500 * time.Millisecond, 5 * time.Second,
}

// Histogram counts durations. The zero value is ready. It is safe for concurrent
// use and never locks; a sum read while others write may be one observation behind
// the counts.
type Histogram struct {
	counts [len(Bounds) + 1]atomic.Uint64
	nanos  atomic.Uint64
}

// Observe adds one duration.
func (h *Histogram) Observe(d time.Duration) {
	i := 0
	for i < len(Bounds) && d > Bounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.nanos.Add(uint64(max(d, 0)))
}

// Total is the state of a histogram, or the sum of several, at one moment. Counts
// are for each bucket alone, not cumulative.
type Total struct {
	Counts [len(Bounds) + 1]uint64
	Sum    time.Duration
}

// Add adds the state of a histogram.
func (t *Total) Add(h *Histogram) {
	for i := range h.counts {
		t.Counts[i] += h.counts[i].Load()
	}
	t.Sum += time.Duration(h.nanos.Load())
}
