package wire

import (
	"encoding/binary"
	"slices"
)

// Matches reports whether resp can be the response to query: id, QR, opcode and
// question agree (RFC 5452 section 9.1). Both are whole messages; query has one
// uncompressed question.
func Matches(query, resp []byte) bool {
	if len(query) < HeaderLen || len(resp) < HeaderLen || ID(query) != ID(resp) {
		return false
	}
	f := Flags(resp)
	if f&FlagQR == 0 || f>>11&0xF != Flags(query)>>11&0xF {
		return false
	}
	end := SkipName(query, HeaderLen)
	if end < 0 || end+4 > len(query) {
		return false
	}
	if Count(resp, Question) != 1 || len(resp) < end+4 {
		return false
	}
	return EqualFold(query[HeaderLen:end], resp[HeaderLen:end]) &&
		string(query[end:end+4]) == string(resp[end:end+4])
}

// Response holds what the cache and policy need to know of a response.
// [Response.Parse] fills it.
type Response struct {
	Rcode       Rcode // with the upper bits from its OPT record
	TC          bool
	EDNS        bool
	EDE         int    // info code of the first extended DNS error, or -1 (RFC 8914)
	End         int    // offset after the last record that Parse kept
	MinTTL      uint32 // smallest TTL of the records that Parse kept; 0 without records
	NegativeTTL uint32 // RFC 2308 section 5; 0 without an SOA record
	HasSOA      bool   // whether the authority section has an SOA record
	Answers     int    // number of records in the answer section
}

// Parse checks a response from end to end: it has one question, every record
// lies within the message, every name that may be compressed can be read, and
// no name is made of octets of a TTL, which change as TTLs count down. It
// removes in place the OPT record, which is valid for one hop only (RFC 6891
// section 6.2.1), and any additional record to which nothing before it points,
// each with all records behind it. What remains of msg is msg[:End].
func (r *Response) Parse(msg []byte, scratch *Name) error {
	*r = Response{EDE: -1}
	if len(msg) < HeaderLen || Count(msg, Question) != 1 {
		return ErrMessage
	}
	f := Flags(msg)
	r.Rcode, r.TC = HeaderRcode(msg), f&FlagTC != 0
	r.Answers = Count(msg, Answer)
	w := NewWalk(msg)
	if w.err != nil {
		return w.err
	}
	r.End = w.Offset()
	var rec Record
	kept, first, over := 0, true, false
	var tmp [UsualRecords]uint16
	ttls := tmp[:0]
	for w.Next(&rec) {
		ttls = append(ttls, uint16(rec.TTLOff))
		if rec.Type == TypeOPT {
			if r.EDNS || rec.Section != Additional || msg[rec.Off] != 0 {
				return ErrMessage
			}
			r.EDNS, over = true, true
			r.Rcode |= Rcode(rec.TTL>>24) << 4
			r.EDE = findEDE(msg[rec.DataOff:rec.End])
			continue
		}
		if over {
			continue // removed with the OPT record, or with an unrelated record, before it
		}
		if err := checkNames(msg, &rec, ttls, scratch); err != nil {
			return err
		}
		if rec.Section == Additional && (kept == MaxAdditional || !solicited(msg, &rec, scratch)) {
			over = true
			continue
		}
		ttl := TTL(rec.TTL)
		if rec.Section == Authority && rec.Type == TypeSOA && !r.HasSOA {
			r.HasSOA = true
			if rec.End-rec.DataOff < 22 {
				return ErrMessage
			}
			r.NegativeTTL = min(ttl, TTL(binary.BigEndian.Uint32(msg[rec.End-4:])))
		}
		if first || ttl < r.MinTTL {
			r.MinTTL, first = ttl, false
		}
		if rec.Section == Additional {
			kept++
		}
		r.End = rec.End
	}
	if w.err != nil {
		return w.err
	}
	SetCount(msg, Additional, kept)
	return nil
}

// UsualRecords is the number of records up to which a caller that notes
// something about each, as [Response.Parse] does, need not allocate.
const UsualRecords = 64

// checkNames reads the names of a record that policy, the cache or a client
// will read later, so that nothing fails then. ttls holds the offsets of the
// TTLs up to the record's own.
func checkNames(msg []byte, rec *Record, ttls []uint16, scratch *Name) error {
	if _, err := scratch.Parse(msg, rec.Off); err != nil {
		return err
	}
	if !settled(msg, rec.Off, ttls) {
		return ErrName
	}
	switch rec.Type {
	case TypeA:
		if rec.Class == ClassIN && rec.End-rec.DataOff != 4 {
			return ErrMessage
		}
	case TypeAAAA:
		if rec.End-rec.DataOff != 16 {
			return ErrMessage
		}
	case TypeRRSIG, TypeNSEC:
		return nil // their names are never compressed (RFC 4034 sections 3.1.7 and 4.1.1)
	case TypeNAPTR:
		if _, ok := TargetOffset(msg, rec); !ok {
			return ErrMessage
		}
	}
	head, names, _ := DataNames(msg, rec)
	off := rec.DataOff + head
	for range names {
		if off >= rec.End {
			return ErrMessage
		}
		next, err := scratch.Parse(msg, off)
		if err != nil {
			return err
		}
		if next > rec.End || !settled(msg, off, ttls) {
			return ErrMessage
		}
		off = next
	}
	if rec.Type == TypeSOA && off+20 > rec.End {
		return ErrMessage
	}
	return nil
}

// settled reports whether the name at off, which can be read, stays the same
// while TTLs count down: none of its pointers leads to an octet of a TTL.
// Otherwise the name that was examined would be another name a second later.
func settled(msg []byte, off int, ttls []uint16) bool {
	for {
		start := off
		for msg[off] != 0 && msg[off] < 0xC0 {
			off += 1 + int(msg[off])
		}
		i, _ := slices.BinarySearch(ttls, uint16(max(start-3, 0)))
		if i < len(ttls) && int(ttls[i]) <= off {
			return false
		}
		if msg[off] == 0 {
			return true
		}
		if off = int(msg[off]&0x3F)<<8 | int(msg[off+1]); off == HeaderLen {
			return true // the question's name has no pointers
		}
	}
}

// findEDE returns the info code of the first extended DNS error among the options
// of an OPT record, or -1.
func findEDE(data []byte) int {
	for len(data) >= 4 {
		code, n := binary.BigEndian.Uint16(data), int(binary.BigEndian.Uint16(data[2:]))
		if 4+n > len(data) {
			return -1
		}
		if code == OptionEDE && n >= 2 {
			return int(binary.BigEndian.Uint16(data[4:]))
		}
		data = data[4+n:]
	}
	return -1
}

// TTL returns a TTL as RFC 2181 section 8 reads it: with the top bit set it is
// zero.
func TTL(raw uint32) uint32 {
	if raw > 1<<31-1 {
		return 0
	}
	return raw
}
