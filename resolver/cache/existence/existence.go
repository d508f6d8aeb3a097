// Package existence decides when an NXDOMAIN is held against more than its own
// question: against all types of its name (RFC 2308 section 5) and all names
// below (RFC 8020). [Table.Deny] is the one place that says so.
//
// Nothing is validated here. A forger who guesses one response could deny a
// whole zone, and signatures prove nothing to a reader that does not check
// them: a forger can add some. So the same is asked of every denial. It is not
// believed about a top-level domain or a public suffix, nor about a name that
// was answered lately, itself or below, and two different questions must have
// brought it. That is enough for the other types of the name.
//
// Some servers deny a name that has no records though there are names below it
// (an empty non-terminal). So the names below are denied only once [Evidence]
// of them have been denied by themselves, and none has been answered.
//
// The other way round, [Table.Exists] tells whether an NXDOMAIN contradicts what
// was answered lately, and is worth another question.
package existence

import (
	"hash/maphash"
	"math/bits"
	"sync"
	"sync/atomic"

	"golang.org/x/net/publicsuffix"

	"rideau/resolver/wire"
)

const (
	// Lately is for how many seconds at least an answer shows that its name exists.
	// An answer with a longer TTL shows it for its TTL. Either may last for up to
	// Mark seconds more.
	Lately = 3600
	// Mark is how many seconds there are to tell the names apart that share a place.
	Mark = 1 << 8
	// Evidence is how many names below a denied one must be denied before all are.
	Evidence = 8
)

const (
	second = int64(1e9)
	// With fewer, a few dozen answered names take both places of one in a hundred
	// others.
	minSlots = 1 << 14
	maxSlots = 1 << 20
)

// Table remembers which names were answered and which were denied. It is safe
// for concurrent use.
type Table struct {
	seed maphash.Seed
	// answered has two places for each name that was answered, by its hash: the
	// Unix time in seconds until which that counts, the low bits of which are the
	// mark of the name that wrote it. Names may share places, so that a name may
	// count that was not answered, but none is forgotten. The mark tells most of
	// those that were answered from those that were not.
	answered atomic.Pointer[[]atomic.Uint32]

	mu     sync.Mutex
	denied []denial // guarded by mu; by hash, each in one of two places
}

// denial is a name that one question found not to exist. mu guards it; hash may be
// read without.
type denial struct {
	hash     atomic.Uint64
	until    uint32 // Unix time in seconds
	typ      wire.Type
	zone     uint8            // the number of labels of the zone that denied it
	believed bool             // of another type too, and no public suffix
	below    [Evidence]uint32 // different names below that were denied, by hash; 0 is none yet
}

// New returns an empty Table for a cache with these bounds. It takes about a
// twentieth of bytes, and 7 MiB at the most.
func New(entries int, bytes int64) *Table {
	n := min(max(min(8*int64(entries), bytes/128), minSlots), maxSlots)
	n = 1 << (bits.Len64(uint64(n)) - 1)
	t := &Table{seed: maphash.MakeSeed(), denied: make([]denial, n/16)}
	answered := make([]atomic.Uint32, n)
	t.answered.Store(&answered)
	return t
}

// Answered notes that a response came which shows that name exists, and so all
// names above. now is in nanoseconds, ttl in seconds. It reports whether name was
// denied before, for the first time after that.
func (t *Table) Answered(name *wire.Name, now int64, ttl uint32) (denied bool) {
	until := uint32(now/second) + max(ttl, Lately)
	h := t.start()
	for i := name.Labels() - 1; i >= 0; i-- {
		h = t.add(h, name.Label(i))
		if i == name.Labels()-1 {
			continue // a name of one label is never denied as a whole
		}
		marked := until + (mark(h)-until)%Mark
		for _, slot := range t.places(h) {
			raise(slot, marked)
		}
	}
	if d := t.find(h); d != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		if denied = d.hash.Load() == h; denied {
			d.renew(0)
		}
	}
	return denied
}

// find returns the denial of a name; nil if there is none.
func (t *Table) find(h uint64) *denial {
	for _, d := range t.choices(h) {
		if d.hash.Load() == h {
			return d
		}
	}
	return nil
}

// choices returns the two places where the denial of a name may be.
func (t *Table) choices(h uint64) [2]*denial {
	mask := uint64(len(t.denied) - 1)
	return [2]*denial{&t.denied[h&mask], &t.denied[h>>32&mask]}
}

