package upstream

import (
	"cmp"
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"rideau/resolver/limit"
	"rideau/resolver/upstream/choice"
	"rideau/resolver/upstream/health"
	"rideau/resolver/upstream/member"
	"rideau/resolver/upstream/try"
	"rideau/resolver/upstream/verdict"
	"rideau/resolver/wire"
)

const (
	// maxRounds is how often one server is asked in one exchange (RFC 9520
	// section 3.1).
	maxRounds = 3
	// maxDatagrams is how often it is asked over UDP: a datagram may be lost. The
	// second time it may be sent two, so that there are three at most. A server that
	// has been asked so often in vain is asked over TCP, once.
	maxDatagrams = 2
)

// race is one exchange of a group. Its methods run on the caller's goroutine.
// Each attempt runs on a goroutine of its own, which ends with ctx at the
// latest.
type race struct {
	g     *Group
	ctx   context.Context
	query []byte // a copy: attempts may end after the exchange
	done  chan *attempt
	// refusals are attempts that were refused and go on waiting. It is not closed.
	refusals chan refusal

	candidates []candidate // in the order in which they are asked
	turn       int         // the next of them
	round      int
	attempts   []*attempt
	open       int            // attempts that have not ended
	fresh      int            // those among them that are not late
	chosen     *member.Member // a place is taken already, for the first attempt
	share      limit.Share
	hedged     bool // there has been a hedge, or there will be none

	fallback []byte         // the best response so far that another may better
	part     []byte         // a truncated one, without TCP
	reason   verdict.Reason // of fallback
	rank     int            // of fallback
	failed   int            // SERVFAILs
	begun    time.Time
	silent   bool      // one has not answered in its time
	busy     bool      // one had too many requests under way
	step     time.Time // when those are tried again that had; zero if none had
	err      error     // the last

	firstCandidates [4]candidate
	firstAttempts   [2]*attempt
}

// Exchange implements [Upstream]. The server that the strategy chooses is
// asked first, then the others that are up, then those that are trying and those that
// are down, of which the one whose last failure is longest ago comes first. If
// a server has not answered after a multiple of the time that it usually takes,
// at most the attempt timeout, the next is asked too, or the same again if
// there is no other; the first good response wins. If the first is slower than
// nineteen of twenty times, the next is asked earlier, as long as that is a
// tenth of all requests at most.
//
// After a response that is no answer, or a failure, the next is asked at once, until
// there is no other. The best of them is returned: see package verdict. The exchange
// ends after the group's timeout at the latest.
func (g *Group) Exchange(ctx context.Context, dst, query []byte) ([]byte, error) {
	if len(g.members) == 0 {
		return dst, fmt.Errorf("upstream group %s: %w", g.name, ErrNoUpstream)
	}
	return g.race(ctx, dst, query, g.timeout, nil)
}

// race is an exchange that takes limit at most. s is its first attempt, if it
// has begun.
func (g *Group) race(ctx context.Context, dst, query []byte, limit time.Duration, s *Started) ([]byte, error) {
	racing, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	r := g.newRace(racing, query, s)
	defer r.leave()
	if s != nil && r.resume(s) {
		return r.deliver(dst, s.a.msg), nil
	}
	r.proceed()
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
				return r.deliver(dst, a.msg), nil
			}
		case <-timer.C:
			r.expire(1)
		case f := <-r.refusals:
			r.refuse(f.a, f.err)
		case <-racing.Done():
			r.abandon()
			return r.settle(ctx, dst)
		}
		r.proceed()
		timer.Reset(r.wait())
	}
	return r.settle(ctx, dst)
}

// newRace orders the servers: first the one that the strategy chooses, or that
// was asked already, and then by health.
func (g *Group) newRace(ctx context.Context, query []byte, s *Started) *race {
	r := &race{g: g, ctx: ctx, query: append([]byte(nil), query...), begun: time.Now(), refusals: make(chan refusal, 4)}
	r.candidates, r.attempts = r.firstCandidates[:0], r.firstAttempts[:0]
	var first *member.Member
	if s == nil {
		r.share = shareOf(ctx)
		r.chosen = g.chooser.Choose(&r.share)
		first = r.chosen
		r.done = make(chan *attempt, maxAttempts(g))
	} else {
		first, r.done, r.share = s.m, s.done, s.a.Share
	}
	for _, m := range g.members {
		c := candidate{m: m, first: m == first, health: m.Health(), last: g.chooser.GoesLast(m)}
		switch {
		case c.health == health.Down:
			c.order = m.LastFailure()
		case g.strategy == choice.Fastest:
			c.order = int64(m.RTT.Cost())
		}
		r.candidates = append(r.candidates, c)
	}
	slices.SortStableFunc(r.candidates, func(a, b candidate) int {
		switch {
		case a.first:
			return -1
		case b.first:
			return 1
		case a.health != b.health:
			return int(a.health) - int(b.health)
		case a.last != b.last:
			if a.last {
				return 1
			}
			return -1
		}
		return cmp.Compare(a.order, b.order)
	})
	return r
}

