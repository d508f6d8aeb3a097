// Package existence decides when an NXDOMAIN is held against more than its own
// question: against all types of its name (RFC 2308 section 5) and all names
// below (RFC 8020). [Table.Deny] is the one place that says so.
//
// Nothing is validated here. A forger who guesses one response could deny a
// whole zone, and signatures prove nothing to a reader that does not check
// them: a forger can add some. So the same is asked of every denial. It is not
// believed about a top-level domain or a public suffix, nor about a name that
// was answered lately, itself or below, and two different questions must have
// brought it.
package existence

import (
	"hash/maphash"
	"math/bits"
	"sync"
	"sync/atomic"

	"golang.org/x/net/publicsuffix"

	"rideau/resolver/wire"
)

// Lately is for how many seconds at least an answer shows that its name exists.
// An answer with a longer TTL shows it for its TTL.
const Lately = 3600

const (
	second   = int64(1e9)
	minSlots = 1 << 10
	maxSlots = 1 << 20
)

// Table remembers which names were answered and which were denied. It is safe
// for concurrent use.
type Table struct {
	seed maphash.Seed
	// answered has two places for each name that was answered, by its hash: the
	// Unix time in seconds until which that counts. Names may share places, so
	// that a name may count that was not answered, but none is forgotten.
	answered atomic.Pointer[[]atomic.Uint32]

	mu     sync.Mutex
	denied []denial // guarded by mu; by hash, newer ones overwrite older ones
}

// denial is a name that one question found not to exist.
type denial struct {
	hash     uint64
	until    uint32 // Unix time in seconds
	typ      wire.Type
	believed bool // of another type too, and no public suffix
}

// New returns an empty Table for a cache with these bounds. It takes about a
// thirtieth of bytes, and 5 MiB at the most.
func New(entries int, bytes int64) *Table {
	n := min(max(min(8*int64(entries), bytes/128), minSlots), maxSlots)
	n = 1 << (bits.Len64(uint64(n)) - 1)
	t := &Table{seed: maphash.MakeSeed(), denied: make([]denial, max(n/16, 64))}
	answered := make([]atomic.Uint32, n)
	t.answered.Store(&answered)
	return t
}

// Answered notes that a response came which shows that name exists, and so all
// names above. now is in nanoseconds, ttl in seconds.
func (t *Table) Answered(name *wire.Name, now int64, ttl uint32) {
	until := uint32(now/second) + max(ttl, Lately)
	h := t.start()
	for i := name.Labels() - 1; i >= 0; i-- {
		h = t.add(h, name.Label(i))
		if i == name.Labels()-1 {
			continue // a name of one label is never denied as a whole
		}
		for _, slot := range t.places(h) {
			raise(slot, until)
		}
	}
}

// raise sets slot to until, unless it is higher.
func raise(slot *atomic.Uint32, until uint32) {
	for was := slot.Load(); was < until; was = slot.Load() {
		if slot.CompareAndSwap(was, until) {
			return
		}
	}
}

// Deny takes note of an NXDOMAIN without aliases for name, in response to a
// question for typ, whose SOA record is of the zone made of name's last zone
// labels. It holds until the time until; both times are in nanoseconds. Deny
// reports whether it may be held against other types of the name and names
// below.
func (t *Table) Deny(name *wire.Name, zone int, typ wire.Type, now, until int64) bool {
	if name.Labels() <= 1 {
		return false
	}
	h := t.start()
	for i := name.Labels() - 1; i >= 0; i-- {
		h = t.add(h, name.Label(i))
	}
	if p := t.places(h); p[0].Load() > uint32(now/second) && p[1].Load() > uint32(now/second) {
		return false
	}
	h ^= uint64(zone+1) * 0x9E3779B97F4A7C15
	t.mu.Lock()
	defer t.mu.Unlock()
	d := &t.denied[h&uint64(len(t.denied)-1)]
	if d.hash != h || int64(d.until)*second <= now {
		*d = denial{hash: h, until: uint32(until / second), typ: typ}
		return false
	}
	if !d.believed && (d.typ == typ || isSuffix(name)) {
		return false
	}
	d.believed = true // while it holds, the next one renews it
	d.until = max(d.until, uint32(until/second))
	return true
}

// Forget forgets everything. What Answered notes meanwhile may be forgotten, too.
// New memory costs less than to write a million places.
func (t *Table) Forget() {
	answered := make([]atomic.Uint32, len(*t.answered.Load()))
	t.answered.Store(&answered)
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.denied)
}

// start is the hash of the root; add is that of a name one label longer.
func (t *Table) start() uint64 { return 1 }

func (t *Table) add(h uint64, label []byte) uint64 {
	h = (h ^ maphash.Bytes(t.seed, label)) * 0x9E3779B97F4A7C15
	return h ^ h>>29
}

// places returns the two places of a hash.
func (t *Table) places(h uint64) [2]*atomic.Uint32 {
	answered := *t.answered.Load()
	mask := uint64(len(answered) - 1)
	return [2]*atomic.Uint32{&answered[h&mask], &answered[h>>32&mask]}
}

// isSuffix reports whether name is a suffix below which the public registers
// names. It allocates.
func isSuffix(name *wire.Name) bool {
	var text []byte
	for i := range name.Labels() {
		if i > 0 {
			text = append(text, '.')
		}
		text = append(text, name.Label(i)...)
	}
	suffix, _ := publicsuffix.PublicSuffix(string(text))
	return len(suffix) == len(text)
}
