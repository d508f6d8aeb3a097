package listener

// Ownership: a job is held by the pool, by the reader that fills it, or by its
// own goroutine, and j.state says by whom. It is passed on by the one that
// holds it, and a pass from the wrong state panics: two holders would send one
// client another's answer.

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"rideau/resolver"
	"rideau/resolver/limit"
)

// DefaultMaxPending is how many queries may wait where no WaitLimit is given. One
// that waits costs a goroutine and its buffers, in all some 10 KiB.
const DefaultMaxPending = 4096

type jobState uint8

const (
	jobIdle    jobState = iota // held by the pool
	jobFilling                 // held by the reader that took it
	jobRunning                 // held by its own goroutine
)

// Buffers of a job that one large message made larger than this are let go.
const maxJobBuffer = 8 << 10

// job is a query that waits. Its goroutine lives as long as it does, so that
// its stack, once grown, serves the next query too.
type job struct {
	state    jobState
	wake     chan struct{} // holds one token: run
	q        resolver.Query
	msg      []byte // what q.Msg views
	ans      []byte // where the answer goes: two octets on, for its length
	counters *resolver.Counters
	claim    limit.Permit
	// path sends the answer of a UDP query. It belongs to the job for good
	// and is set anew by the socket that fills the job.
	path returnPath
	conn *conn // where the answer goes instead, if the query came over TCP
}

// returnPath is the way back to the sender of a datagram.
type returnPath interface {
	reply(ans []byte) error
}

func (j *job) pass(from, to jobState) {
	if j.state != from {
		panic("listener: job passed on by one who does not hold it")
	}
	j.state = to
}

// fill makes j wait with a copy of q, which Answer left pending.
func (j *job) fill(q *resolver.Query, c *resolver.Counters) {
	j.q = *q
	j.msg = append(j.msg[:0], q.Msg...)
	j.q.Msg = j.msg
	j.counters = c
	j.conn = nil
}

// jobPool keeps the jobs of a Listener, idle ones as a stack: the one that
// ran last is the one whose memory is in the caches.
type jobPool struct {
	l       *Listener
	ctx     context.Context // what Resolve is called with
	busy    atomic.Int64
	running sync.WaitGroup // the jobs' goroutines

	mu     sync.Mutex
	idle   []*job // guarded by mu
	low    int    // guarded by mu: the fewest idle jobs since the last trim
	closed bool   // guarded by mu
}

// trimInterval is how often jobs that were idle all the time are let go.
const trimInterval = 30 * time.Second

func (p *jobPool) init(l *Listener) { p.l = l }

// active is the number of jobs that readers or their goroutines hold.
func (p *jobPool) active() int { return int(p.busy.Load()) }

// take returns a job to fill and start, which has taken the claim over; nil if
// there are to be no more jobs, and the claim has been given back then.
func (p *jobPool) take(claim limit.Permit) *job {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		p.l.o.WaitLimit.Release(&claim)
		return nil
	}
	p.busy.Add(1)
	j := p.idleJob()
	j.claim = claim
	return j
}

// idleJob is called with mu held.
func (p *jobPool) idleJob() *job {
	if n := len(p.idle); n > 0 {
		j := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.low = min(p.low, n-1)
		j.pass(jobIdle, jobFilling)
		return j
	}
	j := &job{wake: make(chan struct{}, 1), msg: make([]byte, 0, 512), ans: make([]byte, 2048)}
	j.pass(jobIdle, jobFilling)
	p.running.Go(func() { p.run(j) })
	return j
}

// start passes a job that was filled to its goroutine.
func (p *jobPool) start(j *job) {
	j.pass(jobFilling, jobRunning)
	j.wake <- struct{}{}
}

func (p *jobPool) run(j *job) {
	for range j.wake {
		p.resolve(j)
		if !p.put(j) {
			return
		}
	}
}

func (p *jobPool) resolve(j *job) {
	ans, o := p.l.resolve(p.ctx, j.ans[2:2], &j.q)
	j.counters.Observe(&j.q, o, time.Since(j.q.Received))
	switch {
	case j.conn != nil:
		if sendable(ans) {
			j.conn.write(frame(j.ans, 0, ans))
		}
		j.conn.settled()
	case len(ans) > 0:
		if err := j.path.reply(ans); err != nil {
			p.l.sendFailed(err, 1)
		}
	}
}

// put takes back a job that has run. It reports whether the job lives on.
func (p *jobPool) put(j *job) bool {
	j.q, j.counters, j.conn = resolver.Query{}, nil, nil
	if cap(j.msg) > maxJobBuffer {
		j.msg = make([]byte, 0, 512)
	}
	p.l.o.WaitLimit.Release(&j.claim)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy.Add(-1)
	j.pass(jobRunning, jobIdle)
	if p.closed {
		return false
	}
	p.idle = append(p.idle, j)
	return true
}

// trim ends the jobs that nobody needed since it was called last.
func (p *jobPool) trim() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, j := range p.idle[:p.low] {
		close(j.wake)
	}
	n := copy(p.idle, p.idle[p.low:])
	clear(p.idle[n:])
	p.idle = p.idle[:n]
	p.low = n
}

// close ends the idle jobs, and the others when they have run.
func (p *jobPool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, j := range p.idle {
		close(j.wake)
	}
	p.idle, p.low = nil, 0
}

// sendFailed counts answers that the system would not send.
func (l *Listener) sendFailed(err error, n int) {
	if l.phase.Load() == closed {
		return
	}
	l.count.sendErrors.Add(uint64(n))
	l.log.warn(&l.log.sends, "an answer could not be sent", err)
}
