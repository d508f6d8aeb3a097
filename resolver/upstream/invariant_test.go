package upstream_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rideau/resolver/upstream"
	"rideau/resolver/upstream/choice"
	"rideau/resolver/upstream/member"
	"rideau/resolver/wire"
)

// For every exchange, whatever the servers do: it ends in time, asks no server
// more often than it may, has an answer if a server gives one, and leaves nothing
// behind.
func TestInvariants(t *testing.T) {
	luck := rand.New(rand.NewPCG(7, 9))
	for round := range 300 {
		o := upstream.Options{
			Strategy:    choice.Strategy(luck.IntN(3)),
			NoHedge:     luck.IntN(3) == 0,
			MaxInFlight: []int{0, 1, 5}[luck.IntN(3)],
		}
		n := 1 + luck.IntN(4)
		bubbleWith(t, o, n, func(t *testing.T, g *upstream.Group, f []*fake) {
			if luck.IntN(2) == 0 {
				running(t, g)
			}
			for range 20 {
				upset(luck, f)
				exchanges(t, luck, g, f, o.MaxInFlight == 0)
				time.Sleep(time.Duration(luck.IntN(5000)) * time.Millisecond)
			}
			time.Sleep(10 * time.Second)
			synctest.Wait()
			for i, s := range g.Stats() {
				if s.InFlight != 0 {
					t.Errorf("round %d: %d requests to upstream %d are under way in the end", round, s.InFlight, i)
				}
				if sum := failures(s) + answers(s); sum > s.Requests+s.Probes {
					t.Errorf("round %d: %d outcomes of %d requests and %d probes", round, sum, s.Requests, s.Probes)
				}
			}
		})
	}
}

func failures(s member.Stat) (n uint64) {
	for _, f := range s.Failures {
		if f.Reason == "timeout" || f.Reason == "network" {
			n += f.Count
		}
	}
	return n
}

func answers(s member.Stat) (n uint64) {
	for _, c := range s.Latency.Counts {
		n += c
	}
	return n
}

// upset makes some of the servers behave in another way.
func upset(luck *rand.Rand, f []*fake) {
	for _, f := range f {
		if luck.IntN(2) == 0 {
			continue
		}
		says := []string{"a", "a", "a", "", "SERVFAIL", "REFUSED", "NOTIMP", "refuse", "panic"}
		f.say(time.Duration(luck.IntN(400))*time.Millisecond, says[luck.IntN(len(says))])
		f.mu.Lock()
		f.every = luck.IntN(4)
		f.mu.Unlock()
	}
}

// exchanges makes some exchanges at a time. The result is checked if there is one.
func exchanges(t *testing.T, luck *rand.Rand, g *upstream.Group, f []*fake, roomy bool) {
	n := 1
	if luck.IntN(3) == 0 {
		n = 1 + luck.IntN(10)
	}
	asked(f)
	probes := probed(g)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			start, q := time.Now(), query(t, "example.com")
			msg, err := g.Exchange(t.Context(), nil, q)
			if d := time.Since(start); d > 5*time.Second {
				t.Errorf("it took %v", d)
			}
			switch {
			case err == nil && (len(msg) < wire.HeaderLen || wire.ID(msg) != wire.ID(q)):
				t.Errorf("got %x", msg)
			case err != nil && !errors.Is(err, upstream.ErrTimeout) && !errors.Is(err, upstream.ErrNetwork) && !errors.Is(err, upstream.ErrBusy):
				t.Errorf("got %v", err)
			case err != nil && roomy && errors.Is(err, upstream.ErrBusy):
				t.Errorf("got %v with places for all", err)
			case n == 1 && roomy && (err != nil || wire.HeaderRcode(msg) != wire.NoError) && steady(f) >= 0 && !agreed(f):
				t.Errorf("got %x, %v, though upstream %d answers: %s", msg, err, steady(f), describe(f))
			}
		})
	}
	wg.Wait()
	if n > 1 || probed(g) != probes {
		return
	}
	for i, n := range asked(f) {
		if n > 3 {
			t.Errorf("upstream %d was asked %d times for one question", i, n)
		}
	}
}

func probed(g *upstream.Group) (n uint64) {
	for _, s := range g.Stats() {
		n += s.Probes
	}
	return n
}

// steady is the index of a server that answers every query; below 0 if there is none.
func steady(f []*fake) int {
	for i, f := range f {
		if f.text == "a" && f.every == 0 {
			return i
		}
	}
	return -1
}

// agreed reports whether two servers may fail in the same way, which is final.
func agreed(f []*fake) bool {
	says := map[string]int{}
	for _, f := range f {
		says[f.text]++
	}
	return says["SERVFAIL"] > 1 || says["REFUSED"] > 1
}

func describe(f []*fake) string {
	var b strings.Builder
	for _, f := range f {
		fmt.Fprintf(&b, "%q after %v, but for one in %d; ", f.text, f.after, f.every)
	}
	return b.String()
}
