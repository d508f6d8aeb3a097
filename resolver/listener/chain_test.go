package listener_test

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rideau/resolver"
	"rideau/resolver/listener"
	"rideau/resolver/upstream/do53"
	"rideau/resolver/wire"
)

// slow has all queries wait, and answers them by their own octets.
type slow struct{ *fake }

func (slow) Answer(dst []byte, _ *resolver.Query) ([]byte, resolver.Outcome) {
	return dst, outcome(resolver.Pending)
}

func (slow) Resolve(_ context.Context, dst []byte, q *resolver.Query) ([]byte, resolver.Outcome) {
	time.Sleep(20 * time.Millisecond) // sleeps: all queries of a moment are under way together
	return reply(dst, q), outcome(resolver.Forwarded)
}

// A server that forwards to another by TCP has all its queries of a moment
// answered, over few connections.
func TestForwarderByTCP(t *testing.T) {
	const queries = 400
	s := serve(t, slow{newFake()}, listener.Options{MaxConnectionsPerClient: 64})
	u := do53.New(netip.MustParseAddrPort(s.Addr().String()), do53.Options{Stream: true})
	defer u.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var name wire.Name
	if err := name.SetText("www.example"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		var all sync.WaitGroup
		var answered atomic.Int64
		for i := range queries {
			all.Go(func() {
				q := wire.AppendQuery(nil, uint16(i), &name, wire.TypeA, wire.ClassIN, false, false, true, 1232)
				resp, err := u.Exchange(ctx, nil, q)
				if err == nil && wire.ID(resp) == uint16(i) {
					answered.Add(1)
				}
			})
		}
		all.Wait()
		if n := answered.Load(); n != queries {
			t.Errorf("%d of %d were answered", n, queries)
		}
	}
	if n := s.Stats(); n.Accepted > 16 || n.Refused != 0 {
		t.Errorf("%d connections, %d refused", n.Accepted, n.Refused)
	}
}
