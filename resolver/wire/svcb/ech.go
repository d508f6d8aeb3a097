package svcb

import (
	"encoding/binary"

	"rideau/resolver/wire"
)

// Keys of parameters of SVCB and HTTPS records (RFC 9460 section 14.3.2).
const (
	paramMandatory = 0
	paramECH       = 5
)

// AppendWithoutECH appends msg to dst without Encrypted Client Hello: without
// the parameter ech of its SVCB and HTTPS records (RFC 9848 section 3), in
// every section, and without ech in their parameter mandatory (RFC 9460 section
// 8). If msg has no ech, changed is false and dst is returned unchanged; one
// walk through the records finds that out. msg was accepted by
// [wire.Response.Parse]; it is neither written nor retained. Malformed
// parameters are copied as they are: every reader must refuse such a record in
// either form (RFC 9460 section 2.2). If uncompressed names make the message
// longer than MaxMessage, the error is ErrMessage and dst is returned
// unchanged.
//
// A signature over a changed RRset is no longer valid. So the RRSIG records
// that cover it are left out, and AD is cleared: not all of the message is
// authentic any more (RFC 4035 section 3.2.3). A client that validates by
// itself refuses the RRset with or without the signature, and continues without
// it; that is the price of removing ech in signed zones. A client that relies
// on its resolver uses the rest of the record.
//
// It does not allocate if dst has the capacity: len(msg) suffices for messages
// that compress no more than owner names.
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

// echRemoval is the state of one call of AppendWithoutECH.
type echRemoval struct {
	msg  []byte
	base int

	// rrsets are hashes of the owner and type of the RRsets that lose a
	// parameter. If two RRsets have the same hash, one signature more is left
	// out. If there are more RRsets than fit, which no answer needs, all count
	// as changed.
	rrsets [16]uint64
	n      int
	all    bool

	// moved maps offsets of names in msg to offsets at which the copy has them
	// in full, so that the copy can use pointers to them. It is a ring, newer
	// pairs overwrite older ones. An offset of 0 is none.
	moved [16]struct{ from, to uint16 }
	next  int
}

// find collects the RRsets that have an ech, and reports whether there are any.
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

// signs reports whether r, an RRSIG record, covers an RRset that loses a
// parameter.
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

// hashRRset returns the FNV-1a hash of the owner name in lower case and the
// type.
func hashRRset(owner *wire.Name, t wire.Type) uint64 {
	h := uint64(14695981039346656037)
	for _, b := range owner.Bytes() {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return (h ^ uint64(t)) * 1099511628211
}

// targetEnd returns the offset after the target name of an SVCB or HTTPS
// record, where its parameters begin.
func targetEnd(msg []byte, r *wire.Record) (off int, ok bool) {
	off, ok = wire.TargetOffset(msg, r)
	if !ok {
		return 0, false
	}
	off = wire.SkipName(msg, off)
	return off, off >= 0 && off <= r.End
}

// nextParam returns the key of the first parameter and all of its octets, the
// head included. ok is false at the end and if it is malformed.
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

// appendRecord appends a copy of r. Offsets differ in the copy, so no pointer
// can be copied except one to the question's name, which stays in its place:
// names are uncompressed, or point to one that is.
func (e *echRemoval) appendRecord(dst []byte, r *wire.Record, scratch *wire.Name) []byte {
	dst, ok := e.appendName(dst, r.Off, true, scratch)
	if !ok {
		return dst // cannot happen: Parse read it
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

// appendName appends the name at off. With compress, a pointer to a name that
// the copy has in full becomes a pointer to it there. Otherwise the name is
// appended in full: in its own letters, or in lower case if it was compressed.
func (e *echRemoval) appendName(dst []byte, off int, compress bool, scratch *wire.Name) (out []byte, ok bool) {
	const maxPointer = 0x3FFF
	from := off // where the name begins, after at most one pointer
	if c := e.msg[off]; c >= 0xC0 && off+1 < len(e.msg) {
		from = int(c&0x3F)<<8 | int(e.msg[off+1])
		to := 0
		if from == wire.HeaderLen {
			to = wire.HeaderLen // the question's name stays in its place
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

// appendParams appends parameters without ech. If there is no ech, they are
// copied even if mandatory lists it: the record is then malformed (RFC 9460
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

// appendMandatory appends the parameter mandatory without ech, or nothing if it
// listed only ech.
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
