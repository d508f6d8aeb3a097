package response

import (
	"encoding/binary"
	"slices"

	"rideau/resolver/wire"
)

// A response may contain records that do not belong to its question, and a
// forger may have put them there. Rideau caches and passes on only what was
// asked for. Nothing here allocates unless a record has to be removed, moved or
// made, or there are many.

const (
	// maxRelated is the number of records that are examined, which is more than
	// fit into a message.
	maxRelated = wire.MaxMessage / 11
	// maxCompared bounds the comparisons of names for one response. No message
	// needs so many.
	maxCompared = 200_000
)

// Related is what a response says about its question.
type Related struct {
	// Msg is the response without the rest: the one that was given if nothing
	// had to change.
	Msg     []byte
	Changed bool
	Dropped int // the number of records that were removed
	Ending  Ending
}

// Relation finds which records of a response belong to its question. It is scratch
// memory: one value serves one response after another.
type Relation struct {
	chain
	do   bool
	keep [(maxRelated + 63) / 64]uint64 // a bit for each record
	seen kept

	next    int // the next of the chain's aliases in the walk
	dropped int
	answers int // records at the end of the chain
	soa     bool
	moved   bool
	at      int // the place of the last record that was kept
}

// Relate finds the one chain of aliases that leads from a response's question to
// its end, and removes all that does not belong to it. The answer section comes
// out in the order of the chain: some resolvers read it once from top to bottom.
// If there is nothing to do, Relate returns msg itself. Otherwise it appends the
// remaining records to dst, their names in lower case. ok is false if the result
// would be too long, or if no answer remains of answers that were all for other
// names. If the chain is Dangling or goes on Elsewhere, End is the name that it
// leads to.
//
// These records belong, each once, in the question's class:
//
//   - in the answer section, the first CNAME record of each name of the chain; the
//     DNAME record above a name, with the CNAME record that follows from it, which
//     is made if it is missing or says something else (RFC 6672 section 3.1);
//     records of the question's type at the end; signatures of all these. A name
//     that is an alias has no other data (RFC 1034 section 3.6.2).
//   - in the authority section, the SOA record at or above the end, proofs of
//     denial, and records of names at or above the first and the last name.
//   - the additional section.
//
// Signatures and proofs of denial belong only with do, the query's bit, unless they
// are of the type that was asked for (RFC 4035 section 3.2.1). Of the signatures of
// one RRset no more than maxSignatures are kept.
//
// Where router has the chain go on elsewhere, what the response says about that is
// removed; router may be nil.
//
// msg was accepted by [wire.Response.Parse], which examines the additional
// section. If Changed is set, the caller parses the result, as additional records
// may have belonged to what was removed.
func (r *Relation) Relate(dst, msg []byte, do bool, router Router) (out Related, ok bool) {
	r.reset(msg, do, router)
	w := wire.NewWalk(msg)
	if w.Err() != nil {
		return Related{}, false
	}
	r.qtype = wire.Type(binary.BigEndian.Uint16(msg[w.Offset()-4:]))
	r.qclass = wire.Class(binary.BigEndian.Uint16(msg[w.Offset()-2:]))
	r.names = append(r.names, link{placedName: r.name(wire.HeaderLen), cname: -1, dname: -1})
	r.collect()
	r.follow()
	if r.ending == Endless {
		return Related{Msg: msg, Ending: Endless}, true
	}
	var rec wire.Record
	for i := 0; w.Next(&rec); i++ {
		if i < maxRelated && r.belongs(&rec) {
			r.keep[i/64] |= 1 << (i % 64)
		} else {
			r.dropped++
		}
	}
	out = Related{Msg: msg, Dropped: r.dropped, Ending: r.ending}
	if w.Err() != nil || r.compared > maxCompared || r.answers == 0 && len(r.names) == 1 && !r.tooLong && r.foreign() {
		return out, false
	}
	if r.ending == Whole && r.answers == 0 && len(r.names) > 1 && r.qtype != wire.TypeCNAME && !r.soa && wire.HeaderRcode(msg) == wire.NoError && !r.tooLong {
		out.Ending = Dangling
	}
	recode := r.ending == Elsewhere || r.tooLong && wire.HeaderRcode(msg) != wire.YXDomain
	if r.dropped > 0 || r.moved || r.made > 0 || recode {
		if out.Msg, ok = r.rebuild(dst); ok {
			out.Changed = true
		} else if out.Msg = msg; r.dropped > 0 || r.made > 0 {
			return out, false
		}
	}
	if out.Ending != Whole {
		if _, err := r.scratch.Parse(r.msg, r.names[r.last()].off); err != nil {
			return out, false
		}
	}
	return out, true
}

// End is the name to which the chain leads, after Relate has found it Dangling or
// going on Elsewhere. It is borrowed until the next call of Relate.
func (r *Relation) End() *wire.Name { return &r.scratch }

