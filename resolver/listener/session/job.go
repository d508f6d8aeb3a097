package session

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"rideau/resolver"
	"rideau/resolver/limit"
)

// Path is the way back to the client of a query that waits.
type Path interface {
	// Reply sends the response. It is called once for each query, on a
	// goroutine of its own. The response is framed[LengthLen:], after its length
	// for streams; framed is nil if no response is to be sent. Reply does not
	// keep it.
	//
	// An error is counted as a response that the system did not send.
	Reply(framed []byte) error
}

// jobState says who holds a Job. The holder passes it on, and a pass from the
// wrong state panics: two holders would send one client another's response.
type jobState uint8

const (
	jobIdle    jobState = iota // held by the pool
	jobFilling                 // held by the session that took it
	jobRunning                 // held by its own goroutine
)

// maxJobBuffer is the largest buffer for a query that a Job keeps when it is
// idle.
const maxJobBuffer = 8 << 10

// Job is a query that waits. It has a goroutine, which runs the next query when
// it has run this one: its stack, once grown, serves both.
type Job struct {
	// Kept is for the transport that fills the Job, which may leave here what
	// it can use again the next time: its Path, for example.
	Kept Path

	pool     *jobPool
	state    jobState
	wake     chan struct{} // holds one token: run
	q        resolver.Query
	msg      []byte // what q.Msg views
	buf      []byte // for the response, after its length
	counters *resolver.Counters
	permit   limit.Permit
	path     Path
}

func (j *Job) pass(from, to jobState) {
	if j.state != from {
		panic("session: a job was passed on by one who does not hold it")
	}
	j.state = to
}

// fill copies q, which Answer left pending, and its message.
func (j *Job) fill(q *resolver.Query, c *resolver.Counters) {
	j.q = *q
	j.msg = append(j.msg[:0], q.Msg...)
	j.q.Msg = j.msg
	j.counters = c
}

// Start has the query wait. Its response goes to path. The Job belongs to its
// goroutine from now on.
func (j *Job) Start(path Path) {
	j.path = path
	j.pass(jobFilling, jobRunning)
	j.wake <- struct{}{}
}

// run is one query's way from Start to its end.
func (j *Job) run() {
	c := j.pool.core
	ans, o := c.resolve(j.pool.ctx, j.buf[LengthLen:LengthLen], &j.q)
	j.counters.Observe(&j.q, o, time.Since(j.q.Received))
	c.settle(&j.permit, o)
	c.reply(j.path, j.buf, ans)
}

// reply sends ans, which was appended to buf[LengthLen:LengthLen], by path.
func (c *Core) reply(path Path, buf, ans []byte) {
	var framed []byte
	if Sendable(ans) {
		framed = Frame(buf, 0, ans)
	}
	if err := path.Reply(framed); err != nil {
		c.SendFailed(err)
	}
}

// jobPool keeps the jobs of a Core, idle ones as a stack: the one that ran last
// is the one whose memory is in the processor's caches.
type jobPool struct {
	core    *Core
	busy    atomic.Int64   // queries that wait, or are about to
	running sync.WaitGroup // the jobs' goroutines

	ctx    context.Context // what Resolve is called with; set by open, before any job
	cancel context.CancelFunc

	mu   sync.Mutex
	idle []*Job // guarded by mu
	low  int    // guarded by mu: the fewest idle jobs since the last trim
	on   bool   // guarded by mu: queries may wait
}

// open lets queries wait from now on.
func (p *jobPool) open(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ctx, p.cancel = context.WithCancel(ctx)
	p.on = true
}

// take returns a Job to fill and start, which has taken over the permit; nil if
// no query may wait, and the permit is released then.
func (p *jobPool) take(permit limit.Permit) *Job {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.on {
		p.core.limit.Release(&permit)
		return nil
	}
	p.busy.Add(1)
	j := p.idleJob()
	j.permit = permit
	return j
}

// idleJob is called with mu held.
func (p *jobPool) idleJob() *Job {
	if n := len(p.idle); n > 0 {
		j := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.low = min(p.low, n-1)
		j.pass(jobIdle, jobFilling)
		return j
	}
	j := &Job{pool: p, wake: make(chan struct{}, 1), msg: make([]byte, 0, 512), buf: make([]byte, 2048)}
	j.pass(jobIdle, jobFilling)
	p.running.Go(func() {
		for range j.wake {
			j.run()
			if !p.put(j) {
				return
			}
		}
	})
	return j
}

// put takes back a Job that has run. It reports whether its goroutine goes on.
func (p *jobPool) put(j *Job) bool {
	j.q, j.counters, j.path = resolver.Query{}, nil, nil
	if cap(j.msg) > maxJobBuffer {
		j.msg = make([]byte, 0, 512)
	}
	p.core.limit.Release(&j.permit)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy.Add(-1)
	j.pass(jobRunning, jobIdle)
	if !p.on {
		return false
	}
	p.idle = append(p.idle, j)
	return true
}

// enter counts a query that waits on a goroutine of the caller's, or reports
// false if no query may wait. leave takes it off the count.
func (p *jobPool) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.on {
		p.busy.Add(1)
	}
	return p.on
}

func (p *jobPool) leave() { p.busy.Add(-1) }

// trim ends the jobs that were idle since the last call.
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
	p.on = false
	for _, j := range p.idle {
		close(j.wake)
	}
	p.idle, p.low = nil, 0
}
