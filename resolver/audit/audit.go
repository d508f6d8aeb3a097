// Package audit records the queries that ended, and hands the records to
// readers. The log of queries and the log of events are readers.
//
// A query's way to a reader has three stages, and none of them makes a worker
// wait:
//
//  1. Where a query ends, [resolver.Counters] compare its marks with those that
//     readers want: one atomic load. If a reader wants it, a record of a fixed
//     size and the query's name are appended to a ring of the worker, under a
//     short lock.
//  2. One goroutine, in [Log.Run], empties the rings within 25 milliseconds, and
//     appends each record to the queue of every [Reader] that wants it.
//  3. A reader calls [Reader.Read] on a goroutine of its own. A slow reader loses
//     its own records only.
//
// A record for which a ring or a queue has no space is lost. It is counted for
// each reader that wanted it: see [Reader.Lost].
//
// # Numbers and names
//
// A record in a ring has no pointers, so that the garbage collector does not
// scan it. It refers to groups, bans, lists, exceptions and routes by number.
// The numbers are those of a [names.Table], which the ring keeps beside the
// records. A table is small and does not refer to the policy that it was made
// from. So the record of a query from before a reload has the names from before
// the reload, and no record keeps a replaced policy in memory. Readers see names
// only.
//
// # Numbers of records
//
// Records are numbered from 1 in the order in which they are passed on. Lost ones
// take numbers, too: whoever has all records of a reader and finds a number missing
// knows that another reader wanted that record, or that it was lost.
//
// # Adding a reader
//
// Choose which marks you want and how many records may wait to be read:
//
//	r := log.NewReader(4096)
//	r.Want(resolver.Banned | resolver.Excepted)
//
// Then repeat on one goroutine:
//
//	<-r.Ready()
//	r.Read(func(rec *audit.Record) { ... })
//
// Want(0) turns the reader off, and it can be turned on again. To read the
// records of all queries that have ended, at the end for example, call
// [Log.Drain] before Read. Report [Reader.Lost] in a metric.
//
// A fact that a [Record] lacks is added to [resolver.Facts] or
// [resolver.Outcome], where the resolver learns it, to slot, and to Record.
package audit

import (
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"rideau/resolver"
)

// interval is how long a record stays in a ring at most. A ring has space for
// several times the queries that a worker answers meanwhile.
const interval = 25 * time.Millisecond

// Log takes the records of all workers to all readers. It is safe for
// concurrent use. It implements [resolver.Audit].
type Log struct {
	wanted atomic.Uint32 // the union of what readers want
	_      [60]byte      // all workers load wanted; keep what changes off its cache line
	wake   chan struct{} // a ring has records; holds one
	pool   pool

	draining sync.Mutex // held while rings are emptied
	number   uint64     // guarded by draining: of the last record

	mu      sync.Mutex
	rings   []*ring   // guarded by mu; replaced, never written
	readers []*Reader // guarded by mu; replaced, never written
}

// New makes a Log without readers, which records nothing. It starts nothing.
func New() *Log { return &Log{wake: make(chan struct{}, 1)} }

// Wanted implements [resolver.Audit].
func (l *Log) Wanted() *atomic.Uint32 { return &l.wanted }

// NewRecorder implements [resolver.Audit].
func (l *Log) NewRecorder() resolver.Recorder {
	g := &ring{log: l}
	l.pool.grow()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rings = append(slices.Clip(l.rings), g)
	return g
}

// NewReader adds a reader with a queue of at most size records. It wants no
// records until its Want is called.
func (l *Log) NewReader(size int) *Reader {
	r := &Reader{log: l, size: size, ready: make(chan struct{}, 1)}
	r.pool.bound = math.MaxInt // size is the bound
	l.mu.Lock()
	defer l.mu.Unlock()
	l.readers = append(slices.Clip(l.readers), r)
	return r
}

// Run passes records on until ctx ends, and then those that are left.
func (l *Log) Run(ctx context.Context) {
	pause := time.NewTimer(interval)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			l.Drain()
			return
		case <-l.wake:
		}
		pause.Reset(interval)
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
		l.Drain()
	}
}

// Drain passes on the records of all queries that have ended. It may be called
// beside Run.
func (l *Log) Drain() {
	l.draining.Lock()
	defer l.draining.Unlock()
	l.drain()
}

// drain is Drain with draining held.
func (l *Log) drain() {
	l.mu.Lock()
	rings, readers := l.rings, l.readers
	l.mu.Unlock()
	for _, g := range rings {
		first, lost := g.take()
		for _, r := range readers {
			r.addLost(&lost)
		}
		for _, n := range lost {
			l.number += n
		}
		for c := first; c != nil; {
			for i := range c.n {
				l.number++
				c.slots[i].number = l.number
			}
			for _, r := range readers {
				r.add(c)
			}
			next := c.next
			l.pool.put(c)
			c = next
		}
	}
}

// want sets what r wants. Records from before go by what it wanted before.
func (l *Log) want(r *Reader, m resolver.Marks) {
	l.draining.Lock()
	defer l.draining.Unlock()
	l.drain()
	r.want.Store(uint32(m))
	l.mu.Lock()
	defer l.mu.Unlock()
	all := uint32(0)
	for _, r := range l.readers {
		all |= r.want.Load()
	}
	l.wanted.Store(all)
}
