package acceptance

import "rideau/resolver/wire"

// Path is how a message came.
type Path uint8

// Paths.
const (
	// Datagram is UDP, where anybody who guesses id and port can send a
	// response in the server's name.
	Datagram Path = iota
	// CutDatagram is a datagram that was longer than the buffer it was read
	// into.
	CutDatagram
	// Stream is TCP. Nobody off the path can send there, so that a response
	// also tells what the server does with the case of names and with cookies.
	Stream
	// Encrypted is TLS, QUIC or HTTPS.
	Encrypted
)

// Result is what a received message is to the query that was sent. The set is
// closed.
type Result uint8

// Results.
const (
	// Mismatch: it is no response to the query. It may be forged, late or
	// broken; the true response may still come.
	Mismatch Result = iota
	// Answer: it is a response whose code is usable.
	Answer
	// Failure: it is a response with another code. Another server may do
	// better.
	Failure
	// Malformed: it is a response, and its records cannot be read.
	Malformed
	// Truncated: the query is to be sent over TCP. Either the server says so
	// (TC, RFC 7766 section 5), or the datagram did not fit.
	Truncated
	// Doubtful: it is a datagram that is not believed by itself. It lacks the
	// question, or the case or the cookie that this server has shown before, or
	// it refuses EDNS. The query is to be sent over TCP, or in another datagram:
	// two that agree are believed (RFC 7873 section 5.3). [Endpoint.DoubtOf]
	// says what the doubt is.
	Doubtful
	// RefusesEDNS: the server may not understand the OPT record of the query
	// (RFC 6891 sections 6.1.3 and 7).
	RefusesEDNS
	// RefusesCookie: the server wants the query again with the cookie that is
	// in the response (RFC 7873 section 5.3).
	RefusesCookie
)

// Accept judges a message that was received by path for query, which is as it
// was sent: with its id, its letters and its cookie (RFC 5452 section 9.1). It
// returns the response as well: msg itself, or, where the server has not
// repeated the question, a message made of the query. With Mismatch there is
// none, nor with Truncated for a datagram that did not fit; with Doubtful it is
// msg itself. e is the server's;
// nil with Encrypted.
//
// Records are read to their ends, but not into: whoever stores the response
// parses it.
func Accept(path Path, e *Endpoint, query, msg []byte) (Result, []byte) {
	if !wire.Matches(query, msg) {
		return acceptBare(path, query, msg)
	}
	switch path {
	case CutDatagram:
		return Truncated, nil
	case Datagram:
		if !e.check(query, msg) {
			return Doubtful, msg
		}
		e.hears(query, msg)
		if wire.Flags(msg)&wire.FlagTC != 0 {
			return Truncated, msg
		}
		result := Judge(msg)
		if result == RefusesEDNS && doubtsRefusal(query, msg) {
			return Doubtful, msg
		}
		return result, msg
	case Stream:
		e.learn(query, msg)
	}
	return Judge(msg), msg
}

// acceptBare judges a message that does not repeat the question. A server that
// could not read the query, or did not want to, sends such an error; so does a
// load balancer, or a server under a rate limit. One that says no more than TC
// comes from what stands guard before a server. As a datagram it shows no more
// than an id, which is guessed in 65,536 attempts, and is not believed by
// itself. On a connection it says that there will be no answer, whatever its code.
func acceptBare(path Path, query, msg []byte) (Result, []byte) {
	const opcode = 0xF << 11
	if len(msg) < wire.HeaderLen || wire.ID(msg) != wire.ID(query) || wire.Count(msg, wire.Question) != 0 ||
		wire.Flags(msg)&(wire.FlagQR|opcode) != wire.FlagQR|wire.Flags(query)&opcode {
		return Mismatch, nil
	}
	if path == Datagram || path == CutDatagram {
		if wire.Flags(msg)&wire.FlagTC != 0 || isBareError(msg) {
			return Doubtful, msg
		}
		return Mismatch, nil
	}
	flags := wire.Flags(msg)
	if flags&wire.FlagTC != 0 {
		return Mismatch, nil
	}
	switch wire.HeaderRcode(msg) {
	case wire.FormErr, wire.NotImp:
		return RefusesEDNS, withQuestion(query, flags)
	case wire.ServFail, wire.Refused:
		return Failure, withQuestion(query, flags)
	}
	return Failure, withQuestion(query, flags&^0xF|uint16(wire.ServFail))
}

