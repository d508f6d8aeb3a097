// Package steady counts time by a clock that nobody sets: what is to last a
// minute lasts a minute, whatever happens to the system's clock meanwhile.
package steady

import (
	"sync/atomic"
	"time"
)

// Clock converts instants to nanoseconds that go on evenly. It begins with the
// Unix time that the system's clock has at that moment, and drifts from it when
// that is set. It is safe for concurrent use.
type Clock struct {
	born  time.Time
	base  int64
	slept atomic.Int64
}

// New returns a Clock that begins now.
func New(now time.Time) *Clock { return &Clock{born: now, base: now.UnixNano()} }

// At is the time of an instant, in nanoseconds. t must come from time.Now, or
// from the same source without monotonic reading as the time that New was given;
// then it is t's Unix time.
func (c *Clock) At(t time.Time) int64 { return c.base + int64(t.Sub(c.born)) + c.slept.Load() }

// Slept tells the Clock for how long, since New, the machine was suspended in
// all, which time.Now leaves out. It never goes back.
func (c *Clock) Slept(d time.Duration) {
	for {
		was := c.slept.Load()
		if int64(d) <= was || c.slept.CompareAndSwap(was, int64(d)) {
			return
		}
	}
}
