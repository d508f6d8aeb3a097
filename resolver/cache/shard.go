package cache

import (
	"sync"
	"unsafe"

	"rideau/resolver/cache/slab"
)

// order is a list of records from the newest to the oldest: numbers plus one, as
// in the records.
type order struct{ newest, oldest uint32 }

const (
	// largeEntry is the number of octets from which on an entry is large. No
	// datagram can hold such an answer.
	largeEntry = 4096
	// largeShare is the part of a shard's octets that large entries keep when the
	// shard is full: a quarter. Beyond that they are evicted before all others,
	// so that nobody empties the cache with few questions for large answers.
	largeShare = 4
)

// large is 1 if the entry is large, and 0 otherwise.
func (e *entry) large() int {
	if e.length >= largeEntry {
		return 1
	}
	return 0
}

// shard is a part of the cache. mu guards all of it, its octets included:
// evicted octets are overwritten, so a lookup copies while it holds the lock.
// Its size is a multiple of two cache lines, so that no two shards share a
// line.
//
// Each record has a number. The index finds the number by hash and question;
// the order of eviction is a list through the records. Freed records and octets
// are used again, so that a full shard makes no garbage.
type shard struct {
	mu         sync.Mutex
	records    []entry  // by number
	orders     [2]order // of eviction: of ordinary entries and of large ones
	n          int      // entries
	largeBytes int64    // octets of the large ones
	free       []uint32 // numbers that are not in use
	index      []uint32 // open addressing; a number plus one, 0 is none
	octets     slab.Slab
	maxEntries int
	maxBytes   int64
	serial     uint32
	denials    *denials

	hits, misses, stale, cuts, evictions, collisions uint64
	_                                                [640 - 528]byte
}

func (s *shard) reset() {
	s.records, s.free, s.index, s.octets = nil, nil, nil, slab.Slab{}
	s.orders, s.n, s.largeBytes = [2]order{}, 0, 0
}

// bytes returns the memory held: the slab, the records and the index.
func (s *shard) bytes() int64 {
	return s.octets.Memory() + int64(cap(s.records))*int64(unsafe.Sizeof(entry{})) + 4*int64(len(s.index)+cap(s.free))
}

func (s *shard) record(n uint32) *entry { return &s.records[n] }

