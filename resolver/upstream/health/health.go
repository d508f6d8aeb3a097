// Package health says whether a server can be counted on, by what its requests
// and probes have brought.
package health

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"rideau/resolver/upstream/latency"
)

const (
	// UnhealthyAfter is how many requests in a row must stay unanswered before
	// a server goes down. A single one may have been lost, or be for a name that
	// takes long.
	UnhealthyAfter = 2
	// trials is how many requests or probes in a row must be answered before a
	// server that was down is up again.
	trials = 3
	// trialEvery is how long after a trial the next may be sent though the last
	// has not ended.
	trialEvery = time.Second
	// A server that goes down while it is trying, or within steadyAfter probe intervals
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
	// Trying: it was down and has answered. One request at a time goes there, or
	// all if no other is up.
	Trying
	// Down: it is asked when no other answers, and probed.
	Down
)

// String is the health in a word.
func (s Health) String() string { return [...]string{"up", "trying", "down"}[s] }

// never is an instant before all others.
const never = math.MinInt64

// Record is what is known of one server. Instants are nanoseconds since born, on
// the monotonic clock. It must be set up by Init, and is safe for concurrent use
// after that.
type Record struct {
	born time.Time

	// RTT is how long the server takes.
	RTT latency.Estimator

	loss atomic.Uint32 // of lossUnit; of two samples at a time one may be lost

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
	good    int    // answers in a row while it is trying
	changed int64  // when it came to its health
	before  Health // what it was in before it went down
	lossy   bool   // it went down for what it lost
	since   int64  // when it came back for good
	flaps   int    // how often it went down again before it was steady
	hold    int64  // until when it is not tried
}

// Init sets up r: the server is up, and nothing is known of it.
func (r *Record) Init() {
	r.born = time.Now()
	r.lastGood.Store(never)
	r.lastAnswer.Store(never)
	r.lastProbe.Store(never)
	r.lastFail.Store(never)
	r.lastTrial.Store(never)
	r.history = history{changed: never, since: never, hold: never}
}

func (r *Record) now() int64 { return int64(time.Since(r.born)) }

func (r *Record) at(t time.Time) int64 { return int64(t.Sub(r.born)) }

// Health is the server's health.
func (r *Record) Health() Health { return Health(r.health.Load()) }

// Is reports whether it is s.
func (r *Record) Is(s Health) bool { return Health(r.health.Load()) == s }

// become changes the health. mu is held.
func (r *Record) become(s Health, now int64) {
	r.changed = now
	r.good = 0
	r.lastTrial.Store(never)
	r.health.Store(uint32(s))
}

// Answered notes that a response to a request of sent came in time, and reports
// whether the server is not down any more since then. alone is whether it is
// needed at once, since no other is up.
func (r *Record) Answered(sent time.Time, alone bool) (back bool) {
	now := r.now()
	r.lastAnswer.Store(now)
	r.lastGood.Store(now)
	if l := r.loss.Load(); l != 0 {
		r.loss.Store(l - (l+lossSpan-1)/lossSpan)
	}
	if r.fails.Load() == 0 && r.Is(Up) {
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
		r.become(Trying, now)
		r.good = 1
		return true
	case Trying:
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

// Lost notes that a request was not answered in its time, and reports whether
// too many were not.
func (r *Record) Lost() bool {
	l := r.loss.Load()
	l += lossUnit/lossSpan - l/lossSpan
	r.loss.Store(l)
	return l > lossy && r.Is(Up)
}

// Demote makes a server go down that is up and loses too much, and reports
// whether it was up.
func (r *Record) Demote(interval time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.Is(Up) {
		return false
	}
	now := r.now()
	r.fall(now, interval)
	r.lossy = true
	r.hold = max(r.hold, now+int64(interval))
	return true
}

// AnsweredLate notes that a response came after the attempt timeout. The server
// Is there, but that is no reason to ask it first.
func (r *Record) AnsweredLate() { r.lastAnswer.Store(r.now()) }

// Unanswered notes that a request of sent was not answered, and reports whether
// the server has gone down by that. A failure does not count if a later request
// has been answered; otherwise the requests that were under way when a server
// came back would make it go down again. silence is how long there must have
// been no response at all; otherwise a burst of questions that take long would
// count as failures in a row. interval is that of probes.
func (r *Record) Unanswered(sent time.Time, silence, interval time.Duration) bool {
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
	if s == Down || s == Up && (fails < UnhealthyAfter || now-r.row < int64(silence)) {
		return false
	}
	was := r.lossy && s == Trying
	r.fall(now, interval)
	r.lossy = was
	return true
}

// fall makes the server go down. mu is held.
func (r *Record) fall(now int64, interval time.Duration) {
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

// Ready reports whether the server may be asked in its turn. On trial it may for
// one request at a time, which is then the caller's.
func (r *Record) Ready() bool {
	switch Health(r.health.Load()) {
	case Up:
		return true
	case Down:
		return false
	}
	return r.Claim()
}

// Claim reports whether no trial is under way. The caller's request is then one.
func (r *Record) Claim() bool {
	last, now := r.lastTrial.Load(), r.now()
	return (last == never || now-last >= int64(trialEvery)) && r.lastTrial.CompareAndSwap(last, now)
}

// Probed notes that a probe is sent now.
func (r *Record) Probed() { r.lastProbe.Store(r.now()) }

// LastFailure is when the server last failed to answer, for comparison with that
// of others that are down.
func (r *Record) LastFailure() int64 { return r.lastFail.Load() }

// AnsweredSince reports whether a response has come in time since an instant.
func (r *Record) AnsweredSince(t time.Time) bool { return r.at(t) < r.lastGood.Load() }

// Probing reports whether a probe was sent within the last d.
func (r *Record) Probing(d time.Duration) bool {
	last := r.lastProbe.Load()
	return last != never && r.now()-last < int64(d)
}

// Failing reports whether the last requests were not answered.
func (r *Record) Failing() bool { return r.fails.Load() > 0 }

// LosesLess reports whether the server is up, has answered within the last few
// intervals, and is known to lose less than half of what o loses.
func (r *Record) LosesLess(o *Record, interval time.Duration) bool {
	last := r.lastAnswer.Load()
	return last != never && r.now()-last < 3*int64(interval) && r.Is(Up) && r.loss.Load() < o.loss.Load()/2
}

// Silent reports whether it is time for a probe: there was none for interval,
// and no answer either. A server that is down is probed even if it answers
// late; one that is trying is probed four times as often.
func (r *Record) Silent(interval time.Duration) bool { return r.SilentIn(interval) <= 0 }

// SilentIn is the time until Silent, if the server stays as it is and sends no response
// meanwhile; 0 or less if it is silent.
func (r *Record) SilentIn(interval time.Duration) time.Duration {
	last := r.lastProbe.Load()
	switch Health(r.health.Load()) {
	case Trying:
		interval /= 4
		fallthrough
	case Up:
		last = max(last, r.lastAnswer.Load())
	}
	if last == never {
		return 0
	}
	return interval - time.Duration(r.now()-last)
}

// LastAnswer is when the server last gave any response; zero if it never did.
func (r *Record) LastAnswer() time.Time {
	at := r.lastAnswer.Load()
	if at == never {
		return time.Time{}
	}
	return r.born.Add(time.Duration(at))
}

// Learn copies what o has measured of the server, but not its counters.
func (r *Record) Learn(o *Record) {
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
	r.RTT.Copy(&o.RTT)
	r.loss.Store(o.loss.Load())
}
