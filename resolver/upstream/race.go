package upstream

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"rideau/resolver/wire"
)

// maxRounds is how often one upstream is asked in one exchange: a datagram may
// be lost.
const maxRounds = 3

// race is one exchange of a group. Its methods run on the caller's goroutine;
// each attempt runs on one of its own, which ends with ctx at the latest.
type race struct {
	g     *Group
	ctx   context.Context
	query []byte // a copy: attempts may end after the exchange
	done  chan *attempt

	lanes  []lane // in the order in which they are asked
	turn   int    // in lanes
	round  int
	begun  []*attempt
	open   int // attempts that have not ended
	fresh  int // those among them whose time is not over
	spare  []byte
	rank   int // of spare
	silent bool
	err    error

	firstLanes [4]lane
	firstBegun [2]*attempt
}

// lane is an upstream's place in a race.
type lane struct {
	m    *member
	down bool
	over bool // it has had its say, and is not asked again
}

// attempt is one request to one upstream. Until it has come through done, msg,
// took and err belong to its goroutine.
type attempt struct {
	lane *lane
	sent time.Time
	late bool // its time is over; it is counted as unanswered
	end  bool

	msg  []byte
	took time.Duration
	err  error
}

// Exchange implements [Upstream] over the group. Healthy upstreams are asked
// in their order, then the others, of whom the one whose last failure is
// longest ago comes first; who has not answered after the attempt timeout is
// given company by the next. The first good response wins. SERVFAIL, REFUSED,
// NOTIMP and FORMERR make the next one be asked at once, and are returned if
// nobody does better. Whatever happens, it ends after the group's timeout.
func (g *Group) Exchange(ctx context.Context, dst, query []byte) ([]byte, error) {
	if len(g.members) == 0 {
		return dst, fmt.Errorf("upstream group %s: %w", g.name, ErrNoUpstream)
	}
	return g.race(ctx, dst, query, g.timeout, nil)
}

// race is an exchange within a time. b is its first attempt, if it has begun.
func (g *Group) race(ctx context.Context, dst, query []byte, limit time.Duration, b *Begun) ([]byte, error) {
	racing, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	r := g.newRace(racing, query)
	first := g.attemptTimeout
	if b != nil {
		if r.begin(b) {
			return r.give(dst, b.a.msg), nil
		}
		first = max(first-time.Since(b.sent), 0)
	}
	if r.fresh == 0 && r.advance() {
		first = g.attemptTimeout
	}
	timer := time.NewTimer(first)
	defer timer.Stop()
	for r.open > 0 {
		select {
		case a := <-r.done:
			if a.err != nil && racing.Err() != nil {
				r.abandon()
				break
			}
			if r.finish(a) {
				return r.give(dst, a.msg), nil
			}
		case <-timer.C:
			r.expire(0)
		case <-racing.Done():
			r.abandon()
		}
		if r.fresh == 0 && racing.Err() == nil && r.advance() {
			timer.Reset(g.attemptTimeout)
		}
		if racing.Err() != nil || r.fresh == 0 && r.spare != nil {
			break
		}
	}
	return r.settle(ctx, dst)
}

// newRace ranks the upstreams by health.
func (g *Group) newRace(ctx context.Context, query []byte) *race {
	r := &race{g: g, ctx: ctx, query: append([]byte(nil), query...), done: make(chan *attempt, maxRounds*len(g.members))}
	r.lanes, r.begun = r.firstLanes[:0], r.firstBegun[:0]
	for _, m := range g.members {
		if m.healthy() {
			r.lanes = append(r.lanes, lane{m: m})
		}
	}
	healthy := len(r.lanes)
	for _, m := range g.members {
		if len(r.lanes) == len(g.members) {
			break
		}
		if m.healthy() {
			continue
		}
		r.lanes = append(r.lanes, lane{m: m, down: true})
		for i := len(r.lanes) - 1; i > healthy && r.lanes[i].m.lastFail.Load() < r.lanes[i-1].m.lastFail.Load(); i-- {
			r.lanes[i], r.lanes[i-1] = r.lanes[i-1], r.lanes[i]
		}
	}
	return r
}

// next is whom to ask next, or nil. Who did not answer is asked again when all
// others have been, as long as there is nothing to return.
func (r *race) next() *lane {
	for r.round < maxRounds && (r.round == 0 || r.spare == nil) {
		for r.turn < len(r.lanes) {
			l := &r.lanes[r.turn]
			r.turn++
			if !l.over {
				return l
			}
		}
		r.turn = 0
		r.round++
	}
	return nil
}

// advance asks the next one, and reports whether there was one. If there is a
// response to fall back on, those believed down are asked all together: their
// chance must not cost the client more than one attempt's time.
func (r *race) advance() bool {
	l := r.next()
	if l == nil {
		return false
	}
	r.launch(l)
	for l.down && r.spare != nil {
		if l = r.next(); l == nil {
			break
		}
		r.launch(l)
	}
	return true
}

