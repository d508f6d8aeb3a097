package descriptors

import (
	"fmt"
	"strings"
	"testing"
)

// TestConnections: whatever the limit is, connections leave files for the rest; where all have space there is no warning, and the limit that a
// warning asks for is enough, and not much more than that.
func TestConnections(t *testing.T) {
	t.Parallel()
	for _, n := range []Need{{1, 1, 1, 2000, 0}, {2, 4, 3, 2000, 0}, {64, 16, 8, 2000, 0}, {1, 1, 0, 0, 0}, {1, 2, 1, 10, 0}, {1, 2, 1, 2000, 1024}} {
		for _, configured := range []int{1, 64, 1024, 100_000} {
			for limit := 1; limit < 4_000_000; limit += 1 + limit/7 {
				most, warning := n.Connections(limit, configured)
				if most < 1 || most > configured {
					t.Fatalf("%+v, limit %d: %d connections of %d", n, limit, most, configured)
				}
				if most > least && most+n.reserved(limit) > limit {
					t.Fatalf("%+v, limit %d: %d connections leave %d, and %d are needed", n, limit, most, limit-most, n.reserved(limit))
				}
				if (warning == "") != (most == configured) {
					t.Fatalf("%+v, limit %d: %d connections of %d, and the warning is %q", n, limit, most, configured, warning)
				}
				if warning == "" {
					continue
				}
				_, asked, _ := strings.Cut(warning, "let it have ")
				var want int
				if _, err := fmt.Sscan(asked, &want); err != nil {
					t.Fatal(err)
				}
				if most, again := n.Connections(want, configured); again != "" {
					t.Fatalf("%+v: with the %d files that %q asks for, %d connections: %s", n, want, warning, most, again)
				}
				if _, again := n.Connections(want-1, configured); again == "" {
					t.Fatalf("%+v: fewer than %d files are enough for %d", n, want, configured)
				}
			}
		}
	}
	if most, warning := (Need{1, 1, 1, 2000, 0}).Connections(0, 1024); most != 1024 || warning != "" {
		t.Errorf("no limit: %d %q", most, warning)
	}
	if Limit() < 0 {
		t.Error(Limit())
	}
}
