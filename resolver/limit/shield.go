package limit

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"sync/atomic"
)

// Network is the network that a client counts for in a flood: an IPv4 /24, as
// its upper 24 bits, or an IPv6 /56, as its upper 56 bits below a bit that is
// set. All IPv4 networks are less than all IPv6 ones.
type Network uint64

const ipv6Network Network = 1 << 56

// NetworkOf is the network of an address.
func NetworkOf(a netip.Addr) Network {
	if a = a.Unmap(); a.Is4() {
		b := a.As4()
		return Network(binary.BigEndian.Uint32(b[:]) >> 8)
	}
	b := a.As16()
	return ipv6Network | Network(binary.BigEndian.Uint64(b[:])>>8)
}

// Is6 reports whether the network is an IPv6 one.
func (n Network) Is6() bool { return n&ipv6Network != 0 }

// Upper is the part that all addresses of the network have in common, 24 or 56
// bits.
func (n Network) Upper() uint64 { return uint64(n &^ ipv6Network) }

// tally counts queries by network, in a table of fixed size. When that is full it
// does not count further networks. It is safe for concurrent use.
type tally struct {
	cells [tallied]struct {
		key   atomic.Uint64 // a network plus one; 0 if the cell is free
		count atomic.Uint32
	}
}

const (
	tallied = 1 << 13
	probes  = 8
)

// add counts a query of a client whose network has this hash.
func (t *tally) add(a netip.Addr, h uint64) {
	key := uint64(NetworkOf(a)) + 1
	for i := range uint64(probes) {
		c := &t.cells[(h>>20+i)%tallied]
		if v := c.key.Load(); v == key || v == 0 && (c.key.CompareAndSwap(0, key) || c.key.Load() == key) {
			c.count.Add(1)
			return
		}
	}
}

// reset returns the counts and sets them to zero. A query that is counted
// meanwhile may be lost, or count for another network.
func (t *tally) reset() map[Network]int {
	out := map[Network]int{}
	for i := range t.cells {
		c := &t.cells[i]
		if c.key.Load() == 0 {
			continue
		}
		n := c.count.Swap(0)
		out[Network(c.key.Swap(0)-1)] += int(n)
	}
	return out
}

// Shield is what a socket should drop, because that costs less than to read and
// refuse it: of what the networks send, only a share passes, at random.
type Shield struct {
	Networks []Network // in ascending order
	Pass     float64   // the share that passes
}

const (
	// maxShield is how many networks a Shield has at most.
	maxShield = 1500
	// leastPass is the least share that passes. By that the Gate knows how much
	// there is.
	leastPass = 1.0 / 64
	// tallyEvery is how many observations there are for each tally.
	tallyEvery = 3
)

// updateShield makes the shield of what was counted since the last one: of the
// networks that send more than twice what their rate lets pass. It is called with
// mu held.
func (g *Gate) updateShield() {
	if g.untallied++; g.untallied < tallyEvery {
		return
	}
	g.untallied = 0
	counts := g.tally.reset()
	old := g.shield.Load()
	if old != nil {
		for _, n := range old.Networks {
			if c, ok := counts[n]; ok {
				counts[n] = int(float64(c) / old.Pass)
			}
		}
	}
	fair := g.rate * tallyEvery * ObserveEvery.Seconds()
	var shielded []Network
	total := 0
	for n, c := range counts {
		if float64(c) > 2*fair {
			shielded = append(shielded, n)
			total += c
		}
	}
	if len(shielded) == 0 {
		g.shield.Store(nil)
		return
	}
	if len(shielded) > maxShield {
		slices.SortFunc(shielded, func(a, b Network) int { return cmp.Compare(counts[b], counts[a]) })
		shielded = shielded[:maxShield]
	}
	slices.Sort(shielded)
	// A little more passes than the rate, which limits the rest.
	pass := min(max(1.5*fair*float64(len(shielded))/float64(total), leastPass), 1)
	if old != nil && slices.Equal(old.Networks, shielded) && pass > 0.7*old.Pass && pass < 1.4*old.Pass {
		return
	}
	g.shield.Store(&Shield{Networks: shielded, Pass: pass})
}

// Shield is what sockets should drop; nil for nothing. It must not be written,
// and is the same value as before while it says the same.
func (g *Gate) Shield() *Shield { return g.shield.Load() }
