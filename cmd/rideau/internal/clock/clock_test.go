package clock_test

import (
	"strings"
	"testing"
	"time"

	"rideau/cmd/rideau/internal/clock"
)

var (
	made = day(2026, 11, 22)
	edit = clock.Evidence{At: day(2027, 3, 1), What: "rideau.yaml"}
)

func day(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, time.UTC) }

// world is a machine: its clock, and the time that has passed.
type world struct {
	t       *testing.T
	now     time.Time
	elapsed time.Duration
	*clock.Clock
}

func newWorld(t *testing.T, now time.Time, files ...clock.Evidence) *world {
	w := &world{t: t, now: now, elapsed: 7 * time.Hour}
	w.Clock = clock.New(clock.Options{Now: func() time.Time { return w.now }, Elapsed: func() time.Duration { return w.elapsed }})
	w.Made(clock.Evidence{At: made, What: "the program's source"})
	w.Files(files)
	return w
}

// pass lets time pass, evenly, with a reading in each hour.
func (w *world) pass(d time.Duration) {
	for ; d > 0; d -= time.Hour {
		w.now, w.elapsed = w.now.Add(min(d, time.Hour)), w.elapsed+min(d, time.Hour)
		w.Read()
	}
}

// instants checks which instants may be the right one, beside that of the system's clock, and that the reason has that part.
func (w *world) instants(why string, want ...time.Time) {
	w.t.Helper()
	r := w.Read()
	if (why == "") != (r.Distrusted == "") || !strings.Contains(r.Distrusted, why) {
		w.t.Errorf("distrusted: %q, want %q", r.Distrusted, why)
	}
	want = append([]time.Time{w.now}, want...)
	if len(r.Instants) != len(want) {
		w.t.Fatalf("the instants are %v, want %v", r.Instants, want)
	}
	for i := range want {
		if !r.Instants[i].Equal(want[i]) {
			w.t.Fatalf("the instants are %v, want %v", r.Instants, want)
		}
	}
}

// TestOlder: a clock older than the program or than the newest file is distrusted, and the time of that goes on. The first
// plausible time is trusted.
func TestOlder(t *testing.T) {
	w := newWorld(t, time.Unix(0, 0))
	w.instants("the program's source is of 2026-11-22", made)
	w.pass(30 * time.Hour)
	w.instants("the program's source", made.Add(30*time.Hour))
	w.Files([]clock.Evidence{edit})
	w.instants("rideau.yaml is of 2027-03-01", edit.At)
	w.pass(time.Hour)
	w.Files([]clock.Evidence{edit}) // read again: its time has gone on since
	w.instants("rideau.yaml", edit.At.Add(time.Hour))
	w.now = day(2027, 6, 1)
	w.instants("")

	for _, early := range []time.Duration{59 * time.Minute, 61 * time.Minute} {
		w := newWorld(t, edit.At.Add(-early), edit)
		if early < clock.Tolerance {
			w.instants("")
		} else {
			w.instants("rideau.yaml", edit.At)
		}
	}
}

// TestRecorded: what an earlier process recorded counts, also after it was overwritten. What a file says counts as long as it says so.
func TestRecorded(t *testing.T) {
	w := newWorld(t, day(2027, 1, 1), edit)
	w.Recorded([]clock.Evidence{{At: day(2027, 2, 1), What: "cache.snapshot"}})
	w.instants("rideau.yaml", edit.At)
	w.Files([]clock.Evidence{{At: day(2027, 1, 1), What: "rideau.yaml"}})
	w.instants("cache.snapshot is of 2027-02-01", day(2027, 2, 1))
	w.Recorded([]clock.Evidence{{At: day(1970, 1, 1), What: "cache.snapshot"}})
	w.instants("cache.snapshot is of 2027-02-01", day(2027, 2, 1))
}

// TestForward: a clock that jumps forward is distrusted until it has gone on evenly for a day, and small jumps add up.
func TestForward(t *testing.T) {
	w := newWorld(t, day(2027, 5, 1), edit)
	w.instants("")
	w.pass(100 * time.Hour)
	w.instants("")
	at := w.now
	w.now = day(2028, 1, 1)
	w.instants("jumped forward from 2027-05-05", at)
	w.pass(20 * time.Hour)
	w.instants("jumped forward", at.Add(20*time.Hour))
	w.now = w.now.Add(48 * time.Hour) // not evenly
	w.instants("jumped forward", at.Add(20*time.Hour))
	w.pass(23 * time.Hour)
	w.instants("jumped forward", at.Add(43*time.Hour))
	w.pass(time.Hour)
	w.instants("")
	at = w.now
	for range 10 {
		w.now = w.now.Add(20 * time.Minute)
		w.Read()
	}
	w.instants("jumped forward", at)
	w.now = at // it is set right
	w.instants("")
}

// TestBack: a clock that goes back stays distrusted until it is set right.
func TestBack(t *testing.T) {
	w := newWorld(t, day(2027, 5, 1), edit)
	w.instants("")
	w.now = day(2027, 4, 1)
	w.instants("went back from 2027-05-01", day(2027, 5, 1))
	w.pass(72 * time.Hour)
	w.instants("went back", day(2027, 5, 4))
	w.now = day(1970, 1, 1) // both before the file and before the last trusted time
	w.instants("rideau.yaml", edit.At.Add(72*time.Hour), day(2027, 5, 4))
	w.now = day(2027, 5, 4).Add(30 * time.Minute)
	w.instants("")
}

// TestFuture: a time long after the program was made is not plausible, neither that of a file nor that of the clock.
func TestFuture(t *testing.T) {
	w := newWorld(t, day(2027, 5, 1), edit, clock.Evidence{At: day(2038, 1, 19), What: "list.txt"})
	w.instants("")
	if r := w.Read(); !strings.Contains(r.Ignored, "list.txt has the time 2038-01-19") {
		t.Errorf("ignored: %q", r.Ignored)
	}
	w.now = day(2099, 1, 1)
	w.instants("the program was made 2026-11-22", day(2027, 5, 1))
	w = newWorld(t, day(2099, 1, 1), edit)
	w.instants("the program was made 2026-11-22", edit.At)
	w.pass(100 * time.Hour)
	w.instants("the program was made 2026-11-22", edit.At.Add(100*time.Hour))
}

// TestSystem: the clock of the system is trusted, and time passes.
func TestSystem(t *testing.T) {
	c := clock.New(clock.Options{})
	before := time.Now()
	if r := c.Read(); r.Distrusted != "" || len(r.Instants) != 1 || r.Now().Before(before.Add(-time.Second)) {
		t.Errorf("%+v", r)
	}
}
