package response

import (
	"encoding/binary"
	"math/rand/v2"

	"rideau/resolver/wire"
)

// writer appends records to a message. Names are compressed (RFC 1035 section
// 4.1.4), so that records that fitted into one message fit into another, in
// whatever order. The work is linear in the octets.
type writer struct {
	out  []byte
	base int // where the message begins
	max  int // its longest length
	seed uint32
	// names are where the message has names, by their hash.
	names  [1 << 11]place
	hashes [wire.MaxName / 2]uint32
	name   wire.Name
}

// place is the offset of a name in a message; 0 is none.
type place struct {
	hash uint32
	off  uint16
}

// newWriter returns a writer that has appended the header and the question of a
// message to dst, and counts no records.
func newWriter(dst, msg []byte, max int) *writer {
	walk := wire.NewWalk(msg)
	base := len(dst)
	dst = append(dst, msg[:walk.Offset()]...)
	for _, s := range []wire.Section{wire.Answer, wire.Authority, wire.Additional} {
		wire.SetCount(dst[base:], s, 0)
	}
	return continueWriter(dst, base, max)
}

// continueWriter returns a writer that goes on with the message that begins at
// base. Of its names it knows that of the question.
func continueWriter(dst []byte, base, max int) *writer {
	w := &writer{out: dst, base: base, max: max, seed: rand.Uint32()}
	msg := dst[base:]
	if _, err := w.name.Parse(msg, wire.HeaderLen); err == nil {
		w.hash()
		w.learn(w.name.Labels(), wire.HeaderLen)
	}
	return w
}

// add appends a record of msg and counts it. It reports false, and appends
// nothing, if the record is malformed or the message would be too long.
func (w *writer) add(msg []byte, r *wire.Record) bool {
	start := len(w.out)
	if w.record(msg, r) && len(w.out)-w.base <= w.max {
		wire.AddCount(w.out, w.base, r.Section, 1)
		return true
	}
	w.out = w.out[:start]
	return false
}

// record appends a record. What a sender may not compress (RFC 3597 section 4) is
// compressed only where it was.
func (w *writer) record(msg []byte, r *wire.Record) bool {
	if !w.copyName(msg, r.Off, true) {
		return false
	}
	w.out = append(w.out, msg[r.TTLOff-4:r.TTLOff+4]...) // type, class, TTL
	length := len(w.out)
	w.out = append(w.out, 0, 0)
	head, names, may := wire.DataNames(msg, r)
	if r.Type == wire.TypeRRSIG || r.Type == wire.TypeNSEC {
		head, names = 0, 0 // Parse checks no name in them, and their case is signed
	}
	off := r.DataOff + head
	if off > r.End {
		return false
	}
	w.out = append(w.out, msg[r.DataOff:off]...)
	for range names {
		next := wire.SkipName(msg, off)
		if next < 0 || next > r.End || !w.copyName(msg, off, may || isCompressed(msg, off)) {
			return false
		}
		off = next
	}
	w.out = append(w.out, msg[off:r.End]...)
	binary.BigEndian.PutUint16(w.out[length:], uint16(len(w.out)-length-2))
	return true
}

// isCompressed reports whether the name at off ends with a pointer.
func isCompressed(msg []byte, off int) bool {
	for msg[off] != 0 && msg[off] < 0xC0 {
		off += 1 + int(msg[off])
	}
	return msg[off] != 0
}

// copyName appends the name at off.
func (w *writer) copyName(msg []byte, off int, compress bool) bool {
	if _, err := w.name.Parse(msg, off); err != nil {
		return false
	}
	n := w.name.Labels()
	w.hash()
	known, to := n, 0 // the first label from which on the name is known, and where
	if compress {
		for i := range n {
			if to = w.find(i); to > 0 {
				known = i
				break
			}
		}
	}
	at := len(w.out) - w.base
	if to == 0 {
		w.out = append(w.out, w.name.Bytes()...)
	} else {
		w.out = append(w.out, w.name.Bytes()[:w.name.SuffixOffset(n-known)]...)
		w.out = binary.BigEndian.AppendUint16(w.out, 0xC000|uint16(to))
	}
	w.learn(known, at)
	return true
}

// hash sets hashes to those of the name and of each name above it, by the number
// of labels that are left out.
func (w *writer) hash() {
	h := w.seed
	b := w.name.Bytes()
	n := w.name.Labels()
	end := len(b)
	for i := n - 1; i >= 0; i-- {
		start := w.name.SuffixOffset(n - i)
		for _, c := range b[start:end] {
			h = (h ^ uint32(c)) * 16777619
		}
		w.hashes[i], end = h, start
	}
}

// probes is how many places are tried for one hash.
const probes = 4

// find returns where the message has the name without its first labels, or 0.
func (w *writer) find(labels int) int {
	h := w.hashes[labels]
	for i := range uint32(probes) {
		p := &w.names[(h^h>>16+i)%uint32(len(w.names))]
		if p.off == 0 {
			return 0
		}
		if p.hash == h && w.has(int(p.off), w.name.Suffix(w.name.Labels()-labels)) {
			return int(p.off)
		}
	}
	return 0
}

// has reports whether the name at off is this one, in any letter case.
func (w *writer) has(off int, name []byte) bool {
	m := w.out[w.base:]
	for {
		for m[off] >= 0xC0 {
			off = int(m[off]&0x3F)<<8 | int(m[off+1])
		}
		n := 1 + int(m[off])
		if n > len(name) || !wire.EqualFold(m[off:off+n], name[:n]) {
			return false
		}
		if n == 1 {
			return true
		}
		off, name = off+n, name[n:]
	}
}

// learn notes that the message has so many labels of the name at off, and the rest
// behind them, as far as a pointer reaches.
func (w *writer) learn(labels, off int) {
	n := w.name.Labels()
	for i := range labels {
		at := off + w.name.SuffixOffset(n-i)
		if at >= 1<<14 {
			return
		}
		h := w.hashes[i]
		for k := range uint32(probes) {
			p := &w.names[(h^h>>16+k)%uint32(len(w.names))]
			if p.off == 0 {
				*p = place{h, uint16(at)}
			}
			if p.hash == h {
				break
			}
		}
	}
}
