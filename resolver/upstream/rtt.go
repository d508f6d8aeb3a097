package upstream

import (
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	// minLimit is how long an answer over UDP is waited for at least before
	// the question is asked again: less than any client's patience, and long
	// enough for most names that a resolver has to look up itself. TCP's
	// timer has the same lower bound on Linux.
	minLimit = 200 * time.Millisecond
	// minSoleLimit is the same where there is no other to ask: asking a server
	// twice that has to look a name up, and takes its time, is no help to it.
	minSoleLimit = 500 * time.Millisecond
	// minStreamLimit is the same for transports that send again what was lost
	// by themselves (RFC 6298 section 2.4).
	minStreamLimit = time.Second
	// firstLimit goes for a server over UDP that has not answered yet.
	firstLimit = 400 * time.Millisecond
	// minHedge is how long an answer is waited for at least before another is
	// asked beside: on a local network the 95th percentile is below what a
	// busy machine needs to look.
	minHedge = 10 * time.Millisecond
)

// rtt is how long a server takes to answer. Requests have ids and sockets of
// their own, so that each answer is known to belong to its request, sent again
// or not. It is safe for concurrent use, and never locks: of two samples at a
// time, one may be lost.
type rtt struct {
	// smooth are SRTT and RTTVAR of RFC 6298 in microseconds, in its upper
	// and its lower half; 0 before the first sample.
	smooth atomic.Uint64
	// cost is SRTT with what was lost counted as a long time, in
	// microseconds; 0 before the first sample.
	cost atomic.Uint64
	// slow is the 95th percentile of late in microseconds; 0 while there are
	// too few samples to tell.
	slow   atomic.Uint64
	n      atomic.Uint32
	counts [rttBuckets]atomic.Uint32
}

const (
	// Buckets are from a millisecond to eight seconds, four for each doubling,
	// and one for what is below.
	firstOctave = 10 // 1,024 microseconds
	lastOctave  = 22
	rttBuckets  = 1 + 4*(lastOctave-firstOctave+1)
	// The percentile is taken anew once in so many samples, and with so many
	// counted all counts are halved, so that the past fades.
	settleEvery = 16
	fadeAt      = 512
)

// observe adds a sample.
func (r *rtt) observe(took time.Duration) {
	us := microseconds(took)
	was := r.smooth.Load()
	srtt, rttvar := was>>32, was&(1<<32-1)
	if was == 0 {
		srtt, rttvar = us, us/2
	} else {
		rttvar += (max(srtt, us) - min(srtt, us)) / 4
		rttvar -= min(rttvar, (was&(1<<32-1))/4)
		srtt = srtt - srtt/8 + us/8
	}
	r.smooth.CompareAndSwap(was, max(srtt, 1)<<32|min(rttvar, 1<<32-1))
	r.weigh(us)
	r.counts[bucket(us)].Add(1)
	if r.n.Add(1)%settleEvery == 0 {
		r.settle()
	}
}

// lost notes that nothing came within limit. It says nothing of how long
// answers take, but who loses much is not the fastest.
func (r *rtt) lost(limit time.Duration) { r.weigh(2 * microseconds(limit)) }

func (r *rtt) weigh(us uint64) {
	was := r.cost.Load()
	is := was - was/8 + us/8
	if was == 0 {
		is = us
	}
	r.cost.CompareAndSwap(was, max(is, 1))
}

// settle takes the percentile.
func (r *rtt) settle() {
	var total uint32
	var seen [rttBuckets]uint32
	for i := range r.counts {
		seen[i] = r.counts[i].Load()
		total += seen[i]
	}
	left := total - total/20
	for i, n := range seen {
		if n >= left {
			r.slow.Store(bound(i))
			break
		}
		left -= n
	}
	if total < fadeAt {
		return
	}
	for i, n := range seen {
		r.counts[i].Add(-(n / 2))
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
		return rttBuckets - 1
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

// smoothed is SRTT; 0 if it is not known.
func (r *rtt) smoothed() time.Duration {
	return time.Duration(r.smooth.Load()>>32) * time.Microsecond
}

// p95 is what nineteen of twenty recent answers took at most; 0 if it is not
// known.
func (r *rtt) p95() time.Duration { return time.Duration(r.slow.Load()) * time.Microsecond }

// limit is how long an answer is waited for before it is taken for lost, at
// least least, or unknown if there was none yet.
func (r *rtt) limit(least, unknown time.Duration) time.Duration {
	s := r.smooth.Load()
	if s == 0 {
		return unknown
	}
	return max(time.Duration(s>>32+4*(s&(1<<32-1)))*time.Microsecond, least)
}

// take makes r go on where o is.
func (r *rtt) take(o *rtt) {
	r.smooth.Store(o.smooth.Load())
	r.cost.Store(o.cost.Load())
	r.slow.Store(o.slow.Load())
	r.n.Store(o.n.Load())
	for i := range r.counts {
		r.counts[i].Store(o.counts[i].Load())
	}
}
