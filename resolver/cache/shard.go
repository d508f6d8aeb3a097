package cache

import (
	"encoding/binary"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"rideau/resolver/wire"
)

// EntryOverhead is what an entry is taken to cost beside its octets: 128 for
// the list element that holds it, 20 to 40 for its place in the map, and the
// allocator's rounding. BenchmarkMemory sets it beside what the heap says.
const EntryOverhead = 176

const (
	flagDO       uint8 = 1 << iota // of the key
	flagCD                         // of the key
	flagPositive                   // has an answer of the type asked
	flagFailure                    // is a failure itself
	flagNoted                      // a failure came after it, at notedAt
)

// noEDE stands for no info code. As a code it is for private use (RFC 8914
// section 5.2), and one that comes from upstream is let go.
const noEDE = 1<<16 - 1

// entry is one response. It is kept by value in the list, and has just the
// size that fills an allocation there.
type entry struct {
	data       []byte // message, then the offset of each TTL in it; never written once stored
	stored     int64  // Unix time in nanoseconds
	notedAt    int64  // the same
	generation uint64
	lifetime   uint32 // seconds
	serial     uint32 // tells apart what the shard held at one place in time; never 0
	size       uint16 // of the message within data
	ede        uint16
	notedEDE   uint16
	notedRcode uint8
	flags      uint8
}

func (e *entry) cost() int64 { return int64(len(e.data)) + EntryOverhead }

// answers reports whether e is the response to k: the hash alone does not
// tell.
func (e *entry) answers(k *Key) bool {
	return e.flags&(flagDO|flagCD) == k.flags() && asks(e.data[:e.size], k)
}

// asks reports whether msg has k's question, its name in lower case.
func asks(msg []byte, k *Key) bool {
	n := wire.HeaderLen + k.Name.Len()
	return len(msg) >= n+4 && string(msg[wire.HeaderLen:n]) == string(k.Name.Bytes()) &&
		binary.BigEndian.Uint16(msg[n:]) == uint16(k.Type) &&
		binary.BigEndian.Uint16(msg[n+2:]) == uint16(k.Class)
}

// age is in nanoseconds and never below 0, whatever the clock did.
func (e *entry) age(now int64) int64 { return max(now-e.stored, 0) }

func (e *entry) fresh(now int64) bool {
	return e.age(now) < int64(e.lifetime)*1e9
}

// usable reports whether e, past its TTL, may be served stale.
func (e *entry) usable(now, maxStale int64) bool {
	return e.flags&flagPositive != 0 && maxStale > 0 && e.age(now)-int64(e.lifetime)*1e9 <= maxStale
}

// failing reports whether a failure noted on e is to be answered.
func (e *entry) failing(now int64, ttl uint32) bool {
	return e.flags&flagNoted != 0 && now-e.notedAt < int64(ttl)*1e9
}

// rewind follows a clock that was set back, so that an entry from what is now
// the future does not outlive its TTL counted from here. It reports whether
// e changed.
func (e *entry) rewind(now int64) bool {
	if now >= e.stored && now >= e.notedAt {
		return false
	}
	e.stored, e.notedAt = min(e.stored, now), min(e.notedAt, now)
	return true
}

func (e *entry) hit(s State) Hit {
	return Hit{State: s, Failure: e.flags&flagFailure != 0, Generation: e.generation, EDE: infoCode(e.ede), serial: e.serial}
}

func infoCode(ede uint16) int {
	if ede == noEDE {
		return -1
	}
	return int(ede)
}

func (e *entry) appendFresh(dst []byte, now int64) []byte {
	base := len(dst)
	dst = append(dst, e.data[:e.size]...)
	age := uint32(min(e.age(now)/1e9, 1<<31-1))
	if age == 0 {
		return dst
	}
	msg := dst[base:]
	for o := e.data[e.size:]; len(o) >= 2; o = o[2:] {
		field := msg[binary.BigEndian.Uint16(o):]
		ttl := binary.BigEndian.Uint32(field)
		binary.BigEndian.PutUint32(field, ttl-min(ttl, age))
	}
	return dst
}

func (e *entry) appendStale(dst []byte, ttl uint32) []byte {
	base := len(dst)
	dst = append(dst, e.data[:e.size]...)
	msg := dst[base:]
	for o := e.data[e.size:]; len(o) >= 2; o = o[2:] {
		binary.BigEndian.PutUint32(msg[binary.BigEndian.Uint16(o):], ttl)
	}
	return dst
}

// appendNoted appends the failure that is noted on e.
func (e *entry) appendNoted(dst []byte, k *Key) []byte {
	return appendFailure(dst, k, wire.Rcode(e.notedRcode))
}

// shard is a part of the cache. mu guards all of it, but not the octets of
// an entry's data, which are never written. It is padded to whole pairs of
// cache lines, so that two shards share none.
type shard struct {
	mu     sync.Mutex
	lru    *simplelru.LRU[uint64, entry]
	limit  int   // entries
	budget int64 // bytes
	bytes  int64
	serial uint32

	hits, misses, stale, evictions, collisions uint64
	_                                          [128 - 88]byte
}

func (s *shard) reset() {
	// The only error is for a size that is not positive.
	s.lru, _ = simplelru.NewLRU(max(s.limit, 1), func(_ uint64, e entry) { s.bytes -= e.cost() })
}

// find looks k up and counts a collision. The caller holds s.mu, here and
// below, but for the three methods at the end, which take it.
func (s *shard) find(h uint64, k *Key, now int64) (entry, bool) {
	e, ok := s.lru.Get(h)
	if !ok {
		return e, false
	}
	if !e.answers(k) {
		s.collisions++
		return e, false
	}
	if e.rewind(now) {
		s.lru.Add(h, e)
	}
	return e, true
}

// add stores e in place of what was there, and evicts the oldest until the
// bounds hold. What does not fit at all is not stored, and what it was to
// replace goes.
func (s *shard) add(h uint64, e entry) bool {
	if s.limit == 0 || e.cost() > s.budget {
		s.lru.Remove(h)
		return false
	}
	if old, ok := s.lru.Peek(h); ok {
		s.bytes -= old.cost()
	}
	s.bytes += e.cost()
	s.serial = max(s.serial+1, 1)
	e.serial = s.serial
	if s.lru.Add(h, e) {
		s.evictions++
	}
	s.shrink()
	return true
}

func (s *shard) shrink() {
	for s.bytes > s.budget {
		s.lru.RemoveOldest()
		s.evictions++
	}
}

func (s *shard) resize(limit int, budget int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit, s.budget = limit, budget
	s.evictions += uint64(s.lru.Resize(limit))
	s.shrink()
}

// flush takes a new list rather than emptying the old one entry by entry:
// the lock is held for a moment only, and the map's memory goes too.
func (s *shard) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes = 0
	s.reset()
}

func (s *shard) sum(t *Stats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.Hits += s.hits
	t.Misses += s.misses
	t.Stale += s.stale
	t.Evictions += s.evictions
	t.Collisions += s.collisions
	t.Entries += s.lru.Len()
	t.Bytes += s.bytes
}
