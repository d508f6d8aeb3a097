package wire

import (
	"encoding/binary"
	"errors"
)

const (
	// HeaderLen is the length of a message's header (RFC 1035 section 4.1.1).
	HeaderLen = 12
	// MinUDP is the UDP payload size that every client accepts (RFC 1035
	// section 4.2.1).
	MinUDP = 512
	// MaxMessage is the longest message (RFC 1035 section 4.2.2).
	MaxMessage = 65535
)

// Type is a resource record's type, or a query's.
type Type uint16

// Types that Rideau treats specially.
const (
	TypeA     Type = 1
	TypeNS    Type = 2
	TypeCNAME Type = 5
	TypeSOA   Type = 6
	TypePTR   Type = 12
	TypeHINFO Type = 13
	TypeMX    Type = 15
	TypeTXT   Type = 16
	TypeAAAA  Type = 28
	TypeSRV   Type = 33
	TypeNAPTR Type = 35
	TypeDNAME Type = 39
	TypeOPT   Type = 41
	TypeDS    Type = 43
	TypeRRSIG Type = 46
	TypeNSEC  Type = 47
	TypeKEY   Type = 48 // DNSKEY
	TypeNSEC3 Type = 50
	TypeSVCB  Type = 64
	TypeHTTPS Type = 65
	TypeTKEY  Type = 249
	TypeTSIG  Type = 250
	TypeIXFR  Type = 251
	TypeAXFR  Type = 252
	TypeMAILB Type = 253
	TypeMAILA Type = 254
	TypeANY   Type = 255
)

// Class is a resource record's class, or a query's.
type Class uint16

// Classes.
const (
	ClassIN   Class = 1
	ClassCH   Class = 3
	ClassNONE Class = 254
	ClassANY  Class = 255
)

// Rcode is a response code of 12 bits, the upper eight of which an OPT record
// carries (RFC 6891 section 6.1.3).
type Rcode uint16

// Response codes.
const (
	NoError   Rcode = 0
	FormErr   Rcode = 1
	ServFail  Rcode = 2
	NXDomain  Rcode = 3
	NotImp    Rcode = 4
	Refused   Rcode = 5
	YXDomain  Rcode = 6
	BadVers   Rcode = 16
	BadCookie Rcode = 23
)

// Opcode is the kind of a query.
type Opcode uint8

// Opcodes.
const (
	OpQuery  Opcode = 0
	OpNotify Opcode = 4
	OpUpdate Opcode = 5
)

// Flags of the header, as bits of what [Flags] returns.
const (
	FlagQR uint16 = 1 << 15
	FlagAA uint16 = 1 << 10
	FlagTC uint16 = 1 << 9
	FlagRD uint16 = 1 << 8
	FlagRA uint16 = 1 << 7
	FlagAD uint16 = 1 << 5
	FlagCD uint16 = 1 << 4
)

// ErrMessage is the error of a message that cannot be read.
var ErrMessage = errors.New("message: malformed")

// ID returns the message's id. msg holds at least a header, here and in the
// functions below.
func ID(msg []byte) uint16 { return binary.BigEndian.Uint16(msg) }

// SetID sets the message's id.
func SetID(msg []byte, id uint16) { binary.BigEndian.PutUint16(msg, id) }

// Flags returns the header's second pair of octets: flags, opcode and rcode.
func Flags(msg []byte) uint16 { return binary.BigEndian.Uint16(msg[2:]) }

// SetFlags sets what Flags returns.
func SetFlags(msg []byte, f uint16) { binary.BigEndian.PutUint16(msg[2:], f) }

// HeaderRcode returns the four bits of the response code that the header holds.
func HeaderRcode(msg []byte) Rcode { return Rcode(msg[3] & 0x0F) }

// Section is a part of a message.
type Section uint8

// Sections, in the order in which they stand in a message. The values index the
// header's counts.
const (
	Question Section = iota
	Answer
	Authority
	Additional
)

// Count returns the number of records that the header claims for a section.
func Count(msg []byte, s Section) int {
	return int(binary.BigEndian.Uint16(msg[4+2*int(s):]))
}

