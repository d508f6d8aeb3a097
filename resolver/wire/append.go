package wire

import (
	"encoding/binary"
	"slices"
)

// Reply begins an answer to q: it appends the header and, if the question could
// be read, the question as the client wrote it (RFC 4343: case is preserved).
// msg is q's message. The upper bits of rcode belong into the OPT record (see
// [AppendOPT]). The answer has QR and RA set, echoes opcode, RD and CD, and
// counts no records: the functions that append records count them.
//
// The functions of this file append to dst. base is the offset in dst at which
// the message begins; compression pointers count from it.
func Reply(dst []byte, q *Query, msg []byte, rcode Rcode) []byte {
	flags := FlagQR | FlagRA | uint16(q.Opcode)<<11 | uint16(rcode&0xF)
	if q.RD {
		flags |= FlagRD
	}
	if q.CD {
		flags |= FlagCD
	}
	dst = binary.BigEndian.AppendUint16(dst, q.ID)
	dst = binary.BigEndian.AppendUint16(dst, flags)
	if !q.HasQuestion {
		return append(dst, 0, 0, 0, 0, 0, 0, 0, 0)
	}
	dst = append(dst, 0, 1, 0, 0, 0, 0, 0, 0)
	return append(dst, msg[HeaderLen:q.QuestionEnd]...)
}

// AppendQuery appends a query as Rideau sends it upstream: RD and AD set (AD
// means that the AD bit of the answer is understood, RFC 6840 section 5.7), CD
// as given, the name in lower case, and, if edns, an OPT record with nothing of
// the client's in it.
func AppendQuery(dst []byte, id uint16, name *Name, t Type, c Class, do, cd, edns bool, udpSize uint16) []byte {
	base := len(dst)
	flags := FlagRD | FlagAD
	if cd {
		flags |= FlagCD
	}
	dst = binary.BigEndian.AppendUint16(dst, id)
	dst = binary.BigEndian.AppendUint16(dst, flags)
	dst = append(dst, 0, 1, 0, 0, 0, 0, 0, 0)
	dst = append(dst, name.Bytes()...)
	dst = binary.BigEndian.AppendUint16(dst, uint16(t))
	dst = binary.BigEndian.AppendUint16(dst, uint16(c))
	if edns {
		dst = AppendOPT(dst, base, OPT{UDPSize: udpSize, DO: do})
	}
	return dst
}

// AddCount adds n to the count of a section of the message that begins at base.
func AddCount(dst []byte, base int, s Section, n int) {
	SetCount(dst[base:], s, Count(dst[base:], s)+n)
}

// AppendRecord appends a record whose owner name is a compression pointer to
// owner, an offset within the message, and counts it.
func AppendRecord(dst []byte, base int, s Section, owner int, t Type, ttl uint32, rdata []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, 0xC000|uint16(owner))
	dst = binary.BigEndian.AppendUint16(dst, uint16(t))
	dst = binary.BigEndian.AppendUint16(dst, uint16(ClassIN))
	dst = binary.BigEndian.AppendUint32(dst, ttl)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(rdata)))
	dst = append(dst, rdata...)
	AddCount(dst, base, s, 1)
	return dst
}

// soaData is the RDATA of the SOA record in answers made here, without the
// minimum: mname rideau.invalid, rname nobody.invalid as in RFC 6303 section 3,
// serial 1, refresh 3600, retry 1200, expire 604800.
var soaData = []byte("\x06rideau\x07invalid\x00" + "\x06nobody\x07invalid\x00" +
	"\x00\x00\x00\x01" + "\x00\x00\x0e\x10" + "\x00\x00\x04\xb0" + "\x00\x09\x3a\x80")

// AppendSOA appends to the section s the SOA record that allows a negative
// answer to be cached for ttl seconds (RFC 2308 sections 3 and 5).
func AppendSOA(dst []byte, base int, s Section, owner int, ttl uint32) []byte {
	var tmp [64]byte
	rdata := append(tmp[:0], soaData...)
	rdata = binary.BigEndian.AppendUint32(rdata, ttl)
	return AppendRecord(dst, base, s, owner, TypeSOA, ttl, rdata)
}

// OPT is the content of an OPT record (RFC 6891 section 6.1).
type OPT struct {
	UDPSize uint16
	DO      bool
	Rcode   Rcode // only its upper eight bits are written
	Options []byte
}

