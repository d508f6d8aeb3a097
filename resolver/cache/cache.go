// Package cache stores responses as they came from upstream, in wire form, and
// counts their TTLs down when it returns them. It stores what upstream said and
// never a verdict. Beside each message it stores the generation of the policy
// under which the message was last found clean, so that the caller knows when
// to examine it again.
//
// The cache is split into shards. Each has its own lock, its own order of
// eviction and an equal share of the bounds. Messages are stored in slabs and
// records in an array; neither has pointers, so that the garbage collector has
// almost nothing to scan. A full shard reuses memory and makes no garbage. A
// lookup therefore copies the message while it holds the lock, which costs
// some ten nanoseconds: no caller ever holds octets that the cache owns.
package cache

import (
	"hash/maphash"
	"math"
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"rideau/resolver/cache/existence"
	"rideau/resolver/wire"
)

// Key identifies a cached response: the question, and the two flags that change
// what upstream answers (RFC 6840 section 5.9 for CD, RFC 4035 section 3.2.1
// for DO). The cache uses Name during the call only.
type Key struct {
	Name   *wire.Name
	Type   wire.Type
	Class  wire.Class
	DO, CD bool
	// ZoneLabels is the number of labels of the zone whose upstream is asked.
	// What is stored about names above it came from other upstreams, and is not
	// used for k. If it is more than Name has, nothing that is stored for other
	// types is used (RFC 4035 section 3.1.4.1), and an NXDOMAIN is not stored
	// for them. It is not part of a response's identity.
	ZoneLabels int
	// MaxSize is how many octets the client takes; 0 sets no bound. Instead of a
	// large answer that does not fit, and that is clean under Generation, Get
	// appends a header and question with TC. Neither is a part of a response's
	// identity.
	MaxSize    int
	Generation uint64
}

// Options bound a cache. Times are rounded down to whole seconds, except
// MaxStale. Zero means the default named at the field.
type Options struct {
	// Entries and Bytes bound what is stored. If either is zero or less,
	// nothing is. Bytes counts the memory held, whether in use at the moment or
	// not. Each shard has an equal share of both; a message that does not fit
	// into a shard's share of Bytes is not stored.
	Entries int
	Bytes   int64

	// MinTTL and MaxTTL clamp the TTL of each record; MaxTTL wins. A TTL of 0
	// is not raised: such a response is not stored. MaxTTL is 7 days by default
	// (RFC 8767 section 4).
	MinTTL, MaxTTL time.Duration
	// MaxNegativeTTL bounds negative answers; 3 hours by default (RFC 2308
	// section 5). MinTTL does not raise them.
	MaxNegativeTTL time.Duration
	// FailureTTL is how long a failure is stored: 5 seconds by default, and
	// between 1 second and 5 minutes (RFC 9520 section 3.2). Each further
	// failure in a row may be stored for twice as long as the one before, up to
	// FailureMaxTTL; that is 1 minute by default, and never less than
	// FailureTTL.
	FailureTTL, FailureMaxTTL time.Duration
	// MaxStale is for how long after its TTL an answer may be served stale;
	// zero means never.
	MaxStale time.Duration
	// StaleTTL is the TTL of records served stale; 30 seconds by default
	// (RFC 8767 section 4).
	StaleTTL time.Duration

	// PrefetchAfter is the number of lookups after which an answer counts as
	// popular. Shortly before a popular answer expires, one lookup reports
	// [Hit.Refresh]. Zero means never.
	PrefetchAfter int
	// NoCut turns off answering from the NXDOMAIN of a name above (RFC 8020).
	NoCut bool

	// Shards is rounded up to a power of two, and then down so that each shard
	// has an entry. Zero chooses by processors and size.
	Shards int
}

const (
	defaultMaxTTL         = 7 * 24 * time.Hour
	defaultMaxNegativeTTL = 3 * time.Hour
	defaultFailureTTL     = 5 * time.Second
	defaultFailureMaxTTL  = time.Minute
	minFailureTTL         = time.Second
	maxFailureTTL         = 5 * time.Minute
	defaultStaleTTL       = 30 * time.Second

	// maxShards limits what a wrong setting costs in memory.
	maxShards = 1 << 12
	// The automatic number of shards leaves each so large that the longest
	// message fits and that no shard is much fuller than the others.
	minShardEntries = 256
	minShardBytes   = 1 << 20
)

