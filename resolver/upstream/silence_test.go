package upstream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rideau/resolver/limit"
	"rideau/resolver/upstream"
	"rideau/resolver/upstream/acceptance"
	"rideau/resolver/upstream/member"
)

// partlySilent is a Server under a fake clock that never answers names with a label
// that begins with "silent", and others after a time.
type partlySilent struct {
	fake
	endpoint *acceptance.Endpoint // nil: it is asked over a connection
	delay    time.Duration
}

func (s *partlySilent) Endpoint() *acceptance.Endpoint { return s.endpoint }

func (s *partlySilent) ExchangeStream(ctx context.Context, dst, query []byte) ([]byte, error) {
	return s.Exchange(ctx, dst, query)
}

func (s *partlySilent) Exchange(ctx context.Context, dst, query []byte) ([]byte, error) {
	var then <-chan time.Time
	if !bytes.Contains(query, []byte("silent")) {
		then = time.After(s.delay)
	}
	select {
	case <-ctx.Done():
		return dst, upstream.ErrorOf(ctx, "fake", ctx.Err())
	case <-then:
	}
	return append(dst, reply(s.t, query, "a")...), nil
}

// attack is what clients ask for beside each other: hostile ones names that are
// never answered, each below a zone of its own, and honest ones others.
type attack struct {
	hostile, servers int
	datagrams        bool
	delay            time.Duration
	known            bool // honest clients ask a second before the others begin
	perTick          int  // hostile queries in two milliseconds
}

// run returns how many honest queries there were, how many failed, and why, with the
// second in which they were sent.
func (a attack) run(t *testing.T) (asked, failed int, why map[string]int) {
	synctest.Test(t, func(t *testing.T) {
		var ups []member.Server
		for i := range a.servers {
			s := &partlySilent{fake: fake{t: t, addr: fmt.Sprint(i)}, delay: a.delay}
			if a.datagrams {
				s.endpoint = acceptance.NewEndpoint(netip.MustParseAddrPort("192.0.2.53:53"), false, false)
			}
			ups = append(ups, s)
		}
		g := upstream.NewGroup("fake", upstream.Options{}, ups...)
		ctx, cancel := context.WithCancel(t.Context())
		go g.Run(ctx)
		w := limit.NewWaitLimit(4096)
		parent := func(i int) string {
			if i%2 == 0 {
				return "shared.example"
			}
			return "example"
		}
		begun := time.Now()
		var mu sync.Mutex
		why = map[string]int{}
		var running sync.WaitGroup
		honest := func(n int) {
			began := time.Now()
			err := askFor(t.Context(), g, w, fmt.Sprintf("127.3.0.%d", n%20), fmt.Sprintf("n%d.zone%d.%s", n, n%40, parent(n)))
			mu.Lock()
			defer mu.Unlock()
			if asked++; err != nil {
				failed++
				reason := err.Error()
				if errors.Is(err, upstream.ErrBusy) {
					reason = "busy"
				}
				why[fmt.Sprintf("%s in second %d", reason, began.Sub(begun)/time.Second)]++
			}
		}
		for tick := range 4 * 500 { // 200 honest queries a second
			for i := range a.perTick {
				if a.known && tick < 500 {
					break
				}
				n := tick*a.perTick + i
				z := n % a.hostile
				running.Go(func() {
					askFor(t.Context(), g, w, fmt.Sprintf("127.2.%d.%d", z/250, z%250), fmt.Sprintf("x%d.silent%d.%s", n, z, parent(z)))
				})
			}
			if (a.known || tick >= 850) && tick%5 < 2 {
				running.Go(func() { honest(tick/5*2 + tick%5) })
			}
			time.Sleep(2 * time.Millisecond)
		}
		running.Wait()
		cancel()
		synctest.Wait()
	})
	return asked, failed, why
}

// TestSilentZones: honest clients are answered beside hostile ones that ask for names
// that upstream never answers, however it is asked and however slow it is.
func TestSilentZones(t *testing.T) {
	for _, c := range []struct {
		attack
		want float64 // percent
	}{
		{attack{hostile: 1000, servers: 2, datagrams: true, delay: 300 * time.Millisecond, perTick: 3}, 99.5},
		{attack{hostile: 1000, servers: 1, delay: 300 * time.Millisecond, perTick: 3}, 99.5},
		{attack{hostile: 300, servers: 1, datagrams: true, delay: 1200 * time.Millisecond, perTick: 3}, 99},
		// Clients that have been answered before lose nothing to thousands that have not.
		{attack{hostile: 3000, servers: 1, datagrams: true, delay: 300 * time.Millisecond, known: true, perTick: 10}, 100},
		{attack{hostile: 3000, servers: 1, delay: 300 * time.Millisecond, known: true, perTick: 10}, 100},
		// A server that is as slow for all is no silent zone.
		{attack{hostile: 1, servers: 1, delay: 2500 * time.Millisecond, known: true}, 100},
	} {
		asked, failed, why := c.run(t)
		if share := 100 * float64(asked-failed) / float64(asked); share < c.want || asked < 400 {
			t.Errorf("%+v: %.1f %% of %d answered: %v", c.attack, share, asked, why)
		}
	}
}
