package wire

import (
	"encoding/binary"
	"errors"
)

const (
	// HeaderLen is the length of a message's header (RFC 1035 section 4.1.1).
	HeaderLen = 12
	// MinUDP is the UDP payload every client takes (RFC 1035 section 4.2.1).
	MinUDP = 512
	// MaxMessage is the longest message (RFC 1035 section 4.2.2).
	MaxMessage = 65535
)

// Type is a resource record's type, or a query's.
type Type uint16

// Types that Rideau treats in a way of their own.
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

// Rcode is a response code with the upper bits that an OPT record carries
// (RFC 6891 section 6.1.3): 12 bits.
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

// Opcode is a query's kind.
type Opcode uint8

// Opcodes.
const (
	OpQuery  Opcode = 0
	OpNotify Opcode = 4
	OpUpdate Opcode = 5
)

// Bits of the header's second pair of octets.
const (
	FlagQR uint16 = 1 << 15
	FlagAA uint16 = 1 << 10
	FlagTC uint16 = 1 << 9
	FlagRD uint16 = 1 << 8
	FlagRA uint16 = 1 << 7
	FlagAD uint16 = 1 << 5
	FlagCD uint16 = 1 << 4
)

// ErrMessage is what a message that cannot be read gives.
var ErrMessage = errors.New("message: malformed")

// ID is the message's id. msg holds at least a header, here and in the
// functions below.
func ID(msg []byte) uint16 { return binary.BigEndian.Uint16(msg) }

// SetID writes the message's id.
func SetID(msg []byte, id uint16) { binary.BigEndian.PutUint16(msg, id) }

// Flags is the header's second pair of octets: flags, opcode and rcode.
func Flags(msg []byte) uint16 { return binary.BigEndian.Uint16(msg[2:]) }

// SetFlags writes what Flags reads.
func SetFlags(msg []byte, f uint16) { binary.BigEndian.PutUint16(msg[2:], f) }

// HeaderRcode is the four bits of the response code that the header holds.
func HeaderRcode(msg []byte) Rcode { return Rcode(msg[3] & 0x0F) }

// Section is a part of a message.
type Section uint8

// Sections, in the order in which a message holds them. The values index the
// header's counts.
const (
	Question Section = iota
	Answer
	Authority
	Additional
)

// Count is how many records the header claims for a section.
func Count(msg []byte, s Section) int {
	return int(binary.BigEndian.Uint16(msg[4+2*int(s):]))
}

// SetCount writes what Count reads.
func SetCount(msg []byte, s Section, n int) {
	binary.BigEndian.PutUint16(msg[4+2*int(s):], uint16(n))
}

// SkipName returns the offset after the name at off without following
// pointers, or -1.
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

// Record is one resource record's place in a message. All offsets are from
// the start of the message; the record borrows nothing.
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

// Walk reads a message's records one after another. The zero Walk is not
// useful; get one from [NewWalk]. A Walk borrows the message.
type Walk struct {
	msg     []byte
	off     int
	section Section
	left    int
	err     error
}

// NewWalk begins at the first record after the question section.
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

// Next reads the next record into r and reports whether there was one. At
// the end, and at the first octet that makes no sense, it returns false;
// [Walk.Err] tells the two apart.
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

// Err is ErrMessage if the walk ended early, else nil.
func (w *Walk) Err() error { return w.err }

// Offset is where the walk stands: after the last record that Next read.
func (w *Walk) Offset() int { return w.off }

// TargetOffset is where the RDATA of r has the name that the record points
// to, for the types whose target policy looks at: CNAME, DNAME, NS, PTR, MX,
// SRV (RFC 2782), SVCB and HTTPS (RFC 9460), NAPTR (RFC 3403). ok is false for the others
// and where the RDATA is too short.
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
