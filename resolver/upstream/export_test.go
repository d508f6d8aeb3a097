package upstream

import (
	"time"

	"rideau/resolver/limit"
)

// Choose chooses the server to ask first as a Mux does, and notes an answer after
// took.
func (g *Group) Choose(took time.Duration) (addr string) {
	m := g.chooser.Choose(new(limit.Share))
	if m == nil {
		return ""
	}
	m.Places.Give(new(limit.Share))
	g.heardOf(m, time.Now(), took, true)
	g.hedgeAfter(m)
	g.limit(m)
	g.budget.Affords(g.sent())
	g.budget.Take(g.sent())
	return m.Server.Addr()
}
