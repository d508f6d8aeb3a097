package upstream_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"rideau/resolver/limit"
	"rideau/resolver/upstream"
	"rideau/resolver/upstream/health"
	"rideau/resolver/wire"
)

// askFor asks for a name whose place is the share of a client.
func askFor(ctx context.Context, g *upstream.Group, w *limit.WaitLimit, client, name string) error {
	var n wire.Name
	if err := n.SetText(name); err != nil {
		return err
	}
	var p limit.Permit
	if why, ok := w.Acquire(&p, netip.MustParseAddr(client), &n); !ok {
		return fmt.Errorf("turned away: %v", why)
	}
	defer w.Release(&p)
	q := wire.AppendQuery(nil, 0x1234, &n, wire.TypeA, wire.ClassIN, false, false, false, 0)
	_, err := g.Exchange(upstream.WithShare(ctx, w.Share(&p, &n)), nil, q)
	w.Settle(&p, err == nil)
	return err
}

// Zones of which nothing is known yet say nothing of what a server loses: a client
// that asks for names of many silent ones does not change who is asked first.
func TestUnknownZonesAreNoLoss(t *testing.T) {
	bubbleWith(t, upstream.Options{NoHedge: true, Timeout: time.Second}, 2, func(t *testing.T, g *upstream.Group, f []*fake) {
		ctx, cancel := context.WithCancel(t.Context())
		go g.Run(ctx)
		w := limit.NewWaitLimit(4096)
		f[1].say(time.Millisecond, "b")
		for i := range 400 {
			f[0].say(time.Millisecond, "a")
			if err := askFor(ctx, g, w, "192.0.2.1", "www.good.example"); err != nil {
				t.Fatal(err)
			}
			f[0].say(0, "")
			go askFor(ctx, g, w, "192.0.2.2", fmt.Sprintf("x.silent%d.example", i))
			synctest.Wait()
		}
		f[0].say(time.Millisecond, "a")
		for range 200 { // what was lost is noticed
			time.Sleep(10 * time.Millisecond)
			if err := askFor(ctx, g, w, "192.0.2.1", "www.good.example"); err != nil {
				t.Fatal(err)
			}
		}
		for i, s := range g.Stats() {
			if s.Health != health.Up {
				t.Errorf("server %d is %v: %+v", i, s.Health, s)
			}
		}
		cancel()
		synctest.Wait()
	})
}

// A query that was lost is repeated as soon as there is a place for it.
func TestRepeatedWhenThereIsAPlace(t *testing.T) {
	bubbleWith(t, upstream.Options{NoHedge: true, MaxInFlight: 100}, 1, func(t *testing.T, g *upstream.Group, f []*fake) {
		ctx, cancel := context.WithCancel(t.Context())
		w := limit.NewWaitLimit(4096)
		f[0].say(0, "a")
		if err := askFor(ctx, g, w, "192.0.2.1", "www.example.org"); err != nil {
			t.Fatal(err)
		}
		f[0].say(0, "")
		done := make(chan error)
		go func() { done <- askFor(t.Context(), g, w, "192.0.2.1", "lost.example.org") }()
		time.Sleep(500 * time.Millisecond)
		for i := range 80 { // they leave no place for repeated queries
			go askFor(ctx, g, w, fmt.Sprintf("198.51.100.%d", i), fmt.Sprintf("x.other%d.example", i))
		}
		time.Sleep(750 * time.Millisecond)                // the first attempt is late after a second
		if n := g.Stats()[0].Requests; n < 74 || n > 78 { // new zones leave a quarter of the places
			t.Errorf("%d requests", n)
		}
		cancel() // the others end
		synctest.Wait()
		f[0].say(0, "a")
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
