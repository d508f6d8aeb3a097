package upstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"rideau/resolver/wire"
)

// maxRounds is how often one upstream is asked over one transport in one
// exchange: a datagram may be lost (RFC 9520 section 3.1). A server over UDP
// that has been asked so often in vain is asked over TCP, once.
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
	open   int     // attempts that have not ended
	fresh  int     // those among them whose time is not over
	chosen *member // it has been entered for the first attempt
	hedged bool    // or it has been found that nobody shall be

	spare  []byte
	code   Reason // of spare
	rank   int    // of spare
	agreed bool   // somebody else has said the same
	silent bool
	busy   bool
	err    error

	firstLanes [4]lane
	firstBegun [2]*attempt
}

// lane is an upstream's place in a race.
type lane struct {
	m     *member
	first bool
	state Health
	after int64 // its place among those of its state
	over  bool  // it has had its say, and is not asked again
	asked int
}

// attempt is one request to one upstream. Until it has come through done, msg,
// took and err belong to its goroutine.
type attempt struct {
	lane   *lane
	sent   time.Time
	limit  time.Duration // when others are asked
	stream bool          // over TCP, as UDP was of no use
	hedge  bool
	lent   *Begun // of a call whose answer the Mux takes note of
	late   bool   // its time is over; it is counted as unanswered
	end    bool

	msg  []byte
	took time.Duration
	err  error
}

// Exchange implements [Upstream] over the group. The one that the strategy
// chooses is asked, then the others that are up, then those on trial and those
// that are down, of whom the one whose last failure is longest ago comes
// first. Who has not answered after a multiple of the time that it usually
// takes, at most the attempt timeout, is given company by the next, or is
// asked again if there is none: the first good response wins. Once who is
// slower than nineteen of twenty times gets company earlier, so long as that is
// a tenth of all requests at most.
//
// SERVFAIL and REFUSED make the next one be asked at once, until two have said
// the same, NOTIMP and FORMERR until nobody is left; they are returned if
// nobody does better. Whatever happens, it ends after the group's timeout.
// Nobody but the group's upstreams is ever asked.
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
	r := g.newRace(racing, query, b)
	if b != nil && r.begin(b) {
		return r.give(dst, b.a.msg), nil
	}
	r.goOn()
	timer := time.NewTimer(r.wait())
	defer timer.Stop()
	for !r.settled() {
		select {
		case a := <-r.done:
			if a.err != nil && racing.Err() != nil {
				r.abandon()
				return r.settle(ctx, dst)
			}
			if r.finish(a) {
				return r.give(dst, a.msg), nil
			}
		case <-timer.C:
			r.expire(1)
		case <-racing.Done():
			r.abandon()
			return r.settle(ctx, dst)
		}
		r.goOn()
		timer.Reset(r.wait())
	}
	return r.settle(ctx, dst)
}

// newRace ranks the upstreams: first whom the strategy chooses, or who was
// asked already, and then by state.
func (g *Group) newRace(ctx context.Context, query []byte, b *Begun) *race {
	r := &race{g: g, ctx: ctx, query: append([]byte(nil), query...)}
	r.lanes, r.begun = r.firstLanes[:0], r.firstBegun[:0]
	var first *member
	if b == nil {
		r.chosen = g.choose()
		first = r.chosen
		r.done = make(chan *attempt, maxAttempts(g))
	} else {
		first, r.done = b.m, b.done
	}
	for _, m := range g.members {
		l := lane{m: m, first: m == first, state: Health(m.state.Load())}
		switch {
		case l.state == Down:
			l.after = m.lastFail.Load()
		case g.strategy == Fastest:
			l.after = int64(m.rtt.cost.Load())
		}
		r.lanes = append(r.lanes, l)
	}
	slices.SortStableFunc(r.lanes, func(a, b lane) int {
		switch {
		case a.first:
			return -1
		case b.first:
			return 1
		case a.state != b.state:
			return int(a.state) - int(b.state)
		}
		return cmp.Compare(a.after, b.after)
	})
	return r
}

// maxAttempts is how many attempts a race has at most, that of a call
// included.
func maxAttempts(g *Group) int { return (maxRounds+1)*len(g.members) + 2 }

// next is whom to ask next, or nil. Who did not answer is asked again when all
// others have been, as long as there is nothing to return; and at last over
// TCP.
func (r *race) next() *lane {
	for r.round <= maxRounds && (r.round == 0 || r.spare == nil) {
		for r.turn < len(r.lanes) {
			l := &r.lanes[r.turn]
			r.turn++
			if !l.over && l.asked <= r.round && (r.round < maxRounds || l.m.datagrams) {
				return l
			}
		}
		r.turn = 0
		r.round++
	}
	return nil
}

// goOn asks whoever is to be asked now. If there is a response to fall back
// on, those believed down are asked all together: their chance must not cost
// the client more than one attempt's time. So are all over TCP, at last.
func (r *race) goOn() {
	if r.agreed {
		return
	}
	for r.fresh == 0 {
		l := r.next()
		if l == nil {
			return
		}
		r.launch(l)
		for l.state == Down && r.spare != nil || r.round == maxRounds {
			if l = r.next(); l == nil {
				return
			}
			r.launch(l)
		}
	}
	if at := r.hedgeAt(); at >= 0 && time.Since(r.begun[0].sent) >= at {
		r.hedged = true
		if l := r.companion(); l != nil && r.g.takeHedge() {
			r.company(l)
		}
	}
}

