package wire

import "encoding/binary"

// Fault is what is wrong with a query. The checks run in the order of the
// values. The zero Fault is none.
type Fault uint8

// Faults.
const (
	FaultNone    Fault = iota
	FaultDrop          // no query: shorter than a header, or a response. Answering could start a loop.
	FaultFormErr       // answer FORMERR (RFC 1035 section 4.1.1)
	FaultNotImp        // an unknown opcode: answer NOTIMP
	FaultRefused       // NOTIFY or UPDATE: answer REFUSED
	FaultBadVers       // an EDNS version above 0 (RFC 6891 section 6.1.3)
	FaultCookie        // no question, only a request for a cookie: no error (RFC 7873 section 5.4)
)

// Query is the parsed view of a query: what the answer depends on. It holds
// offsets and copies, no slices, so that it stays valid when the message moves
// to another buffer.
type Query struct {
	ID     uint16
	Opcode Opcode
	RD     bool
	AD     bool
	CD     bool

	// HasQuestion reports whether the question could be read, and so can be
	// echoed.
	HasQuestion bool
	Type        Type
	Class       Class
	Name        Name // in lower case; the message has it as the client wrote it
	QuestionEnd int  // offset after the question

	// EDNS (RFC 6891); the fields below are zero without it.
	EDNS      bool
	Version   uint8
	DO        bool
	UDPSize   uint16 // as the client sent it, but not below MinUDP
	Keepalive bool   // the client sent edns-tcp-keepalive (RFC 7828)
	NSID      bool   // the client asks for the server's identifier (RFC 5001)
	Padding   bool   // the client sent padding, and expects it (RFC 7830)
	// Cookies (RFC 7873 section 4). A server cookie of another length than ours
	// counts as CookieOther, and is not stored.
	Cookie       CookieKind
	ClientCookie [8]byte
	ServerCookie [16]byte
}

// CookieKind tells which cookies a query has.
type CookieKind uint8

// CookieKinds.
const (
	CookieNone   CookieKind = iota
	CookieClient            // a client cookie only
	CookieBoth              // a client cookie, and a server cookie of our length
	CookieOther             // a client cookie, and a server cookie that is not ours
)

// EDNS options.
const (
	OptionNSID      = 3
	OptionECS       = 8
	OptionCookie    = 10
	OptionKeepalive = 11
	OptionPadding   = 12
	OptionEDE       = 15
)

// Parse reads msg. The guards stand in the order of the protocol, cheap ones
// first. Whatever the fault, the header's fields are right unless it is
// FaultDrop, and HasQuestion tells whether the question is.
func (q *Query) Parse(msg []byte) Fault {
	if len(msg) < HeaderLen {
		return FaultDrop
	}
	flags := Flags(msg)
	if flags&FlagQR != 0 {
		return FaultDrop
	}
	q.ID = ID(msg)
	q.Opcode = Opcode(flags >> 11 & 0xF)
	q.RD, q.AD, q.CD = flags&FlagRD != 0, flags&FlagAD != 0, flags&FlagCD != 0
	q.HasQuestion, q.EDNS, q.DO, q.Keepalive, q.NSID, q.Padding, q.Cookie = false, false, false, false, false, false, CookieNone
	q.Version, q.UDPSize, q.QuestionEnd = 0, MinUDP, HeaderLen

	if q.Opcode != OpQuery {
		// NOTIFY and UPDATE have the shape of a query, and the rules for OPT
		// hold for them too. What other opcodes carry is unknown, so nothing of
		// it is echoed.
		if q.Opcode != OpNotify && q.Opcode != OpUpdate {
			return FaultNotImp
		}
		if q.question(msg) {
			if fault := q.records(msg); fault != FaultNone {
				return fault
			}
		}
		return FaultRefused
	}
	if !q.question(msg) { // RFC 9619: just one question
		return q.unasked(msg)
	}
	fault := q.records(msg)
	if Count(msg, Answer) != 0 || (Count(msg, Authority) != 0 && q.Type != TypeIXFR) {
		return FaultFormErr
	}
	return fault
}

func (q *Query) question(msg []byte) bool {
	if Count(msg, Question) != 1 {
		return false
	}
	end, err := q.Name.Parse(msg, HeaderLen)
	if err != nil || end+4 > len(msg) || end-HeaderLen != q.Name.Len() {
		return false // the last condition: compressed, though no name stands before it
	}
	q.Type = Type(binary.BigEndian.Uint16(msg[end:]))
	q.Class = Class(binary.BigEndian.Uint16(msg[end+2:]))
	q.QuestionEnd = end + 4
	q.HasQuestion = true
	return true
}