// Freshness is what a lookup found.
type Freshness uint8

// Values of Freshness.
const (
	Miss    Freshness = iota // nothing
	Fresh                    // a response within its TTL
	Expired                  // a response past its TTL, served stale; only GetStale finds it
)

// Hit describes what a lookup found. A miss has the zero Hit, except that EDE
// is -1.
type Hit struct {
	Freshness Freshness
	// Failure reports that the message is the bare header and question of a
	// failure. GetStale may have an answer.
	Failure bool
	// Refresh asks the caller to query upstream in the background: the answer
	// is popular and expires soon or, with Failure, another attempt is due. One
	// lookup reports it, the next does not.
	Refresh bool
	// Generation is the policy generation under which the message was last
	// found clean.
	Generation uint64
	// Truncated reports that only the header and question were appended, with
	// TC, since the answer does not fit into [Key.MaxSize].
	Truncated bool
	// EDE is the info code that came with the response, or -1 (RFC 8914).
	EDE int

	// denied is the number of labels of the name whose NXDOMAIN this is,
	// whatever type it came for; 0 if the response is stored for the question
	// itself.
	denied uint8
	// serial identifies the message that was returned; 0 is none.
	serial uint32
}

// Cache stores responses. It is safe for concurrent use; lookups, puts and all
// other calls may overlap. It reads no clock: now is the caller's Unix time in
// nanoseconds.
type Cache struct {
	seed     maphash.Seed
	mask     uint64 // all ones; tests clear bits to make questions collide
	shift    uint   // a hash shifted right by it is the index of the shard
	shards   []shard
	epoch    atomic.Uint64 // number of flushes
	renumber sync.Mutex    // held while records get other numbers, and while they are visited by number

	denials   denials
	existence *existence.Table
	noCut     bool

	minTTL, maxTTL uint32 // seconds
	maxNegativeTTL uint32
	failureTTL     uint32
	failureMaxTTL  uint32
	prefetchAfter  uint8 // 0 is never
	staleTTL       uint32
	maxStale       int64 // nanoseconds
}

// New returns an empty cache. It starts no goroutine.
func New(o Options) *Cache {
	n := shardCount(o)
	c := &Cache{
		seed:           maphash.MakeSeed(),
		mask:           ^uint64(0),
		shift:          uint(64 - bits.TrailingZeros(uint(n))),
		shards:         make([]shard, n),
		minTTL:         seconds(o.MinTTL, 0),
		maxTTL:         max(seconds(o.MaxTTL, defaultMaxTTL), 1),
		maxNegativeTTL: max(seconds(o.MaxNegativeTTL, defaultMaxNegativeTTL), 1),
		staleTTL:       max(seconds(o.StaleTTL, defaultStaleTTL), 1),
		maxStale:       int64(max(o.MaxStale, 0)),
		noCut:          o.NoCut,
		existence:      existence.New(o.Entries, o.Bytes),
		prefetchAfter:  uint8(min(max(o.PrefetchAfter, 0), math.MaxUint8)),
	}
	if o.FailureTTL <= 0 {
		o.FailureTTL = defaultFailureTTL
	}
	c.failureTTL = seconds(min(max(o.FailureTTL, minFailureTTL), maxFailureTTL), 0)
	if o.FailureMaxTTL <= 0 {
		o.FailureMaxTTL = defaultFailureMaxTTL
	}
	c.failureMaxTTL = max(seconds(min(o.FailureMaxTTL, maxFailureTTL), 0), c.failureTTL)
	for i := range c.shards {
		c.shards[i].denials = &c.denials
		c.shards[i].reset()
	}
	c.Resize(o.Entries, o.Bytes)
	return c
}

func shardCount(o Options) int {
	if o.Shards > 0 {
		n := 1 << bits.Len(uint(min(o.Shards, maxShards)-1))
		for n > 1 && n > o.Entries {
			n /= 2
		}
		return n
	}
	n := min(8*runtime.GOMAXPROCS(0), maxShards, o.Entries/minShardEntries)
	n = max(int(min(int64(n), o.Bytes/minShardBytes)), 1)
	return 1 << (bits.Len(uint(n)) - 1)
}