// hedgeAt is when, after the first attempt began, another is to keep it
// company; below 0 never.
func (r *race) hedgeAt() time.Duration {
	if r.hedged || len(r.begun) != 1 || r.fresh != 1 {
		return -1
	}
	a := r.begun[0]
	if at := r.g.hedgeAfter(a.lane.m); at > 0 && at < a.limit && !a.stream {
		return at
	}
	return -1
}

// companion is whom to ask beside the first: the next one that is up, else
// the same, in case a datagram was lost.
func (r *race) companion() *lane {
	for i := range r.lanes {
		if l := &r.lanes[i]; l.asked == 0 && !l.over && l.state == Up {
			return l
		}
	}
	if l := r.begun[0].lane; l.m.datagrams && !l.over {
		return l
	}
	return nil
}

// company asks l beside the first.
func (r *race) company(l *lane) {
	if r.launch(l) {
		r.begun[len(r.begun)-1].hedge = true
		l.m.hedges.Add(1)
	}
}

// launch asks l, unless it has no room.
func (r *race) launch(l *lane) bool {
	if r.chosen == l.m {
		r.chosen = nil
	} else if !l.m.enter(r.g.maxInFlight) {
		l.over, r.busy = true, true
		return false
	}
	a := &attempt{lane: l, sent: time.Now(), stream: l.m.datagrams && l.asked >= maxRounds}
	// Who did not answer gets twice the time (RFC 6298 section 5.5). That of
	// those who are asked meanwhile is part of it.
	usual := r.g.limit(l.m)
	a.limit = min(max(usual<<l.asked/time.Duration(r.inPlay()), usual), r.g.attemptTimeout)
	if a.stream {
		a.limit = r.g.attemptTimeout
	}
	r.start(a)
	l.m.requests.Add(1)
	go func() { r.run(a) }()
	return true
}

// inPlay is how many may be asked again.
func (r *race) inPlay() int {
	n := 0
	for i := range r.lanes {
		if !r.lanes[i].over {
			n++
		}
	}
	return max(n, 1)
}

// start counts an attempt.
func (r *race) start(a *attempt) {
	a.lane.asked++
	r.begun = append(r.begun, a)
	r.open++
	r.fresh++
}

// run makes an attempt that has entered.
func (r *race) run(a *attempt) {
	a.msg, a.err = r.g.exchange(r.ctx, a.lane.m, r.query, a.stream)
	a.took = time.Since(a.sent)
	a.lane.m.leave()
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
		msg, err = u.exchangeTCP(ctx, nil, query)
	} else {
		msg, err = m.up.Exchange(ctx, nil, query)
	}
	m.authenticate(msg)
	return msg, err
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
	if a.lent == nil {
		r.g.heardOf(m, a.sent, a.took, !a.stream)
	}
	reason, rank := judge(a.msg)
	if rank == good {
		if a.hedge {
			m.hedgeWins.Add(1)
		}
		return true
	}
	if !a.late {
		m.failures[reason].Add(1)
	}
	again := a.lane.over
	r.dismiss(a.lane)
	switch {
	case again:
	case reason == Malformed:
		r.err = fmt.Errorf("upstream %s: %w: %w", m.up.Addr(), ErrNetwork, wire.ErrMessage)
	case r.spare != nil && r.code == reason && (reason == ServFail || reason == Refused):
		r.agreed = true
	case rank > r.rank:
		r.spare, r.rank, r.code = a.msg, rank, reason
	}
	return false
}

// dismiss is for who has had its say: whatever else it was asked, it would
// say the same.
func (r *race) dismiss(l *lane) {
	l.over = true
	for _, a := range r.begun {
		if a.lane == l && !a.end && !a.late {
			a.late = true
			r.fresh--
		}
	}
}

// expire ends the time of those attempts that have had one part in so many of
// it.
func (r *race) expire(part time.Duration) {
	for _, a := range r.begun {
		if !a.end && !a.late && time.Since(a.sent) >= a.limit/part {
			r.fresh--
			r.missed(a)
		}
	}
}

func (r *race) missed(a *attempt) {
	r.silent = true
	if a.late {
		return
	}
	a.late = true
	if a.lent != nil && !a.lent.counted.CompareAndSwap(false, true) {
		return
	}
	m := a.lane.m
	m.failures[Timeout].Add(1)
	m.rtt.lost(a.limit)
	r.g.missed(m, a.sent, ErrTimeout)
}

// wait is how long there is nothing to do but to wait for answers.
func (r *race) wait() time.Duration {
	next := r.g.timeout
	for _, a := range r.begun {
		until := a.limit
		if a.late { // but with a response to fall back on it may still save the day
			until = r.g.attemptTimeout
		}
		if !a.end && (!a.late || r.spare != nil) {
			if left := until - time.Since(a.sent); left > 0 || !a.late {
				next = min(next, left)
			}
		}
	}
	if at := r.hedgeAt(); at >= 0 {
		next = min(next, at-time.Since(r.begun[0].sent))
	}
	return max(next, 0)
}

// settled reports whether there is nothing to wait for any more, or it is not
// worth it.
func (r *race) settled() bool {
	if r.open == 0 || r.agreed {
		return true
	}
	if r.fresh > 0 || r.spare == nil {
		return false
	}
	for _, a := range r.begun {
		if !a.end && time.Since(a.sent) < r.g.attemptTimeout && !a.lane.over {
			return false
		}
	}
	return true
}

// abandon ends the race before its time is over or because it is. Those who
// have just been asked are not to blame.
func (r *race) abandon() {
	if errors.Is(r.ctx.Err(), context.DeadlineExceeded) {
		r.silent = true
		r.expire(2)
	}
}
