package upstream

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"rideau/resolver/upstream/latency"
)

const (
	// unhealthyAfter is how many requests in a row must stay unanswered before
	// a server goes down. A single one may have been lost, or be for a name that
	// takes long.
	unhealthyAfter = 2
	// trials is how many requests or probes in a row must be answered before a
	// server that was down is up again.
	trials = 3
	// trialEvery is how long after a trial the next may be sent though the last
	// has not ended.
	trialEvery = time.Second
	// A server that goes down on trial, or within steadyAfter probe intervals
	// after it came back, gets no trial for one interval, then two, four and
	// eight.
	steadyAfter = 6
	maxFlaps    = 4
	// lossy is the share of requests, of lossUnit, that may be unanswered in
	// their time. Beyond it the server goes down if another loses less. It is
	// measured over about the last 32 requests; requests for names that take long
	// count as lost too.
	lossUnit  = 1 << 16
	lossy     = lossUnit / 4
	lossyBack = lossUnit / 8 // that of a server that has come back
	lossSpan  = 32
)

// Health is whether a group counts on a server.
type Health uint8

// States.
const (
	// Up: it answers.
	Up Health = iota
	// Trial: it was down and has answered. One request at a time goes there, or
	// all if no other is up.
	Trial
	// Down: it is asked when no other answers, and probed.
	Down
)

// String is the health in a word.
func (s Health) String() string { return [...]string{"up", "trying", "down"}[s] }

// never is an instant before all others.
const never = math.MinInt64

// record is what a group has measured of a server. It outlives the group: a
// successor of the same name with the same server continues it. Instants are
// nanoseconds since born, on the monotonic clock. It is safe for concurrent
// use.
type record struct {
	born time.Time

	requests      atomic.Uint64
	failures      [reasons]atomic.Uint64
	latency       latency.Histogram
	probes        atomic.Uint64
	probeFailures atomic.Uint64
	hedges        atomic.Uint64
	hedgeWins     atomic.Uint64
	busy          atomic.Uint64
	inFlight      atomic.Int64
	rtt           latency.Estimator
	loss          atomic.Uint32 // of lossUnit; of two samples at a time one may be lost

	lastAnswer atomic.Int64 // never, if so
	lastProbe  atomic.Int64
	lastFail   atomic.Int64
	lastTrial  atomic.Int64  // never, if the next may be sent at once
	health     atomic.Uint32 // a Health, written under mu only

	// mu is held for a change of health. An answer locks it only if there was a
	// failure before: answers are many.
	mu       sync.Mutex
	fails    atomic.Int32 // in a row
	row      int64        // when the first of them was sent; guarded by mu
	lastGood atomic.Int64 // when a response last came in time
	// Guarded by mu:
	history
}

// history is how a server came to its health.
type history struct {
	good    int    // answers in a row on trial
	changed int64  // when it came to its health
	before  Health // what it was in before it went down
	lossy   bool   // it went down for what it lost
	since   int64  // when it came back for good
	flaps   int    // how often it went down again before it was steady
	hold    int64  // until when it is not tried
}

func newRecord() *record {
	r := &record{born: time.Now()}
	r.lastGood.Store(never)
	r.lastAnswer.Store(never)
	r.lastProbe.Store(never)
	r.lastFail.Store(never)
	r.lastTrial.Store(never)
	r.history = history{changed: never, since: never, hold: never}
	return r
}

func (r *record) now() int64 { return int64(time.Since(r.born)) }

func (r *record) at(t time.Time) int64 { return int64(t.Sub(r.born)) }

func (r *record) is(s Health) bool { return Health(r.health.Load()) == s }

// become changes the health. mu is held.
func (r *record) become(s Health, now int64) {
	r.changed = now
	r.good = 0
	r.lastTrial.Store(never)
	r.health.Store(uint32(s))
}

