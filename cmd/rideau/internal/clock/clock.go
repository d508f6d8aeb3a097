// Package clock decides which instants may be the right one, for bans and exceptions that begin and end by date.
//
// The system's clock can be wrong: a machine without a battery starts in 1970, and a forged answer to NTP moves the clock to any date. A
// [Clock] compares the system's clock with what else is known of the time:
//
//   - The floor is the newest time that the program knows to be past: when the program and its packs were made, and when
//     the files that it reads were last written. It goes forward with the elapsed time, which no setting of the system's clock changes.
//   - The estimate is the last trusted time of the system's clock. It goes forward in the same way.
//
// A system's clock that differs from them by more than [Tolerance] is distrusted. Then [Clock.Read] returns several instants. A ban is in
// force if it is so at one of them, an exception if it is so at all: a wrong clock ends no ban and begins no exception.
//
// A file may have a time in the future, for example on a network file system. If the system's clock is right, such a time cannot end a ban,
// since the system's clock is one of the instants; it can only begin a ban early. A time more than [Lifetime] after the
// program was made is no evidence at all.
package clock

import (
	"fmt"
	"sync"
	"time"
)

const (
	// Tolerance is how far the system's clock may be from the floor and from the estimate. Time zones that were confused, and the clocks of
	// file servers, stay within it.
	Tolerance = time.Hour
	// Confirm is how long a clock that jumped forward has to go on evenly until it is trusted again. It also bounds how fast
	// a clock can be moved by many small jumps: by Tolerance in each such time.
	Confirm = 24 * time.Hour
	// Lifetime is how long after the program was made a time is plausible.
	Lifetime = 10 * 365 * 24 * time.Hour
)

// Options are the parameters of [New]. Functions that are nil have useful defaults.
type Options struct {
	// Now returns the time of the system's clock; nil means time.Now.
	Now func() time.Time
	// Elapsed returns how much time has passed since some instant. It never goes back, and settings of the system's clock do not change it.
	// Nil means the time since the machine started, which on Linux includes the time that it slept.
	Elapsed func() time.Duration
}

// Clock judges the system's clock. It is safe for concurrent use.
type Clock struct {
	now     func() time.Time
	elapsed func() time.Duration
	begun   time.Time     // when New was called
	start   time.Duration // the elapsed time then

	// mu guards what follows. Times are kept as what they were when the elapsed time was zero.
	mu      sync.Mutex
	made    time.Time           // when the program was made; zero if unknown
	kept    observed            // the newest of what the program was made of, and of what was recorded
	files   map[string]observed // by What
	ignored Evidence            // the newest file's time that is not plausible
	// trusted is the estimate; zero while the system's clock has not been plausible yet. steady is what the system's clock has agreed
	// with since the elapsed time since.
	trusted, steady time.Time
	since           time.Duration
}

// observed is an Evidence, and its time when the elapsed time was zero.
type observed struct {
	Evidence
	start time.Time
}

// New returns a Clock without a floor.
func New(o Options) *Clock {
	c := &Clock{now: o.Now, elapsed: o.Elapsed}
	if c.now == nil {
		c.now = time.Now
	}
	if c.elapsed == nil {
		c.elapsed = elapsedTime()
	}
	c.begun, c.start = time.Now(), c.elapsed()
	return c
}

// Slept returns for how long the machine has slept since New, as far as that is known.
func (c *Clock) Slept() time.Duration { return max(c.elapsed()-c.start-time.Since(c.begun), 0) }

// Evidence is a time that is past.
type Evidence struct {
	At   time.Time
	What string // what was made or written then, for messages
}

// Made tells the Clock when the program, or a part of it, was made. It is called before Recorded and Files.
func (c *Clock) Made(e Evidence) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.At.After(c.made) {
		c.made = e.At
	}
	c.raise(e)
}

// Recorded tells the Clock what an earlier process recorded. The floor never forgets it, so that it may be overwritten under a wrong clock.
func (c *Clock) Recorded(all []Evidence) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range all {
		if c.plausible(e.At) {
			c.raise(e)
		}
	}
}

func (c *Clock) raise(e Evidence) {
	if x := (observed{e, e.At.Add(-c.elapsed())}); x.start.After(c.kept.start) {
		c.kept = x
	}
}

