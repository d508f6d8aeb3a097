package limit

import (
	"hash/maphash"
	"math"
	"math/bits"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Verdict is what the Gate decides about a query.
type Verdict uint8

// Verdicts.
const (
	Pass Verdict = iota
	// Slip: the query is not answered, but its client gets a small response,
	// empty and with TC, so that one whose address is not forged can use TCP.
	Slip
	// Drop: nothing is sent.
	Drop
)

// slip is how many refused queries there are for each Slip.
const slip = 8

// Gate decides which queries are answered. It is safe for concurrent use.
type Gate struct {
	seed     maphash.Seed
	clients  bucket // of addresses that may be forged
	verified bucket // of addresses that are not
	errors   bucket // of addresses: see AdmitError
	octets   bucket // of addresses: see AdmitOctets
	flood    bucket // of networks; used in the phase limiting
	slips    atomic.Uint32
	refused  [causes]atomic.Uint64

	// While the phase is calm, Admit uses nothing below it.
	phase    atomic.Int32
	seen     atomic.Uint64 // queries since the last observation
	tally    tally
	shield   atomic.Pointer[Shield]
	networks [networkBits / 64]atomic.Uint64 // a bit for each hash of a network seen since the last observation

	mu         sync.Mutex // one observation at a time
	rate       float64    // a network's queries a second; guarded by mu
	shieldRate float64    // how low rate may go while there is a shield: a quarter of what could be read; guarded by mu
	ceiling    float64    // the rate at which queries were last dropped; guarded by mu
	untallied  int        // observations since the tally was read; guarded by mu
	streak     int        // observations in a row without pressure or, below 0, with it; guarded by mu
	lowStreak  int        // observations in a row of few queries; guarded by mu
	peak       uint64     // the most queries between two observations of this flood; guarded by mu
}

// Phases of a Gate.
const (
	calm      int32 = iota
	suspected       // queries were dropped: networks are counted
	limiting        // networks are limited
)

const (
	networkBits = 1 << 14
	// crowd is how many networks a flood comes from at least. Fewer are not
	// limited: they harm only each other, as clients that send more than can be
	// read.
	crowd = 64
	// Rates of networks, in queries a second: the highest that a flood begins
	// with, the lowest, and the one above which the flood is over.
	firstRate = 1000
	leastRate = 5
	overRate  = 5000
	// floodDepth is the nanoseconds' worth of queries that may come at once. As
	// it is a time, and not a number, a new rate does not give every network a
	// new burst.
	floodDepth = 5 * int64(time.Second)
	// firstBurst is how many queries a network has left when a flood begins.
	firstBurst = 8
)

// NewGate makes a Gate that lets all queries pass until LimitClients or Observe
// is called, and bounds errors.
func NewGate() *Gate {
	g := &Gate{seed: maphash.MakeSeed()}
	for _, b := range []*bucket{&g.clients, &g.verified, &g.errors, &g.octets, &g.flood} {
		b.floor.Store(math.MinInt64)
	}
	g.flood.uneven = true
	g.errors.set(errorsPerSecond, int64((errorBurst-1)/errorsPerSecond*float64(time.Second)))
	return g
}

// LimitClients bounds the queries a second of each client: an IPv4 address, or
// an IPv6 /64. burst is how many it may send at once; 0 is perSecond. With
// perSecond 0 there is no bound.
//
// Queries whose address is verified, and those whose address may be forged, are
// counted apart, each against the whole bound: whoever forges the address of a
// client takes nothing from the queries that it sends with a cookie or over TCP.
func (g *Gate) LimitClients(perSecond, burst int) {
	if burst <= 0 {
		burst = perSecond
	}
	for _, b := range []*bucket{&g.clients, &g.verified} {
		b.set(float64(perSecond), int64(float64(max(burst-1, 0))*1e9/float64(max(perSecond, 1))))
	}
}

// Admit decides about a query that a client sends at now, in nanoseconds of a
// clock that only goes forward. verified: the client's address is not forged. It
// neither locks nor allocates.
func (g *Gate) Admit(client netip.Addr, verified bool, now int64) Verdict {
	if g.clients.interval.Load() > 0 {
		b := &g.clients
		if verified {
			b = &g.verified
		}
		if !b.spend(hashOf(g.seed, client, 32, 64), now, 1) {
			return g.refuse(ByClient)
		}
	}
	phase := g.phase.Load()
	if phase == calm || verified {
		return Pass
	}
	h := hashOf(g.seed, client, 24, 56)
	g.seen.Add(1)
	word := &g.networks[h%networkBits/64]
	if bit := uint64(1) << (h % 64); word.Load()&bit == 0 {
		word.Or(bit)
	}
	if phase != limiting {
		return Pass
	}
	g.tally.add(client, h)
	if !g.flood.spend(h, now, 1) {
		return g.refuse(ByFlood)
	}
	return Pass
}

func (g *Gate) refuse(why Cause) Verdict {
	g.refused[why].Add(1)
	if g.slips.Add(1)%slip == 0 {
		return Slip
	}
	return Drop
}

// Cause is why a query was refused.
type Cause uint8

// Causes.
const (
	ByClient Cause = iota // the client exceeds its rate
	ByFlood               // there is a flood, and the client's network exceeds its rate
	ByError               // the client has got all errors that it may get: see AdmitError
	ByOctets              // the client has got all octets that it may get: see AdmitOctets
	causes   int   = iota
)

// Refused counts the queries that were refused; ByOctets, those whose answers were
// truncated for it.
func (g *Gate) Refused(why Cause) uint64 { return g.refused[why].Load() }

// Flooded reports whether there is a flood: whether networks are limited.
func (g *Gate) Flooded() bool { return g.phase.Load() == limiting }

// ObserveEvery is how often Observe has to be called.
const ObserveEvery = 100 * time.Millisecond

// Observation is what the caller of Observe knows of the time since its last
// call.
type Observation struct {
	// Pressed: queries were dropped, or are about to be, because more come than
	// are read.
	Pressed bool
	// Shielded is how many queries the [Shield] has kept from the sockets.
	Shielded uint64
	// Now is the time by the clock of Admit.
	Now int64
}

// Observe begins to limit networks, sets their rate, and ends that, by what was
// observed. It has to be called every ObserveEvery.
//
// The rate is the highest at which no queries are dropped. It is found as TCP
// finds its own: it is lowered while queries are dropped, and raised slowly
// while none are. It is the rate of each network, so that those below it lose
// nothing.
func (g *Gate) Observe(o Observation) {
	if !o.Pressed && g.phase.Load() == calm {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	networks := 0
	for i := range g.networks {
		networks += bits.OnesCount64(g.networks[i].Swap(0))
	}
	seen := g.seen.Swap(0) + o.Shielded
	switch phase := g.phase.Load(); {
	case phase == calm:
		g.streak = 0
		g.phase.Store(suspected)
	case phase == suspected && o.Pressed && networks >= crowd:
		g.beginFlood(seen, networks, o.Now)
	case phase == suspected:
		if g.streak++; !o.Pressed && g.streak >= 10 {
			g.phase.Store(calm)
		}
	default:
		g.adjust(o.Pressed, seen, networks)
	}
}

// beginFlood begins to limit networks. It is called with mu held.
func (g *Gate) beginFlood(seen uint64, networks int, now int64) {
	// As many as were read can be read, and the responses cost most of that.
	perNetwork := float64(seen) / float64(networks) * float64(time.Second/ObserveEvery)
	g.rate, g.peak, g.streak = min(max(perNetwork/2, leastRate), firstRate), seen, 0
	g.shieldRate = min(max(perNetwork/4, leastRate), 25)
	g.ceiling, g.untallied, g.lowStreak = overRate, 0, 0
	g.tally.reset()
	g.setRate()
	g.flood.floor.Store(now + floodDepth - int64(firstBurst/g.rate*1e9))
	g.phase.Store(limiting)
}

// EndFlood ends what Observe has begun.
func (g *Gate) EndFlood() {
	g.phase.Store(calm)
	g.shield.Store(nil)
}

// adjust is Observe while there is a flood. It is called with mu held.
func (g *Gate) adjust(pressed bool, seen uint64, networks int) {
	g.peak = max(g.peak, seen)
	if g.lowStreak++; seen >= g.peak/4 && networks >= crowd/4 {
		g.lowStreak = 0
	}
	switch {
	case pressed:
		if g.streak > 0 {
			g.ceiling = g.rate
		}
		// There is a queue: a lower rate shows at the second observation only.
		if g.streak = min(g.streak, 0) - 1; g.streak%2 != 0 {
			least := float64(leastRate)
			if g.shield.Load() != nil {
				least = g.shieldRate // networks that exceed it cost next to nothing
			}
			g.rate = max(g.rate*0.7, min(least, g.rate))
		}
	case g.lowStreak >= 10:
		g.rate = 2 * overRate
	default:
		switch g.streak = max(g.streak, 0) + 1; {
		case g.streak <= 3:
		case g.rate < 0.8*g.ceiling:
			g.rate *= 1.15
		default:
			g.rate *= 1.01 // near the rate at which queries were last dropped
			g.ceiling = max(g.ceiling, g.rate)
		}
	}
	if g.rate > overRate {
		g.phase.Store(suspected)
		g.shield.Store(nil)
		g.streak = 0
		return
	}
	g.setRate()
	g.updateShield()
}

func (g *Gate) setRate() { g.flood.set(g.rate, floodDepth) }
