package upstream

import "time"

// Answers reports whether resp is taken for a response to query, with or
// without a question of its own.
func Answers(query, resp []byte) (with, without bool) {
	l := compare(query, resp)
	return l == answers, l == rejects
}

// Choose chooses whom to ask first as a Mux does, and takes note of an answer
// after took.
func (g *Group) Choose(took time.Duration) (addr string) {
	m := g.choose()
	if m == nil {
		return ""
	}
	m.leave()
	g.heardOf(m, time.Now(), took, true)
	g.hedgeAfter(m)
	g.limit(m)
	g.affordsHedge()
	g.takeHedge()
	return m.up.Addr()
}
