package svcb

import (
	"encoding/binary"

	"rideau/resolver/wire"
)

// Parameters of SVCB and HTTPS records (RFC 9460 section 14.3.2).
const (
	paramMandatory = 0
	paramECH       = 5
)

// AppendWithoutECH appends msg to dst as if nobody offered Encrypted Client
// Hello: without the parameter ech of its SVCB and HTTPS records (RFC 9848
// section 3), in whichever section, and without the mention of it in their
// parameter mandatory (RFC 9460 section 8). changed is false, and dst comes back as it
// was, where there is nothing to take away; that is found out in one walk.
// msg was accepted by [Response.Parse]; it is neither written nor kept. What
// is malformed in a record's parameters stays as it is: who reads them has to
// refuse the record in either form (RFC 9460 section 2.2). The error is
// ErrMessage, and dst comes back as it was, where the names that have to be
// written out make the message longer than MaxMessage.
//
// A signature over an RRset that lost something fits it no longer. So the
// RRSIG records that cover it go too, and AD is cleared (RFC 4035 section
// 3.2.3: no longer is everything here authentic). A client that validates by itself refuses
// the RRset in either form, bogus with the signature and bogus without, and
// goes on without it; that is what removing ech costs in signed zones. A
// client that relies on its resolver uses the rest of the record.
//
// It does not allocate where dst has the room: len(msg) is enough for
// messages that compress no more than owner names.
func AppendWithoutECH(dst, msg []byte, scratch *wire.Name) (out []byte, changed bool, err error) {
	var e echRemoval
	if !e.find(msg, scratch) {
		return dst, false, nil
	}
	e.msg, e.base = msg, len(dst)
	w := wire.NewWalk(msg)
	out = append(dst, msg[:w.Offset()]...)
	var counts [wire.Additional + 1]int
	var r wire.Record
	for w.Next(&r) {
		if r.Type == wire.TypeRRSIG && e.signs(&r, scratch) {
			continue
		}
		if out = e.appendRecord(out, &r, scratch); len(out)-e.base > wire.MaxMessage {
			return dst, false, wire.ErrMessage
		}
		counts[r.Section]++
	}
	if w.Err() != nil {
		return dst, false, w.Err()
	}
	m := out[e.base:]
	for s := wire.Answer; s <= wire.Additional; s++ {
		wire.SetCount(m, s, counts[s])
	}
	wire.SetFlags(m, wire.Flags(m)&^wire.FlagAD)
	return out, true, nil
}

// echRemoval is one call of AppendWithoutECH.
type echRemoval struct {
	msg  []byte
	base int

	// rrsets are the RRsets that lose something, as hashes of owner and type.
	// Should two share a hash, one more signature goes. Where there are more
	// than fit, which no answer needs, all are taken to lose something.
	rrsets [16]uint64
	n      int
	all    bool

	// moved says where names of msg are written in full in the copy, for
	// pointers to them: a ring of pairs, the older overwritten. An offset of 0
	// is none.
	moved [16]struct{ from, to uint16 }
	next  int
}

// find collects the RRsets that have an ech, and reports whether there are
// any.
func (e *echRemoval) find(msg []byte, scratch *wire.Name) bool {
	w := wire.NewWalk(msg)
	var r wire.Record
	for w.Next(&r) {
		if r.Type != wire.TypeSVCB && r.Type != wire.TypeHTTPS {
			continue
		}
		next, ok := targetEnd(msg, &r)
		if !ok || !hasParam(msg[next:r.End], paramECH) {
			continue
		}
		if _, err := scratch.Parse(msg, r.Off); err != nil {
			continue
		}
		if e.n == len(e.rrsets) {
			e.all = true
			return true
		}
		e.rrsets[e.n] = hashRRset(scratch, r.Type)
		e.n++
	}
	return e.n > 0
}

// signs reports whether r, an RRSIG, covers an RRset that loses something.
func (e *echRemoval) signs(r *wire.Record, scratch *wire.Name) bool {
	if r.End-r.DataOff < 2 {
		return false
	}
	covered := wire.Type(binary.BigEndian.Uint16(e.msg[r.DataOff:]))
	if covered != wire.TypeSVCB && covered != wire.TypeHTTPS {
		return false
	}
	if e.all {
		return true
	}
	if _, err := scratch.Parse(e.msg, r.Off); err != nil {
		return false
	}
	h := hashRRset(scratch, covered)
	for _, x := range e.rrsets[:e.n] {
		if x == h {
			return true
		}
	}
	return false
}