// seconds returns d, or otherwise if d is not positive, in whole seconds,
// bounded to the largest TTL (RFC 2181 section 8).
func seconds(d, otherwise time.Duration) uint32 {
	if d <= 0 {
		d = otherwise
	}
	return uint32(min(int64(d/time.Second), 1<<31-1))
}

// locate returns the hash of k and its shard. Two questions for the same name
// never have the same hash: only the hash of the name can collide.
func (c *Cache) locate(k *entryKey) (uint64, *shard) {
	rest := uint64(k.typ)<<32 | uint64(k.class)<<16 | uint64(k.flags)
	h := (maphash.Bytes(c.seed, k.name) ^ rest) * 0x9E3779B97F4A7C15 & c.mask
	return h, &c.shards[h>>c.shift]
}

// Get appends the response stored for k, its TTLs counted down by the whole
// seconds since it was stored, and describes it. That the name does not exist
// may also be known from the NXDOMAIN of another type (RFC 2308 section 5) or
// of a name above (RFC 8020). A failure that is still remembered is appended as
// a bare header and question. On a miss dst is returned unchanged.
//
// The appended message has id 0 and its question in lower case. Get does not
// allocate if dst has the capacity.
func (c *Cache) Get(dst []byte, k Key, now int64) ([]byte, Hit) {
	w := k.entryKey()
	out, hit, decided := c.get(dst, &k, &w, false, now)
	if !decided {
		if out, hit = c.getDenial(dst, &k, now); hit.Freshness == Miss {
			out, hit, _ = c.get(dst, &k, &w, true, now)
		}
	}
	return out, hit
}

// get looks up what is stored for the question itself. decided is false if it
// finds nothing or only a failure, and a denial may be stored for the name;
// with denialsChecked it is always true.
func (c *Cache) get(dst []byte, k *Key, w *entryKey, denialsChecked bool, now int64) (out []byte, hit Hit, decided bool) {
	h, s := c.locate(w)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find(h, w, now)
	fresh := e != nil && e.fresh(now)
	switch {
	case fresh && e.flags&flagFailure == 0:
		s.hits++
		hit = e.hit(Fresh)
		hit.Refresh = c.prefetchDue(e, now)
		if k.MaxSize > 0 && int(e.size) >= max(k.MaxSize, largeEntry) && e.generation == k.Generation {
			hit.Truncated = true
			return s.appendTruncated(dst, e, w), hit, true
		}
		return s.appendFresh(dst, e, now), hit, true
	case !denialsChecked && c.denials.any(k):
		return dst, Hit{EDE: -1}, false
	case fresh:
		s.hits++
		return s.appendFresh(dst, e, now), e.hit(Fresh), true
	case e != nil && c.failureHolds(e, now):
		s.hits++
		// No serial: the caller does not see the answer on which the failure is
		// noted.
		return e.appendNotedFailure(dst, w), Hit{Freshness: Fresh, Failure: true, Refresh: c.retryDue(e, now),
			Generation: e.generation, EDE: decodeEDE(e.notedEDE)}, true
	}
	s.misses++
	return dst, Hit{EDE: -1}, true
}

// GetStale serves the case that upstream failed: it appends an answer, positive
// or negative, that expired no more than MaxStale ago, each TTL set to StaleTTL
// (RFC 8767 sections 4 and 5), or, like Get, one that has not expired. It
// ignores failures. Stats counts no lookup for it, as a Get came before.
func (c *Cache) GetStale(dst []byte, k Key, now int64) ([]byte, Hit) {
	w := k.entryKey()
	if c.denials.any(&k) {
		if out, hit := c.getStaleDenial(dst, &k, c.storedAt(&w), now); hit.Freshness != Miss {
			return out, hit
		}
	}
	h, s := c.locate(&w)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find(h, &w, now)
	switch {
	case e == nil || e.flags&flagFailure != 0:
	case e.fresh(now):
		return s.appendFresh(dst, e, now), e.hit(Fresh)
	case e.servableStale(now, c.maxStale):
		s.stale++
		return s.appendStale(dst, e, c.staleTTL), e.hit(Expired)
	}
	return dst, Hit{EDE: -1}
}

