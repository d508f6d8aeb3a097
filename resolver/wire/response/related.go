package response

import (
	"encoding/binary"
	"slices"

	"rideau/resolver/wire"
)

// What a response has that does not belong to its question is nobody's business
// and could be anybody's word: a forwarder keeps and passes on what was asked
// for. Nothing of this allocates unless something has to go.

const (
	// maxRelated is how many records a response may have, which is more than
	// fit into one.
	maxRelated = wire.MaxMessage / 11
	// maxChain is how long a chain of aliases is followed.
	maxChain = 32
	// maxCompared bounds the comparisons of names for one response.
	maxCompared = 20_000
)

// relation finds which records of a response belong to its question.
type relation struct {
	msg      []byte
	qtype    wire.Type
	qclass   wire.Class
	names    [maxChain]int // where names stand that were asked for or are led to
	n        int
	below    [maxChain]int // targets of DNAME records: names below may be led to
	nBelow   int
	keep     [(maxRelated + 63) / 64]uint64
	compared int
}

// AppendRelated takes out of a response what does not belong to its question,
// and puts its answer section in order: there are resolvers that follow a chain of
// aliases from the top to the bottom and look at no record twice. Where there is nothing to do
// it returns msg, 0 and false. Otherwise the rest is appended to
// dst, with names written out, and the number of records that went is returned, and moved tells
// whether others have another place; ok is false if
// that cannot be done, or if no answer is left where there was one for other names.
//
// There belong, in the question's class: of the answer section, the records of the question's
// type, aliases (CNAME, and DNAME above) and signatures, of the question's name and of
// those that aliases lead to; of the authority section
// SOA records and what proves a denial, and records of names that are at or above
// those. Signatures and proofs of denial belong with do alone, the query's bit, unless
// they are of the type that was asked for (RFC 4035 section 3.2.1). msg was accepted by [Response.Parse],
// which looks at the additional section, and has to be again if anything went that records
// there belonged to.
func AppendRelated(dst, msg []byte, do bool) (out []byte, dropped int, moved, ok bool) {
	r := relation{msg: msg, n: 1}
	w := wire.NewWalk(msg)
	if w.Err() != nil {
		return dst, 0, false, false
	}
	r.qtype = wire.Type(binary.BigEndian.Uint16(msg[w.Offset()-4:]))
	r.qclass = wire.Class(binary.BigEndian.Uint16(msg[w.Offset()-2:]))
	r.names[0] = wire.HeaderLen
	r.follow()
	answers, foreign, last := 0, 0, 0
	var rec wire.Record
	for i := 0; w.Next(&rec); i++ {
		place, led := r.place(&rec)
		if i >= maxRelated || !led || !r.wanted(&rec, do) {
			dropped++
			if rec.Section == wire.Answer && !led {
				foreign++
			}
			continue
		}
		r.keep[i/64] |= 1 << (i % 64)
		if rec.Section == wire.Answer {
			answers++
			moved = moved || place < last
			last = place
		}
	}
	switch {
	case w.Err() != nil:
		return dst, dropped, moved, false
	case dropped == 0 && !moved:
		return msg, 0, false, true
	case answers == 0 && foreign > 0:
		return dst, dropped, moved, false
	}
	out, ok = r.rebuild(dst, moved)
	return out, dropped, moved, ok
}

// proves reports whether records of the type are there to prove others, or
// that there are none.
func proves(t wire.Type) bool {
	return t == wire.TypeRRSIG || t == wire.TypeNSEC || t == wire.TypeNSEC3
}

// follow finds the names that aliases lead to, in whatever order they stand,
// from one to the next. What DNAME records alone lead to comes last, since it
// may be what a CNAME record further on leads to.
func (r *relation) follow() {
	for r.step(false) || r.nBelow > 0 && r.step(true) {
	}
}

// step looks through the answer section for aliases of names that are known, with below
// of those that DNAME records alone lead to, too; there it ends with the
// first. It reports whether there were any.
func (r *relation) step(below bool) bool {
	more := false
	w := wire.NewWalk(r.msg)
	var rec wire.Record
	for w.Next(&rec) && rec.Section == wire.Answer {
		if rec.Class != r.qclass {
			continue
		}
		switch rec.Type {
		case wire.TypeCNAME:
			if r.n < maxChain && (r.named(rec.Off) >= 0 || below && r.isBelow(rec.Off)) && r.named(rec.DataOff) < 0 {
				r.names[r.n] = rec.DataOff
				r.n++
				more = true
				if below {
					return true
				}
			}
		case wire.TypeDNAME:
			if r.nBelow < maxChain && r.above(rec.Off) >= 0 && !r.isBelow(rec.DataOff) {
				r.below[r.nBelow] = rec.DataOff
				r.nBelow++
				more = true
			}
		}
	}
	return more
}