// place returns where to note the denial of a name for which there is none: in
// place of one that is over, else of one that is not believed yet.
func (t *Table) place(h uint64, now int64) *denial {
	c := t.choices(h)
	switch {
	case int64(c[0].until)*second <= now:
		return c[0]
	case int64(c[1].until)*second <= now || c[0].believed && !c[1].believed:
		return c[1]
	}
	return c[0]
}

// renew makes d that of a name that nothing is known of.
func (d *denial) renew(h uint64) {
	d.hash.Store(h)
	d.until, d.typ, d.zone, d.believed, d.below = 0, 0, 0, false, [Evidence]uint32{}
}

// raise sets slot to until, unless it is higher.
func raise(slot *atomic.Uint32, until uint32) {
	for was := slot.Load(); was < until; was = slot.Load() {
		if slot.CompareAndSwap(was, until) {
			return
		}
	}
}

// mark is what the low bits of a hash's places are, if nobody else has written to
// them since.
func mark(h uint64) uint32 { return uint32(h>>56) % Mark }

// isAnswered reports whether a name may have been answered lately: it has if it
// was, and few others have.
func (t *Table) isAnswered(h uint64, now int64) bool {
	p := t.places(h)
	return p[0].Load() > uint32(now/second) && p[1].Load() > uint32(now/second)
}

// Exists reports whether name was answered lately, itself or below. In a full table
// it may say so of one in 500 names that were not, and miss one in eight that were.
// It says nothing of names of one label.
func (t *Table) Exists(name *wire.Name, now int64) bool {
	if name.Labels() <= 1 {
		return false
	}
	h := t.hash(name)
	p := t.places(h)
	m := mark(h)
	return t.isAnswered(h, now) && (p[0].Load()%Mark == m || p[1].Load()%Mark == m)
}

// Deny takes note of an NXDOMAIN without aliases for name, in response to a
// question for typ, whose SOA record is of the zone made of name's last zone
// labels. It holds until the time until; both times are in nanoseconds. types
// reports whether it may be held against other types of the name. cut, if it is
// not 0, is a number of labels: no name below that made of name's last cut labels
// exists, which may be name itself or one above that is denied.
func (t *Table) Deny(name *wire.Name, zone int, typ wire.Type, now, until int64) (types bool, cut int) {
	own, h := name.Labels(), t.hash(name)
	if own <= 1 || t.isAnswered(h, now) {
		return false, 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, above := own-1, t.start(); i > 0 && cut == 0; i-- {
		above = t.add(above, name.Label(i))
		if own-i > zone && t.isCut(above, zone, uint32(h>>32)|1, now) {
			cut = own - i
		}
	}
	d := t.find(h)
	if d == nil || !d.is(zone, now) {
		if d == nil {
			d = t.place(h, now)
		}
		d.renew(h)
		d.until, d.typ, d.zone = uint32(until/second), typ, uint8(zone)
		return false, cut
	}
	if !d.believed && (d.typ == typ || isSuffix(name)) {
		return false, cut
	}
	d.believed = true // while it holds, the next one renews it
	d.until = max(d.until, uint32(until/second))
	if cut == 0 && d.full() {
		cut = own
	}
	return true, cut
}

// isCut notes that a name below that of hash h was denied, and reports whether all
// names below are. below tells the names apart, and is not 0. mu is held.
func (t *Table) isCut(h uint64, zone int, below uint32, now int64) bool {
	d := t.find(h)
	if d == nil || !d.is(zone, now) || t.isAnswered(h, now) {
		return false
	}
	for i, b := range d.below {
		if b == below {
			break
		}
		if b == 0 {
			d.below[i] = below
			break
		}
	}
	return d.believed && d.full()
}

// is reports whether d is a denial by a zone, and holds.
func (d *denial) is(zone int, now int64) bool {
	return d.zone == uint8(zone) && int64(d.until)*second > now
}

// full reports whether enough names below have been denied.
func (d *denial) full() bool { return d.below[Evidence-1] != 0 }

// Forget forgets everything. What Answered notes meanwhile may be forgotten, too.
// New memory costs less than to write a million places.
func (t *Table) Forget() {
	answered := make([]atomic.Uint32, len(*t.answered.Load()))
	t.answered.Store(&answered)
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.denied {
		t.denied[i].renew(0)
	}
}

// hash is the hash of a name.
func (t *Table) hash(name *wire.Name) uint64 {
	h := t.start()
	for i := name.Labels() - 1; i >= 0; i-- {
		h = t.add(h, name.Label(i))
	}
	return h
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
