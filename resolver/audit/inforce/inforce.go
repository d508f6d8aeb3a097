// Package inforce says for how long each ban was in force, and why it was not
// for the rest of the time.
//
// A [Tracker] follows one run of the program, by its acts and by a heartbeat. It
// makes [Interval]s: spans in which the state of a ban, its lists and the
// configuration stay the same. Their lengths are those of a clock that nobody
// sets, so that a jump of the system's clock neither adds nor loses time. At such
// a jump each interval ends and another begins.
package inforce

import (
	"cmp"
	"reflect"
	"slices"
	"time"

	"rideau/resolver/audit/act"
)

// State is whether a ban is in force, and if not, why. Its text is part of what
// others read, and never changes.
type State string

// States of a ban.
const (
	Enforced State = "enforced"  // it is in force
	LastGood State = "last_good" // it is in force, with the last good copy of a list that was refused or cannot be read
	Monitor  State = "monitor"   // its mode is monitor
	Off      State = "off"       // its mode is off
	NotYet   State = "not_yet"   // it is before its first date
	Expired  State = "expired"   // it is after its last date
	Empty    State = "empty"     // its lists have no entries
	Nobody   State = "nobody"    // it is for no group of clients
	Absent   State = "absent"    // the configuration does not have it
	NotReady State = "not_ready" // the server was not ready

	// States of the time between two runs, or within one that did not go on.
	Stopped    State = "stopped"    // the server was stopped
	Unclean    State = "unclean"    // the server ended without a stop: a kill, a crash, a loss of power
	Paused     State = "paused"     // the program did not run, though it had not ended: a machine that slept
	Unrecorded State = "unrecorded" // nothing was recorded
)

// States are all states.
func States() []State {
	return []State{Enforced, LastGood, Monitor, Off, NotYet, Expired, Empty, Nobody, Absent, NotReady, Stopped, Unclean, Paused, Unrecorded}
}

// InForce reports whether a ban in this state stops queries.
func (s State) InForce() bool { return s == Enforced || s == LastGood }

// Beat is how often a Tracker should be told that the program goes on.
const Beat = time.Minute

const (
	// pause is how long after the last beat the program counts as not running.
	pause = 5 * Beat
	// drift is how far the system's clock may depart from the steady one before
	// it counts as set.
	drift = 2 * time.Second
)

// Interval is a span in which nothing changed for a ban.
type Interval struct {
	// Number counts the intervals of one run from 1.
	Number int
	Ban    string
	State  State
	// Distrusted says that the clock was distrusted.
	Distrusted bool
	Lists      []act.List
	Config     string // SHA-256 of the configuration
	Policy     string // fingerprint of the policy
	// From is when it began, by the system's clock, in UTC and whole milliseconds.
	// Begun and Ended are the run's uptime when it began and ended, so that Ended
	// is no less than Begun; while it is open, Ended is the last beat.
	From         time.Time
	Begun, Ended time.Duration
	Open         bool
	// Jump is by how much the system's clock was set at its begin; 0 if it was
	// not.
	Jump time.Duration
}

// Elapsed is its length.
func (i *Interval) Elapsed() time.Duration { return i.Ended - i.Begun }

// To is when it ended by the clock by which it began.
func (i *Interval) To() time.Time { return i.From.Add(i.Elapsed()) }

// Last is what is known of the run before, at its end.
type Last struct {
	// At is when it was last known to run; zero if there was none.
	At time.Time
	// Why is Stopped, Unclean or Unrecorded.
	Why State
	// Bans are those that it had, with their lists then.
	Bans []string
}

// Tracker follows one run. It is for one goroutine.
type Tracker struct {
	last   Last
	number int
	beats  bool

	begun    bool // there was an act with bans
	stopped  bool
	notReady bool
	state    []act.Ban
	act      act.Act // the last that told the state

	wall  time.Time     // of the system's clock at the uptime up
	up    time.Duration // the last known uptime
	jump  time.Duration // for the intervals that begin now
	open  []*Interval
	ended []Interval
}

// New makes a Tracker for a run after another one. number is that of the last
// interval of this run that was made before. With beats it counts the program as
// not running when it is not told for long that it does.
func New(last Last, number int, beats bool) *Tracker {
	return &Tracker{last: last, number: number, beats: beats}
}

// Now tells that the program runs, at that time of the system's clock and that
// uptime.
func (t *Tracker) Now(wall time.Time, up time.Duration) {
	if t.begun && !t.stopped {
		t.move(wall.UTC().Truncate(time.Millisecond), up.Truncate(time.Millisecond))
	}
}

// Alive is Now for a caller who knows that the program ran all the time, though it
// did not say so.
func (t *Tracker) Alive(wall time.Time, up time.Duration) {
	beats := t.beats
	t.beats = false
	t.Now(wall, up)
	t.beats = beats
}

// Act tells an act. up is the uptime when it happened, if the act does not say.
func (t *Tracker) Act(a *act.Act, up time.Duration) {
	if a.Uptime > 0 {
		up = a.Uptime
	}
	wall := a.Time.UTC().Truncate(time.Millisecond)
	up = up.Truncate(time.Millisecond)
	if t.stopped || !t.begun && a.Bans == nil {
		return
	}
	if !t.begun {
		t.begin(wall, up, a.Bans)
	}
	t.move(wall, up)
	switch a.Kind {
	case act.NotReady:
		t.notReady = true
	case act.Ready, act.Start:
		t.notReady = false
	case act.Stop:
		t.stopped = true
		t.end(t.up)
		return
	}
	if a.Bans != nil {
		t.state, t.act = a.Bans, *a
	}
	t.change()
}

