package upstream

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// unhealthyAfter is how many requests in a row must stay unanswered before an
// upstream is no longer asked first. One may just have been lost.
const unhealthyAfter = 2

// never is an instant before all others.
const never = math.MinInt64

// record is what a group knows of an upstream. It outlives the group: a
// successor of the same name with the same server goes on with it. Instants
// are nanoseconds since born, on the monotonic clock. It is safe for
// concurrent use.
type record struct {
	born time.Time

	requests      atomic.Uint64
	failures      [reasons]atomic.Uint64
	latency       Histogram
	probes        atomic.Uint64
	probeFailures atomic.Uint64

	lastAnswer atomic.Int64 // never, if so
	lastProbe  atomic.Int64
	lastFail   atomic.Int64
	down       atomic.Bool // written under mu only

	// mu lets one failure be counted at a time. An answer takes it only
	// where there is a failure to forget: answers are many.
	mu       sync.Mutex
	fails    atomic.Int32 // in a row
	lastGood atomic.Int64 // when a response last came in time
}

func newRecord() *record {
	r := &record{born: time.Now()}
	r.lastGood.Store(never)
	r.lastAnswer.Store(never)
	r.lastProbe.Store(never)
	r.lastFail.Store(never)
	return r
}

func (r *record) now() int64 { return int64(time.Since(r.born)) }

// answered notes that a response came in time, and reports whether the
// upstream has come back by that.
func (r *record) answered() bool {
	now := r.now()
	r.lastAnswer.Store(now)
	r.lastGood.Store(now)
	if r.fails.Load() == 0 && !r.down.Load() {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fails.Store(0)
	return r.down.CompareAndSwap(true, false)
}

// answeredLate notes that a response came after the attempt's time. It says
// that somebody is there, but not that they should be asked first.
func (r *record) answeredLate() { r.lastAnswer.Store(r.now()) }

// unanswered notes that a request sent at since came to nothing, and reports
// whether the upstream has gone down by that. If there has been an answer to
// a later request, the failure is old news: else those that were under way
// when a server came back would take it down again.
func (r *record) unanswered(since time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if int64(since.Sub(r.born)) < r.lastGood.Load() {
		return false
	}
	r.lastFail.Store(r.now())
	return r.fails.Add(1) >= unhealthyAfter && r.down.CompareAndSwap(false, true)
}

func (r *record) healthy() bool { return !r.down.Load() }

// silent reports whether it is time for a probe: no probe for that long, and
// no answer either. Who is down may answer late all the time, and is probed
// nevertheless.
func (r *record) silent(interval time.Duration) bool {
	last := r.lastProbe.Load()
	if r.healthy() {
		last = max(last, r.lastAnswer.Load())
	}
	return last == never || r.now()-last >= int64(interval)
}

func (r *record) lastAnswerTime() time.Time {
	at := r.lastAnswer.Load()
	if at == never {
		return time.Time{}
	}
	return r.born.Add(time.Duration(at))
}

// learn takes over what o says about the server, but not what it counted.
func (r *record) learn(o *record) {
	shift := int64(o.born.Sub(r.born))
	since := func(at int64) int64 {
		if at == never {
			return never
		}
		return at + shift
	}
	o.mu.Lock()
	fails, lastGood, down := o.fails.Load(), o.lastGood.Load(), o.down.Load()
	o.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fails.Store(fails)
	r.lastGood.Store(since(lastGood))
	r.down.Store(down)
	r.lastAnswer.Store(since(o.lastAnswer.Load()))
	r.lastProbe.Store(since(o.lastProbe.Load()))
	r.lastFail.Store(since(o.lastFail.Load()))
}