// reset makes r ready for a message.
func (r *Relation) reset(msg []byte, do bool, router Router) {
	r.chain.reset(msg, router)
	r.seen.reset(msg)
	r.do, r.next, r.dropped, r.answers, r.soa, r.moved, r.at = do, 0, 0, 0, false, false, 0
	clear(r.keep[:min(r.seen.total/64+1, len(r.keep))])
}

// proves reports whether records of the type prove others, or prove that there
// are none.
func proves(t wire.Type) bool {
	return t == wire.TypeRRSIG || t == wire.TypeNSEC || t == wire.TypeNSEC3
}

// foreign reports whether the answer section has a record of a name that was not
// asked for.
func (r *Relation) foreign() bool {
	w := wire.NewWalk(r.msg)
	var rec wire.Record
	for w.Next(&rec) && rec.Section == wire.Answer {
		upwards := rec.Type == wire.TypeDNAME || rec.Type == wire.TypeRRSIG
		if r.named(rec.Off) < 0 && !(upwards && r.above(rec.Off)) {
			return true
		}
	}
	return false
}

// belongs reports whether a record belongs to the question. It is called once for
// each, in order.
func (r *Relation) belongs(rec *wire.Record) bool {
	switch rec.Section {
	case wire.Answer:
		place := r.place(rec)
		if place < 0 {
			return false
		}
		r.moved = r.moved || place < r.at
		r.at = place
		return true
	case wire.Authority:
		return r.ending != Elsewhere && r.authority(rec)
	}
	return r.ending != Elsewhere && rec.Class == r.qclass && (r.do || !proves(rec.Type) || rec.Type == r.qtype) && r.seen.add(&r.chain, rec)
}

// place returns where a record of the answer section belongs, -1 if it does not. The later
// in the chain its name is, the later the place, and the DNAME record that
// explains a name stands before it.
func (r *Relation) place(rec *wire.Record) int {
	if rec.Class != r.qclass {
		return -1
	}
	end := r.last()
	if isAlias(rec, r.qclass) {
		a := &r.aliases[r.next]
		r.next++
		switch {
		case a.link >= 0 && a.dname:
			return 4 * a.link
		case a.link >= 0:
			if r.qtype == wire.TypeCNAME {
				r.answers++
			}
			return 4*a.link + 1
		}
	}
	if rec.Type == wire.TypeRRSIG {
		if place, ok := r.signature(rec); ok {
			return place
		}
		return -1
	}
	if rec.Type != r.qtype && r.qtype != wire.TypeANY || r.qtype == wire.TypeCNAME || r.ending == Elsewhere || r.tooLong {
		return -1
	}
	if !r.same(rec.Off, r.names[end].off) || !r.seen.add(&r.chain, rec) {
		return -1
	}
	r.answers++
	return 4*end + 1
}

// signature is place for a signature of an alias, or of what is at the end.
func (r *Relation) signature(rec *wire.Record) (place int, ok bool) {
	if rec.End-rec.DataOff < 2 || !r.do && r.qtype != wire.TypeRRSIG {
		return 0, false
	}
	end := r.last()
	covered := wire.Type(binary.BigEndian.Uint16(r.msg[rec.DataOff:]))
	if covered == wire.TypeDNAME {
		for i := range r.names {
			l := &r.names[i]
			if l.dname >= 0 && r.aliases[l.dname].link == i && r.same(r.aliases[l.dname].owner.off, rec.Off) {
				return 4 * i, r.signs(l, 1, rec)
			}
		}
	}
	if covered == wire.TypeCNAME {
		if i := r.aliasNamed(rec.Off); i >= 0 {
			return 4*i + 1, r.signs(&r.names[i], 0, rec)
		}
	}
	if covered != r.qtype && r.qtype != wire.TypeRRSIG || r.qtype == wire.TypeCNAME || r.ending == Elsewhere || !r.same(rec.Off, r.names[end].off) ||
		!r.seen.addSignature(&r.chain, rec, covered) {
		return 0, false
	}
	if r.qtype == wire.TypeRRSIG {
		r.answers++
	}
	return 4*end + 1, true
}

// aliasNamed returns the index of the name at off in the chain if it has a CNAME
// record there, and otherwise -1.
func (r *Relation) aliasNamed(off int) int {
	i := r.named(off)
	if r.qtype == wire.TypeCNAME && r.same(off, r.names[0].off) {
		i = 0 // it may lead to itself
	}
	if i < 0 || r.names[i].cname < 0 {
		return -1
	}
	return i
}

// signs counts a signature of the CNAME or DNAME record of a link.
func (r *Relation) signs(l *link, which int, rec *wire.Record) bool {
	if l.signatures[which] == maxSignatures || !r.seen.add(&r.chain, rec) {
		return false
	}
	l.signatures[which]++
	return true
}

