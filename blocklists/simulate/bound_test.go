package simulate

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/compile"
	"rideau/blocklists/input"
	"rideau/blocklists/querylog"
	"rideau/resolver/wire"
)

// TestBounds: queries beyond the limits still count as queries, and the
// report says which figures are too low.
func TestBounds(t *testing.T) {
	l := input.List{ID: "l", Source: "l", Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("n.example")), nil }}
	p, _, err := compile.Load(context.Background(), blocklists.Policy{Lists: []input.List{l},
		Bans: []blocklists.Ban{{ID: "b", Lists: []string{"l"}, Groups: []string{blocklists.GroupAll}}}},
		nil, compile.Options{Now: time.Unix(1e9, 0), Slots: new(blocklists.Slots)})
	if err != nil {
		t.Fatal(err)
	}
	s := New(Side{Policy: p}, Side{})
	s.limits = limits{names: 20, changed: 10, clients: 5, pairs: 12}
	for i := range 100 {
		q := querylog.Query{Type: wire.TypeA, Client: netip.AddrFrom4([4]byte{10, 0, 0, byte(i % 10)})}
		if err := q.Name.SetText(fmt.Sprintf("w%d.n.example", i)); err != nil {
			t.Fatal(err)
		}
		s.Count(&q)
	}
	r := s.Report(0)
	if r.Queries != 100 || r.Changes[Blocked].Queries != 100 || r.Changes[Blocked].By[0].Queries != 100 {
		t.Errorf("queries are lost: %+v", r)
	}
	if r.Clients != 5 || len(r.Changes[Blocked].Top) != 10 || len(s.pairs.has) > 12 || len(s.names.has) > 20 || len(r.Short) != 3 {
		t.Errorf("bounds do not hold: %+v", r)
	}
}
