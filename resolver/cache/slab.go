package cache

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"unsafe"
)

// Octets are kept in slots of some dozen sizes, cut from pages, so that the
// garbage collector sees a page for some hundred entries and what goes makes
// room for what comes. What is larger than the largest slot has memory of its
// own. Where sizes change with time, pages would stay that are hardly filled:
// once so many slots of a size are free that two pages of them could go, the
// emptier are moved together. So what is held is what is used but for some pages.

const (
	unit     = 32 // what addresses count in
	pageSize = 16 << 10
	// A slab of less than large has small pages, and keeps no empty ones.
	smallPage = 4 << 10
	large     = 256 << 10
	maxSlot   = 2048
	// Sizes of slots are multiples of unit up to linear, and then eight to a
	// doubling.
	linear  = 8 * unit
	classes = 8 + 8*3
	// ownerLen is the octets in front of each slot that say whose it is: a
	// record's number and one, or 0 if it is free.
	ownerLen = 4
)

// class is the index of the smallest slot size that n octets fit into.
func class(n int) int {
	u := (n + unit - 1) / unit
	if u <= 8 {
		return max(u, 1) - 1
	}
	shift := bits.Len(uint(u-1)) - 4 // the step is 1<<shift units
	return 8 + 8*(shift) + (u-1)>>shift - 8
}

// slotSize is in octets.
func slotSize(c int) int {
	if c < 8 {
		return (c + 1) * unit
	}
	shift := (c - 8) / 8
	return ((c-8)%8 + 9) << shift * unit
}

// page is slots of one class, or one large thing.
type page struct {
	octets []byte
	class  int16 // -1: one large thing
	used   int16 // slots in use
	fresh  int16 // the first slot that was never used
	free   int16 // index of the first free slot and one; 0 is none. Each holds the next
	// neighbours in the list of pages of the class that have room; 0 is none,
	// and numbers are indexes and one
	next, prev uint32
}

// slab is a shard's octets. The shard's lock guards it.
type slab struct {
	pages  []page
	spare  []uint32 // numbers of pages that are not in use
	room   [classes]uint32
	vacant [classes]int32 // free slots
	idle   []byte         // a page's octets that nobody uses at the moment
	held   int64          // octets of pages, idle ones included
}

// ref is where something is: the page's index and the unit in it.
type ref uint32

const pageUnits = pageSize / unit // of a ref; larger things begin at 0

func (r ref) page() uint32 { return uint32(r) / pageUnits }

// need is how much more will be held for n octets.
func (s *slab) need(n int) int64 {
	n += ownerLen
	switch {
	case n > maxSlot:
		return int64(n)
	case s.room[class(n)] != 0, s.idle != nil:
		return 0
	case s.held < large:
		return smallPage
	}
	return pageSize
}

// slots is how many a page has of a class.
func (p *page) slots() int { return len(p.octets) / slotSize(int(p.class)) }

// alloc makes room for n octets of an owner.
func (s *slab) alloc(n int, owner uint32) ref {
	n += ownerLen
	if n > maxSlot {
		i := s.newPage(slices.Grow([]byte(nil), n), -1) // what is rounded up is held, too
		s.pages[i].octets = s.pages[i].octets[:n]
		binary.NativeEndian.PutUint32(s.pages[i].octets, owner+1)
		return ref(i * pageUnits)
	}
	c := class(n)
	if s.room[c] == 0 {
		octets := s.idle
		s.idle = nil
		switch {
		case octets != nil:
			s.held -= int64(cap(octets)) // newPage counts it
		case s.held < large:
			octets = make([]byte, smallPage)
		default:
			octets = make([]byte, pageSize)
		}
		i := s.newPage(octets, int16(c))
		s.vacant[c] += int32(s.pages[i].slots())
		s.link(i)
	}
	i := s.room[c] - 1
	p := &s.pages[i]
	size := slotSize(c)
	var slot int
	if p.free != 0 {
		slot = int(p.free) - 1
		p.free = int16(binary.NativeEndian.Uint16(p.octets[slot*size+ownerLen:]))
	} else {
		slot = int(p.fresh)
		p.fresh++
	}
	p.used++
	s.vacant[c]--
	binary.NativeEndian.PutUint32(p.octets[slot*size:], owner+1)
	if p.full(size) {
		s.unlink(i)
	}
	return ref(i*pageUnits + uint32(slot*size/unit))
}

// at is the octets at r, n of them.
func (s *slab) at(r ref, n int) []byte {
	at := int(uint32(r)%pageUnits)*unit + ownerLen
	return s.pages[r.page()].octets[at : at+n : at+n]
}

