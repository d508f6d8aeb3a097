package forward

import (
	"time"

	"rideau/resolver/upstream"
	"rideau/resolver/upstream/mux"
	"rideau/resolver/wire"
)

// Multiplexer sends queries to upstreams for one goroutine; a mux.Mux is one.
// It tells the Loop, on that goroutine, when a call has ended.
type Multiplexer interface {
	// Start begins a call, or reports false where the query needs another way.
	Start(c *mux.Call, up upstream.Upstream, query []byte, now time.Time) bool
}

// Sink gets what becomes of the questions of a Loop, by their tickets. The Loop
// calls it from within its own methods.
type Sink interface {
	// Buffer returns an empty slice to which the answer is appended.
	Buffer() []byte
	// Answered takes the result of a question. dst is what Buffer has returned,
	// with the same memory as res.Msg if that was long enough.
	Answered(ticket uint32, dst []byte, res Result)
	// HandOver is told that a goroutine goes on with a question. shared is where
	// to wait for it; nil if it has to be asked anew.
	HandOver(ticket uint32, shared *Shared)
	// Failed is told of a panic while a question was answered. Answered may
	// have been called already.
	Failed(ticket uint32, ede int)
}

// Loop asks upstreams for one goroutine with many questions in hand, without
// another goroutine for each. It declines what needs more than one datagram to
// one server: a server that does not answer, a truncated response, one that
// breaks off at an alias. A goroutine of its own goes on with that. One
// goroutine uses all methods.
type Loop struct {
	x     *Exchanges
	mux   Multiplexer
	sink  Sink
	calls []*call // by ticket
	free  []uint32
	r     incoming
	query []byte
}

// call is a question that is asked. It is in use until its pending query has
// been finished or handed over, and its call on the multiplexer has ended.
type call struct {
	mux     mux.Call // with the ticket for its tag
	pending Pending
	since   time.Time
	asking  bool // pending has been registered, and is this call's to finish
}

// NewLoop makes a Loop. Its multiplexer must be set before anything is asked.
func (x *Exchanges) NewLoop(sink Sink) *Loop { return &Loop{x: x, sink: sink} }

// SetMultiplexer sets what sends the queries.
func (l *Loop) SetMultiplexer(m Multiplexer) { l.mux = m }

// Ticket returns a number that is free. It is used with Begin at once.
func (l *Loop) Ticket() uint32 {
	if len(l.free) == 0 {
		const chunk = 16
		more := make([]call, chunk)
		for i := range more {
			more[i].mux.Tag = uint32(len(l.calls))
			l.free = append(l.free, more[i].mux.Tag)
			l.calls = append(l.calls, &more[i])
		}
	}
	t := l.free[len(l.free)-1]
	l.free = l.free[:len(l.free)-1]
	return t
}

func (l *Loop) release(c *call) {
	c.pending = Pending{}
	l.free = append(l.free, c.mux.Tag)
}

// Begin asks a question under a Routing. Its name is borrowed until the end of
// the ticket is told. since is when it came, patience how long it is waited for
// at most before it is handed over. If Begin reports false the ticket is free
// again, and shared is where to wait for the answer.
func (l *Loop) Begin(ticket uint32, r *Routing, q Question, since time.Time, patience time.Duration) (shared *Shared, ok bool) {
	c := l.calls[ticket]
	c.pending, c.since = l.x.Pending(r, q, l.x.steady.At(since)), since
	if s := l.x.pending.register(&c.pending); s != nil {
		l.release(c)
		return s, false
	}
	c.asking = true
	l.query = c.pending.appendQuery(l.query[:0], r.udpSize)
	c.mux.Patience, c.mux.Share = patience, q.Share
	if l.mux.Start(&c.mux, c.pending.target.Upstream, l.query, since) {
		return nil, true
	}
	shared = l.launch(c, nil) // others may wait for it already
	l.release(c)
	return shared, false
}

// launch has a goroutine go on with the pending query of a call.
func (l *Loop) launch(c *call, s *upstream.Started) *Shared {
	name := *c.pending.Name
	p := &Pending{started: s}
	p.Name = &name
	shared := l.x.pending.replace(&c.pending, p)
	c.asking = false
	l.x.launch(p)
	return shared
}

// Ended implements [mux.Receiver].
func (l *Loop) Ended(m *mux.Call, resp []byte, how upstream.Ending) {
	c := l.calls[m.Tag]
	if how == upstream.Over {
		l.release(c)
		return
	}
	if how == upstream.Answered && l.answer(c, resp) {
		l.release(c)
		return
	}
	l.sink.HandOver(m.Tag, l.launch(c, m.HandOver(resp, how)))
	if how != upstream.Late {
		l.release(c)
		return
	}
	c.pending = Pending{} // the call on the multiplexer goes on
}

// answer stores and passes on an upstream's response. It reports false if a
// goroutine has to go on. A panic fails the question and nothing else.
func (l *Loop) answer(c *call, msg []byte) (ok bool) {
	defer func() {
		if v := recover(); v != nil {
			l.x.panicked(v)
			l.fail(c, wire.EDENetwork)
			l.sink.Failed(c.mux.Tag, wire.EDENetwork)
			ok = true
		}
	}()
	dst := l.sink.Buffer()
	head := [wire.HeaderLen]byte(msg)
	res, fault := l.x.accept(&c.pending, msg, dst, &l.r, l.x.steady.At(c.since.Add(c.mux.Took())), false)
	if fault != none {
		copy(msg, head[:]) // with the counts of what was left out: a code may stand there
		return false
	}
	c.mux.Succeeded()
	res.Server = c.mux.Server()
	l.finish(c, res, true)
	l.sink.Answered(c.mux.Tag, dst, res)
	return true
}

func (l *Loop) finish(c *call, res Result, borrowed bool) {
	c.asking = false
	l.x.pending.finish(&c.pending, res, borrowed)
}

func (l *Loop) fail(c *call, ede int) {
	if c.asking {
		l.finish(c, Result{Failed: true, EDE: ede}, false)
	}
}

// Fail ends the pending query of a ticket, whose answer nobody will wait for on
// this goroutine. It is for the end of the goroutine.
func (l *Loop) Fail(ticket uint32, ede int) { l.fail(l.calls[ticket], ede) }

// Recover is for after a panic, which may have left anything half done. All that
// is pending is handed over; all tickets are free after that. The multiplexer
// must have forgotten its calls.
func (l *Loop) Recover() {
	for _, c := range l.calls {
		c.mux.Forget()
		l.recoverCall(c)
		c.pending, c.asking = Pending{}, false
	}
	l.free = l.free[:0]
	for _, c := range l.calls {
		l.free = append(l.free, c.mux.Tag)
	}
}

// recoverCall hands over one call. If that panics, the call has caused the
// panic before, and is lost.
func (l *Loop) recoverCall(c *call) {
	defer func() {
		if v := recover(); v != nil {
			l.x.panicked(v)
		}
	}()
	var shared *Shared
	if c.asking {
		shared = l.launch(c, nil)
	}
	l.sink.HandOver(c.mux.Tag, shared)
}