// unasked handles a query without a question, or with several: an error, unless
// it only asks for a cookie.
func (q *Query) unasked(msg []byte) Fault {
	w := NewWalk(msg)
	if w.Err() != nil {
		return FaultFormErr
	}
	fault := q.readOPT(msg, w)
	if fault == FaultNone && q.Cookie != CookieNone && string(msg[4:10]) == "\x00\x00\x00\x00\x00\x00" {
		return FaultCookie
	}
	return FaultFormErr
}

// records reads the OPT record among the records behind the question. A client
// that sent one gets one back, whatever else is wrong (RFC 6891 section 6.1.1).
func (q *Query) records(msg []byte) Fault {
	if string(msg[6:HeaderLen]) == "\x00\x00\x00\x00\x00\x00" {
		return FaultNone
	}
	return q.readOPT(msg, Walk{msg: msg, off: q.QuestionEnd, section: Answer, left: Count(msg, Answer)})
}

func (q *Query) readOPT(msg []byte, w Walk) Fault {
	var r Record
	for w.Next(&r) {
		if r.Type != TypeOPT {
			continue
		}
		// RFC 6891 section 6.1.1: one, in the additional section, with the root as owner.
		if r.Section != Additional {
			return FaultFormErr
		}
		second := q.EDNS
		q.EDNS = true
		if second || msg[r.Off] != 0 {
			return FaultFormErr
		}
		q.Version = uint8(r.TTL >> 16)
		q.DO = r.TTL&0x8000 != 0
		q.UDPSize = max(uint16(r.Class), MinUDP)
		if q.Version == 0 && !q.options(msg[r.DataOff:r.End]) {
			return FaultFormErr
		}
	}
	if w.Err() != nil {
		return FaultFormErr
	}
	if q.Version != 0 {
		return FaultBadVers
	}
	return FaultNone
}

// options reads the options of the OPT record and ignores unknown ones. It
// reports whether they are well formed.
func (q *Query) options(data []byte) bool {
	for len(data) > 0 {
		if len(data) < 4 {
			return false
		}
		code, n := binary.BigEndian.Uint16(data), int(binary.BigEndian.Uint16(data[2:]))
		if 4+n > len(data) {
			return false
		}
		value := data[4 : 4+n]
		data = data[4+n:]
		switch code {
		case OptionKeepalive:
			q.Keepalive = true
		case OptionNSID:
			q.NSID = true
		case OptionPadding:
			q.Padding = true
		case OptionCookie:
			if !q.cookie(value) {
				return false
			}
		}
	}
	return true
}

// HasOption reports whether the OPT record of the parsed message msg has an option with that code, whatever is in it.
func (q *Query) HasOption(msg []byte, code uint16) bool {
	if !q.EDNS {
		return false
	}
	var r Record
	for w := (Walk{msg: msg, off: q.QuestionEnd, section: Answer, left: Count(msg, Answer)}); w.Next(&r); {
		if r.Type != TypeOPT {
			continue
		}
		for data := msg[r.DataOff:r.End]; len(data) >= 4; {
			if binary.BigEndian.Uint16(data) == code {
				return true
			}
			data = data[min(len(data), 4+int(binary.BigEndian.Uint16(data[2:]))):]
		}
	}
	return false
}

// cookie reads a COOKIE option and reports whether its length is valid. The
// first option counts (RFC 7873 section 5.2).
func (q *Query) cookie(value []byte) bool {
	kind := CookieOther
	switch n := len(value) - len(q.ClientCookie); {
	case n == 0:
		kind = CookieClient
	case n == len(q.ServerCookie):
		kind = CookieBoth
	case n < 8 || n > 32:
		return false
	}
	if q.Cookie == CookieNone {
		q.Cookie = kind
		copy(q.ServerCookie[:], value[copy(q.ClientCookie[:], value):])
	}
	return true
}

// RawName returns the question's name as the client wrote it. msg is the parsed
// message or a copy; HasQuestion must be true.
func (q *Query) RawName(msg []byte) []byte {
	return msg[HeaderLen : HeaderLen+q.Name.Len()]
}
