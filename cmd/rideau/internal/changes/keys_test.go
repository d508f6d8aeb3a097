package changes_test

import (
	"net/netip"
	"testing"

	"rideau/cmd/rideau/internal/changes"
)

// TestSystem: a change of resolv.conf says from which servers to which.
func TestSystem(t *testing.T) {
	a, b := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:53")}, []netip.AddrPort{netip.MustParseAddrPort("192.0.2.2:53")}
	got := changes.System(a, b)
	if len(got) != 1 || got[0].String() != "/etc/resolv.conf: upstream.servers[system]: [192.0.2.2:53], was [192.0.2.1:53]" {
		t.Errorf("%v", got)
	}
	if got := append(changes.System(a, a), changes.System(nil, a)...); len(got) > 0 {
		t.Errorf("nothing changed: %v", got)
	}
}