// find returns k's entry, makes it the newest, and counts collisions; nil if
// there is none. The caller holds s.mu, here and in the methods below, except
// those at the end, which lock it.
func (s *shard) find(h uint64, k *entryKey, now int64) *entry {
	n, ok := s.lookup(h, k)
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

// exact is the number of entries from which on their order is exact only to a
// second. Making an entry the newest costs more than the rest of a lookup, and
// a popular entry would be moved thousands of times a second.
const exact = 256

// lookup returns the number of k's record.
func (s *shard) lookup(h uint64, k *entryKey) (n uint32, ok bool) {
	if len(s.index) == 0 {
		return 0, false
	}
	mask := uint64(len(s.index) - 1)
	for i := h & mask; s.index[i] != 0; i = (i + 1) & mask {
		n := s.index[i] - 1
		if e := s.record(n); e.hash == uint32(h) {
			if s.matches(e, k) {
				return n, true
			}
			s.collisions++
		}
	}
	return 0, false
}

// addToIndex adds a record that the index does not have.
func (s *shard) addToIndex(h uint64, n uint32) {
	if 4*(s.n+1) > 3*len(s.index) {
		old := s.index
		s.index = make([]uint32, max(16, 2*len(old)))
		for _, p := range old {
			if p != 0 {
				s.placeInIndex(uint64(s.record(p-1).hash), p)
			}
		}
	}
	s.placeInIndex(h, n+1)
}

func (s *shard) placeInIndex(h uint64, p uint32) {
	mask := uint64(len(s.index) - 1)
	i := h & mask
	for s.index[i] != 0 {
		i = (i + 1) & mask
	}
	s.index[i] = p
}

// removeFromIndex removes a record from the index, and moves up the records
// behind it that it displaced.
func (s *shard) removeFromIndex(h uint64, n uint32) {
	mask := uint64(len(s.index) - 1)
	i := h & mask
	for s.index[i] != n+1 {
		i = (i + 1) & mask
	}
	for j := (i + 1) & mask; s.index[j] != 0; j = (j + 1) & mask {
		// The one at j may move to i unless its own place lies between,
		// cyclically.
		if home := uint64(s.record(s.index[j]-1).hash) & mask; (j-home)&mask >= (j-i)&mask {
			s.index[i] = s.index[j]
			i = j
		}
	}
	s.index[i] = 0
}

// store stores e under k in place of what was there; its octets are msg and
// offsets. It evicts the oldest entries until the bounds hold. What does not
// fit at all is not stored, and what it was to replace is removed.
func (s *shard) store(h uint64, k *entryKey, e entry, msg, offsets []byte) bool {
	e.hash, e.size, e.length = uint32(h), uint16(len(msg)), uint32(len(msg)+len(offsets))
	e.touched = uint16(e.stored / 1e9)
	s.serial = max(s.serial+1, 1)
	e.serial = s.serial
	s.removeKey(h, k)
	return s.insert(&e, msg, offsets)
}

// insert stores an entry that is not there yet, as the newest.
func (s *shard) insert(e *entry, msg, offsets []byte) bool {
	if s.maxEntries == 0 || int64(e.length)+int64(unsafe.Sizeof(*e)) > s.maxBytes {
		return false
	}
	for s.n > 0 && (s.n+1 > s.maxEntries || s.bytes()+s.octets.Need(int(e.length)) > s.maxBytes) {
		s.evict()
	}
	n := s.allocRecord()
	s.addToIndex(uint64(e.hash), n)
	e.data = s.octets.Alloc(int(e.length), n)
	data := s.octets.At(e.data, int(e.length))
	copy(data[copy(data, msg):], offsets)
	*s.record(n) = *e
	s.pushNewest(n)
	s.count(n, 1)
	for s.n > 1 && s.bytes() > s.maxBytes { // the records or the index have grown
		if s.orders[1].oldest == n+1 {
			s.evictFrom(0) // not the new one
			continue
		}
		s.evict()
	}
	if s.bytes() > s.maxBytes {
		s.remove(n) // it is too large by itself
		return false
	}
	return true
}

// count adds by to the count of denials, if the record is one.
func (s *shard) count(n uint32, by int32) {
	if e := s.record(n); e.flags&flagDenial != 0 {
		s.denials.count(s.octets.At(e.data, int(e.size)), by)
	}
}

// evict removes the oldest entry, but a large one before all others if large
// ones have more than their share. Of an ordinary and a large one that were used
// in the same second, the large one goes.
func (s *shard) evict() {
	ordinary, large := s.orders[0].oldest, s.orders[1].oldest
	which := 0
	switch {
	case large == 0:
	case ordinary == 0, s.largeBytes > s.maxBytes/largeShare,
		int16(s.record(ordinary-1).touched-s.record(large-1).touched) >= 0:
		which = 1
	}
	s.evictFrom(which)
}

// evictFrom removes the oldest entry of an order, which is not empty.
func (s *shard) evictFrom(which int) {
	s.remove(s.orders[which].oldest - 1)
	s.evictions++
}

// release frees the octets of a record. Its place in the order stays.
func (s *shard) release(n uint32) {
	s.count(n, -1)
	e := s.record(n)
	class, sparse := s.octets.Release(e.data)
	*e = entry{newer: e.newer, older: e.older}
	if sparse {
		s.octets.Compact(class, func(owner uint32, to slab.Ref) { s.record(owner).data = to })
	}
}

// remove removes an entry.
func (s *shard) remove(n uint32) {
	s.removeFromIndex(uint64(s.record(n).hash), n)
	s.unlink(n)
	s.release(n)
	s.free = append(s.free, n)
}

// removeKey removes k's entry, if there is one.
func (s *shard) removeKey(h uint64, k *entryKey) {
	if n, ok := s.lookup(h, k); ok {
		s.remove(n)
	}
}

// allocRecord returns the number of a record that is not in use.
func (s *shard) allocRecord() uint32 {
	if len(s.free) == 0 {
		s.records = append(s.records, entry{})
		return uint32(len(s.records) - 1)
	}
	n := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	return n
}

// pushNewest makes a record that is not in the order the newest.
func (s *shard) pushNewest(n uint32) {
	e := s.record(n)
	o := &s.orders[e.large()]
	e.newer, e.older = 0, o.newest
	if o.newest != 0 {
		s.record(o.newest - 1).newer = n + 1
	} else {
		o.oldest = n + 1
	}
	o.newest = n + 1
	s.n++
	s.largeBytes += int64(e.large()) * int64(e.length)
}

// unlink takes a record out of the order.
func (s *shard) unlink(n uint32) {
	e := s.record(n)
	o := &s.orders[e.large()]
	if e.newer != 0 {
		s.record(e.newer - 1).older = e.older
	} else {
		o.newest = e.older
	}
	if e.older != 0 {
		s.record(e.older - 1).newer = e.newer
	} else {
		o.oldest = e.newer
	}
	e.newer, e.older = 0, 0
	s.n--
	s.largeBytes -= int64(e.large()) * int64(e.length)
}

// touch makes an entry the newest.
func (s *shard) touch(n uint32) {
	if s.orders[s.record(n).large()].newest != n+1 {
		s.unlink(n)
		s.pushNewest(n)
	}
}

// resize sets new bounds and evicts the oldest entries until they hold. If more
// memory is held than they allow, all entries move to new memory: the records
// and the index do not shrink with the number of entries.
func (s *shard) resize(maxEntries int, maxBytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.maxEntries, s.maxBytes = maxEntries, maxBytes
	for s.n > s.maxEntries {
		s.evict()
	}
	if s.bytes() <= s.maxBytes && s.n > 0 {
		return
	}
	records, octets, orders, before := s.records, s.octets, s.orders, s.n
	for _, o := range orders {
		for i := o.oldest; i != 0; i = s.record(i - 1).newer {
			s.count(i-1, -1)
		}
	}
	evicted := s.evictions
	s.reset()
	for _, which := range []int{1, 0} { // ordinary ones last, so that these stay
		for next := orders[which].oldest; next != 0; {
			e := records[next-1]
			next = e.newer
			data := octets.At(e.data, int(e.length))
			s.insert(&e, data[:e.size], data[e.size:])
		}
	}
	s.evictions = evicted + uint64(before-s.n)
}

// flush replaces all memory instead of removing entry by entry: it holds the
// lock for a moment only.
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

func (s *shard) addTo(t *Stats) {
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