// OPTLen is the length of an OPT record without options.
const OPTLen = 11

// AppendOPT appends an OPT record of version 0 and counts it.
func AppendOPT(dst []byte, base int, o OPT) []byte {
	var flags uint16
	if o.DO {
		flags = 0x8000
	}
	dst = append(dst, 0, 0, byte(TypeOPT))
	dst = binary.BigEndian.AppendUint16(dst, o.UDPSize)
	dst = append(dst, byte(o.Rcode>>4), 0)
	dst = binary.BigEndian.AppendUint16(dst, flags)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(o.Options)))
	dst = append(dst, o.Options...)
	AddCount(dst, base, Additional, 1)
	return dst
}

// AppendOption appends options to the OPT record at off, which must be the last
// record of the message.
func AppendOption(dst []byte, off int, options []byte) []byte {
	dst = append(dst, options...)
	n := binary.BigEndian.Uint16(dst[off+9:]) + uint16(len(options))
	binary.BigEndian.PutUint16(dst[off+9:], n)
	return dst
}

// AppendEDE appends an Extended DNS Error option (RFC 8914 section 2).
func AppendEDE(dst []byte, code uint16, text string) []byte {
	dst = binary.BigEndian.AppendUint16(dst, OptionEDE)
	dst = binary.BigEndian.AppendUint16(dst, uint16(2+len(text)))
	dst = binary.BigEndian.AppendUint16(dst, code)
	return append(dst, text...)
}

// AppendOptionBytes appends an EDNS option (RFC 6891 section 6.1.2).
func AppendOptionBytes(dst []byte, code uint16, data []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, code)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(data)))
	return append(dst, data...)
}

// Pad pads a message that ends with an OPT record without options, as
// AppendQuery makes it, to a multiple of block octets (RFC 7830, RFC 8467
// section 4.1). It returns any other message unchanged.
func Pad(msg []byte, block int) []byte {
	off := len(msg) - OPTLen
	if len(msg) < HeaderLen+OPTLen || Count(msg, Additional) != 1 || msg[off] != 0 || Type(binary.BigEndian.Uint16(msg[off+1:])) != TypeOPT {
		return msg
	}
	n := (block - (len(msg)+4)%block) % block
	msg = binary.BigEndian.AppendUint16(msg, OptionPadding)
	msg = binary.BigEndian.AppendUint16(msg, uint16(n))
	msg = append(msg, make([]byte, n)...)
	binary.BigEndian.PutUint16(msg[off+9:], uint16(4+n))
	return msg
}

// AppendPadding pads the message in dst from base on to a multiple of block octets,
// or to as many as a message may have. Its last record is the OPT record at off.
func AppendPadding(dst []byte, base, off, block int) []byte {
	const head = 4
	size := len(dst) - base + head
	n := min((size+block-1)/block*block, MaxMessage) - size
	if n < 0 {
		return dst
	}
	dst = binary.BigEndian.AppendUint16(dst, OptionPadding)
	dst = binary.BigEndian.AppendUint16(dst, uint16(n))
	at := len(dst)
	dst = slices.Grow(dst, n)[:at+n]
	clear(dst[at:])
	octets := binary.BigEndian.Uint16(dst[off+9:]) + uint16(head+n)
	binary.BigEndian.PutUint16(dst[off+9:], octets)
	return dst
}

// AppendKeepalive appends an edns-tcp-keepalive option (RFC 7828 section
// 3.1); timeout is in units of 100 milliseconds.
func AppendKeepalive(dst []byte, timeout uint16) []byte {
	dst = binary.BigEndian.AppendUint16(dst, OptionKeepalive)
	dst = append(dst, 0, 2)
	return binary.BigEndian.AppendUint16(dst, timeout)
}

// CapTTLs lowers the TTLs of a message's records to limit, and sets those to
// zero that RFC 2181 section 8 reads as zero.
func CapTTLs(msg []byte, limit uint32) {
	w := NewWalk(msg)
	var r Record
	for w.Next(&r) {
		if ttl := min(TTL(r.TTL), limit); ttl != r.TTL && r.Type != TypeOPT {
			binary.BigEndian.PutUint32(msg[r.TTLOff:], ttl)
		}
	}
}
