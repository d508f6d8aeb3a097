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
// lies within the message, the RDATA of known types is built as the type
// demands, every name that may be compressed can be read, and no name is made
// of octets of a TTL, which change as TTLs count down. It removes in place the
// OPT record, which is valid for one hop only (RFC 6891 section 6.2.1), and any
// additional record to which nothing before it points, each with all records
// behind it. So it does with a record beside the answer that is not as it should
// be: an additional one, or one of the authority section of a response with
// answers. Any other such record makes the response an error. What remains of msg
// is msg[:End]. The work is linear in the octets of msg.
func (r *Response) Parse(msg []byte, scratch *Name) error {
	if len(msg) <= fewOctets {
		return r.parse(msg, scratch, nil)
	}
	var seen [maxPointer / 64]uint64
	return r.parse(msg, scratch, &seen)
}

func (r *Response) parse(msg []byte, scratch *Name, seen *[maxPointer / 64]uint64) error {
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
	first, over := true, false
	kept, belong := -1, uint64(0) // -1 before the additional section
	var tmp [UsualRecords]uint16
	c := nameCheck{scratch: scratch, ttls: tmp[:0], seen: seen}
	authority := Count(msg, Authority)
	section, inSection := Answer, 0 // records of the section that were kept
	for w.Next(&rec) {
		if rec.Section != section {
			section, inSection = rec.Section, 0
		}
		c.ttls = append(c.ttls, uint16(rec.TTLOff))
		if rec.Type == TypeOPT {
			if rec.Section != Additional || msg[rec.Off] != 0 {
				return ErrMessage
			}
			if r.EDNS {
				continue // of several the first counts; only a query with two is an error
			}
			r.EDNS, over = true, true
			r.Rcode |= Rcode(rec.TTL>>24) << 4
			r.EDE = findEDE(msg[rec.DataOff:rec.End])
			continue
		}
		if over {
			continue // removed with the OPT record, or with an unrelated record, before it
		}
		if err := checkRecord(msg, &rec, &c); err != nil {
			if rec.Section == Additional || rec.Section == Authority && r.Answers > 0 {
				if over = true; rec.Section == Authority {
					authority, kept = inSection, max(kept, 0)
				}
				continue
			}
			return err
		}
		inSection++
		if rec.Section == Additional {
			if kept < 0 {
				kept = 0
				belong = solicited(msg, Walk{msg: msg, off: rec.Off, section: Additional, left: w.left + 1}, scratch)
			}
			if isMeta(rec.Type) || belong>>kept&1 == 0 { // no bit is set beyond MaxAdditional
				over = true
				continue
			}
			kept++
		}
		ttl := TTL(rec.TTL)
		if rec.Section == Authority && rec.Type == TypeSOA && !r.HasSOA {
			r.HasSOA = true
			r.NegativeTTL = min(ttl, TTL(binary.BigEndian.Uint32(msg[rec.End-4:])))
		}
		if first || ttl < r.MinTTL {
			r.MinTTL, first = ttl, false
		}
		r.End = rec.End
	}
	if w.err != nil {
		return w.err
	}
	SetCount(msg, Authority, authority)
	SetCount(msg, Additional, max(kept, 0))
	return nil
}

// UsualRecords is the number of records up to which a caller that notes
// something about each, as [Response.Parse] does, need not allocate.
const UsualRecords = 64

// isMeta reports whether a type is one of messages and questions, and not of
// data (RFC 6895 section 3.1).
func isMeta(t Type) bool { return t >= TypeTKEY && t <= TypeANY }

// checkRecord reads what policy, the cache or a client will read of a record
// later, so that nothing fails then, and nobody takes the record for something
// else.
func checkRecord(msg []byte, rec *Record, c *nameCheck) error {
	if _, err := c.name(msg, rec.Off); err != nil {
		return err
	}
	if isMeta(rec.Type) && rec.Section != Additional {
		return ErrMessage
	}
	return checkData(msg, rec, c)
}

// nameCheck reads names of a message, one after another.
type nameCheck struct {
	scratch *Name
	ttls    []uint16 // the offsets of the TTLs so far, in ascending order
	// seen has a bit for each offset at which a name has been found to be
	// settled. It is nil for messages of few octets.
	seen *[maxPointer / 64]uint64
}

const (
	// maxPointer is one more than the largest offset that a compression pointer
	// can hold.
	maxPointer = 1 << 14
	// fewOctets is the length of messages whose names are followed to their ends
	// each time, which costs less than to note what was seen.
	fewOctets = 1024
)

// name returns the offset after the name at off. It is an error if the name
// cannot be read or is not settled.
func (c *nameCheck) name(msg []byte, off int) (next int, err error) {
	if next, err = c.scratch.Parse(msg, off); err == nil && !c.settled(msg, off) {
		err = ErrName
	}
	return next, err
}

// settled reports whether the name at off, which can be read, stays the same
// while TTLs count down: none of its pointers leads to an octet of a TTL, and
// none to octets that reach to the name itself or behind it, where more TTLs
// may follow. Otherwise the name that was examined would be another name a
// second later.
func (c *nameCheck) settled(msg []byte, off int) bool {
	for before := len(msg); ; {
		start := off
		for msg[off] != 0 && msg[off] < 0xC0 {
			off += 1 + int(msg[off])
		}
		if off >= before || msg[off] != 0 && off+1 >= before {
			return false
		}
		i, _ := slices.BinarySearch(c.ttls, uint16(max(start-3, 0)))
		if i < len(c.ttls) && int(c.ttls[i]) <= off {
			return false
		}
		if msg[off] == 0 {
			return true
		}
		if off = int(msg[off]&0x3F)<<8 | int(msg[off+1]); off == HeaderLen {
			return true // the question's name has no pointers
		}
		if c.seen != nil {
			if c.seen[off/64]&(1<<(off%64)) != 0 {
				return true
			}
			c.seen[off/64] |= 1 << (off % 64) // if it is not, the message is refused
		}
		before = start
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