// answered notes that a response to a request of sent came in time, and reports
// whether the server is not down any more since then. alone is whether it is
// needed at once, since no other is up.
func (r *record) answered(sent time.Time, alone bool) (back bool) {
	now := r.now()
	r.lastAnswer.Store(now)
	r.lastGood.Store(now)
	if l := r.loss.Load(); l != 0 {
		r.loss.Store(l - (l+lossSpan-1)/lossSpan)
	}
	if r.fails.Load() == 0 && r.is(Up) {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fails.Store(0)
	asked := r.at(sent)
	switch Health(r.health.Load()) {
	case Down:
		if asked < r.changed && r.lossy {
			return false
		}
		if asked < r.changed {
			// It is slower than it used to be, and so seemed not to answer.
			r.become(r.before, now)
			r.flaps = max(r.flaps-1, 0)
			return true
		}
		if now < r.hold && !alone {
			return false
		}
		r.become(Trial, now)
		r.good = 1
		return true
	case Trial:
		if asked < r.changed {
			return false
		}
		r.lastTrial.Store(never)
		if r.good++; r.good >= trials {
			r.become(Up, now)
			r.since = now
			if r.lossy {
				r.loss.Store(lossyBack)
			}
		}
	}
	return false
}

// lost notes that a request was not answered in its time, and reports whether
// too many were not.
func (r *record) lost() bool {
	l := r.loss.Load()
	l += lossUnit/lossSpan - l/lossSpan
	r.loss.Store(l)
	return l > lossy && r.is(Up)
}

// demote makes a server go down that is up and loses too much, and reports
// whether it was up.
func (r *record) demote(interval time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.is(Up) {
		return false
	}
	now := r.now()
	r.fall(now, interval)
	r.lossy = true
	r.hold = max(r.hold, now+int64(interval))
	return true
}

// answeredLate notes that a response came after the attempt timeout. The server
// is there, but that is no reason to ask it first.
func (r *record) answeredLate() { r.lastAnswer.Store(r.now()) }

// unanswered notes that a request of sent was not answered, and reports whether
// the server has gone down by that. A failure does not count if a later request
// has been answered; otherwise the requests that were under way when a server
// came back would make it go down again. silence is how long there must have
// been no response at all; otherwise a burst of questions that take long would
// count as failures in a row. interval is that of probes.
func (r *record) unanswered(sent time.Time, silence, interval time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	asked := r.at(sent)
	if asked < r.lastGood.Load() {
		return false
	}
	now := r.now()
	r.lastFail.Store(now)
	fails := r.fails.Add(1)
	if fails == 1 || asked < r.row {
		r.row = asked
	}
	s := Health(r.health.Load())
	if s == Down || s == Up && (fails < unhealthyAfter || now-r.row < int64(silence)) {
		return false
	}
	was := r.lossy && s == Trial
	r.fall(now, interval)
	r.lossy = was
	return true
}

// fall makes the server go down. mu is held.
func (r *record) fall(now int64, interval time.Duration) {
	r.before = Health(r.health.Load())
	r.become(Down, now)
	r.hold = now
	if r.before == Up && (r.since == never || now-r.since >= steadyAfter*int64(interval)) {
		r.flaps = 0
		return
	}
	r.flaps = min(r.flaps+1, maxFlaps)
	r.hold += int64(interval) << (r.flaps - 1)
}

// ready reports whether the server may be asked in its turn. On trial it may for
// one request at a time, which is then the caller's.
func (r *record) ready() bool {
	switch Health(r.health.Load()) {
	case Up:
		return true
	case Down:
		return false
	}
	return r.claim()
}

// claim reports whether no trial is under way. The caller's request is then one.
func (r *record) claim() bool {
	last, now := r.lastTrial.Load(), r.now()
	return (last == never || now-last >= int64(trialEvery)) && r.lastTrial.CompareAndSwap(last, now)
}

// enter counts a request under way unless there are limit of them.
func (r *record) enter(limit int64) bool {
	if r.inFlight.Add(1) <= limit {
		return true
	}
	r.inFlight.Add(-1)
	r.busy.Add(1)
	return false
}

func (r *record) leave() { r.inFlight.Add(-1) }

// silent reports whether it is time for a probe: there was none for interval,
// and no answer either. A server that is down is probed even if it answers
// late; one on trial is probed four times as often.
func (r *record) silent(interval time.Duration) bool {
	last := r.lastProbe.Load()
	switch Health(r.health.Load()) {
	case Trial:
		interval /= 4
		fallthrough
	case Up:
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

// learn copies what o has measured of the server, but not its counters.
func (r *record) learn(o *record) {
	shift := int64(o.born.Sub(r.born))
	since := func(at int64) int64 {
		if at == never {
			return never
		}
		return at + shift
	}
	o.mu.Lock()
	fails, lastGood, state, h := o.fails.Load(), o.lastGood.Load(), o.health.Load(), o.history
	o.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	h.changed, h.since, h.hold = since(h.changed), since(h.since), since(h.hold)
	r.history = h
	r.fails.Store(fails)
	r.lastGood.Store(since(lastGood))
	r.health.Store(state)
	r.lastAnswer.Store(since(o.lastAnswer.Load()))
	r.lastProbe.Store(since(o.lastProbe.Load()))
	r.lastFail.Store(since(o.lastFail.Load()))
	r.rtt.Copy(&o.rtt)
	r.loss.Store(o.loss.Load())
}