// storedAt returns when the answer stored for w came; the distant past if there
// is none.
func (c *Cache) storedAt(w *entryKey) int64 {
	h, s := c.locate(w)
	s.mu.Lock()
	defer s.mu.Unlock()
	if n, ok := s.lookup(h, w); ok && s.record(n).flags&flagFailure == 0 {
		return s.record(n).stored
	}
	return math.MinInt64
}

// Peek appends the response stored for k itself, as Get does, if it is fresh
// and no failure. It counts nothing, and serves comparisons of answers.
func (c *Cache) Peek(dst []byte, k Key, now int64) (out []byte, ok bool) {
	w := k.entryKey()
	h, s := c.locate(&w)
	s.mu.Lock()
	defer s.mu.Unlock()
	if n, found := s.lookup(h, &w); found {
		if e := s.record(n); e.flags&flagFailure == 0 && e.fresh(now) {
			return s.appendFresh(dst, e, now), true
		}
	}
	return dst, false
}

// Unmark clears the generation under which the response stored for k was found
// clean.
func (c *Cache) Unmark(k Key) {
	for _, w := range []entryKey{k.entryKey(), k.denialKey(k.Name.Labels())} {
		c.mark(&w, 0, 0)
	}
}

// MarkClean records that the message returned with h was examined and found
// clean under a policy generation. If another message has replaced it since,
// that one was not examined, and nothing is recorded. It does not allocate.
func (c *Cache) MarkClean(k Key, h Hit, generation uint64) {
	if h.serial == 0 {
		return
	}
	w := k.entryKey()
	if h.denied > 0 {
		w = k.denialKey(int(h.denied))
	}
	c.mark(&w, h.serial, generation)
}

// mark sets the generation of an entry. If serial is not 0, the entry must have
// it.
func (c *Cache) mark(w *entryKey, serial uint32, generation uint64) {
	h, s := c.locate(w)
	s.mu.Lock()
	defer s.mu.Unlock()
	if n, ok := s.lookup(h, w); ok && (serial == 0 || s.record(n).serial == serial) {
		s.record(n).generation = generation
	}
}

// Remove removes what is stored for k, and for the name as a whole.
func (c *Cache) Remove(k Key) {
	for _, w := range []entryKey{k.entryKey(), k.denialKey(k.Name.Labels())} {
		c.removeKey(&w)
	}
}

func (c *Cache) removeKey(w *entryKey) {
	h, s := c.locate(w)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removeKey(h, w)
}

// MaxTTL returns the longest TTL that the cache returns, in seconds.
func (c *Cache) MaxTTL() uint32 { return c.maxTTL }

// Resize sets new bounds (see [Options]) and evicts the oldest entries until
// they hold. The number of shards stays; each has at least one entry unless
// entries is zero.
func (c *Cache) Resize(entries int, bytes int64) {
	c.renumber.Lock()
	defer c.renumber.Unlock()
	n := len(c.shards)
	for i := range c.shards {
		share := 0
		if entries > 0 {
			share = max(entries/n+min(1, max(0, entries%n-i)), 1)
		}
		c.shards[i].resize(share, max(bytes, 0)/int64(n))
	}
}

// Stats counts what happened since New, and what is stored at the moment.
type Stats struct {
	Hits       uint64 // of Get, failures included
	Misses     uint64 // of Get
	Stale      uint64 // answers that GetStale returned after their TTL
	Evictions  uint64 // entries removed to keep within the bounds
	Collisions uint64 // lookups that found another question with the same hash
	Entries    int    // expired ones included, until evicted or replaced
	Bytes      int64  // memory held
	Cuts       uint64 // of Hits, those by the NXDOMAIN of a name above
}

// Stats adds up the shards one after another, so that the sum is of no single
// moment while others write.
func (c *Cache) Stats() Stats {
	var t Stats
	for i := range c.shards {
		c.shards[i].addTo(&t)
	}
	return t
}
