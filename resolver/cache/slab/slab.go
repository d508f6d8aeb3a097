// Package slab stores octets for the cache: in slots of some dozen sizes, cut
// from pages, so that the garbage collector sees one page for some hundred
// entries, and freed slots are used again. Octets larger than the largest slot
// have a page of their own.
//
// When the sizes change with time, pages with few slots in use would remain. So
// once two pages of a size could be freed, the caller is told to call
// [Slab.Compact], which moves the octets of an emptier page to others. The memory
// held is then the memory in use, plus a few pages.
package slab

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"unsafe"
)

const (
	unit     = 32 // octets that one step of a Ref counts
	pageSize = 16 << 10
	// A slab that holds less than large has small pages and keeps no empty one.
	smallPage = 4 << 10
	large     = 256 << 10
	maxSlot   = 2048
	// Slot sizes are multiples of unit up to 8 units; beyond that there are eight
	// to each doubling.
	classes = 8 + 8*3
	// ownerLen is the length of the head of each slot: its owner's number plus
	// one, or 0 if the slot is free.
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

// slotSize is the size in octets of the slots of a class.
func slotSize(c int) int {
	if c < 8 {
		return (c + 1) * unit
	}
	shift := (c - 8) / 8
	return ((c-8)%8 + 9) << shift * unit
}

// page holds slots of one class, or octets larger than any slot.
type page struct {
	octets []byte
	class  int16 // -1: octets larger than any slot
	used   int16 // slots in use
	fresh  int16 // the first slot that was never used
	free   int16 // the first freed slot: its index plus one, 0 is none. Each freed slot holds the next
	// next and prev link the pages of the class that have a free slot: index
	// plus one, 0 is none.
	next, prev uint32
}

// Slab stores octets under the numbers of their owners. The zero Slab is empty
// and ready. It is not safe for concurrent use: the caller's lock guards it.
type Slab struct {
	pages   []page
	spare   []uint32        // indexes of pages that are not in use
	partial [classes]uint32 // by class: the first page with a free slot, index plus one
	vacant  [classes]int32  // by class: free slots
	idle    []byte          // the octets of one page that is kept for the next use
	held    int64           // octets of all pages, the idle one included
}

// Ref says where octets are stored: the page's index, and the unit within it.
type Ref uint32

const pageUnits = pageSize / unit // units of a page in a Ref; a larger page is addressed by its start

func (r Ref) page() uint32 { return uint32(r) / pageUnits }

// Need returns how many octets more the slab holds after Alloc of n octets.
func (s *Slab) Need(n int) int64 {
	n += ownerLen
	switch {
	case n > maxSlot:
		return int64(n)
	case s.partial[class(n)] != 0, s.idle != nil:
		return 0
	case s.held < large:
		return smallPage
	}
	return pageSize
}

// slots is how many slots the page has.
func (p *page) slots() int { return len(p.octets) / slotSize(int(p.class)) }

// Alloc reserves n octets for an owner. Their content is undefined until the
// caller writes to [Slab.At].
func (s *Slab) Alloc(n int, owner uint32) Ref {
	n += ownerLen
	if n > maxSlot {
		i := s.newPage(slices.Grow([]byte(nil), n), -1) // held counts the capacity, which may be rounded up
		s.pages[i].octets = s.pages[i].octets[:n]
		binary.NativeEndian.PutUint32(s.pages[i].octets, owner+1)
		return Ref(i * pageUnits)
	}
	c := class(n)
	if s.partial[c] == 0 {
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
	i := s.partial[c] - 1
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
	return Ref(i*pageUnits + uint32(slot*size/unit))
}

// At returns the n octets at r. The slab owns them: they are valid until the
// next Release of r, or the next Compact.
func (s *Slab) At(r Ref, n int) []byte {
	at := int(uint32(r)%pageUnits)*unit + ownerLen
	return s.pages[r.page()].octets[at : at+n : at+n]
}

// Release frees what Alloc reserved. sparse reports that class c has so many
// free slots that the caller should call Compact for it.
func (s *Slab) Release(r Ref) (c int, sparse bool) {
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
	// The last page of a class is kept: a class that grows and shrinks by one slot
	// would make a new page each time.
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

// Compact moves the octets of one of the emptier pages of a class to other
// pages, frees the page, and calls moved with each owner and its new Ref. It does
// nothing if the other pages have too few free slots. Over time each Release
// costs about one move at the most.
func (s *Slab) Compact(c int, moved func(owner uint32, to Ref)) {
	const compared = 8 // pages
	least := uint32(0)
	for i, n := s.partial[c], 0; i != 0 && n < compared; i, n = s.pages[i-1].next, n+1 {
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
		return // the others have too few free slots
	}
	// From here on, nothing is allocated in this page.
	s.unlink(from)
	s.vacant[c] -= int32(free)
	size := slotSize(c)
	for at := 0; at < int(p.fresh)*size; at += size {
		owner := binary.NativeEndian.Uint32(p.octets[at:])
		if owner == 0 {
			continue
		}
		to := s.Alloc(size-ownerLen, owner-1)
		p = &s.pages[from]
		copy(s.At(to, size-ownerLen), p.octets[at+ownerLen:at+size])
		moved(owner-1, to)
	}
	p.used = 0
	s.free(from)
}

// full reports whether the page has no free slot of its size.
func (p *page) full(size int) bool {
	return p.free == 0 && (int(p.fresh)+1)*size > len(p.octets)
}

func (s *Slab) newPage(octets []byte, class int16) uint32 {
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

// dropPage frees an empty page, and its slots count no more.
func (s *Slab) dropPage(i uint32) {
	if p := &s.pages[i]; p.class >= 0 {
		s.vacant[p.class] -= int32(p.slots())
	}
	s.free(i)
}

// free frees a page whose slots are no longer counted. The octets of one page
// are kept, so that one class can grow as another shrinks without garbage.
func (s *Slab) free(i uint32) {
	p := &s.pages[i]
	if s.idle == nil && p.class >= 0 && len(p.octets) == pageSize {
		s.idle = p.octets
	} else {
		s.held -= int64(cap(p.octets))
	}
	*p = page{}
	s.spare = append(s.spare, i)
}

// Memory returns how many octets the slab holds: its pages, and the tables of
// pages.
func (s *Slab) Memory() int64 {
	return s.held + int64(cap(s.pages))*int64(unsafe.Sizeof(page{})) + 4*int64(cap(s.spare))
}

// link puts a page first in the list of pages of its class with a free slot.
func (s *Slab) link(i uint32) {
	p := &s.pages[i]
	p.next, p.prev = s.partial[p.class], 0
	if p.next != 0 {
		s.pages[p.next-1].prev = i + 1
	}
	s.partial[p.class] = i + 1
}

// unlink takes a page out of that list.
func (s *Slab) unlink(i uint32) {
	p := &s.pages[i]
	if p.next != 0 {
		s.pages[p.next-1].prev = p.prev
	}
	if p.prev != 0 {
		s.pages[p.prev-1].next = p.next
	} else {
		s.partial[p.class] = p.next
	}
	p.next, p.prev = 0, 0
}
