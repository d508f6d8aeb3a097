package response

import (
	"encoding/binary"
	"hash/maphash"
	"slices"

	"rideau/resolver/wire"
)

// A response may contain records that do not belong to its question, and a
// forger may have put them there. Rideau caches and passes on only what was
// asked for. Nothing here allocates unless a record has to be removed or moved.

const (
	// maxRelated is the number of records that are examined, which is more than
	// fit into a message.
	maxRelated = wire.MaxMessage / 11
	// maxChain is the number of names of a chain of aliases that are followed.
	maxChain = 32
	// maxCompared bounds the comparisons of names for one response.
	maxCompared = 20_000
)

// relation finds which records of a response belong to its question.
type relation struct {
	msg      []byte
	qtype    wire.Type
	qclass   wire.Class
	names    [maxChain]placedName // the name asked for and those that CNAME records lead to
	n        int
	below    [maxChain]placedName // the targets of DNAME records: names below them may be reached
	nBelow   int
	direct   int                            // the number of names that CNAME records alone lead to
	keep     [(maxRelated + 63) / 64]uint64 // a bit for each record
	compared int
	seeded   bool
	seed     maphash.Seed
	scratch  wire.Name
}

// placedName is a name by its offset. hash is 0 until it is needed.
type placedName struct {
	off, labels int
	hash        uint64
}

// AppendRelated removes from a response the records that do not belong to its
// question, and puts its answer section in the order of the chain of aliases:
// some resolvers follow a chain from top to bottom and read each record once.
// If there is nothing to do, it returns msg itself, 0 and false. Otherwise it
// appends the remaining records to dst, uncompressed, and returns how many it
// removed and whether others moved. ok is false if the result would be too
// long, or if no answer remains of answers that were all for other names.
//
// These records belong, in the question's class. In the answer section: records
// of the question's type, aliases (CNAME, and DNAME above) and signatures, of
// the question's name and of the names that aliases lead to. In the authority
// section: SOA records, proofs of denial, and records of names at or above
// those names. Signatures and proofs of denial belong only with do, the query's
// bit, unless they are of the type that was asked for (RFC 4035 section 3.2.1).
// msg was accepted by [wire.Response.Parse], which examines the additional
// section. If a record was removed, the caller parses the result again, as
// additional records may have belonged to it.
func AppendRelated(dst, msg []byte, do bool) (out []byte, dropped int, moved, ok bool) {
	r := relation{msg: msg, n: 1}
	w := wire.NewWalk(msg)
	if w.Err() != nil {
		return dst, 0, false, false
	}
	r.qtype = wire.Type(binary.BigEndian.Uint16(msg[w.Offset()-4:]))
	r.qclass = wire.Class(binary.BigEndian.Uint16(msg[w.Offset()-2:]))
	r.names[0] = r.name(wire.HeaderLen)
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

// proves reports whether records of the type prove others, or prove that there
// are none.
func proves(t wire.Type) bool {
	return t == wire.TypeRRSIG || t == wire.TypeNSEC || t == wire.TypeNSEC3
}

// follow finds the names that aliases lead to, in whatever order the aliases
// stand. Names that only DNAME records lead to come last, since a later CNAME
// record may lead to them too.
func (r *relation) follow() {
	for r.step(false) {
	}
	r.direct = r.n
	for r.nBelow > 0 && r.step(true) {
	}
}

// step searches the answer section once for aliases of known names, and reports
// whether it found new ones. With below it also follows aliases of names that
// only DNAME records lead to, and stops at the first.
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
				r.names[r.n] = r.name(rec.DataOff)
				r.n++
				more = true
				if below {
					return true
				}
			}
		case wire.TypeDNAME:
			if r.nBelow < maxChain && r.above(rec.Off) >= 0 && !r.isBelow(rec.DataOff) {
				r.below[r.nBelow] = r.name(rec.DataOff)
				r.nBelow++
				more = true
			}
		}
	}
	return more
}

// wanted reports whether the question asks for records of rec's type and class.
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

