package resolver

import (
	"time"

	"rideau/resolver/batch"
	"rideau/resolver/upstream/mux"
)

// Waiters are Misses with a Mux that asks for them. One goroutine uses all
// methods.
type Waiters struct {
	*Misses
	mux *mux.Mux
}

// Waiters makes Waiters for a goroutine that takes answers by to and waits
// for sockets by p. Those of upstreams have tags from firstTag on.
func (r *Resolver) Waiters(to Responder, p *batch.Poller, firstTag uint32) *Waiters {
	ms := r.NewMisses(to)
	x := mux.New(p, firstTag, ms.loop)
	ms.SetMultiplexer(x)
	return &Waiters{Misses: ms, mux: x}
}

// Send sends what Begin asks. It is to be called before the goroutine does
// anything else with what it was given.
func (w *Waiters) Send() { w.mux.Flush() }

// Receive takes what has come in for a tag.
func (w *Waiters) Receive(tag uint32, now time.Time) { w.mux.Receive(tag, now) }

// Next is how long Expire may wait; below 0: for ever.
func (w *Waiters) Next(now time.Time) time.Duration { return w.mux.Next(now) }

// Expire hands over the queries for which it takes too long.
func (w *Waiters) Expire(now time.Time) { w.mux.Expire(now) }

// Open is how many responses may still come, those included that Resolve
// waits for.
func (w *Waiters) Open() int { return w.mux.Pending() }

// Close answers what waits still, and lets go of the sockets.
func (w *Waiters) Close() {
	w.Shed()
	w.mux.Close()
}

// Recover has all that waits asked anew, by Resolve, after a panic in any other
// method.
func (w *Waiters) Recover() {
	w.mux.Reset()
	w.Misses.Recover()
}
