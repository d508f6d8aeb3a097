package steady_test

import (
	"testing"
	"time"
	"unsafe"

	"rideau/resolver/steady"
)

// stepped is t as time.Now would have returned it if the system's clock had been
// set forward by d before. It relies on how package time stores an instant.
func stepped(t testing.TB, at time.Time, d time.Duration) time.Time {
	t.Helper()
	was := at
	*(*uint64)(unsafe.Pointer(&at)) += uint64(d/time.Second) << 30
	if !at.Round(0).Equal(was.Round(0).Add(d)) || at.Sub(was) != 0 {
		t.Skip("package time stores instants in another way")
	}
	return at
}

func TestStepsDoNotCount(t *testing.T) {
	begun := time.Now()
	c := steady.New(begun)
	if got := c.At(begun); got != begun.UnixNano() {
		t.Errorf("it begins at %d, not at %d", got, begun.UnixNano())
	}
	for _, d := range []time.Duration{-24 * time.Hour, -time.Hour, -time.Second, time.Second, 24 * time.Hour} {
		if got := c.At(stepped(t, begun.Add(time.Minute), d)) - c.At(begun); got != int64(time.Minute) {
			t.Errorf("a minute, with a step of %v, counts as %v", d, time.Duration(got))
		}
	}
}

func TestSleepCounts(t *testing.T) {
	begun := time.Now()
	c := steady.New(begun)
	before := c.At(begun)
	c.Slept(time.Hour)
	c.Slept(time.Minute)
	if got := c.At(begun) - before; got != int64(time.Hour) {
		t.Errorf("an hour of sleep counts as %v", time.Duration(got))
	}
}

func TestWithoutMonotonicReading(t *testing.T) {
	at := time.Unix(1_700_000_000, 5)
	c := steady.New(at)
	if got := c.At(at.Add(time.Hour)); got != at.Add(time.Hour).UnixNano() {
		t.Errorf("%d, want %d", got, at.Add(time.Hour).UnixNano())
	}
}