// SetCount sets what Count returns.
func SetCount(msg []byte, s Section, n int) {
	binary.BigEndian.PutUint16(msg[4+2*int(s):], uint16(n))
}

// SkipName returns the offset after the name at off, or -1 if the name cannot
// be read. It does not follow pointers.
func SkipName(msg []byte, off int) int {
	for uint(off) < uint(len(msg)) {
		c := int(msg[off])
		switch {
		case c == 0:
			return off + 1
		case c < 0x40:
			off += 1 + c
		case c >= 0xC0:
			if off+2 > len(msg) {
				return -1
			}
			return off + 2
		default:
			return -1
		}
	}
	return -1
}

// Record describes one resource record's place in a message. All offsets count
// from the start of the message; the record borrows nothing.
type Record struct {
	Section Section
	Type    Type
	Class   Class
	TTL     uint32
	Off     int // of the owner name, and so of the record
	TTLOff  int // of the TTL
	DataOff int // of the RDATA
	End     int // just after the record
}

// Walk reads a message's records one after another, beginning with the answer
// section. Make one with [NewWalk]. It borrows the message.
type Walk struct {
	msg     []byte
	off     int
	section Section
	left    int
	err     error
}

// NewWalk returns a Walk that stands before the first record after the question
// section.
func NewWalk(msg []byte) Walk {
	w := Walk{msg: msg, off: HeaderLen}
	if len(msg) < HeaderLen {
		w.err = ErrMessage
		return w
	}
	for range Count(msg, Question) {
		w.off = SkipName(msg, w.off)
		if w.off < 0 || w.off+4 > len(msg) {
			w.err = ErrMessage
			return w
		}
		w.off += 4
	}
	w.section, w.left = Answer, Count(msg, Answer)
	return w
}

// Next reads the next record into r and reports whether there was one. It
// returns false at the end and at the first malformed record; [Walk.Err] tells
// which.
func (w *Walk) Next(r *Record) bool {
	if w.err != nil {
		return false
	}
	for w.left == 0 {
		if w.section == Additional {
			return false
		}
		w.section++
		w.left = Count(w.msg, w.section)
	}
	w.left--
	r.Section, r.Off = w.section, w.off
	p := SkipName(w.msg, w.off)
	if p < 0 || p+10 > len(w.msg) {
		w.err = ErrMessage
		return false
	}
	h := w.msg[p : p+10]
	r.Type = Type(binary.BigEndian.Uint16(h))
	r.Class = Class(binary.BigEndian.Uint16(h[2:]))
	r.TTL = binary.BigEndian.Uint32(h[4:])
	r.TTLOff, r.DataOff = p+4, p+10
	r.End = p + 10 + int(binary.BigEndian.Uint16(h[8:]))
	if r.End > len(w.msg) {
		w.err = ErrMessage
		return false
	}
	w.off = r.End
	return true
}

// Err returns ErrMessage if the walk ended at a malformed record, else nil.
func (w *Walk) Err() error { return w.err }

// Offset returns the offset after the last record that Next read.
func (w *Walk) Offset() int { return w.off }

// TargetOffset returns the offset of the name in the RDATA of r that the record
// points to, for the types whose target policy examines: CNAME, DNAME, NS, PTR,
// MX, SRV (RFC 2782), SVCB and HTTPS (RFC 9460), NAPTR (RFC 3403). ok is false
// for other types and if the RDATA is too short.
func TargetOffset(msg []byte, r *Record) (off int, ok bool) {
	switch r.Type {
	case TypeCNAME, TypeDNAME, TypeNS, TypePTR:
		off = r.DataOff
	case TypeMX, TypeSVCB, TypeHTTPS:
		off = r.DataOff + 2
	case TypeSRV:
		off = r.DataOff + 6
	case TypeNAPTR:
		off = r.DataOff + 4
		for range 3 { // flags, services, regexp
			if off >= r.End {
				return 0, false
			}
			off += 1 + int(msg[off])
		}
	default:
		return 0, false
	}
	return off, off < r.End
}
