package upstream

import (
	"rideau/resolver/upstream/health"
	"rideau/resolver/upstream/member"
	"rideau/resolver/upstream/verdict"
	"rideau/resolver/wire"
)

// judge returns what is wrong with the response of an attempt, and its rank. An
// NXDOMAIN is doubted where it contradicts what was answered lately, unless a server
// that is trusted has validated it; see [WithDoubt].
func (r *race) judge(a *attempt) (verdict.Reason, int) {
	reason, rank := verdict.Of(r.query, a.msg)
	if rank == verdict.Good && wire.HeaderRcode(a.msg) == wire.NXDomain && wire.Flags(a.msg)&wire.FlagAD == 0 && len(r.candidates) > 1 {
		if doubt, ok := r.ctx.Value(doubtKey{}).(func([]byte) bool); ok && doubt(a.msg) {
			return verdict.Denied, verdict.RankDenied
		}
	}
	return reason, rank
}

// overrules reports whether the answer of an attempt is better than the fallback,
// which says that validation failed: the answer was validated as well, and by a server
// that is trusted to validate if the fallback is from such a one.
func (r *race) overrules(a *attempt) bool {
	if wire.Flags(a.msg)&wire.FlagAD != 0 { // which only those that are trusted keep
		return true
	}
	by := r.whose(r.fallback)
	return a.validated && (by == nil || !by.Server.TrustsAD())
}

// offer makes msg the fallback if it is better than what there is.
func (r *race) offer(msg []byte, reason verdict.Reason, rank int) {
	if rank > r.rank {
		r.fallback, r.rank, r.reason = msg, rank, reason
	}
}

// won notes that another server has answered: those that gave no answer to the
// same question are of less use than it. One that said nothing may do so for what the
// query has, and answer others.
func (r *race) won() {
	for _, a := range r.attempts {
		l, learns := a.m.Server.(member.Learner)
		if learns && a.late && !a.end && !a.refused && a.m.Is(health.Up) {
			l.Suspect(r.query)
			r.g.wake(a.m)
		}
	}
	for i := range r.candidates {
		if c := &r.candidates[i]; c.useless {
			c.m.Use.Useless()
		}
	}
}

// nextIsUp reports whether the next server to ask is one that has not been asked,
// and is up.
func (r *race) nextIsUp() bool {
	return r.round == 0 && r.turn < len(r.candidates) && r.candidates[r.turn].health == health.Up
}
