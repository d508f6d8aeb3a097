package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rideau/resolver/limit"
	"rideau/resolver/upstream"
	"rideau/resolver/upstream/choice"
	"rideau/resolver/upstream/health"
)

// asked counts how often each was asked since the last call.
func asked(f []*fake) []int {
	var n []int
	for _, f := range f {
		f.mu.Lock()
		n = append(n, len(f.asked))
		f.asked = nil
		f.mu.Unlock()
	}
	return n
}

func TestWeighted(t *testing.T) {
	o := upstream.Options{Strategy: choice.Weighted, Weights: []int{5, 3, 2}}
	bubbleWith(t, o, 3, func(t *testing.T, g *upstream.Group, f []*fake) {
		for i := range f {
			f[i].say(time.Millisecond, fmt.Sprint(i))
		}
		for range 20 { // spread evenly: in each ten, not only in the end
			for range 10 {
				ask(t, g, time.Millisecond, "")
			}
			if n := fmt.Sprint(asked(f)); n != "[5 3 2]" {
				t.Fatalf("asked %s", n)
			}
		}
		f[0].say(0, "refuse")
		for range 2 {
			for asked(f)[0] == 0 {
				ask(t, g, time.Millisecond, "")
			}
		}
		if g.Stats()[0].Health != health.Down {
			t.Fatalf("got %+v", g.Stats()[0])
		}
		asked(f)
		for range 100 {
			ask(t, g, time.Millisecond, "")
		}
		if n := asked(f); n[0] != 0 || n[1] < 50 || n[2] < 20 {
			t.Errorf("without the first: asked %v", n)
		}
	})
}

func TestWeightedByDefaultIsEqual(t *testing.T) {
	bubbleWith(t, upstream.Options{Strategy: choice.Weighted}, 4, func(t *testing.T, g *upstream.Group, f []*fake) {
		for i := range f {
			f[i].say(time.Millisecond, fmt.Sprint(i))
		}
		for range 40 {
			ask(t, g, time.Millisecond, "")
		}
		if n := fmt.Sprint(asked(f)); n != "[10 10 10 10]" {
			t.Errorf("asked %s", n)
		}
	})
}

func TestFastest(t *testing.T) {
	bubbleWith(t, upstream.Options{Strategy: choice.Fastest}, 3, func(t *testing.T, g *upstream.Group, f []*fake) {
		f[0].say(100*time.Millisecond, "slow")
		f[1].say(5*time.Millisecond, "fast")
		f[2].say(50*time.Millisecond, "middle")
		exchange := func(n int) {
			for range n {
				if _, err := g.Exchange(t.Context(), nil, query(t, "example.com")); err != nil {
					t.Fatal(err)
				}
			}
		}
		exchange(3)
		if n := fmt.Sprint(asked(f)); n != "[1 1 1]" {
			t.Errorf("without samples: asked %s", n)
		}
		exchange(320)
		if n := asked(f); n[1] < 300 || n[0] < 2 || n[2] < 2 || n[0]+n[2] > 20 {
			t.Errorf("asked %v: want the second mostly, and the others now and then", n)
		}
		f[0].say(time.Millisecond, "faster")
		exchange(3200)
		asked(f)
		exchange(320)
		if n := asked(f); n[0] < 300 {
			t.Errorf("asked %v after the first became the fastest", n)
		}
		if s := g.Stats()[0]; s.RTT < time.Millisecond || s.RTT > 20*time.Millisecond || s.P95 == 0 {
			t.Errorf("got %+v", s)
		}
	})
}

// A server that answers fast but loses much is not the fastest.
func TestFastestCountsWhatWasLost(t *testing.T) {
	o := upstream.Options{Strategy: choice.Fastest, NoHedge: true, AttemptTimeout: 100 * time.Millisecond}
	bubbleWith(t, o, 2, func(t *testing.T, g *upstream.Group, f []*fake) {
		f[1].say(20*time.Millisecond, "steady")
		for i := range 400 {
			f[0].say(time.Millisecond, "lossy")
			if i%3 == 0 {
				f[0].say(0, "")
			}
			g.Exchange(t.Context(), nil, query(t, "example.com"))
		}
		if n := asked(f); n[0] > n[1]/2 {
			t.Errorf("asked %v", n)
		}
	})
}

