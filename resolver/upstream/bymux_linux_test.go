package upstream_test

import (
	"testing"
	"time"

	"rideau/resolver/upstream"
	"rideau/resolver/wire"
)

// byMux asks by a Mux, and continues with Resume if that does not answer, or by
// Exchange where the server is not for a Mux now, as one that is down.
func byMux(t testing.TB, g *upstream.Group, name string) ([]byte, error) {
	t.Helper()
	l := newLoop(t, 1)
	if !l.mux.Start(&l.calls[0], g, query(t, name), time.Now()) {
		return g.Exchange(within(t, patience), nil, query(t, name))
	}
	l.mux.Flush()
	l.until(1)
	if e := l.ends[0]; e.how == upstream.Answered {
		wire.SetID(e.msg, 0x1234)
		return e.msg, nil
	}
	return l.resume(g, name, l.ends[0].how)
}