// begin notes the time since the run before.
func (t *Tracker) begin(wall time.Time, up time.Duration, bans []act.Ban) {
	t.begun, t.wall, t.up = true, wall, up
	if t.last.At.IsZero() {
		return
	}
	gap := wall.Sub(t.last.At)
	if gap < 0 && gap > -2*Beat { // two runs met: the later one counts from the end of the earlier one
		t.wall, t.up = t.last.At, up-gap
		return
	}
	if gap <= 0 {
		t.jump = gap // the system's clock went back meanwhile; how long is not known
		return
	}
	for _, id := range t.last.Bans {
		t.gap(id, t.last.Why, t.last.At, gap)
	}
	for i := range bans {
		if !slices.Contains(t.last.Bans, bans[i].ID) {
			t.gap(bans[i].ID, Absent, t.last.At, gap)
		}
	}
}

// gap adds an interval that is over.
func (t *Tracker) gap(ban string, s State, from time.Time, length time.Duration) {
	t.number++
	t.ended = append(t.ended, Interval{Number: t.number, Ban: ban, State: s, From: from, Ended: length})
}

// move goes on to a later time.
func (t *Tracker) move(wall time.Time, up time.Duration) {
	if up < t.up { // told late; the state since then is known already
		return
	}
	passed, was := up-t.up, t.wall
	if passed > pause && t.beats {
		var ids []string
		for _, i := range t.open {
			ids = append(ids, i.Ban)
		}
		t.end(t.up)
		for _, id := range ids {
			t.gap(id, Paused, was, passed)
		}
	}
	t.up = up
	t.wall = was.Add(passed)
	for _, i := range t.open {
		i.Ended = up
	}
	if jump := wall.Sub(t.wall); jump.Abs() > drift {
		t.end(up)
		t.wall, t.jump = wall, jump
	}
	t.change()
}

// end ends all intervals.
func (t *Tracker) end(up time.Duration) {
	for _, i := range t.open {
		i.Ended, i.Open = up, false
		if i.Elapsed() > 0 {
			t.ended = append(t.ended, *i)
		}
	}
	t.open = nil
}

// change ends the intervals of bans whose state is another one, and begins
// others.
func (t *Tracker) change() {
	var next []*Interval
	want := map[string]Interval{}
	for i := range t.state {
		b := &t.state[i]
		want[b.ID] = Interval{Ban: b.ID, State: t.stateOf(b), Distrusted: t.act.Distrusted, Lists: b.Lists, Config: t.act.Config, Policy: t.act.Policy.Fingerprint}
	}
	for _, i := range t.open {
		w, ok := want[i.Ban]
		if !ok {
			w = Interval{Ban: i.Ban, State: Absent}
		}
		if same(i, &w) {
			next = append(next, i)
			delete(want, i.Ban)
			continue
		}
		if i.Open = false; i.Elapsed() > 0 {
			t.ended = append(t.ended, *i)
		}
		want[i.Ban] = w
	}
	for _, id := range slices.Sorted(keys(want)) {
		w := want[id]
		t.number++
		w.Number, w.From, w.Begun, w.Ended, w.Open, w.Jump = t.number, t.wall, t.up, t.up, true, t.jump
		next = append(next, &w)
	}
	slices.SortFunc(next, func(a, b *Interval) int { return cmp.Compare(a.Ban, b.Ban) })
	if t.open = next; len(t.state) > 0 {
		t.jump = 0
	}
}

func keys(m map[string]Interval) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// same reports whether nothing that an interval says has changed.
func same(a, b *Interval) bool {
	return a.State == b.State && a.Distrusted == b.Distrusted && a.Config == b.Config && a.Policy == b.Policy && reflect.DeepEqual(a.Lists, b.Lists)
}

// stateOf returns the state of a ban at the last act.
func (t *Tracker) stateOf(b *act.Ban) State {
	switch {
	case b.Mode == "off" && !b.Enforced:
		return Off
	case b.Mode == "monitor" && !b.Enforced:
		return Monitor
	case !b.Enforced && !b.Effective.IsZero() && t.act.Time.Before(b.Effective):
		return NotYet
	case !b.Enforced && !b.Expires.IsZero() && !t.act.Time.Before(b.Expires):
		return Expired
	case !b.Enforced:
		return Nobody
	case entries(b.Lists) == 0:
		return Empty
	case t.notReady:
		return NotReady
	case slices.ContainsFunc(b.Lists, func(l act.List) bool { return l.LastGood }):
		return LastGood
	}
	return Enforced
}

func entries(all []act.List) (n int) {
	for _, l := range all {
		n += l.Entries
	}
	return n
}

// Ended returns the intervals that ended, until Done is called.
func (t *Tracker) Ended() []Interval { return t.ended }

// Done tells that what Ended returned is kept elsewhere.
func (t *Tracker) Done() { t.ended = nil }

// Open returns the intervals that go on, by the ids of their bans. They are valid
// until the next call of another method.
func (t *Tracker) Open() []*Interval { return t.open }

// At returns the last time that the Tracker was told, by the clock by which the
// open intervals began, and the uptime then.
func (t *Tracker) At() (time.Time, time.Duration) { return t.wall, t.up }

// Begun reports whether there was an act that says what is in force, and Stopped
// whether the run has ended.
func (t *Tracker) Begun() bool   { return t.begun }
func (t *Tracker) Stopped() bool { return t.stopped }
