package cache

import (
	"encoding/binary"
	"sync"
	"unsafe"

	"rideau/resolver/cache/slab"
	"rideau/resolver/wire"
)

const (
	flagDO       uint8 = 1 << iota // of the key
	flagCD                         // of the key
	flagPositive                   // has an answer of the type asked
	flagFailure                    // is a failure itself
	flagNoted                      // a failure came after it
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

// entry is the record of one response, and fills a line of a processor's cache.
// It holds no pointers; what it keeps lies in the shard's pages.
type entry struct {
	stored     int64 // Unix time in nanoseconds
	generation uint64
	hash       uint32 // its lower half
	newer      uint32 // neighbours in the order of eviction, by number and one; 0 is none
	older      uint32
	noted      uint32   // milliseconds from stored to the last failure
	data       slab.Ref // message, then the offset of each TTL in it
	length     uint32   // of both; 0 if the record is not in use
	lifetime   uint32   // seconds
	serial     uint32   // tells apart what the shard held at one place in time; never 0
	touched    uint16   // the second, of which the low bits, when it was made the newest
	size       uint16   // of the message alone
	ede        uint16
	notedEDE   uint16
	notedRcode uint8
	flags      uint8
	fails      uint8 // failures in a row, of one that is or has one; they stop counting at 255
	asked      uint8 // look-ups that found it fresh; the same
}

// answers reports whether e is the response to k: the hash alone does not
// tell.
func (s *shard) answers(e *entry, k *want) bool {
	return e.flags&(flagDO|flagCD|flagDenial) == k.flags && asks(s.octets.At(e.data, int(e.size)), k)
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
	if e.stored > now+waited {
		e.stored, e.noted = now, 0
	}
}

func (e *entry) hit(f Freshness) Hit {
	return Hit{Freshness: f, Failure: e.flags&flagFailure != 0, Generation: e.generation, EDE: infoCode(e.ede), serial: e.serial}
}

func infoCode(ede uint16) int {
	if ede == noEDE {
		return -1
	}
	return int(ede)
}

func (s *shard) appendFresh(dst []byte, e *entry, now int64) []byte {
	base := len(dst)
	data := s.octets.At(e.data, int(e.length))
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
	data := s.octets.At(e.data, int(e.length))
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
// of eviction is a list through the records, by those numbers; what is given up
// is used again, so that a full cache makes no garbage.
type shard struct {
	mu      sync.Mutex
	records []entry  // by number
	newest  uint32   // number and one, as in the records
	oldest  uint32   // the same
	n       int      // entries
	free    []uint32 // numbers that are not in use
	places  []uint32 // the index: open addressing; a number and one, 0 is none
	octets  slab.Slab
	limit   int   // entries
	budget  int64 // bytes
	serial  uint32
	denials *denials

	hits, misses, stale, cuts, evictions, collisions uint64
	_                                                [640 - 512]byte
}

func (s *shard) reset() {
	s.records, s.free, s.places, s.octets = nil, nil, nil, slab.Slab{}
	s.newest, s.oldest, s.n = 0, 0, 0
}

// bytes is the memory that is held: the pages, the records and the index.
func (s *shard) bytes() int64 {
	return s.octets.Memory() + int64(cap(s.records))*int64(unsafe.Sizeof(entry{})) + 4*int64(len(s.places)+cap(s.free))
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
	if second := uint16(now / 1e9); second != e.touched || s.n < exact {
		s.touch(n)
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
		if e := s.record(n); e.hash == uint32(h) {
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
	if 4*(s.n+1) > 3*len(s.places) {
		old := s.places
		s.places = make([]uint32, max(16, 2*len(old)))
		for _, p := range old {
			if p != 0 {
				s.place(uint64(s.record(p-1).hash), p)
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
		if home := uint64(s.record(s.places[j]-1).hash) & mask; (j-home)&mask >= (j-i)&mask {
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
	e.hash, e.size, e.length = uint32(h), uint16(len(msg)), uint32(len(msg)+len(offsets))
	e.touched = uint16(e.stored / 1e9)
	s.serial = max(s.serial+1, 1)
	e.serial = s.serial
	s.forget(h, k)
	return s.insert(&e, msg, offsets)
}

// insert stores what is not there yet, as the newest.
func (s *shard) insert(e *entry, msg, offsets []byte) bool {
	if s.limit == 0 || int64(e.length)+int64(unsafe.Sizeof(*e)) > s.budget {
		return false
	}
	for s.n > 0 && (s.n+1 > s.limit || s.bytes()+s.octets.Need(int(e.length)) > s.budget) {
		s.evict()
	}
	n := s.number()
	s.enter(uint64(e.hash), n)
	e.data = s.octets.Alloc(int(e.length), n)
	data := s.octets.At(e.data, int(e.length))
	copy(data[copy(data, msg):], offsets)
	*s.record(n) = *e
	s.push(n)
	s.count(n, 1)
	for s.n > 1 && s.bytes() > s.budget { // what tells of the entries has grown
		s.evict()
	}
	if s.bytes() > s.budget {
		s.remove(n) // it alone is too much
		return false
	}
	return true
}

// count adds n to the denials, if the record is one.
func (s *shard) count(n uint32, by int32) {
	if e := s.record(n); e.flags&flagDenial != 0 {
		s.denials.count(s.octets.At(e.data, int(e.size)), by)
	}
}

// evict forgets the oldest.
func (s *shard) evict() {
	s.remove(s.oldest - 1)
	s.evictions++
}

// empty gives up what a record keeps, but not its place in the order.
func (s *shard) empty(n uint32) {
	s.count(n, -1)
	e := s.record(n)
	class, sparse := s.octets.Release(e.data)
	*e = entry{newer: e.newer, older: e.older}
	if sparse {
		s.octets.Compact(class, func(owner uint32, to slab.Ref) { s.record(owner).data = to })
	}
}

// remove forgets an entry.
func (s *shard) remove(n uint32) {
	s.leave(uint64(s.record(n).hash), n)
	s.empty(n)
	s.pull(n)
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

// push makes a record the newest, which is not in the order yet.
func (s *shard) push(n uint32) {
	e := s.record(n)
	e.newer, e.older = 0, s.newest
	if s.newest != 0 {
		s.record(s.newest - 1).newer = n + 1
	} else {
		s.oldest = n + 1
	}
	s.newest = n + 1
	s.n++
}

// pull takes a record out of the order.
func (s *shard) pull(n uint32) {
	e := s.record(n)
	if e.newer != 0 {
		s.record(e.newer - 1).older = e.older
	} else {
		s.newest = e.older
	}
	if e.older != 0 {
		s.record(e.older - 1).newer = e.newer
	} else {
		s.oldest = e.newer
	}
	e.newer, e.older = 0, 0
	s.n--
}

// touch makes an entry the newest.
func (s *shard) touch(n uint32) {
	if s.newest != n+1 {
		s.pull(n)
		s.push(n)
	}
}

// resize evicts the oldest until new bounds hold. Where they are narrower than
// what is held, everything is made anew, since what tells of entries does not
// shrink with their number.
func (s *shard) resize(limit int, budget int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit, s.budget = limit, budget
	for s.n > s.limit {
		s.evict()
	}
	if s.bytes() <= s.budget && s.n > 0 {
		return
	}
	records, octets, next, before := s.records, s.octets, s.oldest, s.n
	for i := next; i != 0; i = s.record(i - 1).newer {
		s.count(i-1, -1)
	}
	evicted := s.evictions
	s.reset()
	for next != 0 {
		e := records[next-1]
		next = e.newer
		data := octets.At(e.data, int(e.length))
		s.insert(&e, data[:e.size], data[e.size:])
	}
	s.evictions = evicted + uint64(before-s.n)
}

// flush makes everything anew rather than empty it entry by entry: the lock
// is held for a moment only, and all memory goes.
func (s *shard) flush() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n = s.n
	for i := range s.records {
		s.count(uint32(i), -1)
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
	t.Entries += s.n
	t.Bytes += s.bytes()
}