// wanted reports whether the question asks for records such as rec.
func (r *relation) wanted(rec *wire.Record, do bool) bool {
	if rec.Type == wire.TypeOPT {
		return true // it is about the message
	}
	if rec.Class != r.qclass || !do && rec.Type != r.qtype && proves(rec.Type) {
		return false
	}
	if rec.Section != wire.Answer {
		return true
	}
	switch rec.Type {
	case r.qtype, wire.TypeCNAME, wire.TypeDNAME, wire.TypeRRSIG:
		return true
	}
	return r.qtype == wire.TypeANY
}

// placeLast is that of what DNAME records alone lead to. The names that aliases
// lead to have two places each before it.
const placeLast = 2 * maxChain

// place reports whether a record is of a name that belongs to the question,
// and where in the answer section it is to stand: the further down the chain its
// name is, the later, and what makes a name an alias from above before it.
func (r *relation) place(rec *wire.Record) (place int, ok bool) {
	switch rec.Section {
	case wire.Answer:
		if i := r.named(rec.Off); i >= 0 {
			return 2*i + 1, true
		}
		// A DNAME record's name is above one that was asked for, and so is
		// that of its signature.
		if rec.Type == wire.TypeDNAME || rec.Type == wire.TypeRRSIG {
			if i := r.above(rec.Off); i >= 0 {
				return 2 * i, true
			}
		}
		return placeLast, r.isBelow(rec.Off)
	case wire.Authority:
		switch rec.Type {
		case wire.TypeSOA, wire.TypeNSEC, wire.TypeNSEC3, wire.TypeRRSIG:
			return 0, true
		}
		return 0, r.above(rec.Off) >= 0
	}
	return 0, true
}

// named returns which of the names that were asked for or that CNAME records
// lead to stands at off, or -1.
func (r *relation) named(off int) int {
	for i, n := range r.names[:r.n] {
		if r.same(off, n) {
			return i
		}
	}
	return -1
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

// above returns which is the first of the names that named knows that is the
// one at off or below it: maxChain for one that DNAME records alone lead to, and -1 for none.
func (r *relation) above(off int) int {
	for i, n := range r.names[:r.n] {
		if r.within(n, off) {
			return i
		}
	}
	if r.nBelow > 0 && r.isBelow(off) {
		return maxChain
	}
	return -1
}

// rebuild appends the message with what is kept, its answer section in order
// if anything has to move.
func (r *relation) rebuild(dst []byte, move bool) ([]byte, bool) {
	w := wire.NewWalk(r.msg)
	base := len(dst)
	out := append(dst, r.msg[:w.Offset()]...)
	for _, s := range []wire.Section{wire.Answer, wire.Authority, wire.Additional} {
		wire.SetCount(out[base:], s, 0)
	}
	var name wire.Name
	var rec wire.Record
	ok := true
	put := func(rec *wire.Record) {
		if ok {
			out, ok = wire.AppendUncompressed(out, r.msg, rec, &name)
			ok = ok && len(out)-base <= wire.MaxMessage
			wire.AddCount(out, base, rec.Section, 1)
		}
	}
	var moving placed
	for i := 0; w.Next(&rec); i++ {
		switch {
		case r.keep[i/64]&(1<<(i%64)) == 0:
		case move && rec.Section == wire.Answer:
			place, _ := r.place(&rec)
			moving = append(moving, placedRecord{rec, place})
		default:
			moving.each(put)
			moving = nil
			put(&rec)
		}
	}
	moving.each(put)
	if !ok {
		return dst, false
	}
	return out, true
}

// placed are records that are to be put in order.
type placed []placedRecord

type placedRecord struct {
	wire.Record
	place int
}

// each calls do for each of them, in order.
func (p placed) each(do func(*wire.Record)) {
	slices.SortStableFunc(p, func(a, b placedRecord) int { return a.place - b.place })
	for i := range p {
		do(&p[i].Record)
	}
}

// same reports whether the names at two offsets are the same in any letter
// case. Once too much was compared, none are.
func (r *relation) same(a, b int) bool {
	if r.compared++; r.compared > maxCompared {
		return false
	}
	return wire.SameName(r.msg, a, b)
}

// within reports whether the name at off is that of the zone's, or below it.
func (r *relation) within(off, zone int) bool {
	for range wire.MaxName / 2 {
		if r.same(off, zone) {
			return true
		}
		if off = wire.Parent(r.msg, off); off < 0 {
			return false
		}
	}
	return false
}
