// Package cache keeps responses as they came from upstream: packed, with
// their TTLs counted down on the way out. It holds what upstream said and
// never a verdict; beside each message it notes the generation of the policy
// under which the message was last found clean, so that whoever serves it
// knows when to look again.
//
// The cache is split into shards, each with its own lock, its own order of
// eviction and its own share of the bounds. Messages lie in pages, records in an
// array, and neither has pointers, so that the garbage collector has next to
// nothing to look at; and once a shard is full, what comes takes the place of
// what goes, without garbage. So a look-up copies while it holds the lock, which
// costs some ten nanoseconds and lets nothing that is kept be lent.
package cache

import (
	"hash/maphash"
	"math"
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"rideau/resolver/wire"
)

// Key is what tells one cached response from another: the question, and the
// two flags that change what upstream answers (RFC 6840 section 5.9 for CD,
// RFC 4035 section 3.2.1 for DO). Name is borrowed for the call only.
type Key struct {
	Name   *wire.Name
	Type   wire.Type
	Class  wire.Class
	DO, CD bool
	// ZoneLabels is how many labels the zone has whose upstream is asked: what is
	// known of names above it comes from elsewhere, and says nothing about k. With
	// more than Name has, nothing that is known of other types does (RFC 4035
	// section 3.1.4.1), nor is an NXDOMAIN kept for them.
	// It does not tell responses apart.
	ZoneLabels int
}

// Options bound a cache. Times count in whole seconds except MaxStale; what
// is zero means the default that is named.
type Options struct {
	// Entries and Bytes bound what is kept. Zero or less of either keeps
	// nothing. Bytes are the memory that is held, whatever of it is in use at
	// the moment. Each shard has an equal share of both, and a message that
	// does not fit a shard's share of Bytes is not kept.
	Entries int
	Bytes   int64

	// MinTTL and MaxTTL clamp each record's TTL; MaxTTL wins. A TTL of 0 is
	// not raised: such a response is not kept. MaxTTL is 7 days by default
	// (RFC 8767 section 4).
	MinTTL, MaxTTL time.Duration
	// MaxNegativeTTL bounds negative answers; 3 hours by default (RFC 2308
	// section 5). MinTTL does not raise them.
	MaxNegativeTTL time.Duration
	// FailureTTL is how long a failure is kept: 5 seconds by default, and
	// between 1 second and 5 minutes (RFC 9520 section 3.2). Each further one
	// in a row may be kept for twice as long as the one before, up to
	// FailureMaxTTL; that is 1 minute by default, and never less than
	// FailureTTL.
	FailureTTL, FailureMaxTTL time.Duration
	// MaxStale is how long after its TTL an answer may be served stale; zero
	// is not at all.
	MaxStale time.Duration
	// StaleTTL is the TTL of records served stale; 30 seconds by default
	// (RFC 8767 section 4).
	StaleTTL time.Duration

	// PrefetchAfter is how often an answer has to be asked for, in the time
	// that it is kept, for a look-up to wish that it be fetched anew when little of
	// that time is left; zero is never.
	PrefetchAfter int
	// NoCut keeps an NXDOMAIN from answering for names below (RFC 8020).
	NoCut bool

	// Shards is rounded up to a power of two, and down so that each shard
	// has an entry; zero chooses by processors and size.
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

	// maxShards keeps a misread setting from costing memory.
	maxShards = 1 << 12
	// An automatic shard is big enough that the longest message fits and
	// that one shard is rarely much fuller than the others.
	minShardEntries = 256
	minShardBytes   = 1 << 20
)

// Freshness is what a look-up found.
type Freshness uint8

// Values of Freshness.
const (
	Miss    Freshness = iota
	Fresh             // within its TTL
	Expired           // beyond it and served stale; only GetStale finds it
)

