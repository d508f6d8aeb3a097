package upstream

import (
	"time"

	"rideau/resolver/limit"
	"rideau/resolver/upstream/acceptance"
	"rideau/resolver/upstream/member"
	"rideau/resolver/upstream/verdict"
)

// Attempt is one request to one server of a group, made by a race or by a
// multiplexer. The rules of how long a server is waited for stand here, and
// what the end of a request says of its server. One goroutine uses it at a
// time.
type Attempt struct {
	// Share is whose place the request takes. It is set before Begin, which
	// leaves it.
	Share   limit.Share
	g       *Group
	m       *member.Member
	sent    time.Time
	entered bool // it has a place
}

// Begin implements [Upstream]: it chooses a server by the group's strategy. The
// caller either calls Cancel, or sends the query and calls Sent.
func (g *Group) Begin(a *Attempt, now time.Time) bool {
	m := g.chooser.Choose(&a.Share)
	if m == nil {
		return false
	}
	if m.Endpoint == nil {
		m.Places.Give(&a.Share)
		return false
	}
	*a = Attempt{Share: a.Share, g: g, m: m, sent: now, entered: true}
	return true
}

// Endpoint is where to send the query, and what judges the response.
func (a *Attempt) Endpoint() *acceptance.Endpoint { return a.m.Endpoint }

// Server is 1 plus the index of the server that is asked, as in [WithAnswered].
func (a *Attempt) Server() uint16 { return a.g.index(a.m) }

// Sent counts the request.
func (a *Attempt) Sent() { a.m.Requests.Add(1) }

// Age is how long ago the attempt began.
func (a *Attempt) Age(now time.Time) time.Duration { return now.Sub(a.sent) }

// Leave gives back the place of the request, which is not under way any more,
// or is superseded. It may be called again.
func (a *Attempt) Leave() {
	if a.entered {
		a.entered = false
		a.m.Places.Give(&a.Share)
	}
}

// supersede gives back the place of a request that is still under way, unless it
// takes something of the server that others need.
func (a *Attempt) supersede() {
	if !a.m.Holds() {
		a.Leave()
	}
}

// Answered notes a response after took. sample is whether that tells how long
// the server takes.
func (a *Attempt) Answered(took time.Duration, sample bool) {
	a.m.Latency.Observe(took)
	a.m.Places.Answered(&a.Share)
	a.g.heardOf(a.m, a.sent, took, sample)
}

// Succeeded is Answered for a response that is a good answer.
func (a *Attempt) Succeeded(took time.Duration) {
	a.Answered(took, true)
	a.m.Use.Useful()
}

// AnsweredLate notes a response for an attempt that has been handed over. The
// race that goes on with it notes the rest.
func (a *Attempt) AnsweredLate(took time.Duration) {
	a.m.Places.Answered(&a.Share)
	a.g.heardOf(a.m, a.sent, took, true)
}

// unanswered notes that no response came within limit. If the server has
// answered others meanwhile, that is held against the zone, and against the
// server if it answers that zone otherwise and so may have lost a datagram.
func (a *Attempt) unanswered(limit time.Duration) {
	a.m.Failures[verdict.Timeout].Add(1)
	if a.m.Endpoint != nil {
		a.m.Endpoint.Unanswered()
	}
	since := a.m.AnsweredSince(a.sent)
	if since {
		a.m.Places.Unanswered(&a.Share)
	}
	probed := a.Share.Known() && a.g.running.Load()
	if !a.Share.Known() || a.m.Places.Answers(&a.Share) {
		a.g.lost(a.m, limit)
	} else if since {
		return
	}
	a.g.missed(a.m, a.sent, ErrTimeout, probed)
	if probed {
		a.g.doubt(a.m)
	}
}

// refusedBy notes that an ICMP message refused the request, with this error. A probe
// is to tell whether it is true.
func (a *Attempt) refusedBy(err error) {
	a.m.Failures[verdict.Network].Add(1)
	if a.g.running.Load() {
		a.m.Refused.Store(true)
		a.g.suspectNow(a.m)
	} else {
		a.g.missed(a.m, a.sent, err, false)
	}
}

// Trust clears AD in a response unless its server is trusted.
func (a *Attempt) Trust(resp []byte) { a.m.Trust(resp) }

// Limit is how long after it was sent the attempt counts as lost and others
// are asked. patience is how long the caller wants to wait at most; 0 sets no
// bound.
func (a *Attempt) Limit(patience time.Duration) time.Duration {
	if l := a.g.turn(a.m); patience <= 0 || l < patience {
		return l
	}
	return patience
}

// hedgeAfter is how long after it was sent another server may be asked beside
// it; 0 is never. limit is when others are asked anyway.
func (a *Attempt) hedgeAfter(limit time.Duration) time.Duration {
	if after := a.g.hedgeAfter(a.m); after < limit {
		return after
	}
	return 0
}

// Due reports whether it is time to ask others, and if not, how long it is
// until then or until a hedge.
func (a *Attempt) Due(now time.Time, patience time.Duration) (due bool, in time.Duration) {
	limit, waited := a.Limit(patience), now.Sub(a.sent)
	if waited >= limit {
		return true, limit - waited
	}
	if h := a.hedgeAfter(limit); h > 0 && a.g.budget.Affords(a.g.sent()) {
		return false, h - waited
	}
	return false, limit - waited
}

// TakeHedge reports whether another server is to be asked now beside the one
// that has not answered. It is then paid for.
func (a *Attempt) TakeHedge(now time.Time, patience time.Duration) bool {
	h := a.hedgeAfter(a.Limit(patience))
	return h > 0 && now.Sub(a.sent) >= h && a.g.budget.Take(a.g.sent())
}

// Over reports whether the exchange has no time left, and if not, how much it
// has.
func (a *Attempt) Over(now time.Time) (over bool, in time.Duration) {
	in = a.g.timeout - now.Sub(a.sent)
	return in <= 0, in
}
