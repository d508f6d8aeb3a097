package limit_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"rideau/resolver/limit"
	"rideau/resolver/wire"
)

func name(t testing.TB, s string) *wire.Name {
	t.Helper()
	n := new(wire.Name)
	if err := n.SetText(s); err != nil {
		t.Fatal(err)
	}
	return n
}

func addr(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}) }

// fill acquires all permits that a flood of n queries gets.
func fill(w *limit.WaitLimit, client func(i int) netip.Addr, zone func(i int) *wire.Name, n int) []limit.Permit {
	var all []limit.Permit
	for i := range n {
		var c limit.Permit
		if _, ok := w.Acquire(&c, client(i), zone(i)); ok {
			all = append(all, c)
		}
	}
	return all
}

func TestWaitLimitShares(t *testing.T) {
	const limitOf = 4096
	at := func(a netip.Addr) func(int) netip.Addr { return func(int) netip.Addr { return a } }
	random := func(zone string) func(int) *wire.Name {
		return func(i int) *wire.Name { return name(t, fmt.Sprintf("x%d.%s", i, zone)) }
	}
	spread := func(i int) *wire.Name { return name(t, fmt.Sprintf("x.z%d.example", i)) }
	for _, c := range []struct {
		what     string
		client   func(int) netip.Addr
		zone     func(int) *wire.Name
		from, to int // how many get in
		why      limit.Reason
	}{
		{"one client", at(addr(1)), spread, limitOf*39/64 - 50, limitOf*39/64 + 100, limit.ClientFull},
		{"one zone", addr, random("victim.example"), limitOf/2 - 10, limitOf/2 + 10, limit.ZoneFull},
		{"one zone below others", addr, random("a.b.victim.example"), limitOf/2 - 10, limitOf/2 + 10, limit.ZoneFull},
		{"many of both", func(i int) netip.Addr { return addr(i % 1000) }, spread, limitOf*7/8 - 500, limitOf * 7 / 8, limit.ClientFull},
	} {
		t.Run(c.what, func(t *testing.T) {
			w := limit.NewWaitLimit(limitOf)
			held := fill(w, c.client, c.zone, 20000)
			if len(held) < c.from || len(held) > c.to || w.Waiting() != len(held) {
				t.Errorf("%d wait (%d), want %d to %d", len(held), w.Waiting(), c.from, c.to)
			}
			if w.Refused(c.why) == 0 {
				t.Errorf("none turned away for %v", c.why)
			}
			// Another client, with names of other zones, gets permits.
			other := 0
			for i := range 20 {
				var p limit.Permit
				if _, ok := w.Acquire(&p, netip.MustParseAddr("192.168.7.7"), name(t, fmt.Sprintf("www.honest%d.org", i))); ok {
					other++
					w.Release(&p)
					w.Release(&p) // twice is once
				}
			}
			if other < 18 {
				t.Errorf("of 20 others %d get a permit", other)
			}
			for i := range held {
				w.Release(&held[i])
			}
			if w.Waiting() != 0 {
				t.Errorf("%d wait after all", w.Waiting())
			}
			if n := len(fill(w, c.client, c.zone, 20000)); n != len(held) {
				t.Errorf("%d get a permit the second time, %d the first", n, len(held))
			}
		})
	}
}

// Hundreds of clients fill the limit with queries for zones of their own, half of
// them below one parent. Others wait for new names below it, too, a few at a time.
func TestWaitLimitBelowAFullZone(t *testing.T) {
	parent := func(i int) string { return []string{"shared.example", "example"}[i%2] }
	w := limit.NewWaitLimit(4096)
	fill(w, func(i int) netip.Addr { return addr(i % 300) }, func(i int) *wire.Name {
		return name(t, fmt.Sprintf("x%d.silent%d.%s", i, i%300, parent(i%300)))
	}, 20000)
	refused := 0
	for i := range 40 {
		var p limit.Permit
		a := netip.AddrFrom4([4]byte{192, 0, 2, byte(i / 2)})
		if _, ok := w.Acquire(&p, a, name(t, fmt.Sprintf("www.honest%d.%s", i, parent(i)))); ok {
			w.Release(&p)
		} else {
			refused++
		}
	}
	if refused > 2 { // some share a cell
		t.Errorf("%d of 40 are turned away, while %d wait", refused, w.Waiting())
	}
}

