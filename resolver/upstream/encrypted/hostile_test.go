package encrypted_test

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rideau/resolver/limit"
	"rideau/resolver/upstream"
	"rideau/resolver/upstream/encrypted"
	"rideau/resolver/upstream/member"
	"rideau/resolver/wire"
)

// Clients that ask for names that upstream never answers leave streams of its
// connections to others, whatever it is asked by.
func TestSilentNamesLeaveStreams(t *testing.T) {
	ca := newAuthority(t)
	cert, _ := ca.certificate(t, false, "dns.example")
	kinds(t, cert, echo, encrypted.Options{Name: "dns.example", Roots: ca.pool}, func(t *testing.T, s *server, u member.Server) {
		silent := func(q []byte) bool { return bytes.Contains(q, []byte("silent")) }
		s.hangs.Store(&silent)
		g := upstream.NewGroup("test", upstream.Options{NoHedge: true}, u)
		w := limit.NewWaitLimit(4096)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var running, hostile sync.WaitGroup
		hostile.Go(func() { g.Run(ctx) })
		ask := func(client, name string) error {
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
		honest := func(i int) error {
			return ask(fmt.Sprintf("127.3.0.%d", i%10), fmt.Sprintf("n%d.zone%d.example", i, i%20))
		}
		for i := range 20 { // they were there before
			if err := honest(i); err != nil {
				t.Fatal(err)
			}
		}
		var asked, failed atomic.Int64
		var last atomic.Value
		// Sleeps: the rates of queries are the subject.
		for tick := range 100 {
			for i := range 5 {
				n := tick*5 + i
				hostile.Go(func() { ask(fmt.Sprintf("127.2.0.%d", n%200), fmt.Sprintf("x%d.silent%d.example", n, n%200)) })
			}
			if tick >= 25 {
				running.Go(func() {
					asked.Add(1)
					if err := honest(tick); err != nil {
						failed.Add(1)
						last.Store(err.Error())
					}
				})
			}
			time.Sleep(8 * time.Millisecond) // sleeps: the queries come at a rate
		}
		running.Wait()
		cancel()
		hostile.Wait()
		if n := failed.Load(); n > 0 {
			t.Errorf("%d of %d honest queries failed: %v", n, asked.Load(), last.Load())
		}
	})
}