// Files tells the Clock when the files that are in use were written. They replace those of the call before, so that the time of a file
// can be mended.
func (c *Clock) Files(all []Evidence) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before, elapsed := c.files, c.elapsed()
	c.files, c.ignored = map[string]observed{}, Evidence{}
	for _, e := range all {
		x := observed{e, e.At.Add(-elapsed)}
		if was, ok := before[e.What]; ok && was.At.Equal(e.At) {
			x = was // its time has gone on since
		}
		if c.plausible(e.At) {
			c.files[e.What] = x
		} else if e.At.After(c.ignored.At) {
			c.ignored = e
		}
	}
}

// floor returns the newest evidence. mu is held.
func (c *Clock) floor() observed {
	newest := c.kept
	for _, f := range c.files {
		if f.start.After(newest.start) {
			newest = f
		}
	}
	return newest
}

// plausible reports whether a time is within the program's lifetime. mu is held.
func (c *Clock) plausible(t time.Time) bool { return c.made.IsZero() || !t.After(c.made.Add(Lifetime)) }

// Reading is the time, as far as it is known.
type Reading struct {
	// Instants may each be the right one. The first is that of the system's clock, and there are others only if it is distrusted.
	Instants []time.Time
	// Distrusted says why the system's clock is distrusted, and what to do; empty if it is trusted.
	Distrusted string
	// Ignored says which evidence is not plausible; empty for none.
	Ignored string
}

// Now returns the time of the system's clock.
func (r *Reading) Now() time.Time { return r.Instants[0] }

// Read reads the system's clock and judges it.
func (c *Clock) Read() Reading {
	c.mu.Lock()
	defer c.mu.Unlock()
	// Without the monotonic reading, which would hide that the clock was set.
	now, elapsed := c.now().Round(0), c.elapsed()
	r := Reading{Instants: []time.Time{now}}
	if !c.ignored.At.IsZero() {
		r.Ignored = fmt.Sprintf("%s has the time %s, which is not plausible, and does not count as evidence of what time it is; touch the file",
			c.ignored.What, date(c.ignored.At))
	}
	start, newest := now.Add(-elapsed), c.floor()
	older := newest.start.Sub(start) > Tolerance
	if early := !c.plausible(now); !older && !early {
		c.follow(start, elapsed)
	} else {
		c.since, c.steady = elapsed, time.Time{} // it has to agree anew
	}
	floor, trusted := newest.start.Add(elapsed), c.trusted.Add(elapsed)
	jumped := !c.trusted.IsZero() && apart(start, c.trusted) > Tolerance
	switch {
	case older:
		r.Distrusted = fmt.Sprintf("the system's clock says %s, but %s is of %s; set the clock, or, if the clock is right, touch the file and reload",
			date(now), newest.What, date(newest.At))
	case !c.plausible(now):
		r.Distrusted = fmt.Sprintf("the system's clock says %s, but the program was made %s; set the clock, or use a newer program", date(now), date(c.made))
	case jumped && start.Before(c.trusted):
		r.Distrusted = fmt.Sprintf("the system's clock says %s, but went back from %s; set the clock, or, if the clock is right now, restart rideau", date(now), date(trusted))
	case jumped:
		r.Distrusted = fmt.Sprintf("the system's clock says %s, but jumped forward from %s; it is trusted if it goes on evenly until %s, or after a restart",
			date(now), date(trusted), date(now.Add(Confirm-(elapsed-c.since))))
	default:
		return r
	}
	if older || c.trusted.IsZero() && !newest.At.IsZero() {
		r.Instants = append(r.Instants, floor)
	}
	if jumped {
		r.Instants = append(r.Instants, trusted)
	}
	return r
}

// follow lets the estimate follow the system's clock: at once if it is the first plausible time, and otherwise when the clock has gone on
// evenly for the time Confirm. A clock that went back is never followed further than Tolerance. mu is held.
func (c *Clock) follow(start time.Time, elapsed time.Duration) {
	switch {
	case c.trusted.IsZero():
		c.trusted, c.steady, c.since = start, start, elapsed
	case apart(start, c.steady) > Tolerance:
		c.steady, c.since = start, elapsed
	case elapsed-c.since >= Confirm && c.trusted.Sub(start) <= Tolerance:
		c.trusted, c.steady, c.since = start, start, elapsed
	}
}

func apart(a, b time.Time) time.Duration { return a.Sub(b).Abs() }

// date is a time for messages.
func date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