// withQuestion makes, of a response without question, of which only the flags
// are of use, one in the form that other responses have.
func withQuestion(query []byte, flags uint16) []byte {
	w := wire.NewWalk(query)
	m := append([]byte(nil), query[:w.Offset()]...)
	wire.SetFlags(m, flags)
	wire.SetCount(m, wire.Answer, 0)
	wire.SetCount(m, wire.Authority, 0)
	wire.SetCount(m, wire.Additional, 0)
	return m
}

// Judge is the part of [Accept] that looks at the response alone. A server
// that does not understand EDNS may send more than can be read, so that the
// code comes first.
func Judge(msg []byte) Result {
	if len(msg) < wire.HeaderLen {
		return Malformed
	}
	result := Failure
	switch wire.HeaderRcode(msg) {
	case wire.FormErr, wire.NotImp:
		return RefusesEDNS
	case wire.NoError: // BADVERS & 0xF
		if isBadVers(msg) {
			return RefusesEDNS
		}
		result = Answer
	case wire.NXDomain, wire.YXDomain:
		result = Answer
	case wire.BadCookie & 0xF:
		if isBadCookie(msg) {
			return RefusesCookie
		}
	}
	if !Readable(msg) {
		return Malformed
	}
	return result
}

// Usable reports whether a response that has been parsed is an answer that may
// be stored. Its code includes the upper bits in its OPT record, and TC counts
// by every path.
func Usable(resp *wire.Response) bool {
	return !resp.TC && (resp.Rcode == wire.NoError || resp.Rcode == wire.NXDomain || resp.Rcode == wire.YXDomain)
}

// Readable reports whether all records of a message lie within it.
func Readable(msg []byte) bool {
	if len(msg) < wire.HeaderLen {
		return false
	}
	w := wire.NewWalk(msg)
	var r wire.Record
	for w.Next(&r) {
	}
	return w.Err() == nil
}

// isBadVers reports whether the code of a message that has NOERROR in its
// header is BADVERS.
func isBadVers(msg []byte) bool {
	if wire.Count(msg, wire.Answer) > 0 {
		return false
	}
	off, end := FindOPT(msg)
	return end > 0 && msg[off] == 0 && upperRcode(msg, off) == byte(wire.BadVers>>4)
}

// isBadCookie reports whether the code of a message that has YXRRSET in its
// header is BADCOOKIE.
func isBadCookie(msg []byte) bool {
	off, end := FindOPT(msg)
	return end > 0 && upperRcode(msg, off) == byte(wire.BadCookie>>4)
}

// upperRcode is the upper bits of the response code: the first octet of the
// TTL of the OPT record at off (RFC 6891 section 6.1.3).
func upperRcode(msg []byte, off int) byte { return msg[off+5] }

// FindOPT returns where the message's OPT record is; end is 0 if there is
// none.
func FindOPT(msg []byte) (off, end int) {
	w := wire.NewWalk(msg)
	var r wire.Record
	for w.Next(&r) {
		if r.Type == wire.TypeOPT && r.Section == wire.Additional {
			return r.Off, r.End
		}
	}
	return 0, 0
}

// ClearAD clears AD in a response, of whatever length.
func ClearAD(resp []byte) {
	if len(resp) < wire.HeaderLen {
		return
	}
	if f := wire.Flags(resp); f&wire.FlagAD != 0 {
		wire.SetFlags(resp, f&^wire.FlagAD)
	}
}
