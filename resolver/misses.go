package resolver

import (
	"time"

	"rideau/blocklists"
	"rideau/resolver/cache"
	"rideau/resolver/upstream"
	"rideau/resolver/upstream/acceptance"
	"rideau/resolver/upstream/mux"
	"rideau/resolver/wire"
)

// Multiplexer sends queries to upstreams for one goroutine; a mux.Mux is one.
// It tells the Misses, on that goroutine, when a call has ended.
type Multiplexer interface {
	// Start begins a call, or reports false where the query needs another way.
	Start(c *mux.Call, up upstream.Upstream, query []byte, now time.Time) bool
}

// Responder is where answers to queries that waited go, and is the listener's.
// Its methods are called by the goroutine that owns the Misses, from within
// whatever it calls.
type Responder interface {
	// Buffer returns an empty slice to which the next answer may be appended.
	Buffer() []byte
	// Answered takes the answer to a ticket's query; none is to be sent if
	// it is empty. q may not be kept.
	Answered(ticket uint32, q *Query, answer []byte, o Outcome)
	// HandOver takes a query that has to be given to Resolve after all. q is
	// to be copied like one that Answer left pending.
	HandOver(ticket uint32, q *Query)
}

// maxMiss is the longest query that waits in Misses; others go to Resolve.
const maxMiss = 512

// Misses are queries that wait for upstream without a goroutine each: they
// are what one goroutine has left pending, which asks for them, and finishes
// them, in batches with its other work. What is out of the ordinary, such as
// a server that is silent, a truncated response, one that breaks off at an alias or a
// question that somebody else is asking already, goes to Resolve.
//
// One goroutine uses all methods.
type Misses struct {
	r    *Resolver
	mux  Multiplexer
	to   Responder
	all  []*miss // by ticket
	free []uint32
	n    int
	// scratch
	name  wire.Name
	query []byte
}

// miss is a query that waits. It is in use until its query has been answered
// or handed over, and its call has ended.
type miss struct {
	call    mux.Call // with the ticket for its tag
	pending pendingQuery
	q       Query
	msg     [maxMiss]byte
	waiting bool // the query is
	flying  bool // the pending query is, and is this miss's to end
}

// NewMisses makes Misses for a goroutine that takes answers by to. The multiplexer has
// to be set before anything waits.
func (r *Resolver) NewMisses(to Responder) *Misses { return &Misses{r: r, to: to} }

// SetMultiplexer sets what sends the queries.
func (ms *Misses) SetMultiplexer(m Multiplexer) { ms.mux = m }

// Waiting is how many queries wait.
func (ms *Misses) Waiting() int { return ms.n }

// Begin has a query wait that Answer left pending, and reports its ticket. If
// it reports false the query is one for Resolve.
func (ms *Misses) Begin(q *Query) (ticket uint32, ok bool) {
	if len(q.Msg) > maxMiss || q.target != nil {
		return 0, false
	}
	ticket = ms.take()
	m := ms.all[ticket]
	m.q = *q
	m.q.Msg = m.msg[:copy(m.msg[:], q.Msg)]
	f := &m.pending
	*f = ms.r.newPending(&m.q)
	if l := ms.r.pending.register(f); l != nil {
		q.shared = l // somebody asks that already
		ms.put(m)
		return 0, false
	}
	m.flying = true
	ms.query = f.query(ms.query[:0])
	m.call.Patience = ms.r.staleAfter
	if ms.mux.Start(&m.call, f.upstream.Upstream, ms.query, q.Received) {
		m.waiting = true
		ms.n++
		return ticket, true
	}
	q.shared = ms.launch(m, nil) // somebody may wait for it already
	ms.put(m)
	return 0, false
}

// launch has a goroutine go on with a pending query.
func (ms *Misses) launch(m *miss, b *upstream.Started) *sharedResult {
	name := *m.pending.name
	g := &pendingQuery{name: &name, started: b}
	l := ms.r.pending.replace(&m.pending, g)
	m.flying = false
	ms.r.launch(g)
	return l
}

// take returns the ticket of a miss that nobody uses.
func (ms *Misses) take() uint32 {
	if len(ms.free) == 0 {
		const chunk = 16
		more := make([]miss, chunk)
		for i := range more {
			more[i].call.Tag = uint32(len(ms.all))
			ms.free = append(ms.free, more[i].call.Tag)
			ms.all = append(ms.all, &more[i])
		}
	}
	t := ms.free[len(ms.free)-1]
	ms.free = ms.free[:len(ms.free)-1]
	return t
}

