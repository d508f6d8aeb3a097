package upstream

import (
	"crypto/rand"
	"encoding/binary"

	"rideau/resolver/wire"
)

// renew gives the query an id that nobody can foresee (RFC 5452 section 9.2).
func (f frame) renew() {
	rand.Read(f[2:4]) // never fails
}

// findOPT returns where the message's OPT record is; end is 0 if there is
// none.
func findOPT(msg []byte) (off, end int) {
	w := wire.NewWalk(msg)
	var r wire.Record
	for w.Next(&r) {
		if r.Type == wire.TypeOPT && r.Section == wire.Additional {
			return r.Off, r.End
		}
	}
	return 0, 0
}

func hasOPT(msg []byte) bool {
	_, end := findOPT(msg)
	return end > 0
}

// withoutOPT takes the OPT record out, in place.
func (f frame) withoutOPT() frame {
	off, end := findOPT(f.message())
	f = append(f[:2+off], f[2+end:]...)
	m := f.message()
	wire.SetCount(m, wire.Additional, wire.Count(m, wire.Additional)-1)
	binary.BigEndian.PutUint16(f, uint16(len(m)))
	return f
}

// refusesEDNS reports whether a response to a query with an OPT record may
// owe its error to that record (RFC 6891 sections 6.1.3 and 7).
func refusesEDNS(resp []byte) bool {
	switch wire.HeaderRcode(resp) {
	case wire.FormErr, wire.NotImp:
		return true
	case wire.BadVers & 0xF:
		if wire.Count(resp, wire.Answer) > 0 {
			return false
		}
		// The upper bits of the response code are the first octet of the TTL.
		off, end := findOPT(resp)
		return end > 0 && resp[off] == 0 && resp[off+5] == byte(wire.BadVers>>4)
	}
	return false
}

// likeness is what a message is to a query.
type likeness uint8

const (
	differs  likeness = iota // no response to this query
	answers                  // a response to it
	rejects                  // an error from who could not, or did not, read the query, and so has no question to repeat
	deflects                 // one that says no more than that TCP is to be asked, as those do that stand guard before a server
)

// compare holds what was received against what was sent (RFC 5452 section
// 9.1).
func compare(query, resp []byte) likeness {
	if wire.Matches(query, resp) {
		return answers
	}
	if len(resp) < wire.HeaderLen || wire.ID(resp) != wire.ID(query) || wire.Count(resp, wire.Question) != 0 {
		return differs
	}
	const opcode = 0xF << 11
	if wire.Flags(resp)&(wire.FlagQR|opcode) != wire.FlagQR|wire.Flags(query)&opcode {
		return differs
	}
	if wire.Flags(resp)&wire.FlagTC != 0 {
		return deflects // nothing of it is believed
	}
	switch wire.HeaderRcode(resp) {
	case wire.FormErr, wire.NotImp, wire.ServFail, wire.Refused: // the last two from a balancer, say, or under a rate limit
		return rejects
	}
	return differs
}

// appendRejection appends the response without question, of which flags are
// known, in the form that other responses have.
func appendRejection(dst, query []byte, flags uint16) []byte {
	base := len(dst)
	w := wire.NewWalk(query)
	dst = append(dst, query[:w.Offset()]...)
	m := dst[base:]
	wire.SetFlags(m, flags&^wire.FlagTC)
	wire.SetCount(m, wire.Answer, 0)
	wire.SetCount(m, wire.Authority, 0)
	wire.SetCount(m, wire.Additional, 0)
	return dst
}

// readable reports whether all of a response's records lie within it.
func readable(resp []byte) bool {
	w := wire.NewWalk(resp)
	var r wire.Record
	for w.Next(&r) {
	}
	return w.Err() == nil
}
