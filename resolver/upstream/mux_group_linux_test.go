package upstream_test

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"rideau/resolver/limit"
	"rideau/resolver/upstream"
)

// switched is a server that answers while it is on.
func switched(t *testing.T, text string) (*server, *atomic.Bool) {
	on := new(atomic.Bool)
	on.Store(true)
	return serve(t, func(s *server, from netip.AddrPort, q []byte) {
		if on.Load() {
			s.send(from, reply(s.t, q, text))
		}
	}, nil), on
}

// train asks until it is known how long answers take.
func (l *loop) train(g *upstream.Group) {
	l.t.Helper()
	for i := 0; g.Stats()[0].P95 == 0; i++ {
		if i == 100 {
			l.t.Fatal("the 95th percentile is never known")
		}
		clear(l.ends)
		l.ask(g, "example.")
		l.until(1)
	}
	for end := time.Now().Add(patience); l.mux.Pending() > 0 && time.Now().Before(end); {
		l.turn()
	}
	clear(l.ends)
}

func names(n int) []string {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("n%d.example.", i))
	}
	return names
}

// A call that takes longer than usual is hedged before its limit.
func TestMuxHedges(t *testing.T) {
	first, on := switched(t, "first")
	g := group(t, upstream.Options{Timeout: patience}, first, serve(t, saying("second"), nil))
	l := newLoop(t, 1)
	l.train(g)
	before := g.Stats()
	on.Store(false)
	l.ask(g, "example.")
	l.until(1)
	msg, err := l.resume(g, "example.", upstream.Late)
	if err != nil || texts(t, query(t, "example."), msg) != "second" {
		t.Fatalf("%x, %v", msg, err)
	}
	// On a busy machine, the training may have had its hedges too.
	after := g.Stats()
	if n := after[1].Hedges - before[1].Hedges; n != 1 || after[1].HedgeWins == before[1].HedgeWins {
		t.Errorf("%d hedges, %+v", n, after[1])
	}
}

// There is no hedge with one server; it is asked again well after it should have
// answered.
func TestMuxAsksTheSameAgain(t *testing.T) {
	var lost atomic.Bool
	s := serve(t, func(s *server, from netip.AddrPort, q []byte) {
		if !lost.CompareAndSwap(true, false) {
			s.send(from, reply(s.t, q, "x"))
		}
	}, nil)
	g := group(t, upstream.Options{Timeout: patience}, s)
	l := newLoop(t, 1)
	l.train(g)
	lost.Store(true)
	l.ask(g, "example.")
	l.until(1)
	msg, err := l.resume(g, "example.", upstream.Late)
	if err != nil || texts(t, query(t, "example."), msg) != "x" {
		t.Fatalf("%x, %v", msg, err)
	}
	if st := g.Stats()[0]; st.Hedges != 0 || count(st, "timeout") != 1 {
		t.Errorf("%+v", st)
	}
}

// Of many calls without a response few are hedged; for the others the next server
// is asked at the limit.
func TestMuxHedgesAreBounded(t *testing.T) {
	first, on := switched(t, "first")
	g := group(t, upstream.Options{Timeout: patience}, first, serve(t, saying("second"), nil))
	l := newLoop(t, 200)
	l.train(g)
	on.Store(false)
	if p95 := g.Stats()[0].P95; p95 > 150*time.Millisecond {
		t.Skipf("the machine is too slow to tell: answers took %v", p95)
	}
	begun := time.Now()
	l.ask(g, names(200)...)
	// No call is late before 200 ms have passed.
	for at := time.Duration(0); at < 190*time.Millisecond; at += 5 * time.Millisecond {
		l.mux.Expire(begun.Add(at))
	}
	early := len(l.ends)
	if early == 0 || early > 16+20+5 {
		t.Errorf("%d hedges for 200 calls", early)
	}
	l.until(200)
	for i := range l.calls {
		if l.ends[uint32(i)].how != upstream.Late {
			t.Fatalf("call %d ended %v", i, l.ends[uint32(i)].how)
		}
		if _, err := g.Resume(within(t, patience), nil, query(t, names(200)[i]), l.ends[uint32(i)].started); err != nil {
			t.Fatal(err)
		}
	}
	if s := g.Stats()[0]; s.InFlight != 0 || count(s, "timeout") < 180 { // some came to their end before that was noticed
		t.Errorf("got %+v", s)
	}
}

// Calls count as requests under way until they end or are handed over.
func TestMuxMaxInFlight(t *testing.T) {
	first, on := switched(t, "first")
	on.Store(false)
	g := group(t, upstream.Options{MaxInFlight: 3, AttemptTimeout: 50 * time.Millisecond, Timeout: time.Second}, first)
	l := newLoop(t, 4)
	l.ask(g, names(3)...)
	if l.mux.Start(&l.calls[3], g, query(t, "one.more."), time.Now()) {
		t.Error("asked beyond the bound")
	}
	if s := g.Stats()[0]; s.InFlight != 3 || s.Busy[limit.Full].Count != 1 {
		t.Errorf("got %+v", s)
	}
	l.until(3)
	if s := g.Stats()[0]; s.InFlight != 0 {
		t.Errorf("got %+v", s)
	}
	for end := time.Now().Add(patience); l.mux.Pending() > 0 && time.Now().Before(end); {
		l.turn() // until those that nobody resumes are over
	}
	// What never came is counted, though nobody waited for it.
	if s := g.Stats()[0]; count(s, "timeout") != 3 || s.Healthy { // for a second
		t.Errorf("got %+v", s)
	}
}

// A slow server does not delay the ends of calls to another.
func TestMuxTimesAreApart(t *testing.T) {
	slow := group(t, upstream.Options{NoHedge: true, AttemptTimeout: patience, Timeout: patience}, serve(t, mute, nil))
	fast := group(t, upstream.Options{NoHedge: true, AttemptTimeout: 20 * time.Millisecond, Timeout: patience}, serve(t, mute, nil))
	l := newLoop(t, 2)
	if !l.mux.Start(&l.calls[1], slow, query(t, "slow."), time.Now()) {
		t.Fatal("not asked")
	}
	l.ask(fast, "fast.")
	l.until(1)
	if e, ok := l.ends[0]; !ok || e.how != upstream.Late {
		t.Errorf("ended: %v", l.ends)
	}
	if _, ok := l.ends[1]; ok {
		t.Skip("the machine is too slow to tell")
	}
}