// hashRRset is FNV-1a over the owner name in lower case and the type.
func hashRRset(owner *wire.Name, t wire.Type) uint64 {
	h := uint64(14695981039346656037)
	for _, b := range owner.Bytes() {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return (h ^ uint64(t)) * 1099511628211
}

// targetEnd is the offset after the target name of an SVCB or HTTPS record:
// that of its parameters.
func targetEnd(msg []byte, r *wire.Record) (off int, ok bool) {
	off, ok = wire.TargetOffset(msg, r)
	if !ok {
		return 0, false
	}
	off = wire.SkipName(msg, off)
	return off, off >= 0 && off <= r.End
}

// nextParam splits the first parameter off params: its key, and all of it,
// head included. ok is false at the end and at what is malformed.
func nextParam(params []byte) (key uint16, whole []byte, ok bool) {
	if len(params) < 4 {
		return 0, nil, false
	}
	end := 4 + int(binary.BigEndian.Uint16(params[2:]))
	if end > len(params) {
		return 0, nil, false
	}
	return binary.BigEndian.Uint16(params), params[:end], true
}

func hasParam(params []byte, want uint16) bool {
	for {
		key, whole, ok := nextParam(params)
		if !ok {
			return false
		}
		if key == want {
			return true
		}
		params = params[len(whole):]
	}
}

// appendRecord appends r's copy. Offsets differ in the copy, so that no
// pointer can be taken over but one to the question's name, which stays where
// it was: names are written out, or point to one that was.
func (e *echRemoval) appendRecord(dst []byte, r *wire.Record, scratch *wire.Name) []byte {
	dst, ok := e.appendName(dst, r.Off, true, scratch)
	if !ok {
		return dst // unheard of: Parse read it
	}
	dst = append(dst, e.msg[r.TTLOff-4:r.TTLOff+4]...) // type, class, TTL
	length := len(dst)
	dst = append(dst, 0, 0)
	dst = e.appendData(dst, r, scratch)
	binary.BigEndian.PutUint16(dst[length:], uint16(len(dst)-length-2))
	return dst
}

// appendData appends r's RDATA.
func (e *echRemoval) appendData(dst []byte, r *wire.Record, scratch *wire.Name) []byte {
	start := len(dst)
	head, names, compress := wire.DataNames(e.msg, r)
	off := r.DataOff + head
	if off > r.End {
		return append(dst, e.msg[r.DataOff:r.End]...)
	}
	dst = append(dst, e.msg[r.DataOff:off]...)
	for range names {
		next := wire.SkipName(e.msg, off)
		var ok bool
		if next >= 0 && next <= r.End {
			dst, ok = e.appendName(dst, off, compress, scratch)
		}
		if !ok { // a name that neither Parse nor policy reads
			return append(dst[:start], e.msg[r.DataOff:r.End]...)
		}
		off = next
	}
	if r.Type == wire.TypeSVCB || r.Type == wire.TypeHTTPS {
		return appendParams(dst, e.msg[off:r.End])
	}
	return append(dst, e.msg[off:r.End]...)
}

// appendName appends the name at off: as a pointer, if compress and if it was
// one to a name that the copy has; else in full, in its own letters unless it
// was compressed.
func (e *echRemoval) appendName(dst []byte, off int, compress bool, scratch *wire.Name) (out []byte, ok bool) {
	const maxPointer = 0x3FFF
	from := off // where the name begins, at one pointer's distance at most
	if c := e.msg[off]; c >= 0xC0 && off+1 < len(e.msg) {
		from = int(c&0x3F)<<8 | int(e.msg[off+1])
		to := 0
		if from == wire.HeaderLen {
			to = wire.HeaderLen // the question's name stays where it was
		}
		for i := range e.moved {
			if m := &e.moved[i]; m.from != 0 && int(m.from) == from {
				to = int(m.to)
			}
		}
		if compress && to != 0 {
			return binary.BigEndian.AppendUint16(dst, 0xC000|uint16(to)), true
		}
	}
	if _, err := scratch.Parse(e.msg, off); err != nil {
		return dst, false
	}
	if to := len(dst) - e.base; to <= maxPointer && from <= maxPointer {
		e.moved[e.next].from, e.moved[e.next].to = uint16(from), uint16(to)
		e.next = (e.next + 1) % len(e.moved)
	}
	if n := scratch.Len(); off+n <= len(e.msg) && wire.EqualFold(e.msg[off:off+n], scratch.Bytes()) {
		return append(dst, e.msg[off:off+n]...), true
	}
	return append(dst, scratch.Bytes()...), true
}

// appendParams appends parameters without ech. Where there is no ech,
// mandatory may name it in vain: then the record is malformed (RFC 9460
// section 8), and stays so.
func appendParams(dst, params []byte) []byte {
	if !hasParam(params, paramECH) {
		return append(dst, params...)
	}
	for {
		key, whole, ok := nextParam(params)
		if !ok {
			return append(dst, params...)
		}
		params = params[len(whole):]
		switch key {
		case paramECH:
		case paramMandatory:
			dst = appendMandatory(dst, whole)
		default:
			dst = append(dst, whole...)
		}
	}
}

// appendMandatory appends the parameter mandatory without ech; nothing if
// that was all.
func appendMandatory(dst, whole []byte) []byte {
	keys := whole[4:]
	if len(keys)%2 != 0 {
		return append(dst, whole...)
	}
	start := len(dst)
	dst = append(dst, whole[:4]...)
	for ; len(keys) > 0; keys = keys[2:] {
		if binary.BigEndian.Uint16(keys) != paramECH {
			dst = append(dst, keys[:2]...)
		}
	}
	n := len(dst) - start - 4
	if n == 0 && len(whole) > 4 {
		return dst[:start]
	}
	binary.BigEndian.PutUint16(dst[start+2:], uint16(n))
	return dst
}
