package cache

import (
	"encoding/binary"
	"math/bits"
)

// Octets are kept in slots of some dozen sizes, cut from pages, so that the
// garbage collector sees a page for some hundred entries and what goes makes
// room for what comes. What is larger than the largest slot has memory of its
// own.

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
	pages []page
	spare []uint32 // numbers of pages that are not in use
	room  [classes]uint32
	held  int64 // octets of pages
}

// ref is where something is: the page's index and the unit in it.
type ref uint32

const pageUnits = pageSize / unit // of a ref; larger things begin at 0

func (r ref) page() uint32 { return uint32(r) / pageUnits }

// alloc makes room for n octets.
func (s *slab) alloc(n int) ref {
	if n > maxSlot {
		i := s.newPage(make([]byte, n), -1)
		return ref(i * pageUnits)
	}
	c := class(n)
	if s.room[c] == 0 {
		n := pageSize
		if s.held < large {
			n = smallPage
		}
		s.link(s.newPage(make([]byte, n), int16(c)))
	}
	i := s.room[c] - 1
	p := &s.pages[i]
	size := slotSize(c)
	var slot int
	if p.free != 0 {
		slot = int(p.free) - 1
		p.free = int16(binary.NativeEndian.Uint16(p.octets[slot*size:]))
	} else {
		slot = int(p.fresh)
		p.fresh++
	}
	p.used++
	if p.full(size) {
		s.unlink(i)
	}
	return ref(i*pageUnits + uint32(slot*size/unit))
}

// at is the octets at r, n of them.
func (s *slab) at(r ref, n int) []byte {
	at := int(uint32(r)%pageUnits) * unit
	return s.pages[r.page()].octets[at : at+n : at+n]
}

// release gives up what alloc returned.
func (s *slab) release(r ref) {
	i := r.page()
	p := &s.pages[i]
	if p.class < 0 {
		s.dropPage(i)
		return
	}
	size := slotSize(int(p.class))
	slot := int(uint32(r)%pageUnits) * unit / size
	full := p.full(size)
	binary.NativeEndian.PutUint16(p.octets[slot*size:], uint16(p.free))
	p.free = int16(slot + 1)
	p.used--
	if full {
		s.link(i)
	}
	// The last page of a class is kept, or a class at the edge of a page would
	// make one time and again.
	if p.used == 0 && (p.next != 0 || p.prev != 0 || s.held < large) {
		s.unlink(i)
		s.dropPage(i)
	}
}

// full reports whether there is no room for a slot of that size.
func (p *page) full(size int) bool {
	return p.free == 0 && (int(p.fresh)+1)*size > len(p.octets)
}

func (s *slab) newPage(octets []byte, class int16) uint32 {
	s.held += int64(len(octets))
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

func (s *slab) dropPage(i uint32) {
	s.held -= int64(len(s.pages[i].octets))
	s.pages[i] = page{}
	s.spare = append(s.spare, i)
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
