// Package attempt slows down those who guess passwords.
//
// Each failure makes the next attempt from the same network wait twice as long, and so
// does each failure for the same name. But what others did to a name never binds a
// network that has not failed itself: nobody can keep a user out by guessing.
package attempt

import (
	"net/netip"
	"sync"
	"time"
)

const (
	// free is how many failures have no consequence.
	free = 3
	// first is the wait after one more, longest the longest wait.
	first, longest = time.Second, 5 * time.Minute
	// forget is after which time without a failure all are forgotten.
	forget = time.Hour
	// maxEntries bounds what is remembered of networks, and of names. Of more, those of
	// the least recent failures are forgotten.
	maxEntries = 4096
)

// Limiter remembers failures. It is safe for concurrent use.
type Limiter struct {
	clock    func() time.Time
	mu       sync.Mutex
	networks map[netip.Prefix]*record // guarded by mu
	names    map[string]*record       // guarded by mu
}

type record struct {
	failures int
	last     time.Time
	name     string // what the failures of a network were for
	mixed    bool   // they were for several names
}

// New returns a Limiter. A nil clock means time.Now.
func New(clock func() time.Time) *Limiter {
	if clock == nil {
		clock = time.Now
	}
	return &Limiter{clock: clock, networks: map[netip.Prefix]*record{}, names: map[string]*record{}}
}

// network is what one client has: an IPv4 address, or a /64 of IPv6.
func network(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

// Begin returns how long an attempt from an address for a name has to wait. If that is
// 0 the attempt begins, and counts as a failure until Succeeded or Unknown: so many
// at once are not more than one after the other.
func (l *Limiter) Begin(from netip.Addr, name string) time.Duration {
	now := l.clock()
	l.mu.Lock()
	defer l.mu.Unlock()
	key := network(from)
	n := l.networks[key]
	if wait := n.left(now); wait > 0 {
		return wait
	}
	if n != nil && n.failures > 0 && now.Sub(n.last) < forget {
		if wait := l.names[name].left(now); wait > 0 {
			return wait
		}
	}
	n = note(l.networks, key, now)
	n.mixed = n.mixed && n.failures > 1 || n.failures > 1 && n.name != name
	n.name = name
	note(l.names, name, now)
	return 0
}

// left returns how much of the wait after the last failure is left.
func (r *record) left(now time.Time) time.Duration {
	if r == nil || r.failures <= free {
		return 0
	}
	wait := longest
	if n := r.failures - free - 1; n < 16 {
		wait = min(first<<n, longest)
	}
	return max(0, wait-now.Sub(r.last))
}

// Succeeded says that an attempt had the right password. It forgets the failures of its
// network, unless they were for other names, too: one right password does not free
// those who guess another.
func (l *Limiter) Succeeded(from netip.Addr, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	own := 1
	if n := l.networks[network(from)]; n != nil && !n.mixed {
		own = n.failures
		delete(l.networks, network(from))
	}
	l.names[name].undo(own)
}

// Unknown says that an attempt ended without an outcome: it is not counted.
func (l *Limiter) Unknown(from netip.Addr, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.networks[network(from)].undo(1)
	l.names[name].undo(1)
}

func (r *record) undo(n int) {
	if r != nil {
		r.failures = max(0, r.failures-n)
	}
}

// note counts a failure.
func note[K comparable](all map[K]*record, k K, now time.Time) *record {
	r := all[k]
	if r == nil {
		if len(all) >= maxEntries {
			prune(all, now)
		}
		r = new(record)
		all[k] = r
	}
	if now.Sub(r.last) >= forget {
		r.failures = 0
	}
	r.failures, r.last = r.failures+1, now
	return r
}

// prune forgets what is old, or a fourth of all.
func prune[K comparable](all map[K]*record, now time.Time) {
	var oldest time.Duration
	for k, r := range all {
		age := now.Sub(r.last)
		if age >= forget {
			delete(all, k)
			continue
		}
		oldest = max(oldest, age)
	}
	if len(all) < maxEntries {
		return
	}
	n := 0
	for k, r := range all { // in no order, but the older ones first
		if now.Sub(r.last) >= oldest/2 {
			delete(all, k)
			if n++; n >= maxEntries/4 {
				return
			}
		}
	}
	for k := range all {
		if len(all) < maxEntries {
			return
		}
		delete(all, k)
	}
}

// Size returns how many networks and names are remembered.
func (l *Limiter) Size() (networks, names int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.networks), len(l.names)
}
