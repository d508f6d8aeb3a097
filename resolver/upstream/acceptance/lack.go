package acceptance

import (
	"encoding/binary"

	"rideau/resolver/wire"
	"rideau/resolver/wire/response"
)

// Lack is what a response lacks to be a resolver's answer to its question.
type Lack uint8

// Lacks.
const (
	// LacksNothing: it is an answer.
	LacksNothing Lack = iota
	// LacksRest: it ends at an alias, and comes from a server that resolves
	// nothing, or it has data beside the alias. Whoever has the target can make an
	// answer of it (RFC 1034 section 4.3.1).
	LacksRest
	// LacksData: it is empty, and comes from a server that neither resolves nor has
	// the zone, or that leads to other servers; or it has records of other types only,
	// or YXDOMAIN without the reason. It counts if nobody says more.
	LacksData
	// LacksEnd: its aliases lead in a circle, or are too many.
	LacksEnd
	// LacksAll: it is none. It leads to other servers (a referral), is about other
	// names, or has a code that no resolver sends.
	LacksAll
)

// LackOf says what a response lacks. msg is a response that resp has parsed;
// TC does not count.
//
// A server that resolves shows that by RA, and one that has the zone by AA. A
// response with one of them is an answer, however little it says: those that
// leave the SOA record out are many (RFC 2308 section 2.2). A referral is none
// from anybody: it is what a server says that does not serve the question.
func LackOf(msg []byte, resp *wire.Response) Lack {
	flags := wire.Flags(msg)
	known := flags&(wire.FlagRA|wire.FlagAA) != 0
	switch resp.Rcode {
	case wire.NXDomain:
		return LacksNothing
	case wire.YXDomain:
		if has(msg, wire.Answer, wire.TypeDNAME) {
			return LacksNothing // RFC 6672 section 2.2
		}
		return LacksData
	case wire.NoError:
	default:
		return LacksAll
	}
	if resp.Answers == 0 {
		switch {
		case resp.HasSOA:
			return LacksNothing
		case has(msg, wire.Authority, wire.TypeNS) && (!known || leadsUp(msg)):
			return LacksAll
		case !known, flags&wire.FlagAA == 0 && has(msg, wire.Authority, wire.TypeNS):
			return LacksData
		}
		return LacksNothing
	}
	first, any := hasType(msg)
	if first {
		return LacksNothing
	}
	var rel response.Relation
	related, ok := rel.Relate(nil, msg[:resp.End], true, nil)
	switch {
	case !ok:
		return LacksAll
	case wire.Count(related.Msg, wire.Answer) == 0 && !resp.HasSOA:
		return LacksData
	case related.Ending == response.Endless:
		return LacksEnd
	case related.Ending == response.Dangling && (any || !known):
		return LacksRest
	}
	return LacksNothing
}

// has reports whether a section has a record of a type.
func has(msg []byte, s wire.Section, t wire.Type) bool {
	w := wire.NewWalk(msg)
	var r wire.Record
	for w.Next(&r) && r.Section <= s {
		if r.Section == s && r.Type == t {
			return true
		}
	}
	return false
}

// hasType reports whether the answer section begins with a record of the
// question's name, type and class, as most do, and whether it has any.
func hasType(msg []byte) (first, any bool) {
	w := wire.NewWalk(msg)
	off := w.Offset()
	if off < wire.HeaderLen+5 {
		return false, false
	}
	t, c := binary.BigEndian.Uint16(msg[off-4:]), binary.BigEndian.Uint16(msg[off-2:])
	var r wire.Record
	for i := 0; w.Next(&r) && r.Section == wire.Answer; i++ {
		if r.Type == wire.Type(t) && r.Class == wire.Class(c) && wire.SameName(msg, wire.HeaderLen, r.Off) {
			return i == 0, true
		}
	}
	return false, false
}

// leadsUp reports whether the authority section has name servers of the root,
// and no others: an upward referral.
func leadsUp(msg []byte) bool {
	w := wire.NewWalk(msg)
	var r wire.Record
	var owner wire.Name
	up := false
	for w.Next(&r) {
		if r.Section != wire.Authority || r.Type != wire.TypeNS {
			continue
		}
		if _, err := owner.Parse(msg, r.Off); err != nil || owner.Labels() > 0 {
			return false
		}
		up = true
	}
	return up
}