// Ten thousand clients that are not answered leave an eighth to those that are, and
// to zones that are.
func TestWaitLimitKeepsForProven(t *testing.T) {
	const limitOf = 4096
	w := limit.NewWaitLimit(limitOf)
	good, zone := netip.MustParseAddr("192.0.2.1"), "answered.example"
	prove := func(a netip.Addr, n *wire.Name, answered bool) {
		var p limit.Permit
		if _, ok := w.Acquire(&p, a, n); !ok {
			t.Fatal("no permit while nothing waits")
		}
		w.Settle(&p, answered)
		w.Release(&p)
		w.Settle(&p, answered) // it is not held any more
	}
	prove(good, name(t, "www."+zone), true)
	evil := func(i int) netip.Addr { return addr(i % 10000) }
	prove(evil(1), name(t, "www.other.example"), true)
	prove(evil(1), name(t, "www.other.example"), false) // it was answered, and is not any more
	held := fill(w, evil, func(i int) *wire.Name { return name(t, fmt.Sprintf("x.z%d.example", i)) }, 30000)
	if len(held) < limitOf*7/8-100 || len(held) > limitOf*7/8 {
		t.Errorf("%d wait that are not proven", len(held))
	}
	for _, c := range []struct {
		what   string
		client netip.Addr
		zone   string
		want   int
	}{
		{"a client that is answered", good, "new.example", 60},
		{"a zone that is answered", netip.MustParseAddr("192.0.2.2"), zone, 60},
		{"neither", netip.MustParseAddr("192.0.2.3"), "other.example", 0},
	} {
		got := fill(w, func(int) netip.Addr { return c.client }, func(i int) *wire.Name { return name(t, fmt.Sprintf("n%d.%s", i, c.zone)) }, 60)
		if len(got) != c.want {
			t.Errorf("%s has %d of 60 permits", c.what, len(got))
		}
		for i := range got {
			w.Release(&got[i])
		}
	}
}

func TestWaitLimitSmall(t *testing.T) {
	w := limit.NewWaitLimit(3)
	held := fill(w, func(int) netip.Addr { return addr(1) }, func(int) *wire.Name { return name(t, "www.example.org") }, 10)
	if len(held) != 3 || w.Refused(limit.Full) != 7 {
		t.Errorf("%d wait, %d turned away", len(held), w.Refused(limit.Full))
	}
}

func TestWaitLimitTogether(t *testing.T) {
	w := limit.NewWaitLimit(100)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(i)))
			n := name(t, "www.example.org")
			var held []limit.Permit
			for range 20000 {
				if rnd.IntN(2) == 0 && len(held) > 0 {
					w.Release(&held[len(held)-1])
					held = held[:len(held)-1]
					continue
				}
				var c limit.Permit
				if _, ok := w.Acquire(&c, addr(rnd.IntN(50)), n); ok {
					held = append(held, c)
				}
			}
			for i := range held {
				w.Release(&held[i])
			}
		})
	}
	wg.Wait()
	if w.Waiting() != 0 {
		t.Errorf("%d wait", w.Waiting())
	}
}

const second = int64(time.Second)

