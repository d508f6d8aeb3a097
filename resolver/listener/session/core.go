package session

import (
	"context"
	"sync/atomic"
	"time"

	"rideau/resolver"
	"rideau/resolver/limit"
	"rideau/resolver/listener/proxied"
)

// Handler answers queries. It is safe for concurrent use. It keeps neither the
// query nor the slice that it is given.
type Handler interface {
	// Answer appends the response to dst if that needs no waiting. With
	// resolver.Pending nothing is appended, and Resolve or Shed is to be called
	// with the same query, or with a copy of it whose Msg may have moved.
	Answer(dst []byte, q *resolver.Query) ([]byte, resolver.Outcome)
	// Resolve appends the response to a query that Answer left pending, or
	// nothing if none is to be sent. It returns soon after ctx has ended.
	Resolve(ctx context.Context, dst []byte, q *resolver.Query) ([]byte, resolver.Outcome)
	// Shed appends the response to a query that Answer left pending and that
	// may not wait, because too many do.
	Shed(dst []byte, q *resolver.Query) ([]byte, resolver.Outcome)
}

// Phase is a phase in the life of a Core. They come in this order.
type Phase int32

// Phases.
const (
	// Bound: the Core has not begun. It answers nothing yet.
	Bound Phase = iota
	// Serving lasts until the server is to end or is replaced.
	Serving
	// Draining: queries that wait get their responses. Streams read no more,
	// sockets that were detached are read on.
	Draining
	// Sweeping: sockets are read until they are empty, for the last time; see Leave.
	Sweeping
	// Closed: nothing waits any more, and what would wait is shed.
	Closed
)

// KernelGrace is for messages that the kernel was about to queue for a socket
// when that was detached.
const KernelGrace = 5 * time.Millisecond

// Core is what all sessions of a server share: the handler, the limit of
// queries that wait, the jobs, and the phase. It is safe for concurrent use.
type Core struct {
	// Log is for trouble that may come with each query.
	Log *Log
	// Proxies are those that say for which clients they speak. It is set before Begin; nil for none.
	Proxies *proxied.Sources
	// Full gets a token, if it has space, for a batch with as many messages as one
	// can have. It is set before Begin; nil for no tokens.
	Full chan<- struct{}

	handler    Handler
	limit      *limit.WaitLimit
	phase      atomic.Int32
	drainBegan atomic.Int64 // in Unix nanoseconds
	last       atomic.Bool  // see DrainLast
	leaves     atomic.Bool  // see Leave
	jobs       jobPool

	shed, panics, sendErrors, readErrors atomic.Uint64
}

// New makes a Core. It starts no goroutine. Queries wait only once Begin was
// called.
func New(h Handler, w *limit.WaitLimit, log *Log) *Core {
	c := &Core{Log: log, handler: h, limit: w}
	c.jobs.core = c
	return c
}

// Begin starts the phase Serving, once; it reports false if that, or End, was
// called before. Resolve gets the values of ctx, but ends by End alone.
func (c *Core) Begin(ctx context.Context) bool {
	if !c.phase.CompareAndSwap(int32(Bound), int32(Serving)) {
		return false
	}
	c.jobs.open(context.WithoutCancel(ctx))
	return true
}

// Abandon ends a Core that has not begun, and reports whether it could.
func (c *Core) Abandon() bool { return c.phase.CompareAndSwap(int32(Bound), int32(Closed)) }

// Use sets what answers. It may be called before Begin.
func (c *Core) Use(h Handler) { c.handler = h }

// Handler is what answers.
func (c *Core) Handler() Handler { return c.handler }

// Phase is the phase now.
func (c *Core) Phase() Phase { return Phase(c.phase.Load()) }

// Drain starts the phase Draining.
func (c *Core) Drain() {
	c.drainBegan.Store(time.Now().UnixNano())
	c.phase.Store(int32(Draining))
}

// DrainLast is Drain for a server that nobody takes over from.
func (c *Core) DrainLast() {
	c.last.Store(true)
	c.Drain()
}

// FreshGrace is the time that a client has for its first query on a connection that was
// made just before the Core began to drain: little if nobody else serves meanwhile.
func (c *Core) FreshGrace() time.Duration {
	if c.last.Load() {
		return 50 * time.Millisecond
	}
	return 500 * time.Millisecond
}

// DrainBegan is when Drain was called.
func (c *Core) DrainBegan() time.Time { return time.Unix(0, c.drainBegan.Load()) }

// Leave has sockets left in the phase Sweeping as soon as they are found empty, and not
// read any more: another process reads what comes then.
func (c *Core) Leave() { c.leaves.Store(true) }

// Leaves reports whether Leave was called.
func (c *Core) Leaves() bool { return c.leaves.Load() }

// Sweep starts the phase Sweeping.
func (c *Core) Sweep() { c.phase.Store(int32(Sweeping)) }

// Close starts the phase Closed. Jobs that run go on, see Cancel.
func (c *Core) Close() { c.phase.Store(int32(Closed)) }

// Waiting is how many queries wait as jobs, or in Exchange.Serve.
func (c *Core) Waiting() int { return int(c.jobs.busy.Load()) }

// Trim ends the goroutines of jobs that were idle since the last call.
func (c *Core) Trim() { c.jobs.trim() }

// Cancel ends the context of queries that wait, and lets none wait any more.
// It returns when they have ended, or after grace.
func (c *Core) Cancel(grace time.Duration) {
	c.jobs.cancel()
	for end := time.Now().Add(grace); c.Waiting() > 0 && time.Now().Before(end); {
		time.Sleep(2 * time.Millisecond)
	}
	c.jobs.close()
}

// Wait waits for the goroutines of all jobs, after Cancel.
func (c *Core) Wait() { c.jobs.running.Wait() }

// Stats are the figures of a Core at one moment; totals count from its start.
type Stats struct {
	Waiting    int    // see Core.Waiting
	Shed       uint64 // queries that were not allowed to wait, because too many did
	SendErrors uint64 // responses that the system did not send
	ReadErrors uint64 // errors of reading queries and of accepting connections
	Panics     uint64 // queries given up because the handler panicked
}

// Stats returns the figures of this moment.
func (c *Core) Stats() Stats {
	return Stats{c.Waiting(), c.shed.Load(), c.sendErrors.Load(), c.readErrors.Load(), c.panics.Load()}
}

// BatchFull is called for a batch with as many messages as one can have: more may
// come than are read.
func (c *Core) BatchFull() {
	select {
	case c.Full <- struct{}{}:
	default:
	}
}

// SendFailed counts a response that the system did not send.
func (c *Core) SendFailed(err error) {
	if c.Phase() == Closed {
		return
	}
	c.sendErrors.Add(1)
	c.Log.Warn(LogSend, "an answer could not be sent", err)
}

// ReadFailed counts an error of a socket that is read on.
func (c *Core) ReadFailed(err error) {
	c.readErrors.Add(1)
	c.Log.Warn(LogRead, "reading queries failed; going on", err)
}

// ProxyFailed counts what a proxy sent that does not say for which client it speaks.
func (c *Core) ProxyFailed(err error) {
	c.readErrors.Add(1)
	c.Log.Warn(LogRefusal, "what a proxy sent was not answered", err)
}

// AcceptFailed counts an error of accepting a connection.
func (c *Core) AcceptFailed(err error) {
	c.readErrors.Add(1)
	c.Log.Warn(LogAccept, "accepting connections failed; going on", err)
}
