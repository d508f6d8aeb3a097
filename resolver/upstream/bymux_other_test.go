//go:build !linux

package upstream_test

import (
	"testing"

	"rideau/resolver/upstream"
)

// byMux asks by Exchange: there is no Mux on this system.
func byMux(t testing.TB, g *upstream.Group, name string) ([]byte, error) {
	t.Helper()
	return g.Exchange(within(t, patience), nil, query(t, name))
}