func TestGateClients(t *testing.T) {
	g := limit.NewGate()
	ask := func(a netip.Addr, from int64, n int, over int64) (passed, slipped int) {
		for i := range n {
			switch g.Admit(a, false, from+over*int64(i)/int64(n)) {
			case limit.Pass:
				passed++
			case limit.Slip:
				slipped++
			}
		}
		return passed, slipped
	}
	if n, _ := ask(addr(1), second, 100000, second); n != 100000 {
		t.Errorf("%d of 100000 pass a gate without limits", n)
	}
	g.LimitClients(100, 20)
	from := 10 * second
	if n, slipped := ask(addr(1), from, 10000, 10*second); n < 1000 || n > 1030 || slipped < (10000-n)/9 || slipped > (10000-n)/7 {
		t.Errorf("at 1000 a second %d pass in 10 seconds, %d slip", n, slipped)
	}
	if n, _ := ask(addr(2), from, 20, 1); n != 20 {
		t.Errorf("of a burst of 20 %d pass", n)
	}
	if n, _ := ask(addr(3), from, 40, 1); n != 20 {
		t.Errorf("of a burst of 40 %d pass", n)
	}
	if n, _ := ask(addr(4), from, 900, 10*second); n != 900 {
		t.Errorf("at 90 a second %d of 900 pass", n)
	}
	if n, _ := ask(netip.MustParseAddr("2001:db8::1"), from, 20, 1); n != 20 {
		t.Errorf("by IPv6 %d of 20 pass", n)
	}
	if n, _ := ask(netip.MustParseAddr("2001:db8::2"), from, 20, 1); n != 0 {
		t.Errorf("from the same network %d more pass", n)
	}
	// A clock that is set back does not lock anybody out for long.
	if n, _ := ask(addr(1), from-3600*second, 2000, 10*second); n < 900 {
		t.Errorf("after the clock was set back, %d pass in 10 seconds", n)
	}
	g.LimitClients(0, 0)
	if n, _ := ask(addr(1), from, 1000, 1); n != 1000 {
		t.Errorf("%d of 1000 pass after the limit was lifted", n)
	}
}

// A server answers 2000 queries in each tenth of a second, refuses one for a
// quarter of that cost, and gets a flood of many times as many from a thousand
// networks. Once the gate has found the rate, networks that send few lose next to
// nothing.
func TestGateFlood(t *testing.T) {
	g := limit.NewGate()
	rnd := rand.New(rand.NewPCG(1, 2))
	const capacity, networks = 2000.0, 1000
	now := 100 * second
	var asked, heard int
	tick := func(flood, honest int) (lost uint64) {
		kept := uint64(0)
		shield := g.Shield()
		// In random order, and what is over capacity is lost.
		left := capacity
		for i := range flood + honest {
			client := addr(rnd.IntN(networks))
			mine := rnd.IntN(flood+honest) < honest
			if mine {
				client = netip.AddrFrom4([4]byte{172, 16, byte(rnd.IntN(50)), 9})
				asked++
			}
			if shield != nil && slices.Contains(shield.Networks, limit.NetworkOf(client)) && rnd.Float64() > shield.Pass {
				kept++
				continue
			}
			if left <= 0 { // the queue is full
				lost++
				continue
			}
			cost := 1.0
			passes := g.Admit(client, false, now+int64(i)) == limit.Pass
			if !passes {
				cost = 0.25
			}
			if left -= cost; mine && passes {
				heard++
			}
		}
		now += second / 10
		g.Observe(limit.Observation{Pressed: lost > 0, Shielded: kept, Now: now})
		return lost
	}
	for range 20 {
		tick(1500, 100)
	}
	if heard != asked || g.Flooded() {
		t.Fatalf("in a calm %d of %d are heard, flood %v", heard, asked, g.Flooded())
	}
	for range 50 { // the gate finds the rate
		tick(6000, 10)
	}
	asked, heard = 0, 0
	for range 100 {
		tick(6000, 10)
	}
	if !g.Flooded() || heard < asked*95/100 {
		t.Errorf("in a flood %d of %d are heard, flood %v", heard, asked, g.Flooded())
	}
	for range 20 {
		tick(0, 50)
	}
	if g.Flooded() {
		t.Error("the flood is over, and is held off still")
	}
	asked, heard = 0, 0
	for range 20 {
		tick(0, 500)
	}
	if heard != asked {
		t.Errorf("after a flood %d of %d are heard", heard, asked)
	}
}

