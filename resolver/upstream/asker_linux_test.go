package upstream_test

import (
	"testing"

	"rideau/resolver/upstream"
	"rideau/resolver/wire"
)

// asker asks by a Mux, and what that leaves by Resume.
func asker(t testing.TB, g *upstream.Group, name string) ([]byte, error) {
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