// authority reports whether a record of the authority section belongs.
func (r *Relation) authority(rec *wire.Record) bool {
	if rec.Class != r.qclass || !r.do && proves(rec.Type) && rec.Type != r.qtype {
		return false
	}
	switch rec.Type {
	case wire.TypeSOA:
		if r.soa || !r.within(r.names[r.last()].placedName, r.name(rec.Off)) {
			return false
		}
		r.soa = true
		return true
	case wire.TypeRRSIG:
		return rec.End-rec.DataOff >= 2 && r.seen.addSignature(&r.chain, rec, wire.Type(binary.BigEndian.Uint16(r.msg[rec.DataOff:])))
	case wire.TypeNSEC, wire.TypeNSEC3:
		return r.seen.add(&r.chain, rec)
	}
	return r.above(rec.Off) && r.seen.add(&r.chain, rec)
}

// rebuild appends the message with the records that are kept, its answer section
// in order, and the CNAME records that DNAME records lack.
func (r *Relation) rebuild(dst []byte) ([]byte, bool) {
	out := newWriter(dst, r.msg, wire.MaxMessage)
	if r.tooLong || r.ending == Elsewhere {
		flags := wire.Flags(out.out[out.base:]) &^ 0xF
		if r.tooLong {
			flags |= uint16(wire.YXDomain)
		}
		wire.SetFlags(out.out[out.base:], flags)
	}
	var answers []placed
	ok := true
	put := func() {
		for i := range r.names {
			if l := &r.names[i]; l.cname < 0 && l.dname >= 0 && i < r.last() {
				answers = append(answers, placed{place: 4*i + 1, made: true})
			}
		}
		slices.SortStableFunc(answers, func(a, b placed) int { return a.place - b.place })
		for i := range answers {
			switch p := &answers[i]; {
			case !ok:
			case p.made:
				ok = out.addAlias(&r.chain, p.place/4)
			default:
				ok = out.add(r.msg, &p.Record)
			}
		}
		answers = nil
	}
	w := wire.NewWalk(r.msg)
	var rec wire.Record
	section := wire.Answer
	r.next = 0
	for i := 0; w.Next(&rec) && ok; i++ {
		if rec.Section != wire.Answer && section == wire.Answer {
			put()
			section = rec.Section
		}
		alias := -1
		if rec.Section == wire.Answer && isAlias(&rec, r.qclass) {
			alias = r.next
			r.next++
		}
		switch {
		case r.keep[i/64]&(1<<(i%64)) == 0:
		case rec.Section == wire.Answer:
			answers = append(answers, placed{Record: rec, place: r.placeAgain(&rec, alias)})
		default:
			ok = ok && out.add(r.msg, &rec)
		}
	}
	if section == wire.Answer {
		put()
	}
	if !ok {
		return dst, false
	}
	return out.out, true
}

// placed is a record of the answer section, or one that is to be made.
type placed struct {
	wire.Record
	place int
	made  bool
}

// placeAgain is the place of a record that belongs. alias is its number among the
// aliases, if it is one.
func (r *Relation) placeAgain(rec *wire.Record, alias int) int {
	if alias >= 0 && r.aliases[alias].link >= 0 {
		place := 4 * r.aliases[alias].link
		if !r.aliases[alias].dname {
			place++
		}
		return place
	}
	if rec.Type != wire.TypeRRSIG || r.qtype == wire.TypeRRSIG {
		return 4*r.last() + 1
	}
	if wire.Type(binary.BigEndian.Uint16(r.msg[rec.DataOff:])) == wire.TypeDNAME {
		for i := range r.names {
			if l := &r.names[i]; l.dname >= 0 && r.aliases[l.dname].link == i && r.same(r.aliases[l.dname].owner.off, rec.Off) {
				return 4 * i
			}
		}
	}
	if i := r.aliasNamed(rec.Off); i >= 0 {
		return 4*i + 1
	}
	return 4*r.last() + 1
}

// addAlias appends the CNAME record of a link that has none: it has the TTL of the
// DNAME record (RFC 6672 section 3.1).
func (w *writer) addAlias(c *chain, at int) bool {
	start := len(w.out)
	if !w.copyName(c.msg, c.names[at].off, true) {
		return false
	}
	w.out = binary.BigEndian.AppendUint16(w.out, uint16(wire.TypeCNAME))
	w.out = binary.BigEndian.AppendUint16(w.out, uint16(c.qclass))
	w.out = binary.BigEndian.AppendUint32(w.out, c.aliases[c.names[at].dname].ttl)
	length := len(w.out)
	w.out = append(w.out, 0, 0)
	if !w.copyName(c.msg, c.names[at+1].off, true) || len(w.out)-w.base > w.max {
		w.out = w.out[:start]
		return false
	}
	binary.BigEndian.PutUint16(w.out[length:], uint16(len(w.out)-length-2))
	wire.AddCount(w.out, w.base, wire.Answer, 1)
	return true
}
