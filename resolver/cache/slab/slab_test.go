package slab

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func TestSlotSizes(t *testing.T) {
	for n := 1; n <= maxSlot; n++ {
		c := class(n)
		if slotSize(c) < n || c > 0 && slotSize(c-1) >= n {
			t.Fatalf("%d octets in slots of %d", n, slotSize(c))
		}
		if n > 256 && slotSize(c) > n+n/8+unit {
			t.Errorf("%d octets in slots of %d", n, slotSize(c))
		}
	}
	if c := class(maxSlot); c != classes-1 {
		t.Errorf("%d classes", c+1)
	}
}

// TestSlab allocates and releases at random: no octets in use are overwritten,
// and in the end no page is left that could be freed.
func TestSlab(t *testing.T) {
	var s Slab
	rng := rand.New(rand.NewPCG(5, 6))
	type kept struct {
		r    Ref
		want []byte
	}
	byOwner := map[uint32]*kept{}
	owner := uint32(0)
	moves, releases := 0, 0
	release := func(r Ref) {
		releases++
		if c, sparse := s.Release(r); sparse {
			s.Compact(c, func(owner uint32, to Ref) {
				byOwner[owner].r = to
				moves++
			})
		}
	}
	var all []*kept
	size := func() int {
		switch rng.IntN(20) {
		case 0:
			return 1 + rng.IntN(70_000)
		case 1, 2:
			return 1 + rng.IntN(maxSlot)
		}
		return 1 + rng.IntN(300)
	}
	data := 0
	for step := range 60_000 {
		grow := 3000 // and then shrink, and so on
		if step/15_000%2 == 1 {
			grow = 50
		}
		if len(all) < grow && rng.IntN(8) > 0 {
			n := size()
			owner++
			k := &kept{s.Alloc(n, owner), make([]byte, n)}
			byOwner[owner] = k
			for i := range k.want {
				k.want[i] = byte(rng.Uint32())
			}
			copy(s.At(k.r, n), k.want)
			all = append(all, k)
			data += n
		} else if len(all) > 0 {
			i := rng.IntN(len(all))
			k := all[i]
			if !bytes.Equal(s.At(k.r, len(k.want)), k.want) {
				t.Fatalf("step %d: %d octets were overwritten", step, len(k.want))
			}
			release(k.r)
			data -= len(k.want)
			all[i] = all[len(all)-1]
			all = all[:len(all)-1]
		}
	}
	if moves == 0 || moves > releases {
		t.Errorf("%d moves for %d releases", moves, releases)
	}
	held := int64(cap(s.idle))
	for _, p := range s.pages {
		held += int64(cap(p.octets))
	}
	if held != s.held {
		t.Errorf("%d octets held, counted %d", held, s.held)
	}
	for _, k := range all {
		if !bytes.Equal(s.At(k.r, len(k.want)), k.want) {
			t.Fatalf("%d octets were overwritten", len(k.want))
		}
		release(k.r)
	}
	for c, n := range s.vacant {
		slots := 0
		for _, p := range s.pages {
			if p.octets != nil && int(p.class) == c {
				slots += p.slots()
			}
		}
		if int(n) != slots {
			t.Errorf("class %d: %d free slots, counted %d", c, slots, n)
		}
	}
	if s.held > classes*pageSize {
		t.Errorf("%d octets held with nothing stored", s.held)
	}
}
