package upstream

import (
	"sync/atomic"
	"time"
)

// Reason is why a request brought no usable answer.
type Reason uint8

// Reasons.
const (
	Timeout   Reason = iota // nothing came within the attempt's time
	Network                 // it could not be sent, or the server's host refused it
	Malformed               // the records of the response cannot be read
	FormErr                 // the response code, here and below
	ServFail
	NotImp
	Refused
	reasons int = iota
)

var reasonNames = [reasons]string{"timeout", "network", "malformed", "formerr", "servfail", "notimp", "refused"}

// String is the reason in a word.
func (r Reason) String() string { return reasonNames[r] }

// Stat is an upstream's state at one moment. The counters never fall.
type Stat struct {
	Addr string
	// Requests were sent to it, Failures of them brought no usable answer.
	// Requests that were given up because another upstream had answered are
	// in neither Failures nor Latency. Probes are not counted here.
	Requests uint64
	Failures []Failure // one for each reason, in order
	Latency  Latency   // of requests that were answered, whatever the answer
	// Probes were sent by [Group.Run]; ProbeFailures of them were not answered.
	Probes        uint64
	ProbeFailures uint64
	// Mismatches are messages that were no answer to what had been asked.
	Mismatches uint64
	Healthy    bool // it is not down
	Health     Health
	LastAnswer time.Time // zero: never
	// RTT is the smoothed time of answers, P95 what nineteen of twenty recent
	// ones took at most; 0 while not known.
	RTT, P95 time.Duration
	// InFlight are requests under way, Busy counts how often it was passed
	// over because there were too many.
	InFlight int
	Busy     uint64
	// Hedges were sent to it because another one was slower than usual, or it
	// was itself; HedgeWins of them answered first.
	Hedges    uint64
	HedgeWins uint64
}

// Failure counts the requests that failed for one reason.
type Failure struct {
	Reason string
	Count  uint64
}

// latencyBounds are the upper bounds of a histogram's buckets. A last bucket
// without bound follows.
var latencyBounds = [...]time.Duration{
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond,
	25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond,
	500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 5 * time.Second,
}

// Histogram counts durations in fixed buckets from one millisecond to five
// seconds. The zero value is ready. It is safe for concurrent use and never
// locks; a sum read while others write may be one observation behind the
// counts.
type Histogram struct {
	counts [len(latencyBounds) + 1]atomic.Uint64
	nanos  atomic.Int64
}

// Observe adds one duration.
func (h *Histogram) Observe(d time.Duration) {
	i := 0
	for i < len(latencyBounds) && d > latencyBounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.nanos.Add(int64(d))
}

// Latency is a histogram's state at one moment. Counts are for each bucket
// alone, not cumulative, and there is one more of them than Bounds, for what
// lies beyond.
type Latency struct {
	Bounds []time.Duration
	Counts []uint64
	Sum    time.Duration
}

// Latency reads the histogram. The caller owns the result.
func (h *Histogram) Latency() Latency {
	l := Latency{Bounds: append([]time.Duration(nil), latencyBounds[:]...), Counts: make([]uint64, len(h.counts))}
	for i := range h.counts {
		l.Counts[i] = h.counts[i].Load()
	}
	l.Sum = time.Duration(h.nanos.Load())
	return l
}
