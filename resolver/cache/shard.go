package cache

import (
	"encoding/binary"
	"math"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"rideau/resolver/wire"
)

// EntryOverhead is what an entry is taken to cost beside its octets: 104 for
// its place in golang-lru's list and map, 64 for its record, 8 for the index,
// and what its slot in a page leaves free. BenchmarkMemory sets it beside what
// the heap says.
const EntryOverhead = 192

const (
	flagDO       uint8 = 1 << iota // of the key
	flagCD                         // of the key
	flagPositive                   // has an answer of the type asked
	flagFailure                    // is a failure itself
	flagNoted                      // a failure came after it, at notedAt
	flagRefresh                    // somebody was told to fetch it anew
	flagDenial                     // of the key: it says of a name that it is not there, whatever the type
)

// want is what tells entries apart: a Key, or the denial of a name. It borrows
// the name.
type want struct {
	name  []byte // in wire form and lower case
	typ   wire.Type
	class wire.Class
	flags uint8
}

func (k *Key) want() want {
	w := want{name: k.Name.Bytes(), typ: k.Type, class: k.Class}
	if k.DO {
		w.flags |= flagDO
	}
	if k.CD {
		w.flags |= flagCD
	}
	return w
}

// noEDE stands for no info code. As a code it is for private use (RFC 8914
// section 5.2), and one that comes from upstream is let go.
const noEDE = 1<<16 - 1

// entry is the record of one response. It holds no pointers; what it keeps
// lies in the shard's pages.
type entry struct {
	hash       uint64
	stored     int64 // Unix time in nanoseconds
	notedAt    int64 // the same
	generation uint64
	data       ref    // message, then the offset of each TTL in it
	length     uint32 // of both; 0 if the record is not in use
	lifetime   uint32 // seconds
	serial     uint32 // tells apart what the shard held at one place in time; never 0
	touched    uint16 // the second, of which the low bits, when it was made the newest
	size       uint16 // of the message alone
	ede        uint16
	notedEDE   uint16
	notedRcode uint8
	flags      uint8
	fails      uint8 // failures in a row, of one that is or has one; they stop counting at 255
	asked      uint8 // look-ups that found it fresh; the same
}

func (e *entry) cost() int64 { return int64(e.length) + EntryOverhead }

// answers reports whether e is the response to k: the hash alone does not
// tell.
func (s *shard) answers(e *entry, k *want) bool {
	return e.flags&(flagDO|flagCD|flagDenial) == k.flags && asks(s.octets.at(e.data, int(e.size)), k)
}

// asks reports whether msg has k's question, its name in lower case.
func asks(msg []byte, k *want) bool {
	n := wire.HeaderLen + len(k.name)
	return len(msg) >= n+4 && string(msg[wire.HeaderLen:n]) == string(k.name) &&
		binary.BigEndian.Uint16(msg[n:]) == uint16(k.typ) &&
		binary.BigEndian.Uint16(msg[n+2:]) == uint16(k.class)
}

// age is in nanoseconds and never below 0, whatever the clock did.
func (e *entry) age(now int64) int64 { return max(now-e.stored, 0) }

func (e *entry) fresh(now int64) bool {
	return e.age(now) < int64(e.lifetime)*1e9
}

// usable reports whether e, past its TTL, may be served stale.
func (e *entry) usable(now, maxStale int64) bool {
	return e.flags&flagFailure == 0 && maxStale > 0 && e.age(now)-int64(e.lifetime)*1e9 <= maxStale
}