// placeLast is the place of records of names that only DNAME records lead to.
// Each name that CNAME records alone lead to has two places before it, and each
// that CNAME records of those names lead to has two behind it.
const placeLast = 2 * maxChain

// slot is the first of the two places of the name i.
func (r *relation) slot(i int) int {
	if i >= r.direct && i < maxChain {
		return placeLast + 1 + 2*i
	}
	return 2 * i
}

// place reports whether a record's name belongs to the question, and its place
// in the answer section: the later in the chain its name is, the later the
// place, and the DNAME record that explains a name stands before it.
func (r *relation) place(rec *wire.Record) (place int, ok bool) {
	switch rec.Section {
	case wire.Answer:
		if i := r.named(rec.Off); i >= 0 {
			return r.slot(i) + 1, true
		}
		// The owner of a DNAME record, and of its signature, is above a name
		// that was asked for.
		if rec.Type == wire.TypeDNAME || rec.Type == wire.TypeRRSIG {
			if i := r.above(rec.Off); i >= 0 {
				return r.slot(i), true
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

// named returns the index of the name at off among those that were asked for or
// that CNAME records lead to, or -1.
func (r *relation) named(off int) int {
	if r.n > fewNames {
		return r.namedByHash(off)
	}
	for i, n := range r.names[:r.n] {
		if r.same(off, n.off) {
			return i
		}
	}
	return -1
}

// fewNames is the number of names up to which comparing a name with each costs
// less than its hash.
const fewNames = 4

// namedByHash is named for many names. The work does not depend on their number
// but for a comparison of hashes with each.
func (r *relation) namedByHash(off int) int {
	h := r.hash(off)
	for i := range r.names[:r.n] {
		n := &r.names[i]
		if n.hash == 0 {
			n.hash = r.hash(n.off)
		}
		if n.hash == h && r.same(off, n.off) {
			return i
		}
	}
	return -1
}

// hash is the hash of the name at off, never 0.
func (r *relation) hash(off int) uint64 {
	if !r.seeded {
		r.seed, r.seeded = maphash.MakeSeed(), true
	}
	r.scratch.Parse(r.msg, off)
	return maphash.Bytes(r.seed, r.scratch.Bytes()) | 1
}

// isBelow reports whether the name at off is at or below a DNAME record's
// target.
func (r *relation) isBelow(off int) bool {
	if r.nBelow == 0 {
		return false
	}
	name := r.name(off)
	for _, t := range r.below[:r.nBelow] {
		if r.within(name, t) {
			return true
		}
	}
	return false
}

// above returns the index of the first of those names that is at or below the
// name at off: maxChain for a name that only DNAME records lead to, and -1 for
// none.
func (r *relation) above(off int) int {
	zone := r.name(off)
	for i, n := range r.names[:r.n] {
		if r.within(n, zone) {
			return i
		}
	}
	if r.isBelow(off) {
		return maxChain
	}
	return -1
}

// rebuild appends the message with the records that are kept; with move, its
// answer section in order.
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

// placed are records to be put in order.
type placed []placedRecord

type placedRecord struct {
	wire.Record
	place int
}

// each calls do for each record, in order.
func (p placed) each(do func(*wire.Record)) {
	slices.SortStableFunc(p, func(a, b placedRecord) int { return a.place - b.place })
	for i := range p {
		do(&p[i].Record)
	}
}

// same reports whether the names at two offsets are equal in any letter case.
// After maxCompared comparisons it reports false.
func (r *relation) same(a, b int) bool {
	if r.compared++; r.compared > maxCompared {
		return false
	}
	return wire.SameName(r.msg, a, b)
}

// name is the name at off.
func (r *relation) name(off int) placedName {
	n := placedName{off: off}
	for off = wire.Parent(r.msg, off); off >= 0; off = wire.Parent(r.msg, off) {
		n.labels++
	}
	return n
}

// within reports whether a name is the zone's, or below it.
func (r *relation) within(name, zone placedName) bool {
	if name.labels < zone.labels {
		return false
	}
	off := name.off
	for range name.labels - zone.labels {
		off = wire.Parent(r.msg, off)
	}
	return r.same(off, zone.off)
}