// Hit is what a look-up found beside the message. The zero Hit but for EDE,
// which is -1, comes with a miss.
type Hit struct {
	Freshness Freshness
	// Failure is set where the message is a failure's bare header and
	// question: GetStale may have better.
	Failure bool
	// Refresh is the wish that somebody ask upstream in the background, who
	// need not wait for what comes of it: the answer is popular and expires
	// soon or, with Failure, it is time for another attempt. It is told to
	// one look-up and not to the next.
	Refresh bool
	// Generation is the policy generation under which the message was last
	// found clean.
	Generation uint64
	// EDE is the info code that came with the response, or -1 (RFC 8914).
	EDE int

	// denied is how many labels the name has whose NXDOMAIN this is, whatever
	// the type it came for; 0 if it is kept for the question itself.
	denied uint8
	// serial names the very message that was handed out; 0 is none.
	serial uint32
}

// Cache keeps responses. It is safe for concurrent use; look-ups, puts and
// all else may overlap. It reads no clock: now is Unix time in nanoseconds, as
// the caller has it.
type Cache struct {
	seed     maphash.Seed
	mask     uint64 // all ones; tests make questions collide with less
	shift    uint   // of a hash, for the index of its shard
	shards   []shard
	epoch    atomic.Uint64 // flushes
	renumber sync.Mutex    // held by what gives records other numbers, and by what goes through them by number

	denials denials
	noCut   bool

	minTTL, maxTTL uint32 // seconds
	maxNegativeTTL uint32
	failureTTL     uint32
	failureMaxTTL  uint32
	prefetchAfter  uint8 // 0 is never
	staleTTL       uint32
	maxStale       int64 // nanoseconds
}

// New makes an empty cache. It starts no goroutine.
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

// seconds is d in whole seconds, bounded to what a TTL can say (RFC 2181
// section 8).
func seconds(d, otherwise time.Duration) uint32 {
	if d <= 0 {
		d = otherwise
	}
	return uint32(min(int64(d/time.Second), 1<<31-1))
}

// locate returns the hash of k and the shard it belongs to. Questions for one
// name never share a hash, as only the name's part of it can collide.
func (c *Cache) locate(k *want) (uint64, *shard) {
	rest := uint64(k.typ)<<32 | uint64(k.class)<<16 | uint64(k.flags)
	h := (maphash.Bytes(c.seed, k.name) ^ rest) * 0x9E3779B97F4A7C15 & c.mask
	return h, &c.shards[h>>c.shift]
}

// Get appends the response kept for k, with TTLs counted down by the whole
// seconds it was kept, and says what it is. That there is no such name is also
// known from another type's NXDOMAIN (RFC 2308 section 5) and from one of a name
// above (RFC 8020). A failure that is still remembered is appended as bare
// header and question. On a miss dst comes back as it was.
//
// The appended message has id 0 and its question in lower case. Get does not
// allocate where dst has the room.
func (c *Cache) Get(dst []byte, k Key, now int64) ([]byte, Hit) {
	w := k.want()
	out, hit, sure := c.get(dst, &k, &w, false, now)
	if !sure {
		if out, hit = c.getDenial(dst, &k, now); hit.Freshness == Miss {
			out, hit, _ = c.get(dst, &k, &w, true, now)
		}
	}
	return out, hit
}

// get is Get by what is kept for the question itself. It is not sure if it finds
// nothing, or a failure, and the name may be denied; with undenied it is not.
func (c *Cache) get(dst []byte, k *Key, w *want, undenied bool, now int64) (out []byte, hit Hit, sure bool) {
	h, s := c.locate(w)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find(h, w, now)
	fresh := e != nil && e.fresh(now)
	switch {
	case fresh && e.flags&flagFailure == 0:
		s.hits++
		hit = e.hit(Fresh)
		hit.Refresh = c.soon(e, now)
		return s.appendFresh(dst, e, now), hit, true
	case !undenied && c.denials.any(k):
		return dst, Hit{EDE: -1}, false
	case fresh:
		s.hits++
		return s.appendFresh(dst, e, now), e.hit(Fresh), true
	case e != nil && c.failing(e, now):
		s.hits++
		// No serial: whoever examines this has not seen the message behind it.
		return e.appendNoted(dst, w), Hit{Freshness: Fresh, Failure: true, Refresh: c.retry(e, now),
			Generation: e.generation, EDE: infoCode(e.notedEDE)}, true
	}
	s.misses++
	return dst, Hit{EDE: -1}, true
}

