package upstream

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"rideau/resolver/upstream/member"
)

// Ending is how a multiplexer's attempt ended.
type Ending uint8

// Endings.
const (
	// Answered: there is a response with a usable code.
	Answered Ending = iota
	// Unusable: there is a response with a code that another server may do
	// better than, or one that cannot be parsed.
	Unusable
	// Truncated: the query is to be sent over TCP.
	Truncated
	// Rejected: the server refuses the query's EDNS or its cookie, or seems to,
	// or somebody guesses. The exchange is to begin anew, with another port.
	Rejected
	// Failed: the query could not be sent, or the server's host refused it.
	Failed
	// Late: there is no response yet, and others should be asked too.
	Late
	// Over: an attempt that was handed over has ended.
	Over
)

// Started is an exchange that began as a multiplexer's attempt, for
// [Upstream.Resume].
type Started struct {
	how Ending
	m   *member.Member
	// a is the attempt, as one of the race to come. If it is Late, it belongs
	// to the multiplexer until it has been sent to done.
	a    *attempt
	done chan *attempt
	// hedge is whether another server is to be asked though the attempt's time
	// is not over.
	hedge bool
	// counted is whether the attempt has been counted as unanswered, by the
	// race or by the multiplexer.
	counted atomic.Bool
	// refused is the error of an ICMP message that refused a Late attempt; nil if
	// there was none.
	refused error
}

// HandOver turns an attempt that ended so, and took so long, into what Resume
// goes on with. resp is the response with Answered, Unusable and Truncated, and
// is copied; err is the error of Failed, or of an ICMP message that ended a Late one; hedge is whether TakeHedge ended a Late
// one. After a Late one the caller calls Deliver when the response comes, or
// Expire when the time is over.
func (a *Attempt) HandOver(how Ending, resp []byte, err error, took time.Duration, hedge bool) *Started {
	sent := time.Now().Add(-took) // whatever the caller's clock
	s := &Started{how: how, m: a.m, done: make(chan *attempt, maxAttempts(a.g))}
	s.a = &attempt{Attempt: Attempt{Share: a.Share, g: a.g, m: a.m, sent: sent}, limit: a.g.limit(a.m)}
	switch how {
	case Answered, Unusable:
		s.how, s.a.msg = Unusable, slices.Clone(resp)
		s.a.took = took
	case Truncated:
		part := slices.Clone(resp)
		s.a.part.Store(&part)
	case Failed:
		s.a.err = fmt.Errorf("upstream %s: %w: %w", a.m.Server.Addr(), ErrNetwork, err)
	case Late:
		s.a.handedOver, s.hedge, s.refused = s, hedge, err
		s.counted.Store(err != nil)
	}
	return s
}

// Deliver gives the race the response to a Late attempt, which is copied. The
// caller leaves s alone afterwards.
func (s *Started) Deliver(resp []byte, took time.Duration) {
	s.a.msg, s.a.took = slices.Clone(resp), took
	s.done <- s.a // has space for all
}

// Expire notes that a Late attempt was not answered at all, unless the race has
// counted it. a is the multiplexer's attempt.
func (s *Started) Expire(a *Attempt) {
	if s.counted.CompareAndSwap(false, true) {
		a.unanswered(a.g.limit(a.m))
	}
}

// Resume implements [Upstream]. With nil, or an attempt of another group, it is
// Exchange.
func (g *Group) Resume(ctx context.Context, dst, query []byte, s *Started) ([]byte, error) {
	if s == nil || s.how == Rejected || s.how == Over || !slices.Contains(g.members, s.m) {
		return g.Exchange(ctx, dst, query)
	}
	left := max(g.timeout-time.Since(s.a.sent), time.Millisecond)
	return g.race(ctx, dst, query, left, s)
}

// resume makes s the first attempt of a race, and reports whether it won.
func (r *race) resume(s *Started) bool {
	s.a.candidate = &r.candidates[0]
	r.turn = 1
	r.hedged = true
	r.count(s.a)
	switch s.how {
	case Unusable, Failed:
		return r.finish(s.a)
	case Truncated:
		r.askByStream(s.a)
	}
	if s.refused != nil {
		r.refuse(s.a, s.refused)
	}
	r.expire(1)
	if s.hedge && r.fresh > 0 {
		if c := r.companion(); c != nil {
			r.hedge(c)
		}
	}
	return false
}
