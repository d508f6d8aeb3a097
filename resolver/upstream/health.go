package upstream

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"rideau/resolver/upstream/latency"
)

const (
	// unhealthyAfter is how many requests in a row must stay unanswered
	// before an upstream is no longer asked first. One may just have been lost,
	// or be for a name that takes long.
	unhealthyAfter = 2
	// trials is how many requests or probes in a row must be answered before
	// one that was down is as good as the others.
	trials = 3
	// trialEvery is when another request may be a trial though nothing is
	// known of the last one.
	trialEvery = time.Second
	// An upstream that goes down on trial, or within so many probe intervals
	// after it came back, is kept waiting for one interval, then two, four and
	// eight.
	steadyAfter = 6
	maxFlaps    = 4
	// lossy is the share of requests, of lossUnit, that may be unanswered in
	// their time: beyond it one that loses less is asked in the first place. It
	// is what the last 32 requests say, more or less: names that take long look
	// lost too.
	lossUnit  = 1 << 16
	lossy     = lossUnit / 4
	lossyBack = lossUnit / 8 // what one begins with that is back
	lossSpan  = 32
)

// Health is what a group believes of an upstream.
type Health uint8

// States.
const (
	// Up: it answers.
	Up Health = iota
	// Trial: it was down and has answered. One request at a time goes there,
	// or all if nobody else is up.
	Trial
	// Down: it is asked when nobody else answers, and probed.
	Down
)

// String is the state in a word.
func (s Health) String() string { return [...]string{"up", "trying", "down"}[s] }

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

	// mu lets one change happen at a time. An answer takes it only where
	// there is a failure to forget: answers are many.
	mu       sync.Mutex
	fails    atomic.Int32 // in a row
	row      int64        // when the first of them was sent; guarded by mu
	lastGood atomic.Int64 // when a response last came in time
	// Guarded by mu:
	history
}

// history is how an upstream came to its state.
type history struct {
	good    int    // answers in a row on trial
	changed int64  // when it came to its state
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

// become changes the state. mu is held.
func (r *record) become(s Health, now int64) {
	r.changed = now
	r.good = 0
	r.lastTrial.Store(never)
	r.health.Store(uint32(s))
}

// answered notes that a response to what was sent at sent came in time, and
// reports whether the upstream is no longer down by that. alone is whether it
// is needed at once, as nobody else is up.
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
			// It was slower than it used to be, and that looked like silence.
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

// demote takes down an upstream that is up and loses too much, and reports
// whether it has.
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

// answeredLate notes that a response came after the attempt's time. It says
// that somebody is there, but not that they should be asked first.
func (r *record) answeredLate() { r.lastAnswer.Store(r.now()) }

// unanswered notes that a request sent at sent came to nothing, and reports
// whether the upstream has gone down by that. If there has been an answer to
// a later request, the failure is old news: else those that were under way
// when a server came back would take it down again. silence is how long there
// must have been none, or a burst of questions that take long would look like
// failures in a row. interval is that of probes.
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

// fall takes it down. mu is held.
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

// ready reports whether it may be asked in its turn. On trial, that is one
// request at a time, which is then this one.
func (r *record) ready() bool {
	switch Health(r.health.Load()) {
	case Up:
		return true
	case Down:
		return false
	}
	return r.claim()
}

// claim reports whether there is nobody on the way to find out how it does,
// and then it is the caller who is.
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

// silent reports whether it is time for a probe: no probe for that long, and
// no answer either. Who is down may answer late all the time, and is probed
// nevertheless; who is on trial soon needs another chance.
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