// release gives up what alloc returned. If that leaves a class with many slots
// that are free, it is to be packed.
func (s *slab) release(r ref) (c int, sparse bool) {
	i := r.page()
	p := &s.pages[i]
	if p.class < 0 {
		s.dropPage(i)
		return 0, false
	}
	size := slotSize(int(p.class))
	slot := int(uint32(r)%pageUnits) * unit / size
	full := p.full(size)
	binary.NativeEndian.PutUint32(p.octets[slot*size:], 0)
	binary.NativeEndian.PutUint16(p.octets[slot*size+ownerLen:], uint16(p.free))
	p.free = int16(slot + 1)
	p.used--
	c = int(p.class)
	s.vacant[c]++
	if full {
		s.link(i)
	}
	// The last page of a class is kept, or a class at the edge of a page would
	// make one time and again.
	if p.used == 0 && (p.next != 0 || p.prev != 0 || s.held < large) {
		s.unlink(i)
		s.dropPage(i)
	}
	enough := 2 * pageSize
	if s.held < large {
		enough = 2 * smallPage
	}
	return c, int(s.vacant[c])*size >= enough
}

// pack moves what one of the emptier pages of a class has to others, gives the
// page up, and tells where things are now. Each thing is moved about once for
// each that goes, at the most.
func (s *slab) pack(c int, moved func(owner uint32, to ref)) {
	const looks = 8
	least := uint32(0)
	for i, n := s.room[c], 0; i != 0 && n < looks; i, n = s.pages[i-1].next, n+1 {
		if least == 0 || s.pages[i-1].used < s.pages[least-1].used {
			least = i
		}
	}
	if least == 0 {
		return
	}
	from := least - 1
	p := &s.pages[from]
	free := p.slots() - int(p.used)
	if int(s.vacant[c])-free < int(p.used) {
		return // the others have no room for it
	}
	// Nothing of the page is room any more.
	s.unlink(from)
	s.vacant[c] -= int32(free)
	size := slotSize(c)
	for at := 0; at < int(p.fresh)*size; at += size {
		owner := binary.NativeEndian.Uint32(p.octets[at:])
		if owner == 0 {
			continue
		}
		to := s.alloc(size-ownerLen, owner-1)
		p = &s.pages[from]
		copy(s.at(to, size-ownerLen), p.octets[at+ownerLen:at+size])
		moved(owner-1, to)
	}
	p.used = 0
	s.free(from)
}

// full reports whether there is no room for a slot of that size.
func (p *page) full(size int) bool {
	return p.free == 0 && (int(p.fresh)+1)*size > len(p.octets)
}

func (s *slab) newPage(octets []byte, class int16) uint32 {
	s.held += int64(cap(octets))
	p := page{octets: octets, class: class}
	if n := len(s.spare); n > 0 {
		i := s.spare[n-1]
		s.spare = s.spare[:n-1]
		s.pages[i] = p
		return i
	}
	s.pages = append(s.pages, p)
	return uint32(len(s.pages) - 1)
}

// dropPage gives up an empty page.
func (s *slab) dropPage(i uint32) {
	if p := &s.pages[i]; p.class >= 0 {
		s.vacant[p.class] -= int32(p.slots())
	}
	s.free(i)
}

// free gives up a page, whose slots are counted no more. One is kept, so that
// what grows as another class shrinks makes no garbage.
func (s *slab) free(i uint32) {
	p := &s.pages[i]
	if s.idle == nil && p.class >= 0 && len(p.octets) == pageSize {
		s.idle = p.octets
	} else {
		s.held -= int64(cap(p.octets))
	}
	*p = page{}
	s.spare = append(s.spare, i)
}

// memory is what is held: the pages, and what tells of them.
func (s *slab) memory() int64 {
	return s.held + int64(cap(s.pages))*int64(unsafe.Sizeof(page{})) + 4*int64(cap(s.spare))
}

// link puts a page into the list of those of its class that have room.
func (s *slab) link(i uint32) {
	p := &s.pages[i]
	p.next, p.prev = s.room[p.class], 0
	if p.next != 0 {
		s.pages[p.next-1].prev = i + 1
	}
	s.room[p.class] = i + 1
}

func (s *slab) unlink(i uint32) {
	p := &s.pages[i]
	if p.next != 0 {
		s.pages[p.next-1].prev = p.prev
	}
	if p.prev != 0 {
		s.pages[p.prev-1].next = p.next
	} else {
		s.room[p.class] = p.next
	}
	p.next, p.prev = 0, 0
}
