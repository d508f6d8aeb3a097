// Package forward asks upstreams and stores what they answer.
//
// There is one exchange for each question, however many queries wait for it:
// see [Exchanges.Join]. It runs in one of two ways. A goroutine of its own does
// everything: other servers, TCP, aliases that lead to another upstream. A
// [Loop] sends one datagram for a goroutine with many queries in hand; what
// needs more it hands over to the first way. A response takes the same steps in
// both: see accept.
package forward

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"rideau/resolver/cache"
	"rideau/resolver/steady"
	"rideau/resolver/upstream"
	"rideau/resolver/wire"
)

// Exchanges are all exchanges of one resolver. It is safe for concurrent use.
type Exchanges struct {
	routing    atomic.Pointer[Routing]
	cache      *cache.Cache
	pending    pendingQueries
	unclean    uncleanNames
	refreshing atomic.Int32 // exchanges that no query waited for at first
	refreshes  [2]atomic.Uint64
	unrelated  atomic.Uint64
	clock      func() time.Time
	steady     *steady.Clock
	panicked   func(any)
}

// New makes Exchanges. It starts nothing. clock is the time of answers, which count
// as steady says.
// panicked is told of the value of each panic that was recovered.
func New(c *cache.Cache, steady *steady.Clock, clock func() time.Time, panicked func(any)) *Exchanges {
	x := &Exchanges{cache: c, clock: clock, steady: steady, panicked: panicked}
	x.pending.init()
	x.unclean.init(x.pending.seed)
	return x
}

// now is the time of an answer.
func (x *Exchanges) now() int64 { return x.steady.At(x.clock()) }

// SetRouting sets what holds for responses from now on. It must have been called
// before anything is asked.
func (x *Exchanges) SetRouting(r *Routing) { x.routing.Store(r) }

// Pending is the pending query for a question under a Routing. since is when it
// began, in nanoseconds. It borrows the question's name.
func (x *Exchanges) Pending(r *Routing, q Question, since int64) Pending {
	return Pending{Question: q, hash: x.pending.hash(&q), routing: r, target: r.targets[q.Route], epoch: x.cache.Epoch(), since: since}
}

// Join returns where to wait for the answer to p's question. An exchange begins
// unless there is one. The name is copied.
func (x *Exchanges) Join(p Pending) *Shared {
	name := *p.Name // the exchange may outlive the query
	p.Name = &name
	shared, mine := x.pending.join(&p)
	if mine {
		x.launch(&p)
	}
	return shared
}

// launch runs the exchange of p on a goroutine of its own, which lives as long
// as the upstream takes, whether or not a query still waits.
func (x *Exchanges) launch(p *Pending) {
	go func() {
		res := Result{Failed: true, EDE: wire.EDENetwork}
		// A panic on the way ends this exchange in failure and nothing else.
		defer func() {
			if v := recover(); v != nil {
				x.panicked(v)
				res = Result{Failed: true, EDE: wire.EDENetwork}
			}
			x.pending.finish(p, res, false)
			if p.refresh {
				x.refreshing.Add(-1)
			}
		}()
		res = x.exchange(p)
	}()
}

// exchange asks the upstream and stores what it answers.
func (x *Exchanges) exchange(p *Pending) Result {
	var server uint16
	res := x.ask(p, &server)
	res.Server = server
	return res
}

// ask is exchange, and sets server to the one that answered.
func (x *Exchanges) ask(p *Pending, server *uint16) Result {
	if p.target.Upstream == nil {
		return Result{Failed: true, EDE: wire.EDENotReady}
	}
	query := p.newQuery(p.routing.udpSize)
	ctx := upstream.WithAnswered(x.context(context.Background(), p), server)
	var msg []byte
	var err error
	if p.started != nil {
		msg, err = p.target.Resume(ctx, nil, query, p.started)
	} else {
		msg, err = p.target.Exchange(ctx, nil, query)
	}
	if errors.Is(err, upstream.ErrBusy) {
		return Result{Failed: true, EDE: wire.EDENoReachable} // it may be over in a moment
	}
	if err != nil {
		ede := wire.EDENoReachable
		switch {
		case errors.Is(err, wire.ErrMessage):
			ede = wire.EDEInvalidData
		case errors.Is(err, upstream.ErrNetwork):
			ede = wire.EDENetwork
		}
		// If the upstream has answered nothing else either, it is not the
		// question that fails.
		return x.fail(p, ede, p.target.heard.Load() > p.since)
	}
	if !matches(query, msg) {
		return x.fail(p, wire.EDEInvalidData, true)
	}
	var r incoming
	res, fault := x.accept(p, msg, nil, &r, x.now(), true)
	switch fault {
	case malformed, unrelated, endless:
		return x.fail(p, wire.EDEInvalidData, true)
	case unusable:
		ede := wire.EDENoReachable
		if r.resp.EDE >= 0 && r.resp.Rcode == wire.ServFail {
			ede = r.resp.EDE // the reason of a validating upstream, for instance (RFC 8914 section 3)
		}
		return x.fail(p, ede, true)
	case empty, cut:
		// It is the best that anybody said, and is not stored.
		res = x.vet(p, &r, x.now())
		res.Msg, res.Cut = bounded(nil, &r, x.cache.MaxTTL()), fault == cut
		return res
	case breaksOff:
		if ede, ok := x.follow(p, &r); !ok {
			return x.fail(p, ede, true)
		}
		return x.store(p, nil, &r, x.now())
	}
	return res
}

// fail notes that an exchange brought no answer, and with backOff that this
// will last.
func (x *Exchanges) fail(p *Pending, ede int, backOff bool) Result {
	x.putFailure(p, ede, backOff)
	return Result{Failed: true, EDE: ede}
}

// matches reports whether msg is the response to a query with the id 0.
func matches(query, msg []byte) bool {
	if len(msg) < wire.HeaderLen {
		return false
	}
	wire.SetID(msg, 0)
	return wire.Matches(query, msg)
}
