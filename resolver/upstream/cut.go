package upstream

import (
	"errors"
	"time"

	"rideau/resolver/upstream/health"
	"rideau/resolver/upstream/verdict"
)

// A server may answer by UDP and not over TCP: a firewall or a router lets nothing
// else through. That takes nothing from its health, which is that of what it is
// asked by first. What it truncates is asked for elsewhere; if nobody has it whole,
// the truncated answer is what can be had.

const (
	// cutLimits is how many times as long as by UDP TCP is waited for, with its
	// handshake, before others are asked.
	cutLimits = 3
	// maxCut is how often one server says that it has more before it is not asked
	// again: the first may have been forged.
	maxCut = 2
	// maxRefused is how often an ICMP message may refuse what one server is sent in
	// an exchange before it is not asked again.
	maxRefused = 2
)

// finishFailed processes an attempt that has ended in an error.
func (r *race) finishFailed(a *attempt) {
	part := a.part.Load()
	switch {
	case errors.Is(a.err, ErrTimeout):
		r.expired(a)
	case part != nil:
		if r.err = a.err; !a.late {
			r.cut(a, *part, !a.truncated)
		}
	default:
		a.candidate.over, r.err = true, a.err
		if !a.late {
			a.m.Failures[verdict.Network].Add(1)
			r.g.missed(a.m, a.sent, a.err, false)
		}
	}
}

// refusal is an attempt that an ICMP message has refused.
type refusal struct {
	a   *attempt
	err error
}

// refuse notes that an ICMP message says that nobody is where a was sent. Others are
// asked at once, and the same server once more, from another port. But whoever guesses
// a port can forge such a message: the response to a still counts, until its time is
// over, and a probe from a port of its own tells whether the server is there.
func (r *race) refuse(a *attempt, err error) {
	if a.end || a.late {
		return
	}
	a.late, a.refused = true, true
	a.limit = min(a.limit, r.g.limit(a.m))
	a.supersede()
	r.fresh--
	r.err = ErrorOf(r.ctx, a.m.Server.Addr(), err)
	if c := a.candidate; c != nil {
		if c.refused++; c.refused >= maxRefused || a.m.Is(health.Down) {
			c.over = true
		}
	}
	a.refusedBy(r.err)
}

// spent reports whether nothing is to be expected of an attempt that was refused.
func (a *attempt) spent() bool {
	return a.refused && (a.m.Is(health.Down) || time.Since(a.sent) >= a.limit)
}

// cut notes that a's server has answered part by UDP, and that nothing more came
// over TCP. With final there is no use in asking it again.
func (r *race) cut(a *attempt, part []byte, final bool) {
	a.m.Streams.Failed()
	r.partly(a, part, final)
}

// partly is cut without a look at TCP.
func (r *race) partly(a *attempt, part []byte, final bool) {
	a.m.Failures[verdict.Cut].Add(1)
	a.m.Places.Answered(&a.Share)
	r.g.heardOf(a.m, a.sent, 0, false)
	if r.part == nil {
		r.part = part
	}
	c := a.candidate
	if c.cut++; final || c.cut >= maxCut {
		r.offerPart()
		r.dismiss(c)
	}
}

// offerPart makes what a server has said by UDP, with TC, the fallback if there
// is nothing better.
func (r *race) offerPart() {
	if len(r.part) == 0 {
		return
	}
	if reason, rank := verdict.Of(r.query, r.part); reason == verdict.Cut {
		r.offer(r.part, reason, rank)
	}
}

// askByStream goes on with a multiplexer's attempt that was told to use TCP. If
// that has been closed lately, the others are asked first.
func (r *race) askByStream(a *attempt) {
	a.stream, a.truncated = true, true
	a.limit = min(cutLimits*a.limit, r.g.attemptTimeout)
	if !a.m.Streams.Open() {
		a.end, a.late = true, true
		r.open--
		r.fresh--
		r.partly(a, *a.part.Load(), false)
		return
	}
	a.m.Places.TakeAnyway(&a.Share)
	a.entered = true
	go r.run(a)
}