// The networks that send most of a flood are shielded, and no others; the more
// they send, the less of it passes.
func TestGateShield(t *testing.T) {
	client6 := func(i int) netip.Addr {
		return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, byte(i >> 8), byte(i), 7, byte(i), 15: 1})
	}
	for _, client := range []func(int) netip.Addr{addr, client6} {
		rnd := rand.New(rand.NewPCG(1, 2))
		g := limit.NewGate()
		now := second
		var shield *limit.Shield
		run := func(observations, each int) {
			for range observations {
				kept := 0
				if s := g.Shield(); s != nil && shield == nil {
					shield = s
				}
				for i := range 300 * each {
					if s := g.Shield(); s != nil && rnd.Float64() > s.Pass {
						kept++
						continue
					}
					g.Admit(client(i%300), false, now+int64(i))
				}
				for i := range 50 {
					g.Admit(netip.AddrFrom4([4]byte{172, 16, byte(i), 9}), false, now)
				}
				g.Observe(limit.Observation{Pressed: each > 0 && g.Shield() == nil, Shielded: uint64(kept), Now: now})
				now += second / 10
			}
		}
		run(20, 100)
		s := shield
		if s == nil {
			t.Fatal("no shield")
		}
		if n := len(s.Networks); n < 200 || s.Networks[0] < limit.NetworkOf(client(0)) || s.Networks[n-1] > limit.NetworkOf(client(299)) ||
			!slices.IsSorted(s.Networks) || s.Pass <= 0 || s.Pass > 0.95 {
			t.Errorf("%d networks, from %x to %x, and %v pass", n, s.Networks[0], s.Networks[n-1], s.Pass)
		}
		run(100, 0)
		if g.Shield() != nil || g.Flooded() {
			t.Error("the flood is over")
		}
	}
}

// A few clients that send more than can be read are no flood: they harm only each
// other.
func TestGateFew(t *testing.T) {
	g := limit.NewGate()
	for i := range 100 {
		for j := range 1000 {
			if v := g.Admit(addr(j%20), false, second+int64(i)*second/10); v != limit.Pass {
				t.Fatalf("%v", v)
			}
		}
		g.Observe(limit.Observation{Pressed: true, Now: second + int64(i)*second/10})
	}
}

// A client whose address is verified is not limited in a flood.
func TestGateVerified(t *testing.T) {
	g := limit.NewGate()
	now := second
	for range 50 {
		for i := range 10000 {
			g.Admit(addr(i%1000), false, now)
		}
		g.Observe(limit.Observation{Pressed: true, Now: now})
		now += second / 10
	}
	if !g.Flooded() {
		t.Fatal("no flood")
	}
	for range 1000 {
		if v := g.Admit(addr(1), true, now); v != limit.Pass {
			t.Fatal(v)
		}
	}
	g.EndFlood()
	if v := g.Admit(addr(1), false, now); v != limit.Pass || g.Flooded() {
		t.Error("the flood has not ended")
	}
}

func TestAllocations(t *testing.T) {
	g, w := limit.NewGate(), limit.NewWaitLimit(100)
	g.LimitClients(1000, 0)
	n, a := name(t, "a.b.c.example.org"), netip.MustParseAddr("2001:db8::1")
	if got := testing.AllocsPerRun(100, func() {
		var c limit.Permit
		g.Admit(a, false, second)
		w.Acquire(&c, a, n)
		w.Release(&c)
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func BenchmarkAdmitCalm(b *testing.B) {
	g, a := limit.NewGate(), netip.MustParseAddr("10.1.2.3")
	for b.Loop() {
		g.Admit(a, false, second)
	}
}

func BenchmarkAdmitLimited(b *testing.B) {
	g := limit.NewGate()
	g.LimitClients(1000, 0)
	i := 0
	for b.Loop() {
		g.Admit(addr(i), false, int64(i))
		i++
	}
}

func BenchmarkAcquireRelease(b *testing.B) {
	w, n, a := limit.NewWaitLimit(100), name(b, "a.b.c.example.org"), addr(1)
	var c limit.Permit
	for b.Loop() {
		w.Acquire(&c, a, n)
		w.Release(&c)
	}
}
