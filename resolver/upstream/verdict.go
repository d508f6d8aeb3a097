package upstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rideau/resolver/upstream/member"
	"rideau/resolver/upstream/verdict"
	"rideau/resolver/wire"
)

// settled reports whether there is nothing more to wait for, or it is not worth
// it.
func (r *race) settled() bool {
	if r.open == 0 && r.step.IsZero() {
		return true
	}
	if r.fresh > 0 {
		return false
	}
	if r.fallback == nil && r.allSpent() {
		return true
	}
	if r.fallback == nil {
		// Names of a zone that may be silent wait no longer than those of others usually do.
		return r.pressed() && time.Since(r.begun) >= r.patience() && r.isZone()
	}
	if r.rank == verdict.RankDenied {
		return true // a name that is gone is not to take longer than the others need
	}
	for _, a := range r.attempts {
		if !a.end && time.Since(a.sent) < r.g.attemptTimeout && !a.candidate.over {
			return false
		}
	}
	return true
}

// allSpent reports whether all attempts that have not ended were refused, and
// nothing is to be expected of them.
func (r *race) allSpent() bool {
	for _, a := range r.attempts {
		if !a.end && !a.spent() {
			return false
		}
	}
	return r.step.IsZero()
}

// pressed reports whether others need what the race takes.
func (r *race) pressed() bool { return r.busy || r.share.Hurried() }

// isZone reports whether it is likely the zone that is silent, and not a server: one
// that was asked has answered others since, and is not known to answer the zone.
func (r *race) isZone() bool {
	others := false
	for _, a := range r.attempts {
		if a.m.Places.Answers(&r.share) {
			return false
		}
		others = others || a.m.AnsweredSince(a.sent)
	}
	return others
}

// patience is how long a query waits, in all, when there is no place to ask for it,
// or to ask again, or few may wait, and its zone may be silent: as long as answers
// usually take.
func (r *race) patience() time.Duration {
	most := leastPatience
	for _, m := range r.g.members {
		most = max(most, m.RTT.Smoothed()*3/2)
	}
	return most
}

// wait is how long there is nothing to do but to wait for responses.
func (r *race) wait() time.Duration {
	next := r.g.timeout
	if r.pressed() && r.share.Known() {
		next = busyStep
	}
	if !r.step.IsZero() && r.fresh == 0 {
		next = min(next, time.Until(r.step))
	}
	for _, a := range r.attempts {
		until := a.limit
		if a.late { // but it may still bring something better than the fallback
			until = r.g.attemptTimeout
		}
		if a.refused && !a.end {
			next = min(next, max(a.limit-time.Since(a.sent), 0))
		}
		if !a.end && (!a.late || r.fallback != nil) {
			if left := until - time.Since(a.sent); left > 0 || !a.late {
				next = min(next, left)
			}
		}
	}
	if after := r.hedgeAfter(); after >= 0 {
		next = min(next, after-time.Since(r.attempts[0].sent))
	}
	return max(next, 0)
}

// abandon ends the race when its context ends. At the deadline, attempts
// younger than half their limit do not count as failures.
func (r *race) abandon() {
	if errors.Is(r.ctx.Err(), context.DeadlineExceeded) {
		r.silent = true
		r.expire(2)
	}
}

const (
	// leastPatience is how long a race waits at least that has no place.
	leastPatience = time.Second
	// busyStep is how often a race that had no place for a request looks
	// whether its zone is silent.
	busyStep = 250 * time.Millisecond
)

// leave gives back the places of the race, which is over.
func (r *race) leave() {
	if r.chosen != nil {
		r.chosen.Places.Give(&r.share)
	}
	for _, a := range r.attempts {
		a.Leave()
	}
}

// settle returns the best that a race without a winner has: the fallback, or
// the error that says most.
func (r *race) settle(ctx context.Context, dst []byte) ([]byte, error) {
	r.offerPart()
	switch {
	case r.fallback != nil:
		return r.deliver(dst, r.fallback), nil
	case errors.Is(ctx.Err(), context.Canceled):
		return dst, fmt.Errorf("upstream group %s: %w", r.g.name, context.Canceled)
	case r.busy && len(r.attempts) == 0:
		return dst, fmt.Errorf("upstream group %s: %w", r.g.name, ErrBusy)
	case r.silent || r.open > 0 && !r.allSpent() || r.err == nil:
		return dst, fmt.Errorf("upstream group %s: %w", r.g.name, ErrTimeout)
	case errors.Is(r.err, ErrNetwork):
		return dst, r.err
	}
	return dst, fmt.Errorf("upstream group %s: %w: %w", r.g.name, ErrNetwork, r.err)
}

// deliver appends msg to dst under the query's id, or returns msg itself where
// dst has no use.
func (r *race) deliver(dst, msg []byte) []byte {
	if answered, ok := r.ctx.Value(answeredKey{}).(*uint16); ok {
		*answered = r.g.index(r.whose(msg))
	}
	wire.SetID(msg, wire.ID(r.query))
	if len(dst) == 0 && cap(dst) < len(msg) {
		return msg
	}
	return append(dst, msg...)
}

// whose is the server that a response came from; nil if it is not known.
func (r *race) whose(msg []byte) *member.Member {
	for _, a := range r.attempts {
		if part := a.part.Load(); part != nil && same(*part, msg) || a.end && same(a.msg, msg) {
			return a.m
		}
	}
	return nil
}

// same reports whether two slices are one.
func same(a, b []byte) bool { return len(a) > 0 && len(b) > 0 && &a[0] == &b[0] }
