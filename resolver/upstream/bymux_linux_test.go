package upstream_test

import (
	"testing"

	"rideau/resolver/upstream"
	"rideau/resolver/wire"
)

// byMux asks by a Mux, and continues with Resume if that does not answer.
func byMux(t testing.TB, g *upstream.Group, name string) ([]byte, error) {
	t.Helper()
	l := newLoop(t, 1)
	l.ask(g, name)
	l.until(1)
	if e := l.ends[0]; e.how == upstream.Answered {
		wire.SetID(e.msg, 0x1234)
		return e.msg, nil
	}
	return l.resume(g, name, l.ends[0].how)
}