// maxAttempts is how many attempts a race has at most, with one that a
// multiplexer made.
func maxAttempts(g *Group) int { return (maxRounds+1)*len(g.members) + 2 }

// next is the server to ask next, or nil. One that did not answer is asked
// again after all others, as long as there is nothing to return, and at last
// over TCP.
func (r *race) next() *candidate {
	for r.round < maxRounds && (r.round == 0 || r.fallback == nil) {
		for r.turn < len(r.candidates) {
			c := &r.candidates[r.turn]
			r.turn++
			if !c.over && !c.full && c.asked <= r.round && (r.rank != verdict.RankDenied || c.health == health.Up) {
				return c
			}
		}
		r.turn = 0
		r.round++
	}
	return nil
}

// maxTogether is how many servers are asked together after others have failed.
const maxTogether = 4

// proceed asks the servers that are to be asked now. If there is a fallback,
// all that are down are asked together: they must not cost the client more
// than the time of one attempt. So are all over TCP, at last, and some of those
// that are left after two SERVFAILs, or after an NXDOMAIN that is doubted: a name
// that fails everywhere, or is gone, should not take the time of all.
func (r *race) proceed() {
	if !r.step.IsZero() && time.Since(r.step) >= 0 {
		r.retry()
	}
	for r.fresh == 0 || (r.failed >= 2 || r.rank == verdict.RankDenied) && r.fresh < maxTogether && r.nextIsUp() {
		c := r.next()
		if c == nil {
			return
		}
		r.launch(c)
		for c.health == health.Down && r.fallback != nil || r.round == maxDatagrams && c.m.Endpoint != nil {
			if c = r.next(); c == nil {
				return
			}
			r.launch(c)
		}
	}
	if after := r.hedgeAfter(); after >= 0 && time.Since(r.attempts[0].sent) >= after {
		r.hedged = true
		if c := r.companion(); c != nil && r.g.budget.Take(r.g.sent()) {
			r.hedge(c)
		}
	}
}

// retry has those servers asked again that had too many requests under way.
func (r *race) retry() {
	r.step = time.Time{}
	for i := range r.candidates {
		if c := &r.candidates[i]; c.full {
			c.full = false
			r.turn, r.round = 0, min(r.round, c.asked)
		}
	}
}

// hedgeAfter is how long after the first attempt began another server is asked
// beside it; below 0 is never.
func (r *race) hedgeAfter() time.Duration {
	if r.hedged || len(r.attempts) != 1 || r.fresh != 1 {
		return -1
	}
	a := r.attempts[0]
	if after := a.hedgeAfter(a.limit); after > 0 && !a.stream {
		return after
	}
	return -1
}

// companion is the server to ask beside the first: the next one that is up,
// else the same, in case a datagram was lost.
func (r *race) companion() *candidate {
	for i := range r.candidates {
		if c := &r.candidates[i]; c.asked == 0 && !c.over && c.health == health.Up {
			return c
		}
	}
	if c := r.attempts[0].candidate; c.m.Endpoint != nil && !c.over {
		return c
	}
	return nil
}

// hedge asks c beside the first.
func (r *race) hedge(c *candidate) {
	if r.launch(c) {
		r.attempts[len(r.attempts)-1].hedge = true
		c.m.Hedges.Add(1)
	}
}

// launch asks c, unless it has too many requests under way.
func (r *race) launch(c *candidate) bool {
	if r.chosen == c.m {
		r.chosen = nil
	} else if !c.m.Take(r.g.maxInFlight, &r.share, c.asked > 0) {
		r.busy = true
		if r.mayWait(c) || c.asked > 0 && c.m.Places.Answers(&r.share) {
			c.full, r.step = true, time.Now().Add(busyStep)
		} else {
			c.over = true
		}
		return false
	}
	a := &attempt{Attempt: Attempt{Share: r.share, g: r.g, m: c.m, sent: time.Now(), entered: true}, candidate: c, again: c.asked > 0}
	a.stream = c.m.Endpoint != nil && c.asked >= maxDatagrams
	// A server that did not answer gets twice the time (RFC 6298 section 5.5).
	// The time of those that are asked meanwhile is part of it.
	usual := a.Limit(0)
	a.limit = min(max(usual<<c.asked/time.Duration(r.inPlay()), usual), r.g.attemptTimeout)
	if a.stream {
		a.limit = r.g.attemptTimeout
	}
	r.count(a)
	a.Sent()
	go func() { r.run(a) }()
	return true
}

