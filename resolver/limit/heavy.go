package limit

import (
	"cmp"
	"net/netip"
	"slices"
	"sync/atomic"
)

// tally counts queries by IPv4 network, in a table of fixed size: who comes
// when it is full is not counted. It is safe for concurrent use.
type tally struct {
	cells [tallied]atomic.Uint64 // a network's three octets and one, above its count
}

const (
	tallied = 1 << 13
	probes  = 8
)

// add counts a query.
func (t *tally) add(a netip.Addr, h uint64) {
	if !a.Is4() {
		return
	}
	b := a.As4()
	key := (uint64(b[0])<<16 | uint64(b[1])<<8 | uint64(b[2]) + 1) << 32
	for i := range uint64(probes) {
		c := &t.cells[(h>>20+i)%tallied]
		v := c.Load()
		if v == 0 && c.CompareAndSwap(0, key|1) {
			return
		}
		if v = c.Load(); v&^(1<<32-1) == key {
			c.Add(1)
			return
		}
	}
}

// take returns the counts, and begins anew.
func (t *tally) take() map[uint32]int {
	out := map[uint32]int{}
	for i := range t.cells {
		if v := t.cells[i].Swap(0); v != 0 {
			out[uint32(v>>32)-1] += int(uint32(v))
		}
	}
	return out
}

// Shield is what can be kept from a socket for less than it costs to read it
// and turn it away: of what the networks send, all IPv4 /24 in ascending order, only so much is let
// through, at random.
type Shield struct {
	Networks []uint32 // an address's upper 24 bits
	Pass     float64  // the share that is let through
}

const (
	// maxShield is how many networks a Shield may have.
	maxShield = 1500
	// leastPass is the least share that is let through: it tells how much there is.
	leastPass = 1.0 / 64
	// tallyLooks is how many looks a tally takes.
	tallyLooks = 3
)

// weigh makes the shield anew from what was counted since the last time: the
// networks that send more than twice what the pace lets through. It is called with mu held.
func (g *Gate) weigh() {
	if g.looks++; g.looks < tallyLooks {
		return
	}
	g.looks = 0
	counts := g.tally.take()
	old := g.shield.Load()
	if old != nil {
		for _, n := range old.Networks {
			if c, ok := counts[n]; ok {
				counts[n] = int(float64(c) / old.Pass)
			}
		}
	}
	fair := g.rate * tallyLooks * LookEvery.Seconds()
	var heavy []uint32
	total := 0
	for n, c := range counts {
		if float64(c) > 2*fair {
			heavy = append(heavy, n)
			total += c
		}
	}
	if len(heavy) == 0 {
		g.shield.Store(nil)
		return
	}
	if len(heavy) > maxShield {
		slices.SortFunc(heavy, func(a, b uint32) int { return cmp.Compare(counts[b], counts[a]) })
		heavy = heavy[:maxShield]
	}
	slices.Sort(heavy)
	// What passes is a little more than the pace, which sees to the rest.
	pass := min(max(1.5*fair*float64(len(heavy))/float64(total), leastPass), 1)
	if old != nil && slices.Equal(old.Networks, heavy) && pass > 0.7*old.Pass && pass < 1.4*old.Pass {
		return
	}
	g.shield.Store(&Shield{Networks: heavy, Pass: pass})
}

// Shield is what sockets should be kept from; nil for nothing. It is not to be
// written, and stays the same value while it says the same.
func (g *Gate) Shield() *Shield { return g.shield.Load() }
