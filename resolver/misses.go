package resolver

import (
	"rideau/blocklists"
	"rideau/resolver/cache"
	"rideau/resolver/forward"
	"rideau/resolver/qtype"
	"rideau/resolver/wire"
)

// Responder sends the answers of queries that waited; it is the listener's. Its
// methods are called by the goroutine that owns the Misses, from within a method
// of theirs.
type Responder interface {
	// Buffer returns an empty slice to which the next answer may be appended.
	Buffer() []byte
	// Answered takes the answer to a ticket's query; none is to be sent if it
	// is empty. q may not be kept.
	Answered(ticket uint32, q *Query, answer []byte, o Outcome)
	// HandOver takes a query that has to be given to Resolve after all. q is
	// to be copied like one that Answer left pending.
	HandOver(ticket uint32, q *Query)
}

// maxMiss is the longest query that waits in Misses; others go to Resolve.
const maxMiss = 512

// Misses are queries that wait for an upstream without a goroutine each. One
// goroutine asks for those that it has left pending, and answers them, in
// batches with its other work. What is out of the ordinary goes to Resolve: see
// [forward.Loop]. One goroutine uses all methods.
type Misses struct {
	r       *Resolver
	loop    *forward.Loop
	to      Responder
	queries []*miss // by ticket
	n       int
}

// miss is a query that waits, and the copy of its message.
type miss struct {
	q       Query
	msg     [maxMiss]byte
	waiting bool
}

// NewMisses makes Misses for a goroutine that sends answers by to. The
// multiplexer must be set before anything waits.
func (r *Resolver) NewMisses(to Responder) *Misses {
	ms := &Misses{r: r, to: to}
	ms.loop = r.exchanges.NewLoop((*missSink)(ms))
	return ms
}

// SetMultiplexer sets what sends queries to upstreams.
func (ms *Misses) SetMultiplexer(m forward.Multiplexer) { ms.loop.SetMultiplexer(m) }

// Waiting is how many queries wait.
func (ms *Misses) Waiting() int { return ms.n }

// Begin lets a query wait that Answer left pending, and returns its ticket. If
// it reports false the query is to be given to Resolve.
func (ms *Misses) Begin(q *Query) (ticket uint32, ok bool) {
	if len(q.Msg) > maxMiss || q.target != nil {
		return 0, false
	}
	ticket = ms.loop.Ticket()
	m := ms.at(ticket)
	m.q = *q
	m.q.Msg = m.msg[:copy(m.msg[:], q.Msg)]
	if q.shared, ok = ms.loop.Begin(ticket, q.state.routing, m.q.question(), q.Received, ms.r.staleAfter); !ok {
		m.q = Query{}
		return 0, false
	}
	m.waiting = true
	ms.n++
	return ticket, true
}

// at returns the place of a ticket.
func (ms *Misses) at(ticket uint32) *miss {
	for int(ticket) >= len(ms.queries) {
		const chunk = 16
		more := make([]miss, chunk)
		for i := range more {
			ms.queries = append(ms.queries, &more[i])
		}
	}
	return ms.queries[ticket]
}

// end notes that a query does not wait any more. It comes before the query is
// passed on, so that a panic on the way does not pass it on twice.
func (ms *Misses) end(m *miss) {
	m.waiting = false
	ms.n--
}

func (ms *Misses) answered(ticket uint32, m *miss, out []byte, o Outcome) {
	ms.end(m)
	ms.to.Answered(ticket, &m.q, out, o)
	m.q = Query{}
}

func (ms *Misses) handOver(ticket uint32, m *miss) {
	ms.end(m)
	ms.to.HandOver(ticket, &m.q)
	m.q = Query{}
}

// missSink is Misses as the [forward.Sink] of its Loop.
type missSink Misses

func (s *missSink) Buffer() []byte { return s.to.Buffer() }

// Answered makes the client's answer of an upstream's.
func (s *missSink) Answered(ticket uint32, dst []byte, res forward.Result) {
	ms := (*Misses)(s)
	m := ms.queries[ticket]
	q := &m.q
	q.server = res.Server
	o := Outcome{Qtype: qtype.Of(q.view.Type), Ban: blocklists.NoBan}
	out, o, blocked := ms.r.recheck(dst, q, o)
	if !blocked {
		o.Kind = Forwarded
		out, o = ms.r.finish(res.Msg, len(dst), q, cache.Hit{Generation: res.Generation, EDE: res.EDE}, o)
	}
	if o.Kind == Pending {
		ms.handOver(ticket, m)
		return
	}
	ms.answered(ticket, m, out, o)
}

func (s *missSink) HandOver(ticket uint32, shared *forward.Shared) {
	ms := (*Misses)(s)
	if m := ms.at(ticket); m.waiting {
		m.q.shared = shared
		ms.handOver(ticket, m)
	}
}

func (s *missSink) Failed(ticket uint32, ede int) {
	ms := (*Misses)(s)
	m := ms.queries[ticket]
	if !m.waiting {
		return
	}
	o := Outcome{Qtype: qtype.Of(m.q.view.Type), Ban: blocklists.NoBan}
	out, o := ms.r.fail(ms.to.Buffer(), &m.q, ede, false, o)
	ms.answered(ticket, m, out, o)
}

// Shed answers all queries that wait, since their goroutine is to end.
func (ms *Misses) Shed() {
	for t, m := range ms.queries {
		if !m.waiting {
			continue
		}
		ms.loop.Fail(uint32(t), wire.EDENoReachable)
		out, o := ms.r.Shed(ms.to.Buffer(), &m.q)
		ms.answered(uint32(t), m, out, o)
	}
}

// Recover is for after a panic on the way of a query that waits, which may have
// left anything half done. All queries that wait go to Resolve and are asked
// anew. The multiplexer must have forgotten its calls.
func (ms *Misses) Recover() {
	ms.loop.Recover()
	for _, m := range ms.queries {
		m.q, m.waiting = Query{}, false
	}
	ms.n = 0
}