// mayWait reports whether a query may wait until c has a place for it: for a while,
// in which the zone may turn out to be answered, and not if it is silent, or if the
// query is nobody's.
func (r *race) mayWait(c *candidate) bool {
	return r.share.Known() && time.Since(r.begun) < r.patience() && !c.m.Places.Silent(&r.share)
}

// count adds an attempt.
func (r *race) count(a *attempt) {
	a.candidate.asked++
	r.attempts = append(r.attempts, a)
	r.open++
	r.fresh++
}

// run makes an attempt that has entered.
func (r *race) run(a *attempt) {
	ctx := try.WithRefused(try.WithPart(r.ctx, &a.part), func(err error) {
		select {
		case r.refusals <- refusal{a, err}:
		default: // there were many already
		}
	})
	if a.again {
		ctx = try.With(ctx, try.Again)
	}
	if a.m.Endpoint == nil {
		ctx = try.WithTook(ctx, &a.quick)
	}
	a.msg, a.err = r.g.exchange(ctx, a.m, r.query, a.stream)
	a.took = time.Since(a.sent)
	a.validated = len(a.msg) >= wire.HeaderLen && wire.Flags(a.msg)&wire.FlagAD != 0
	a.m.Trust(a.msg)
	r.done <- a // has space for all
}

// exchange asks one server. A panic in a transport ends the attempt and nothing
// else.
func (g *Group) exchange(ctx context.Context, m *member.Member, query []byte, stream bool) (msg []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			g.logger.Error("upstream failed by a fault in the program", "group", g.name, "upstream", m.Server.Addr(),
				"panic", p, "stack", string(debug.Stack()))
			msg, err = nil, fmt.Errorf("upstream %s: panic: %v", m.Server.Addr(), p)
		}
	}()
	if stream {
		msg, err = m.Server.ExchangeStream(ctx, nil, query)
	} else {
		msg, err = m.Server.Exchange(ctx, nil, query)
	}
	g.wake(m)
	return msg, err
}

// finish processes an attempt that has ended, and reports whether it won.
func (r *race) finish(a *attempt) bool {
	a.end = true
	a.Leave()
	r.open--
	if !a.late {
		r.fresh--
	}
	if a.err != nil {
		r.finishFailed(a)
		return false
	}
	if a.handedOver == nil {
		a.Answered(a.took, !a.stream && a.quick.Load() == 0)
		if quick := a.quick.Load(); quick > 0 {
			a.m.RTT.Observe(time.Duration(quick))
		}
	} else {
		a.m.Latency.Observe(a.took)
	}
	reason, rank := r.judge(a)
	if rank == verdict.Good && r.rank == verdict.RankBogus && !r.overrules(a) {
		r.dismiss(a.candidate)
		return false
	}
	if rank == verdict.Good {
		if a.hedge {
			a.m.HedgeWins.Add(1)
		}
		if a.part.Load() != nil {
			a.m.Streams.Worked()
		}
		a.m.Use.Useful()
		r.won()
		return true
	}
	if reason == verdict.Cut {
		r.part = a.msg
		r.cut(a, a.msg, true)
		return false
	}
	if !a.late {
		a.m.Failures[reason].Add(1)
	}
	if !a.candidate.over {
		if reason == verdict.ServFail {
			r.failed++
		}
		a.candidate.useless = reason.IsNoAnswer()
		if r.offer(a.msg, reason, rank); reason == verdict.Malformed {
			r.err = fmt.Errorf("upstream %s: %w: %w", a.m.Server.Addr(), ErrNetwork, wire.ErrMessage)
		}
	}
	r.dismiss(a.candidate)
	return false
}

// dismiss ends c's part in the race: it would say the same again.
func (r *race) dismiss(c *candidate) {
	c.over = true
	for _, a := range r.attempts {
		if a.candidate == c && !a.end && !a.late {
			a.late = true
			a.supersede()
			r.fresh--
		}
	}
}

// expire makes late those attempts that have had one part in so many of their
// time.
func (r *race) expire(part time.Duration) {
	for _, a := range r.attempts {
		if !a.end && !a.late && time.Since(a.sent) >= a.limit/part {
			r.fresh--
			r.expired(a)
		}
	}
}

// expired counts a as unanswered, once.
func (r *race) expired(a *attempt) {
	r.silent = true
	if a.late {
		return
	}
	a.late = true
	a.supersede()
	if part := a.part.Load(); part != nil {
		r.cut(a, *part, false)
		return
	}
	if a.handedOver == nil || a.handedOver.counted.CompareAndSwap(false, true) {
		a.unanswered(a.limit)
	}
}