func (r *race) launch(l *lane) {
	a := &attempt{lane: l, sent: time.Now()}
	r.begun = append(r.begun, a)
	r.open++
	r.fresh++
	l.m.requests.Add(1)
	go func() { r.run(a, false) }()
}

// run makes an attempt, over a stream if need be.
func (r *race) run(a *attempt, stream bool) {
	a.msg, a.err = r.g.exchange(r.ctx, a.lane.m, r.query, stream)
	a.took = time.Since(a.sent)
	r.done <- a // has room for all
}

// exchange keeps a fault in a transport from ending more than the attempt.
func (g *Group) exchange(ctx context.Context, m *member, query []byte, stream bool) (msg []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			g.logger.Error("upstream failed by a fault in the program", "group", g.name, "upstream", m.up.Addr(),
				"panic", p, "stack", string(debug.Stack()))
			msg, err = nil, fmt.Errorf("upstream %s: panic: %v", m.up.Addr(), p)
		}
	}()
	if u, ok := m.up.(*Do53); ok && stream {
		return u.exchangeTCP(ctx, nil, query)
	}
	return m.up.Exchange(ctx, nil, query)
}

// finish takes an attempt that has ended, and reports whether it won.
func (r *race) finish(a *attempt) bool {
	m := a.lane.m
	a.end = true
	r.open--
	if !a.late {
		r.fresh--
	}
	if a.err != nil {
		if errors.Is(a.err, ErrTimeout) {
			r.missed(a)
			return false
		}
		a.lane.over, r.err = true, a.err
		if !a.late {
			m.failures[Network].Add(1)
			r.g.missed(m, a.sent, a.err)
		}
		return false
	}
	m.latency.Observe(a.took)
	if a.late {
		m.answeredLate()
	} else {
		r.g.heard(m)
	}
	reason, rank := judge(a.msg)
	if rank == good {
		return true
	}
	a.lane.over = true
	if !a.late {
		m.failures[reason].Add(1)
	}
	if reason == Malformed {
		r.err = fmt.Errorf("upstream %s: %w: %w", m.up.Addr(), ErrNetwork, wire.ErrMessage)
	} else if rank > r.rank {
		r.spare, r.rank = a.msg, rank
	}
	return false
}

// expire ends the time of those attempts that have had at least so much of it.
func (r *race) expire(least time.Duration) {
	for _, a := range r.begun {
		if !a.end && !a.late && time.Since(a.sent) >= least {
			r.fresh--
			r.missed(a)
		}
	}
}

func (r *race) missed(a *attempt) {
	r.silent = true
	if !a.late {
		a.late = true
		a.lane.m.failures[Timeout].Add(1)
		r.g.missed(a.lane.m, a.sent, ErrTimeout)
	}
}

// abandon ends the race before its time is over or because it is. Those who
// have just been asked are not to blame.
func (r *race) abandon() {
	if errors.Is(r.ctx.Err(), context.DeadlineExceeded) {
		r.silent = true
		r.expire(r.g.attemptTimeout / 2)
	}
}

// settle returns the best there is when nobody has won.
func (r *race) settle(ctx context.Context, dst []byte) ([]byte, error) {
	switch {
	case r.spare != nil:
		return r.give(dst, r.spare), nil
	case errors.Is(ctx.Err(), context.Canceled):
		return dst, fmt.Errorf("upstream group %s: %w", r.g.name, context.Canceled)
	case r.silent || r.open > 0 || r.err == nil:
		return dst, fmt.Errorf("upstream group %s: %w", r.g.name, ErrTimeout)
	case errors.Is(r.err, ErrNetwork):
		return dst, r.err
	}
	return dst, fmt.Errorf("upstream group %s: %w: %w", r.g.name, ErrNetwork, r.err)
}

// give appends msg to dst under the query's id, or hands msg itself over where
// dst is of no use.
func (r *race) give(dst, msg []byte) []byte {
	wire.SetID(msg, wire.ID(r.query))
	if len(dst) == 0 && cap(dst) < len(msg) {
		return msg
	}
	return append(dst, msg...)
}

// good is the rank of a response that nobody else has to better.
const good = 4

// judge says what is wrong with a response, and how much it is worth if
// nobody has a better one. SERVFAIL is worth most: it may be the name's own
// fault, and may say why.
func judge(resp []byte) (Reason, int) {
	if len(resp) < wire.HeaderLen || !readable(resp) {
		return Malformed, 0
	}
	switch wire.HeaderRcode(resp) {
	case wire.ServFail:
		return ServFail, 3
	case wire.Refused:
		return Refused, 2
	}
	if refusesEDNS(resp) {
		if wire.HeaderRcode(resp) == wire.NotImp {
			return NotImp, 1
		}
		return FormErr, 1
	}
	return 0, good
}