// GetStale is for when upstream failed: it appends an answer, positive or
// negative, that expired no more than MaxStale ago, each TTL set to StaleTTL (RFC
// 8767 sections 4 and 5), or like Get one that has not expired. Failures are
// passed over. It does not count as a look-up in Stats, as a Get came before.
func (c *Cache) GetStale(dst []byte, k Key, now int64) ([]byte, Hit) {
	w := k.want()
	if c.denials.any(&k) {
		if out, hit := c.getStaleDenial(dst, &k, c.since(&w), now); hit.Freshness != Miss {
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
	case e.usable(now, c.maxStale):
		s.stale++
		return s.appendStale(dst, e, c.staleTTL), e.hit(Expired)
	}
	return dst, Hit{EDE: -1}
}

// since is when the answer came that is kept for w; long ago if there is none.
func (c *Cache) since(w *want) int64 {
	h, s := c.locate(w)
	s.mu.Lock()
	defer s.mu.Unlock()
	if n, ok := s.look(h, w); ok && s.record(n).flags&flagFailure == 0 {
		return s.record(n).stored
	}
	return math.MinInt64
}

// Peek appends the response kept for k itself as Get does if it is fresh and no
// failure, and counts nothing: it is for those who compare answers.
func (c *Cache) Peek(dst []byte, k Key, now int64) (out []byte, ok bool) {
	w := k.want()
	h, s := c.locate(&w)
	s.mu.Lock()
	defer s.mu.Unlock()
	if n, found := s.look(h, &w); found {
		if e := s.record(n); e.flags&flagFailure == 0 && e.fresh(now) {
			return s.appendFresh(dst, e, now), true
		}
	}
	return dst, false
}

// Unmark takes back that what is kept for k was found clean.
func (c *Cache) Unmark(k Key) {
	for _, w := range []want{k.want(), k.denial(k.Name.Labels())} {
		c.mark(&w, 0, 0)
	}
}

// MarkClean notes that the message that came with h was examined and found
// clean under a policy generation. If another has taken its place meanwhile,
// that one was not examined, and nothing is noted. It does not allocate.
func (c *Cache) MarkClean(k Key, h Hit, generation uint64) {
	if h.serial == 0 {
		return
	}
	w := k.want()
	if h.denied > 0 {
		w = k.denial(int(h.denied))
	}
	c.mark(&w, h.serial, generation)
}

// mark sets the generation of an entry, of that one alone which has the serial
// if that is not 0.
func (c *Cache) mark(w *want, serial uint32, generation uint64) {
	h, s := c.locate(w)
	s.mu.Lock()
	defer s.mu.Unlock()
	if n, ok := s.look(h, w); ok && (serial == 0 || s.record(n).serial == serial) {
		s.record(n).generation = generation
	}
}

// Remove forgets what is kept for k, or for the name as a whole.
func (c *Cache) Remove(k Key) {
	for _, w := range []want{k.want(), k.denial(k.Name.Labels())} {
		c.forget(&w)
	}
}

func (c *Cache) forget(w *want) {
	h, s := c.locate(w)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(h, w)
}

// MaxTTL is the longest TTL that is handed out, in seconds.
func (c *Cache) MaxTTL() uint32 { return c.maxTTL }

// Resize sets new bounds (see [Options]) and evicts the oldest until they
// hold. The number of shards stays; each keeps at least one entry unless
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

// Stats counts what happened since New, and what is kept at the moment.
type Stats struct {
	Hits       uint64 // of Get, failures included
	Misses     uint64 // of Get
	Stale      uint64 // answers handed out by GetStale after their TTL
	Evictions  uint64 // entries that went to keep to the bounds
	Collisions uint64 // look-ups that found another question with the same hash
	Entries    int    // expired ones included, until evicted or replaced
	Bytes      int64  // memory held
	Cuts       uint64 // of Hits, those by the NXDOMAIN of a name above
}

// Stats sums the shards, one after another: the sum is of no single moment
// while others write.
func (c *Cache) Stats() Stats {
	var t Stats
	for i := range c.shards {
		c.shards[i].sum(&t)
	}
	return t
}
