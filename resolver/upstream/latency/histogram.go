package latency

import (
	"sync/atomic"
	"time"
)

// bounds are the upper bounds of a histogram's buckets. A last bucket
// without bound follows.
var bounds = [...]time.Duration{
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond,
	25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond,
	500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 5 * time.Second,
}

// Histogram counts durations in fixed buckets from one millisecond to five
// seconds. The zero value is ready. It is safe for concurrent use and never
// locks. A sum that is read while others write may be one observation behind
// the counts.
type Histogram struct {
	counts [len(bounds) + 1]atomic.Uint64
	nanos  atomic.Int64
}

// Observe adds one duration.
func (h *Histogram) Observe(d time.Duration) {
	i := 0
	for i < len(bounds) && d > bounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.nanos.Add(int64(d))
}

// Total is a histogram's state at one moment. Counts are for each bucket alone,
// not cumulative. There is one more of them than Bounds, for longer durations.
type Total struct {
	Bounds []time.Duration
	Counts []uint64
	Sum    time.Duration
}

// Total reads the histogram. The caller owns the result.
func (h *Histogram) Total() Total {
	l := Total{Bounds: append([]time.Duration(nil), bounds[:]...), Counts: make([]uint64, len(h.counts))}
	for i := range h.counts {
		l.Counts[i] = h.counts[i].Load()
	}
	l.Sum = time.Duration(h.nanos.Load())
	return l
}
