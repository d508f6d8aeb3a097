// Package prefix holds an immutable table from IP prefixes to numbers in
// which the longest matching prefix wins.
//
// The prefixes are flattened into ranges that do not overlap, so that a
// look-up is one binary search in a slice without pointers, whatever the
// nesting. Tables here hold client groups and listed addresses: tens to some
// hundred thousand prefixes, built once for each reload.
package prefix

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
)

// key is an address as a number; IPv4 uses lo alone.
type key struct{ hi, lo uint64 }

func (k key) compare(o key) int {
	if c := cmp.Compare(k.hi, o.hi); c != 0 {
		return c
	}
	return cmp.Compare(k.lo, o.lo)
}

// next is the key after k; the zero key after the last.
func (k key) next() key {
	k.lo++
	if k.lo == 0 {
		k.hi++
	}
	return k
}

// ranges maps each address to the value of the last start that is not above it.
type ranges struct {
	starts []key
	values []uint32
}

func (r *ranges) lookup(k key) uint32 {
	lo, hi := 0, len(r.starts)
	for lo < hi {
		m := int(uint(lo+hi) >> 1)
		if s := &r.starts[m]; s.hi < k.hi || s.hi == k.hi && s.lo <= k.lo {
			lo = m + 1
		} else {
			hi = m
		}
	}
	if lo == 0 {
		return 0
	}
	return r.values[lo-1]
}

// Table maps addresses to values. The zero Table is empty. It is immutable
// and safe for concurrent use.
type Table struct{ v4, v6 ranges }

// Lookup returns the value of the longest prefix that holds a; 0 if none does. An
// IPv4-mapped address counts as IPv4. It does not allocate.
func (t *Table) Lookup(a netip.Addr) uint32 {
	if a.Is4() || a.Is4In6() {
		b := a.As4()
		return t.v4.lookup(key{lo: uint64(binary.BigEndian.Uint32(b[:]))})
	}
	if !a.IsValid() {
		return 0
	}
	b := a.As16()
	return t.v6.lookup(key{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])})
}

// Empty reports whether the table was made of no entries.
func (t *Table) Empty() bool { return len(t.v4.starts) == 0 && len(t.v6.starts) == 0 }

// Entry is a prefix and its value. The value 0 means "none" and can exclude part of a
// shorter prefix.
type Entry struct {
	Prefix netip.Prefix
	Value  uint32
}

// New makes a table. Of entries with the same prefix the last counts. Bits
// of an address beyond its prefix's length are ignored, and so are invalid prefixes.
func New(entries []Entry) *Table {
	four := 0
	for _, e := range entries {
		if a := e.Prefix.Addr(); a.Is4() || a.Is4In6() {
			four++
		}
	}
	v4, v6 := make([]span, 0, four), make([]span, 0, len(entries)-four)
	for _, e := range entries {
		p := e.Prefix
		if !p.IsValid() {
			continue
		}
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		p = p.Masked()
		if p.Addr().Is4() {
			b := p.Addr().As4()
			first := uint64(binary.BigEndian.Uint32(b[:]))
			v4 = append(v4, span{key{lo: first}, key{lo: first | (1<<(32-p.Bits()) - 1)}, p.Bits(), e.Value})
			continue
		}
		b := p.Addr().As16()
		s := span{key{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}, key{}, p.Bits(), e.Value}
		s.last = s.first
		if host := 128 - p.Bits(); host >= 64 {
			s.last.lo = ^uint64(0)
			s.last.hi |= 1<<(host-64) - 1
		} else {
			s.last.lo |= 1<<host - 1
		}
		v6 = append(v6, s)
	}
	return &Table{flatten(v4), flatten(v6)}
}

// span is a prefix as a range of addresses, first and last included.
type span struct {
	first, last key
	bits        int
	value       uint32
}

// flatten makes ranges of nested spans. Prefixes nest or are disjoint, so
// a stack of the open ones suffices.
func flatten(spans []span) ranges {
	slices.SortStableFunc(spans, func(a, b span) int {
		if c := a.first.compare(b.first); c != 0 {
			return c
		}
		return cmp.Compare(a.bits, b.bits)
	})
	// A prefix begins a range, and another begins where it ends.
	r := ranges{make([]key, 0, 2*len(spans)), make([]uint32, 0, 2*len(spans))}
	var open []span
	put := func(k key, v uint32) {
		if n := len(r.starts); n > 0 && r.starts[n-1] == k {
			r.values[n-1] = v
			return
		}
		r.starts, r.values = append(r.starts, k), append(r.values, v)
	}
	closeTop := func() {
		top := open[len(open)-1]
		open = open[:len(open)-1]
		end := top.last.next()
		if end == (key{}) {
			return // the end of the address space
		}
		v := uint32(0)
		if len(open) > 0 {
			v = open[len(open)-1].value
		}
		put(end, v)
	}
	for _, s := range spans {
		for len(open) > 0 && open[len(open)-1].last.compare(s.first) < 0 {
			closeTop()
		}
		if n := len(open); n > 0 && open[n-1].first == s.first && open[n-1].last == s.last {
			open[n-1].value = s.value
		} else {
			open = append(open, s)
		}
		put(s.first, s.value)
	}
	for len(open) > 0 {
		closeTop()
	}
	return ranges{slices.Clone(r.starts), slices.Clone(r.values)}
}
