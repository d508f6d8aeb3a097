// Package latency measures how long servers take to answer.
package latency

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Estimator estimates how long one server takes to answer. Requests have ids
// and sockets of their own, so that each response is known to belong to its
// request, sent again or not. The zero value has no samples. It is safe for
// concurrent use and never locks: of two samples at a time, one may be lost.
type Estimator struct {
	// smooth are SRTT and RTTVAR of RFC 6298 in microseconds, in its upper
	// and its lower half; 0 before the first sample.
	smooth atomic.Uint64
	// cost is SRTT with what was lost counted as a long time, in
	// microseconds; 0 before the first sample.
	cost atomic.Uint64
	// slow is the 95th percentile of recent samples in microseconds; 0 while there are
	// too few samples to tell.
	slow   atomic.Uint64
	n      atomic.Uint32
	counts [buckets]atomic.Uint32
}

const (
	// Buckets are from a millisecond to eight seconds, four for each doubling,
	// and one for what is below.
	firstOctave = 10 // 1,024 microseconds
	lastOctave  = 22
	buckets     = 1 + 4*(lastOctave-firstOctave+1)
	// The percentile is computed once in updateEvery samples. With fadeAt
	// samples counted all counts are halved, so that old ones count less.
	updateEvery = 16
	fadeAt      = 512
)

// Observe adds a sample: a response came after took.
func (e *Estimator) Observe(took time.Duration) {
	us := microseconds(took)
	was := e.smooth.Load()
	srtt, rttvar := was>>32, was&(1<<32-1)
	if was == 0 {
		srtt, rttvar = us, us/2
	} else {
		rttvar += (max(srtt, us) - min(srtt, us)) / 4
		rttvar -= min(rttvar, (was&(1<<32-1))/4)
		srtt = srtt - srtt/8 + us/8
	}
	e.smooth.CompareAndSwap(was, max(srtt, 1)<<32|min(rttvar, 1<<32-1))
	e.weigh(us)
	e.counts[bucket(us)].Add(1)
	if e.n.Add(1)%updateEvery == 0 {
		e.update()
	}
}

// Lost notes that no response came within limit. That does not change the
// limit, but it adds to the cost.
func (e *Estimator) Lost(limit time.Duration) { e.weigh(2 * microseconds(limit)) }

// Cost is SRTT with each loss counted as a long time, in microseconds; 0
// before the first sample. It is for comparison.
func (e *Estimator) Cost() uint64 { return e.cost.Load() }

func (e *Estimator) weigh(us uint64) {
	was := e.cost.Load()
	is := was - was/8 + us/8
	if was == 0 {
		is = us
	}
	e.cost.CompareAndSwap(was, max(is, 1))
}

// update computes the percentile anew.
func (e *Estimator) update() {
	var total uint32
	var seen [buckets]uint32
	for i := range e.counts {
		seen[i] = e.counts[i].Load()
		total += seen[i]
	}
	left := total - total/20
	for i, n := range seen {
		if n >= left {
			e.slow.Store(bound(i))
			break
		}
		left -= n
	}
	if total < fadeAt {
		return
	}
	for i, n := range seen {
		e.counts[i].Add(-(n / 2))
	}
}

func microseconds(d time.Duration) uint64 {
	return uint64(min(max(d.Microseconds(), 1), 1<<31))
}

func bucket(us uint64) int {
	octave := bits.Len64(us) - 1
	switch {
	case octave < firstOctave:
		return 0
	case octave > lastOctave:
		return buckets - 1
	}
	return 1 + 4*(octave-firstOctave) + int(us>>(octave-2)&3)
}

// bound is the upper bound of a bucket in microseconds.
func bound(bucket int) uint64 {
	if bucket == 0 {
		return 1 << firstOctave
	}
	octave, quarter := firstOctave+(bucket-1)/4, (bucket-1)%4
	return 1<<octave + uint64(quarter+1)<<(octave-2)
}

// Smoothed is SRTT; 0 before the first sample.
func (e *Estimator) Smoothed() time.Duration {
	return time.Duration(e.smooth.Load()>>32) * time.Microsecond
}

// P95 is the 95th percentile of recent samples; 0 if there are too few.
func (e *Estimator) P95() time.Duration { return time.Duration(e.slow.Load()) * time.Microsecond }

// Limit is how long a response is waited for before the request counts as
// lost: SRTT + 4 RTTVAR, and at least least; unknown before the first sample.
func (e *Estimator) Limit(least, unknown time.Duration) time.Duration {
	s := e.smooth.Load()
	if s == 0 {
		return unknown
	}
	return max(time.Duration(s>>32+4*(s&(1<<32-1)))*time.Microsecond, least)
}

// Copy makes e continue from the samples of o.
func (e *Estimator) Copy(o *Estimator) {
	e.smooth.Store(o.smooth.Load())
	e.cost.Store(o.cost.Load())
	e.slow.Store(o.slow.Load())
	e.n.Store(o.n.Load())
	for i := range e.counts {
		e.counts[i].Store(o.counts[i].Load())
	}
}
