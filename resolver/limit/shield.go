package limit

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"sync/atomic"
)

// Network is the network that a client is in, for floods: an IPv4 /24, the
// address's upper 24 bits, or an IPv6 /56, its upper 56 bits below a set bit. All IPv4 networks
// are less than all IPv6 ones.
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

// Upper is the network's part of its addresses, 24 or 56 bits.
func (n Network) Upper() uint64 { return uint64(n &^ ipv6Network) }

// tally counts queries by network, in a table of fixed size: who comes
// when it is full is not counted. It is safe for concurrent use.
type tally struct {
	cells [tallied]struct {
		key   atomic.Uint64 // a network and one
		count atomic.Uint32
	}
}

const (
	tallied = 1 << 13
	probes  = 8
)

// add counts a query.
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

// take returns the counts, and begins anew. What is counted meanwhile may be
// lost, or be another's.
func (t *tally) take() map[Network]int {
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

// Shield is what can be kept from a socket for less than it costs to read it
// and turn it away: of what the networks send, all in ascending order, only so much is let
// through, at random.
type Shield struct {
	Networks []Network
	Pass     float64 // the share that is let through
}

const (
	// maxShield is how many networks a Shield may have.
	maxShield = 1500
	// leastPass is the least share that is let through: it tells how much there is.
	leastPass = 1.0 / 64
	// tallyObservations is how many looks a tally takes.
	tallyObservations = 3
)

// weigh makes the shield anew from what was counted since the last time: the
// networks that send more than twice what the pace lets through. It is called with mu held.
func (g *Gate) weigh() {
	if g.observations++; g.observations < tallyObservations {
		return
	}
	g.observations = 0
	counts := g.tally.take()
	old := g.shield.Load()
	if old != nil {
		for _, n := range old.Networks {
			if c, ok := counts[n]; ok {
				counts[n] = int(float64(c) / old.Pass)
			}
		}
	}
	fair := g.rate * tallyObservations * ObserveEvery.Seconds()
	var heavy []Network
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
		slices.SortFunc(heavy, func(a, b Network) int { return cmp.Compare(counts[b], counts[a]) })
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
