package wire

import "encoding/binary"

// What a response has that does not belong to its question is nobody's business
// and could be anybody's word: a forwarder keeps and passes on what was asked
// for. Nothing of this allocates unless something has to go.

const (
	// maxRelated is how many records a response may have, which is more than
	// fit into one.
	maxRelated = MaxMessage / 11
	// maxChain is how long a chain of aliases is followed.
	maxChain = 32
	// maxCompared bounds the comparisons of names for one response.
	maxCompared = 20_000
)

// relation finds which records of a response belong to its question.
type relation struct {
	msg      []byte
	names    [maxChain]int // where names stand that were asked for or are led to
	n        int
	below    [maxChain]int // targets of DNAME records: names below may be led to
	nBelow   int
	keep     [(maxRelated + 63) / 64]uint64
	compared int
}

// AppendRelated takes out of a response what does not belong to its question.
// Without such a record it returns msg and 0. Otherwise the rest is appended to
// dst, with names written out, and their number is returned; ok is false if
// that cannot be done, or if no answer is left where there was one.
//
// There belong, if they are of the question's class: of the answer section, the records of the question's name and of
// those that aliases lead to (CNAME, and DNAME above); of the authority section
// SOA records and what proves a denial, and records of names that are at or above
// those. Signatures and proofs of denial belong with do alone, the query's bit, unless
// they are of the type that was asked for (RFC 4035 section 3.2.1). msg was accepted by [Response.Parse],
// which looks at the additional section, and has to be again if anything went that records
// there belonged to.
func AppendRelated(dst, msg []byte, do bool) (out []byte, dropped int, ok bool) {
	r := relation{msg: msg, n: 1}
	r.names[0] = HeaderLen
	r.follow()
	answers := 0
	q := NewWalk(msg).question()
	w := NewWalk(msg)
	var rec Record
	for i := 0; w.Next(&rec); i++ {
		if i >= maxRelated || rec.Class != q.Class && rec.Type != TypeOPT || !do && rec.Type != q.Type && rec.Type.proves() || !r.belongs(&rec) {
			dropped++
			continue
		}
		r.keep[i/64] |= 1 << (i % 64)
		if rec.Section == Answer {
			answers++
		}
	}
	switch {
	case w.Err() != nil:
		return dst, dropped, false
	case dropped == 0:
		return msg, 0, true
	case answers == 0 && Count(msg, Answer) > 0:
		return dst, dropped, false
	}
	out, ok = r.rebuild(dst)
	return out, dropped, ok
}

// question is the type and class that a response's question asks for. It was read before.
func (w Walk) question() Record {
	q := w.msg[w.off-4:]
	return Record{Type: Type(binary.BigEndian.Uint16(q)), Class: Class(binary.BigEndian.Uint16(q[2:]))}
}

// proves reports whether records of the type are there to prove others, or
// that there are none.
func (t Type) proves() bool {
	return t == TypeRRSIG || t == TypeNSEC || t == TypeNSEC3
}

// follow finds the names that aliases lead to, in whatever order they stand.
func (r *relation) follow() {
	for more := true; more; {
		more = false
		w := NewWalk(r.msg)
		var rec Record
		for w.Next(&rec) && rec.Section == Answer {
			switch rec.Type {
			case TypeCNAME:
				if r.n < maxChain && r.led(rec.Off) && !r.led(rec.DataOff) {
					r.names[r.n] = rec.DataOff
					r.n++
					more = true
				}
			case TypeDNAME:
				if r.nBelow < maxChain && r.above(rec.Off) && !r.isBelow(rec.DataOff) {
					r.below[r.nBelow] = rec.DataOff
					r.nBelow++
					more = true
				}
			}
		}
	}
}

// belongs reports whether a record does.
func (r *relation) belongs(rec *Record) bool {
	switch rec.Section {
	case Answer:
		// A DNAME record's name is above one that was asked for, and so is
		// that of its signature.
		return r.led(rec.Off) || (rec.Type == TypeDNAME || rec.Type == TypeRRSIG) && r.above(rec.Off)
	case Authority:
		switch rec.Type {
		case TypeSOA, TypeNSEC, TypeNSEC3, TypeRRSIG:
			return true
		}
		return r.above(rec.Off)
	}
	return true
}

// led reports whether the name at off was asked for or is led to.
func (r *relation) led(off int) bool {
	for _, n := range r.names[:r.n] {
		if r.same(off, n) {
			return true
		}
	}
	return r.nBelow > 0 && r.isBelow(off)
}

// isBelow reports whether the name at off is at or below a DNAME's target.
func (r *relation) isBelow(off int) bool {
	for _, t := range r.below[:r.nBelow] {
		if r.within(off, t) {
			return true
		}
	}
	return false
}

// above reports whether the name at off is one that was asked for or is led
// to, or above such a one.
func (r *relation) above(off int) bool {
	for _, n := range r.names[:r.n] {
		if r.within(n, off) {
			return true
		}
	}
	return r.nBelow > 0 && r.isBelow(off)
}

// rebuild appends the message with what is kept.
func (r *relation) rebuild(dst []byte) ([]byte, bool) {
	w := NewWalk(r.msg)
	base := len(dst)
	out := append(dst, r.msg[:w.Offset()]...)
	for _, s := range []Section{Answer, Authority, Additional} {
		SetCount(out[base:], s, 0)
	}
	var name Name
	var rec Record
	for i := 0; w.Next(&rec); i++ {
		if r.keep[i/64]&(1<<(i%64)) == 0 {
			continue
		}
		var ok bool
		if out, ok = appendCopy(out, r.msg, &rec, &name); !ok || len(out)-base > MaxMessage {
			return dst, false
		}
		AddCount(out, base, rec.Section, 1)
	}
	return out, true
}

// same reports whether the names at two offsets are the same in any letter
// case. Once too much was compared, none are.
func (r *relation) same(a, b int) bool {
	if r.compared++; r.compared > maxCompared {
		return false
	}
	return sameName(r.msg, a, b)
}

// within reports whether the name at off is that of the zone's, or below it.
func (r *relation) within(off, zone int) bool {
	for range MaxName / 2 {
		if r.same(off, zone) {
			return true
		}
		off = follow(r.msg, off)
		if off < 0 || r.msg[off] == 0 {
			return false
		}
		off += 1 + int(r.msg[off])
	}
	return false
}
