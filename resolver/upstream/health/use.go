package health

import (
	"sync/atomic"
	"time"
)

// Use is how often a server's responses are answers, where those of others are.
// The zero value is that of a new server. It is safe for concurrent use.
type Use struct {
	uselessness atomic.Uint32 // of usefulUnit
	any         atomic.Bool
	tried       atomic.Pointer[time.Time]
}

const (
	// A server goes last that has given no resolver's answer to so many of the
	// questions, of usefulUnit, which another then answered. It is measured over
	// about the last 32 of them.
	usefulUnit = 1 << 16
	tooUseless = usefulUnit / 2
	usefulSpan = 32
	// usefulAfter is where one begins that is of use again.
	usefulAfter = usefulUnit / 4
)

// Useless notes that the server gave no answer to what another server has answered.
func (u *Use) Useless() {
	now := u.uselessness.Load()
	u.uselessness.Store(now + usefulUnit/usefulSpan - now/usefulSpan)
}

// Useful notes that the server has given an answer.
func (u *Use) Useful() {
	if !u.any.Load() {
		u.any.Store(true)
	}
	switch now := u.uselessness.Load(); {
	case now > tooUseless:
		u.uselessness.Store(usefulAfter)
	case now != 0:
		u.uselessness.Store(now - (now+usefulSpan-1)/usefulSpan)
	}
}

// Little reports whether too few are.
func (u *Use) Little() bool { return u.uselessness.Load() > tooUseless }

// Any reports whether there ever was an answer.
func (u *Use) Any() bool { return u.any.Load() }

// Try reports whether it is time to see whether a server of little use has
// changed: once in trialEvery. The caller's request is then the trial.
func (u *Use) Try() bool {
	last := u.tried.Load()
	if last != nil && time.Since(*last) < trialEvery {
		return false
	}
	now := time.Now()
	return u.tried.CompareAndSwap(last, &now)
}

const (
	// streamsAfter is how many requests over TCP must fail in a row before TCP
	// counts as closed.
	streamsAfter = 2
	// streamsOff is how long it does, until the next request that tries.
	streamsOff = 10 * time.Second
)

// Streams is the health of a server's TCP. It is safe for concurrent use.
type Streams struct {
	fails atomic.Int32              // in a row
	until atomic.Pointer[time.Time] // when to try again
}

// Failed notes that a request over TCP brought nothing.
func (s *Streams) Failed() {
	if s.fails.Add(1) >= streamsAfter {
		until := time.Now().Add(streamsOff)
		s.until.Store(&until)
	}
}

// Worked notes that one did.
func (s *Streams) Worked() {
	if s.fails.Load() != 0 {
		s.fails.Store(0)
	}
}

// Open reports whether TCP is worth waiting for. If it has been closed for long,
// that is so for one caller.
func (s *Streams) Open() bool {
	if s.fails.Load() < streamsAfter {
		return true
	}
	until := s.until.Load()
	if until != nil && time.Until(*until) > 0 {
		return false
	}
	next := time.Now().Add(streamsOff)
	return s.until.CompareAndSwap(until, &next)
}