// rewind follows a clock that was set back, so that an entry from what is now
// the future does not outlive its TTL counted from here. Who waited for
// upstream has an older time than what came meanwhile: that is no clock set back.
func (e *entry) rewind(now int64) {
	const waited = 10e9
	if e.stored > now+waited || e.notedAt > now+waited {
		e.stored, e.notedAt = min(e.stored, now), min(e.notedAt, now)
	}
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

func (s *shard) appendFresh(dst []byte, e *entry, now int64) []byte {
	base := len(dst)
	data := s.octets.at(e.data, int(e.length))
	dst = append(dst, data[:e.size]...)
	age := uint32(min(e.age(now)/1e9, 1<<31-1))
	if age == 0 {
		return dst
	}
	msg := dst[base:]
	for o := data[e.size:]; len(o) >= 2; o = o[2:] {
		field := msg[binary.BigEndian.Uint16(o):]
		ttl := binary.BigEndian.Uint32(field)
		binary.BigEndian.PutUint32(field, ttl-min(ttl, age))
	}
	return dst
}

func (s *shard) appendStale(dst []byte, e *entry, ttl uint32) []byte {
	base := len(dst)
	data := s.octets.at(e.data, int(e.length))
	dst = append(dst, data[:e.size]...)
	msg := dst[base:]
	for o := data[e.size:]; len(o) >= 2; o = o[2:] {
		binary.BigEndian.PutUint32(msg[binary.BigEndian.Uint16(o):], ttl)
	}
	return dst
}

// appendNoted appends the failure that is noted on e.
func (e *entry) appendNoted(dst []byte, k *want) []byte {
	return appendFailure(dst, k, wire.Rcode(e.notedRcode))
}

// shard is a part of the cache. mu guards all of it, the octets included:
// what is evicted makes room for something else, so that a look-up copies
// while it holds the lock. It is padded to whole pairs of cache lines, so that
// two shards share none.
//
// A record has a number, which the index finds by hash and question. The order
// of eviction is golang-lru's, of those numbers; when there is no room, the
// oldest number is used again, so that a full cache makes no garbage.
type shard struct {
	mu      sync.Mutex
	lru     *simplelru.LRU[uint32, struct{}]
	records []entry  // by number
	free    []uint32 // numbers that are not in use
	places  []uint32 // the index: open addressing; a number and one, 0 is none
	octets  slab
	limit   int   // entries
	budget  int64 // bytes
	bytes   int64
	data    int64 // octets of all entries
	serial  uint32
	denials *denials

	hits, misses, stale, cuts, evictions, collisions uint64
	_                                                [384 - 368]byte
}

func (s *shard) reset() {
	// The only error is for a size that is not positive. The bounds are kept
	// here, before anything is added.
	s.lru, _ = simplelru.NewLRU[uint32, struct{}](math.MaxInt, nil)
	s.records, s.free, s.places, s.octets = nil, nil, nil, slab{}
	s.bytes, s.data = 0, 0
}

func (s *shard) record(n uint32) *entry { return &s.records[n] }

// find looks k up, makes it the newest, and counts a collision; nil if there
// is none. The caller holds s.mu, here and below, but for the methods at the
// end, which take it.
func (s *shard) find(h uint64, k *want, now int64) *entry {
	n, ok := s.look(h, k)
	if !ok {
		return nil
	}
	e := s.record(n)
	if second := uint16(now / 1e9); second != e.touched || s.lru.Len() < exact {
		s.lru.Get(n)
		e.touched = second
	}
	e.rewind(now)
	return e
}

// exact is how many entries a shard has to have for their order to be exact to
// a second only: to make an entry the newest costs more than all else in a
// look-up, and what many ask for would be made so thousands of times a second.
const exact = 256

// look returns the number of k's record.
func (s *shard) look(h uint64, k *want) (n uint32, ok bool) {
	if len(s.places) == 0 {
		return 0, false
	}
	mask := uint64(len(s.places) - 1)
	for i := h & mask; s.places[i] != 0; i = (i + 1) & mask {
		n := s.places[i] - 1
		if e := s.record(n); e.hash == h {
			if s.answers(e, k) {
				return n, true
			}
			s.collisions++
		}
	}
	return 0, false
}

// enter puts a record into the index, where it is not yet.
func (s *shard) enter(h uint64, n uint32) {
	if 4*(s.lru.Len()+1) > 3*len(s.places) {
		old := s.places
		s.places = make([]uint32, max(16, 2*len(old)))
		for _, p := range old {
			if p != 0 {
				s.place(s.record(p-1).hash, p)
			}
		}
	}
	s.place(h, n+1)
}

func (s *shard) place(h uint64, p uint32) {
	mask := uint64(len(s.places) - 1)
	i := h & mask
	for s.places[i] != 0 {
		i = (i + 1) & mask
	}
	s.places[i] = p
}

// leave takes a record out of the index, and moves up those that its place
// has kept from theirs.
func (s *shard) leave(h uint64, n uint32) {
	mask := uint64(len(s.places) - 1)
	i := h & mask
	for s.places[i] != n+1 {
		i = (i + 1) & mask
	}
	for j := (i + 1) & mask; s.places[j] != 0; j = (j + 1) & mask {
		// The one at j may move to i unless its home lies between, cyclically.
		if home := s.record(s.places[j]-1).hash & mask; (j-home)&mask >= (j-i)&mask {
			s.places[i] = s.places[j]
			i = j
		}
	}
	s.places[i] = 0
}

// add stores e for k, its octets in two parts, in place of what was there, and
// evicts the oldest until the bounds hold. What does not fit at all is not
// stored, and what it was to replace goes.
func (s *shard) add(h uint64, k *want, e entry, msg, offsets []byte) bool {
	e.hash, e.size, e.length = h, uint16(len(msg)), uint32(len(msg)+len(offsets))
	n, ok := s.look(h, k)
	if s.limit == 0 || e.cost() > s.budget {
		if ok {
			s.remove(n)
		}
		return false
	}
	if ok {
		s.empty(n)
	} else {
		n, ok = s.evict(e.cost())
		if !ok {
			n = s.number()
		}
		s.enter(h, n)
	}
	if ok {
		s.lru.Get(n) // the newest now
	} else {
		s.lru.Add(n, struct{}{})
	}
	e.touched = uint16(e.stored / 1e9)
	e.data = s.octets.alloc(int(e.length))
	data := s.octets.at(e.data, int(e.length))
	copy(data[copy(data, msg):], offsets)
	s.serial = max(s.serial+1, 1)
	e.serial = s.serial
	*s.record(n) = e
	if e.flags&flagDenial != 0 {
		s.denials.count(msg, 1)
	}
	s.bytes += e.cost()
	s.data += int64(e.length)
	s.shrink()
	return true
}

// evict makes room for another entry of that cost. If something had to go,
// it returns a number that can be used again, which is still in the order.
func (s *shard) evict(cost int64) (n uint32, ok bool) {
	for s.lru.Len() > 0 && (s.lru.Len()+1 > s.limit || s.bytes+cost > s.budget) {
		if ok {
			if s.lru.Len() == 1 || s.bytes+cost <= s.budget {
				break // it is that one itself that would go, or makes the room
			}
			s.lru.Get(n) // out of the way: the next oldest goes
		}
		oldest, _, _ := s.lru.GetOldest()
		s.leave(s.record(oldest).hash, oldest)
		s.empty(oldest)
		s.evictions++
		if ok {
			s.lru.Remove(oldest)
			s.free = append(s.free, oldest)
			continue
		}
		n, ok = oldest, true
	}
	return n, ok
}

// empty gives up what a record keeps.
func (s *shard) empty(n uint32) {
	e := s.record(n)
	if e.flags&flagDenial != 0 {
		s.denials.count(s.octets.at(e.data, int(e.size)), -1)
	}
	s.octets.release(e.data)
	s.bytes -= e.cost()
	s.data -= int64(e.length)
	*e = entry{}
}

// remove forgets an entry.
func (s *shard) remove(n uint32) {
	s.leave(s.record(n).hash, n)
	s.empty(n)
	s.lru.Remove(n)
	s.free = append(s.free, n)
}

// forget removes k's entry, if there is one.
func (s *shard) forget(h uint64, k *want) {
	if n, ok := s.look(h, k); ok {
		s.remove(n)
	}
}

// number is one that is not in use.
func (s *shard) number() uint32 {
	if len(s.free) == 0 {
		s.records = append(s.records, entry{})
		return uint32(len(s.records) - 1)
	}
	n := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	return n
}

// slack is how many octets of pages there may be beside twice those in use:
// a page of each class, and those that are kept.
const slack = classes * pageSize

// shrink evicts the oldest until the bounds hold. One of them is that pages
// are half full: where sizes change, old ones keep pages that they do not fill.
func (s *shard) shrink() {
	for s.lru.Len() > s.limit || s.bytes > s.budget || s.octets.held > 2*s.data+slack {
		n, _, ok := s.lru.GetOldest()
		if !ok {
			return
		}
		s.remove(n)
		s.evictions++
	}
}

func (s *shard) resize(limit int, budget int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit, s.budget = limit, budget
	s.shrink()
}

// flush makes everything anew rather than empty it entry by entry: the lock
// is held for a moment only, and all memory goes.
func (s *shard) flush() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n = s.lru.Len()
	for i := range s.records {
		if e := &s.records[i]; e.flags&flagDenial != 0 {
			s.denials.count(s.octets.at(e.data, int(e.size)), -1)
		}
	}
	s.reset()
	return n
}

func (s *shard) sum(t *Stats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.Hits += s.hits
	t.Misses += s.misses
	t.Stale += s.stale
	t.Cuts += s.cuts
	t.Evictions += s.evictions
	t.Collisions += s.collisions
	t.Entries += s.lru.Len()
	t.Bytes += s.bytes
}