func TestMaxInFlight(t *testing.T) {
	for _, s := range []choice.Strategy{choice.Ordered, choice.Weighted, choice.Fastest} {
		bubbleWith(t, upstream.Options{MaxInFlight: 3, Strategy: s, AttemptTimeout: 5 * time.Second}, 2, func(t *testing.T, g *upstream.Group, f []*fake) {
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			for range 6 {
				wg.Go(func() { g.Exchange(ctx, nil, query(t, "example.com")) })
			}
			synctest.Wait()
			if n := fmt.Sprint(asked(f)); n != "[3 3]" {
				t.Errorf("strategy %d: asked %s", s, n)
			}
			if s := g.Stats(); s[0].InFlight != 3 || s[1].InFlight != 3 {
				t.Errorf("in flight: %d, %d", s[0].InFlight, s[1].InFlight)
			}
			ask(t, g, 0, upstream.ErrBusy.Error())
			if _, err := g.Exchange(t.Context(), nil, query(t, "example.com")); !errors.Is(err, upstream.ErrBusy) ||
				errors.Is(err, upstream.ErrTimeout) || errors.Is(err, upstream.ErrNetwork) {
				t.Errorf("got %v", err)
			}
			if n := fmt.Sprint(asked(f)); n != "[0 0]" {
				t.Errorf("beyond the bound: asked %s", n)
			}
			if s := g.Stats(); s[0].Busy[limit.Full].Count < 2 || !s[0].Healthy {
				t.Errorf("got %+v", s[0])
			}
			cancel()
			wg.Wait()
			synctest.Wait()
			if s := g.Stats(); s[0].InFlight != 0 || s[1].InFlight != 0 {
				t.Errorf("in flight in the end: %d, %d", s[0].InFlight, s[1].InFlight)
			}
			f[0].say(0, "a")
			f[1].say(0, "b")
			ask(t, g, 0, "")
		})
	}
}

// A server with too many requests under way is not asked; the next one is.
func TestMaxInFlightFailover(t *testing.T) {
	bubbleWith(t, upstream.Options{MaxInFlight: 1}, 3, func(t *testing.T, g *upstream.Group, f []*fake) {
		f[1].say(400*time.Millisecond, "refuse")
		f[2].say(time.Millisecond, "c")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go g.Exchange(ctx, nil, query(t, "example.com"))
		synctest.Wait()
		ask(t, g, 401*time.Millisecond, "c")
		wantTimes(t, f[0], "[0s]")
	})
}

func TestHedge(t *testing.T) {
	bubble(t, 2, func(t *testing.T, g *upstream.Group, f []*fake) {
		f[0].say(20*time.Millisecond, "a")
		f[1].say(20*time.Millisecond, "b")
		for range 64 {
			ask(t, g, 20*time.Millisecond, "a")
		}
		p95 := g.Stats()[0].P95
		if p95 < 20*time.Millisecond || p95 > 25*time.Millisecond {
			t.Errorf("the 95th percentile of 20ms is %v", p95)
		}
		f[0].say(0, "") // lost
		ask(t, g, p95+20*time.Millisecond, "b")
		f[0].say(p95+10*time.Millisecond, "a") // slower than usual, and yet first
		ask(t, g, p95+10*time.Millisecond, "a")
		if s := g.Stats(); s[1].Hedges != 2 || s[1].HedgeWins != 1 || s[0].Hedges != 0 || count(s[0], "timeout") != 0 || !s[0].Healthy {
			t.Errorf("got %+v", s)
		}
	})
}

// A server that becomes slow gets no more than a tenth of its requests twice,
// and the hedges that were saved up.
func TestHedgesAreBounded(t *testing.T) {
	bubble(t, 2, func(t *testing.T, g *upstream.Group, f []*fake) {
		f[0].say(time.Millisecond, "a")
		f[1].say(time.Millisecond, "b")
		const n = 400
		for range n {
			ask(t, g, time.Millisecond, "a")
		}
		for i := range n { // ever slower, so that each is slower than usual
			f[0].say(20*time.Millisecond+time.Duration(i)*10*time.Millisecond, "a")
			if _, err := g.Exchange(t.Context(), nil, query(t, "example.com")); err != nil {
				t.Fatal(err)
			}
		}
		s := g.Stats()
		if h := s[1].Hedges; h < 16 || h > 16+2*n/10 {
			t.Errorf("%d hedges for %d requests", h, n)
		}
	})
}

func TestNoHedge(t *testing.T) {
	bubbleWith(t, upstream.Options{NoHedge: true}, 2, func(t *testing.T, g *upstream.Group, f []*fake) {
		f[0].say(time.Millisecond, "a")
		f[1].say(time.Millisecond, "b")
		for range 64 {
			ask(t, g, time.Millisecond, "a")
		}
		f[0].say(490*time.Millisecond, "a")
		ask(t, g, 490*time.Millisecond, "a")
		if n := asked(f); n[1] != 0 {
			t.Errorf("the second was asked %d times", n[1])
		}
	})
}

