package upstream

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"rideau/resolver/wire"
)

// maxCall is the longest query that a Call keeps: header, name, type, class,
// and an OPT record without options.
const maxCall = wire.HeaderLen + wire.MaxName + 4 + wire.OPTLen + maxCookie

// Call is a question under way on a [Mux]. Its memory belongs to whoever
// asks, who leaves it alone from [Mux.Ask] until Taker.Took was told of its
// end, or, for a call that was lent, of Gone.
type Call struct {
	// Tag and Patience are the asker's. Patience is how long a call waits at
	// most before it ends Silent.
	Tag      uint32
	Patience time.Duration

	g          *Group
	m          *member
	s          *server
	port       *port
	next, prev *Call // in the list of calls that are waited for, or lent
	lent       *Begun
	entered    bool // it counts as under way
	hedge      bool // another is to be asked beside it
	sent       time.Time
	took       time.Duration
	err        error // of Failed
	id         uint16
	length     uint16
	query      [maxCall]byte
}

// leave takes note that c is not under way any more.
func (c *Call) leave() {
	if c.entered {
		c.entered = false
		c.m.leave()
	}
}

// Forget is for a call of whose end nobody will be told, after [Mux.Reset].
// It may be asked with again.
func (c *Call) Forget() { c.leave() }

// message is the query as it was sent.
func (c *Call) message() []byte { return c.query[:c.length] }

// Won notes that a call's response is good, and returns how long it took.
// Whoever was told of Answered and finds it so calls it, before anything else
// is asked with c.
func (c *Call) Won() time.Duration {
	c.m.latency.Observe(c.took)
	c.g.heardOf(c.m, c.sent, c.took, true)
	return c.took
}

// Ending is how a call came to its end.
type Ending uint8

// Endings.
const (
	// Answered: there is a response, with NOERROR or NXDOMAIN in its header.
	Answered Ending = iota
	// Judged: there is a response with a code that another upstream may
	// better, or, if the asker says so, one that cannot be read.
	Judged
	// Truncated: what there is to say has to be asked for over TCP.
	Truncated
	// Refuted: the server does not know EDNS. It is to be asked anew.
	Refuted
	// Failed: it could not be sent, or the server's host refused it.
	Failed
	// Silent: there is no response yet, and others should be asked too.
	Silent
	// Gone: a call that was lent is over.
	Gone
)

// Taker is told of calls' ends, on the goroutine that uses the Mux.
type Taker interface {
	// Took is told that c has ended. resp is the response with Answered and
	// Judged; it may be written to, and is good until Took returns.
	Took(c *Call, resp []byte, how Ending)
}

// Begun is an exchange that began as a call, for [Group.Resume].
type Begun struct {
	how  Ending
	m    *member
	sent time.Time
	// a is the call as an attempt of the race to come. If the call is lent,
	// it is the Mux's until it has come through done.
	a    *attempt
	done chan *attempt
	// hedge is whether another is to be asked though the call's time is not
	// over.
	hedge bool
	// counted is whether the race has counted the call as unanswered. It may
	// end before that time.
	counted atomic.Bool
}

// Begun turns a call that ended in another way than Answered into what
// Group.Resume goes on with. A response is copied. A call that ended Silent is
// lent by that: its response, should it come, goes to the race.
func (c *Call) Begun(resp []byte, how Ending) *Begun {
	sent := time.Now().Add(-c.took) // whatever the asker's clock
	b := &Begun{how: how, m: c.m, sent: sent, a: &attempt{sent: sent, limit: c.g.limit(c.m)},
		done: make(chan *attempt, maxAttempts(c.g))}
	switch how {
	case Answered, Judged:
		b.how, b.a.msg = Judged, slices.Clone(resp)
		b.a.took = c.took
	case Failed:
		b.a.err = fmt.Errorf("upstream %s: %w: %w", c.m.up.Addr(), ErrNetwork, c.err)
	case Silent:
		c.lent, b.a.lent, b.hedge = b, b, c.hedge
	}
	return b
}

// patience is how long c is waited for before others are asked too.
func (c *Call) patience() time.Duration {
	if p := c.g.limit(c.m); c.Patience <= 0 || p < c.Patience {
		return p
	}
	return c.Patience
}

// due reports whether others are to be asked now, and after how long they
// will be.
func (c *Call) due(now time.Time) (is bool, in time.Duration) {
	waited := now.Sub(c.sent)
	in = c.patience() - waited
	if in <= 0 {
		return true, in
	}
	if h := c.g.hedgeAfter(c.m); h > 0 && h-waited < in && c.g.affordsHedge() {
		in = h - waited
	}
	return false, in
}

// hurry reports whether another is to be asked beside c, whose time is not
// over.
func (c *Call) hurry(now time.Time) bool {
	h := c.g.hedgeAfter(c.m)
	c.hedge = h > 0 && now.Sub(c.sent) >= h && c.g.takeHedge()
	return c.hedge
}

// never notes that a call that was lent was not answered at all, where the
// race has ended before it could tell.
func (c *Call) never() {
	if c.lent.counted.CompareAndSwap(false, true) {
		c.m.failures[Timeout].Add(1)
		c.m.rtt.lost(c.g.limit(c.m))
		c.g.missed(c.m, c.sent, ErrTimeout)
	}
}

// late gives the race what came for a call that was lent.
func (c *Call) late(resp []byte, err error) {
	a := c.lent.a
	a.msg, a.err, a.took = slices.Clone(resp), err, c.took
	c.lent.done <- a // has room for all
}

// Resume finishes an exchange that a call began: like [Group.Exchange], with
// the call for its first attempt. b may be used once; with nil, or a call of
// another group, nothing was begun.
func (g *Group) Resume(ctx context.Context, dst, query []byte, b *Begun) ([]byte, error) {
	if b == nil || b.how == Refuted || b.how == Gone || !slices.ContainsFunc(g.members, func(m *member) bool { return m == b.m }) {
		return g.Exchange(ctx, dst, query)
	}
	left := max(g.timeout-time.Since(b.sent), time.Millisecond)
	return g.race(ctx, dst, query, left, b)
}

// begin makes the first attempt of a race what b says, and reports whether
// that won.
func (r *race) begin(b *Begun) bool {
	b.a.lane = &r.lanes[0]
	r.turn = 1
	r.hedged = true
	r.start(b.a)
	switch b.how {
	case Judged, Failed:
		return r.finish(b.a)
	case Truncated:
		b.a.stream, b.a.limit = true, r.g.attemptTimeout
		b.m.inFlight.Add(1)
		go r.run(b.a)
	}
	r.expire(1)
	if b.hedge && r.fresh > 0 {
		if l := r.companion(); l != nil {
			r.company(l)
		}
	}
	return false
}