func (ms *Misses) put(m *miss) {
	m.q, m.pending = Query{}, pendingQuery{}
	ms.free = append(ms.free, m.call.Tag)
}

// Ended implements [mux.Receiver].
func (ms *Misses) Ended(c *mux.Call, resp []byte, how upstream.Ending) {
	m := ms.all[c.Tag]
	if how == upstream.Over {
		ms.put(m)
		return
	}
	if how == upstream.Answered && ms.answer(m, resp) {
		ms.put(m)
		return
	}
	m.q.shared = ms.launch(m, c.HandOver(resp, how))
	ms.resume(m)
	if how != upstream.Late {
		ms.put(m)
		return
	}
	m.q, m.pending = Query{}, pendingQuery{} // the call goes on
}

// end takes note that a query waits no more. It comes before the query is
// passed on, so that a fault on the way does not pass it on twice.
func (ms *Misses) end(m *miss) {
	m.waiting = false
	ms.n--
}

func (ms *Misses) answered(m *miss, out []byte, o Outcome) {
	ms.end(m)
	ms.to.Answered(m.call.Tag, &m.q, out, o)
}

func (ms *Misses) resume(m *miss) {
	ms.end(m)
	ms.to.HandOver(m.call.Tag, &m.q)
}

// arrive ends a miss's pending query.
func (ms *Misses) arrive(m *miss, res result, borrowed bool) {
	m.flying = false
	ms.r.pending.end(&m.pending, res, borrowed)
}

// answer finishes a query with upstream's response, or reports false if that
// is no answer. A panic fails the query and nothing else.
func (ms *Misses) answer(m *miss, msg []byte) (ok bool) {
	r, q := ms.r, &m.q
	o := Outcome{Qtype: qtypeClass(q.view.Type), Ban: blocklists.NoBan}
	defer func() {
		if p := recover(); p != nil {
			r.panicked(p)
			if m.flying {
				ms.arrive(m, result{failed: true, ede: edeNetwork}, false)
			}
			if m.waiting {
				out, o := r.fail(ms.to.Buffer(), q, edeNetwork, false, o)
				ms.answered(m, out, o)
			}
			ok = true
		}
	}()
	var resp wire.Response
	if err := resp.Parse(msg, &ms.name); err != nil || !acceptance.Usable(&resp) {
		return false
	}
	if msg, ok = r.dropUnrelated(msg, m.pending.do, &resp, &ms.name); !ok || leftOff(&m.pending, msg, &resp, &ms.name) {
		return false
	}
	took := m.call.Took()
	m.call.Succeeded()
	dst := ms.to.Buffer()
	res := r.store(&m.pending, msg, &resp, dst, &ms.name, q.Received.Add(took).UnixNano())
	ms.arrive(m, res, true)
	out, o, blocked := r.recheck(dst, q, o)
	if !blocked {
		o.Kind = Forwarded
		out, o = r.finish(res.msg, len(dst), q, cache.Hit{Generation: res.generation, EDE: res.ede}, o)
	}
	if o.Kind == Pending {
		ms.resume(m)
		return true
	}
	ms.answered(m, out, o)
	return true
}

// Shed answers all queries that wait, since their goroutine is to end.
func (ms *Misses) Shed() {
	for _, m := range ms.all {
		if !m.waiting {
			continue
		}
		ms.arrive(m, result{failed: true, ede: edeNoReachable}, false)
		out, o := ms.r.Shed(ms.to.Buffer(), &m.q)
		ms.answered(m, out, o)
	}
}

// Recover is for after a panic on the way of a query that waits, which may
// have left anything half done. Whatever waits goes to Resolve and is asked
// anew; all misses are free after that. The The multiplexer must have forgotten its calls.
func (ms *Misses) Recover() {
	for _, m := range ms.all {
		m.call.Forget()
		if m.flying || m.waiting {
			ms.handOver(m)
		}
		m.q, m.pending, m.waiting, m.flying = Query{}, pendingQuery{}, false, false
	}
	ms.n = 0
	ms.free = ms.free[:0]
	for _, m := range ms.all {
		ms.free = append(ms.free, m.call.Tag)
	}
}

// handOver gives one query to Resolve. If that panics again, it was the one,
// and is lost.
func (ms *Misses) handOver(m *miss) {
	defer func() {
		if p := recover(); p != nil {
			ms.r.panicked(p)
		}
	}()
	m.q.shared = nil
	if m.flying {
		m.q.shared = ms.launch(m, nil)
	}
	if m.waiting {
		ms.resume(m)
	}
}