// A failure, and what is no answer, is final once all have been asked that are up,
// and none goes down for it.
func TestAskedElsewhere(t *testing.T) {
	for codes, want := range map[string]string{
		"SERVFAIL SERVFAIL SERVFAIL SERVFAIL": "[10 10 10 10] SERVFAIL",
		"SERVFAIL SERVFAIL later SERVFAIL":    "[10 10 10 10] later", // both at once after two SERVFAILs
		"REFUSED REFUSED good SERVFAIL":       "[10 10 10 0] good",
		"REFUSED REFUSED REFUSED REFUSED":     "[10 10 10 10] REFUSED",
		"REFUSED SERVFAIL NOTAUTH REFUSED":    "[10 10 10 10] SERVFAIL",
		"NOTAUTH YXRRSET NOTZONE good":        "[10 10 10 10] good",
		"SERVFAIL REFUSED SERVFAIL good":      "[10 10 10 10] good",
		"SERVFAIL REFUSED good SERVFAIL":      "[10 10 10 0] good",
		"NOTIMP NOTIMP FORMERR good":          "[10 10 10 10] good",
		"SERVFAIL good good good":             "[10 10 0 0] good",
		"SERVFAIL refuse SERVFAIL good":       "[10 2 10 10] good",
	} {
		bubble(t, 4, func(t *testing.T, g *upstream.Group, f []*fake) {
			end := want[strings.LastIndex(want, " ")+1:]
			var took time.Duration
			if end == "later" {
				took = time.Millisecond
			}
			for i, c := range strings.Fields(codes) {
				f[i].say(0, c)
				if c == "later" {
					f[i].say(took, c)
				}
			}
			for range 10 {
				ask(t, g, took, end)
			}
			if n := fmt.Sprint(asked(f)); n != want[:strings.LastIndex(want, " ")] {
				t.Errorf("%s: asked %s, want %s", codes, n, want)
			}
			for i, s := range g.Stats() {
				if !s.Healthy && !strings.HasPrefix(codes, "SERVFAIL refuse") {
					t.Errorf("%s: upstream %d is taken to be down", codes, i)
				}
			}
		})
	}
}

// Every query chooses a server and notes its answer: neither may allocate.
func TestChooseAllocatesNothing(t *testing.T) {
	for _, s := range []choice.Strategy{choice.Ordered, choice.Weighted, choice.Fastest} {
		g := upstream.NewGroup("test", upstream.Options{Strategy: s}, &fake{addr: "a"}, &fake{addr: "b"}, &fake{addr: "c"})
		if n := testing.AllocsPerRun(1000, func() {
			if g.Choose(time.Millisecond) == "" {
				t.Fatal("nobody")
			}
		}); n != 0 {
			t.Errorf("strategy %d: %v allocations", s, n)
		}
	}
}

func BenchmarkChoose(b *testing.B) {
	for name, s := range map[string]choice.Strategy{"ordered": choice.Ordered, "weighted": choice.Weighted, "fastest": choice.Fastest} {
		b.Run(name, func(b *testing.B) {
			g := upstream.NewGroup("test", upstream.Options{Strategy: s}, &fake{addr: "a"}, &fake{addr: "b"}, &fake{addr: "c"})
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					g.Choose(time.Millisecond)
				}
			})
		})
	}
}

// Weights that do not fit are a mistake in the program, and panic.
func TestWrongWeights(t *testing.T) {
	for name, weights := range map[string][]int{"too few": {1}, "too many": {1, 2, 3}, "none": {0, 1}, "huge": {101, 1}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: %v for two upstreams", name, weights)
				}
			}()
			upstream.NewGroup("test", upstream.Options{Strategy: choice.Weighted, Weights: weights}, &fake{addr: "a"}, &fake{addr: "b"})
		}()
	}
}

// A successor knows how long answers take, and which servers are on trial.
func TestInheritTimes(t *testing.T) {
	bubble(t, 2, func(t *testing.T, g *upstream.Group, f []*fake) {
		f[0].say(30*time.Millisecond, "a")
		for range 32 {
			ask(t, g, 30*time.Millisecond, "a")
		}
		fell(t, g, f)
		f[0].say(0, "a")
		running(t, g)
		if s := g.Stats()[0].Health; s != health.Trying {
			t.Fatalf("the first is %v", s)
		}
		for _, name := range []string{"fake", "other"} {
			next := upstream.NewGroup(name, upstream.Options{}, f[0], f[1])
			next.Inherit(g)
			was, is := g.Stats()[0], next.Stats()[0]
			if is.Health != was.Health || is.RTT != was.RTT || is.P95 != was.P95 || is.P95 == 0 {
				t.Errorf("as %q: %+v, before %+v", name, is, was)
			}
		}
	})
}
