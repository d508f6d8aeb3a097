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

// Verdict is what becomes of a query.
type Verdict uint8

// Verdicts.
const (
	Pass Verdict = iota
	// Slip: not to be answered, but its sender may be honest and try TCP: an
	// empty answer with TC.
	Slip
	// Drop: nothing is to be sent.
	Drop
)

// slip is how many of the queries turned away have an answer: one in so many.
const slip = 8

// Gate says which queries are answered. It is safe for concurrent use.
type Gate struct {
	seed    maphash.Seed
	clients bucket
	flood   bucket // of networks; off unless there is one
	slips   atomic.Uint32
	stats   [3]atomic.Uint64

	// What there is of a flood. While none is suspected, Admit looks at
	// phase alone.
	phase        atomic.Int32
	seen         atomic.Uint64 // queries since the last look
	tally        tally
	shield       atomic.Pointer[Shield]
	marks        [marked / 64]atomic.Uint64 // networks heard since the last look, by hash
	mu           sync.Mutex                 // one look at a time
	rate         float64                    // a network's queries a second; guarded by mu
	modest       float64                    // a quarter of what could be read: how low the rate may go with a shield; guarded by mu
	ceiling      float64                    // the rate at which queries were lost last; guarded by mu
	observations int                        // since the tally was taken; guarded by mu
	quiet        int                        // looks in a row without pressure or, below 0, with it; guarded by mu
	low          int                        // looks in a row at which there was little of it; guarded by mu
	height       uint64                     // the most queries between two looks of this flood; guarded by mu
}

const (
	calm    int32 = iota
	alarmed       // queries were lost: networks are counted
	engaged       // the busy ones are turned away
)

const (
	marked = 1 << 14
	// crowd is from how many networks a flood is one: below, there is nobody
	// to protect from each other, but a few who ask more than there is.
	crowd = 64
	// Rates of networks, in queries a second: where a flood's limit begins at most, how
	// low it may go, and above what it is lifted.
	firstRate  = 1000
	leastRate  = 5
	liftedRate = 5000
	// floodDepth is how many nanoseconds' worth may be asked at once. That it
	// is a time, and no number, keeps a new pace from giving everybody a new burst.
	floodDepth = 5 * int64(time.Second)
	// firstBurst is how many queries a network has left when a flood begins.
	firstBurst = 8
)

// NewGate makes a Gate that lets all pass until it is told otherwise.
func NewGate() *Gate {
	g := &Gate{seed: maphash.MakeSeed()}
	g.clients.floor.Store(math.MinInt64)
	g.flood.floor.Store(math.MinInt64)
	g.flood.uneven = true
	return g
}

// LimitClients bounds the queries a second of each client: an IPv4 address, or
// an IPv6 network of /64. burst is what it may ask at once; 0 is perSecond. With perSecond 0 there is
// no bound.
func (g *Gate) LimitClients(perSecond, burst int) {
	if burst <= 0 {
		burst = perSecond
	}
	g.clients.set(float64(perSecond), int64(float64(max(burst-1, 0))*1e9/float64(max(perSecond, 1))))
}

// Admit says what becomes of a query that a client sends at now, in
// nanoseconds of a clock that is best not set. sure: the address is known not to be forged. It neither locks nor
// allocates.
func (g *Gate) Admit(client netip.Addr, sure bool, now int64) Verdict {
	if g.clients.interval.Load() > 0 && !g.clients.take(hashOf(g.seed, client, 32, 64), now) {
		g.stats[ByClient].Add(1)
		return g.turnAway()
	}
	phase := g.phase.Load()
	if phase == calm || sure {
		return Pass
	}
	h := hashOf(g.seed, client, 24, 56)
	g.seen.Add(1)
	m := &g.marks[h%marked/64]
	if bit := uint64(1) << (h % 64); m.Load()&bit == 0 {
		m.Or(bit)
	}
	if phase != engaged {
		return Pass
	}
	g.tally.add(client, h)
	if !g.flood.take(h, now) {
		g.stats[ByFlood].Add(1)
		return g.turnAway()
	}
	return Pass
}

func (g *Gate) turnAway() Verdict {
	if g.slips.Add(1)%slip == 0 {
		return Slip
	}
	return Drop
}

// Why is for what queries are turned away.
type Why uint8

// Whys.
const (
	ByClient Why = iota // the client asks more than it may
	ByFlood             // its network asks much, in a flood
)

// Refused counts the queries that were turned away.
func (g *Gate) Refused(w Why) uint64 { return g.stats[w].Load() }

// Flooded reports whether a flood is being held off.
func (g *Gate) Flooded() bool { return g.phase.Load() == engaged }

// ObserveEvery is how often Look is to be called.
const ObserveEvery = 100 * time.Millisecond

// Observation is what a look finds.
type Observation struct {
	// Pressed: queries are lost, or about to be, because more come than are
	// read.
	Pressed bool
	// Shielded is how many queries the [Shield] has kept away since the last look.
	Shielded uint64
	// Now is by the clock that Admit is given.
	Now int64
}

