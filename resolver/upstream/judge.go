package upstream

import (
	"rideau/resolver/upstream/health"
	"rideau/resolver/upstream/verdict"
)

// offer makes msg the fallback if it is better than what there is.
func (r *race) offer(msg []byte, reason verdict.Reason, rank int) {
	if rank > r.rank {
		r.fallback, r.rank, r.reason = msg, rank, reason
	}
}

// won notes that another server has answered: those that gave no answer to the
// same question are of less use than it.
func (r *race) won() {
	for i := range r.candidates {
		if c := &r.candidates[i]; c.useless {
			c.m.use.Useless()
		}
	}
}

// goesLast reports whether m is asked after all others that are up, since it
// gives no answers. In an order that the operator has chosen, a server that has
// ever answered keeps its place: with split DNS it may be the only one that knows
// some of the names, while others would deny them.
func (g *Group) goesLast(m *member) bool {
	return m.use.Little() && (g.strategy != Ordered || !m.use.Any())
}

// passes reports whether m is passed over by the choice of the first server,
// since it goes last. Now and then it is not, to see whether that has changed, and
// never with all.
func (g *Group) passes(m *member, all bool) bool {
	return !all && g.goesLast(m) && !m.use.Try()
}

// nextIsUp reports whether the next server to ask is one that has not been asked,
// and is up.
func (r *race) nextIsUp() bool {
	return r.round == 0 && r.turn < len(r.candidates) && r.candidates[r.turn].health == health.Up
}
