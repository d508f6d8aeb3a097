package resolver

import (
	"time"

	"rideau/resolver/batch"
	"rideau/resolver/upstream/mux"
)

// Waiters are Misses with a Mux that sends their queries. One goroutine uses all
// methods.
type Waiters struct {
	*Misses
	mux *mux.Mux
}

// Waiters makes Waiters for a goroutine that sends answers by to and waits for
// sockets by p. The sockets of upstreams have tags from firstTag on.
func (r *Resolver) Waiters(to Responder, p *batch.Poller, firstTag uint32) *Waiters {
	ms := r.NewMisses(to)
	x := mux.New(p, firstTag, ms.loop)
	ms.SetMultiplexer(x)
	return &Waiters{Misses: ms, mux: x}
}

// Send sends the queries of what has begun. It must be called before the
// goroutine waits.
func (w *Waiters) Send() { w.mux.Flush() }

// Receive reads the responses that have come in for a tag.
func (w *Waiters) Receive(tag uint32, now time.Time) { w.mux.Receive(tag, now) }

// Next is how long Expire may wait; below 0 there is nothing to wait for.
func (w *Waiters) Next(now time.Time) time.Duration { return w.mux.Next(now) }

// Expire hands over the queries that wait too long.
func (w *Waiters) Expire(now time.Time) { w.mux.Expire(now) }

// Open is how many responses may still come, with those of queries that have
// been handed over.
func (w *Waiters) Open() int { return w.mux.Pending() }

// Close answers the queries that still wait, and closes the sockets.
func (w *Waiters) Close() {
	w.Shed()
	w.mux.Close()
}

// Recover hands over all queries that wait, after a panic in another method.
func (w *Waiters) Recover() {
	w.mux.Reset()
	w.Misses.Recover()
}