// Look is told how it goes, and sets the pace. It has to be called every
// ObserveEvery.
//
// The pace is what keeps queries from being lost, found as TCP finds its: it is cut
// as long as there are losses, and raised slowly when there are none. It is a network's,
// so that those below it lose nothing.
func (g *Gate) Observe(s Observation) {
	if !s.Pressed && g.phase.Load() == calm {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	networks := 0
	for i := range g.marks {
		networks += bits.OnesCount64(g.marks[i].Swap(0))
	}
	seen := g.seen.Swap(0) + s.Shielded
	switch phase := g.phase.Load(); {
	case phase == calm:
		g.quiet = 0
		g.phase.Store(alarmed)
	case phase == alarmed && s.Pressed && networks >= crowd:
		// What was read is what can be read, and answers cost most of it.
		perNetwork := float64(seen) / float64(networks) * float64(time.Second/ObserveEvery)
		g.rate, g.height, g.quiet = min(max(perNetwork/2, leastRate), firstRate), seen, 0
		g.modest = min(max(perNetwork/4, leastRate), 25)
		g.ceiling, g.observations, g.low = liftedRate, 0, 0
		g.tally.take()
		g.pace()
		g.flood.floor.Store(s.Now + floodDepth - int64(firstBurst/g.rate*1e9))
		g.phase.Store(engaged)
	case phase == alarmed:
		if g.quiet++; !s.Pressed && g.quiet >= 10 {
			g.phase.Store(calm)
		}
	default:
		g.adjust(s.Pressed, seen, networks)
	}
}

// Calm ends what Look has begun.
func (g *Gate) Calm() {
	g.phase.Store(calm)
	g.shield.Store(nil)
}

// adjust is Look while a flood is held off.
func (g *Gate) adjust(pressed bool, seen uint64, networks int) {
	g.height = max(g.height, seen)
	if g.low++; seen >= g.height/4 && networks >= crowd/4 {
		g.low = 0
	}
	switch {
	case pressed:
		if g.quiet > 0 {
			g.ceiling = g.rate
		}
		// What was cut has to show first: there is a queue.
		if g.quiet = min(g.quiet, 0) - 1; g.quiet%2 != 0 {
			least := float64(leastRate)
			if g.shield.Load() != nil {
				least = g.modest // those who ask more cost next to nothing
			}
			g.rate = max(g.rate*0.7, min(least, g.rate))
		}
	case g.low >= 10:
		g.rate = 2 * liftedRate // it is over
	default:
		switch g.quiet = max(g.quiet, 0) + 1; {
		case g.quiet <= 3:
		case g.rate < 0.8*g.ceiling:
			g.rate *= 1.15
		default:
			g.rate *= 1.01 // it went wrong there the last time
			g.ceiling = max(g.ceiling, g.rate)
		}
	}
	if g.rate > liftedRate {
		g.phase.Store(alarmed)
		g.shield.Store(nil)
		g.quiet = 0
		return
	}
	g.pace()
	g.weigh()
}

func (g *Gate) pace() { g.flood.set(g.rate, floodDepth) }

// bucket is token buckets by hash, each of them the instant up to which its
// tokens are spent (the generic cell rate algorithm). A key has a place in
// each of rows, and has tokens if any of them has: who shares one place with somebody
// busy has another.
type bucket struct {
	interval atomic.Int64 // between two tokens, in nanoseconds; 0 for no bound
	depth    atomic.Int64 // nanoseconds that may be spent ahead
	// floor is what nobody has spent less than: at the beginning of a flood
	// nobody has saved up anything.
	floor atomic.Int64
	// uneven keys have tokens at somewhat different intervals, so that
	// thousands do not pass at one moment and none at the next.
	uneven bool
	cells  [rows][places]atomic.Int64
}

const (
	rows   = 3
	places = 1 << 14
	// patience is how far ahead an instant may be, in nanoseconds, that a slower
	// pace has left.
	patience = int64(time.Minute)
)

func (b *bucket) set(perSecond float64, depth int64) {
	if perSecond <= 0 {
		b.interval.Store(0)
		return
	}
	b.depth.Store(depth)
	b.interval.Store(max(int64(1e9/perSecond), 1))
}

// take takes a token if there is one.
func (b *bucket) take(h uint64, now int64) bool {
	interval, depth := b.interval.Load(), b.depth.Load()
	if b.uneven {
		interval += interval * int64(h>>56) >> 10
	}
	var at [rows]*atomic.Int64
	spent, least := int64(1<<63-1), max(now, b.floor.Load())
	for i := range at {
		at[i] = &b.cells[i][h>>(16*i)%places]
		t := at[i].Load()
		if t > now+patience+2*depth {
			t = least // the clock was set back, or there was another pace
		}
		spent = min(spent, max(t, least))
	}
	if spent > now+depth {
		return false
	}
	// What is spent elsewhere is somebody else's: only those places are moved
	// that are behind (a conservative update). Two at a time may take one
	// token, which is no loss.
	spent += interval
	for _, c := range at {
		if t := c.Load(); t < spent || t > now+patience+2*depth {
			c.Store(spent)
		}
	}
	return true
}
