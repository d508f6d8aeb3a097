package special

import (
	"strconv"

	"rideau/resolver/wire"
)

// policyName is the name in class CH that stands for the policy of the server that
// is asked, in wire form and lower case: policy.rideau.
const policyName = "\x06policy\x06rideau\x00"

// AppendPolicy answers a query for the TXT records of policy.rideau in class CH:
// which policy is in force here. Clients and monitors compare it with what other
// servers say, without access to the operators' HTTP. fingerprint is the same on
// all servers with the same policy; generation counts the changes on this one
// since its start. The response has no OPT record and a TTL of 0. ok is false, and
// nothing is appended, for all other queries.
func AppendPolicy(dst []byte, v *wire.Query, msg []byte, fingerprint string, generation uint64) (_ []byte, ok bool) {
	if v.Class != wire.ClassCH || v.Type != wire.TypeTXT || string(v.Name.Bytes()) != policyName {
		return dst, false
	}
	base := len(dst)
	dst = wire.Reply(dst, v, msg, wire.NoError)
	var tmp [255]byte
	dst = appendText(dst, base, append(append(tmp[:0], "fingerprint="...), fingerprint...))
	return appendText(dst, base, strconv.AppendUint(append(tmp[:0], "generation="...), generation, 10)), true
}

// appendText appends a TXT record of class CH with one string, of 255 octets at most.
func appendText(dst []byte, base int, text []byte) []byte {
	const class = 4 // the class is behind the name, a pointer, and the type
	var tmp [256]byte
	off := len(dst)
	dst = wire.AppendRecord(dst, base, wire.Answer, wire.HeaderLen, wire.TypeTXT, 0, append(append(tmp[:0], byte(len(text))), text...))
	dst[off+class], dst[off+class+1] = 0, byte(wire.ClassCH)
	return dst
}

// AppendAny answers a query for ANY with an HINFO record (RFC 8482 section 4.2), so
// that such queries are of no use for amplification. The response has no OPT record.
func AppendAny(dst []byte, v *wire.Query, msg []byte) []byte {
	base := len(dst)
	dst = wire.Reply(dst, v, msg, wire.NoError)
	return wire.AppendRecord(dst, base, wire.Answer, wire.HeaderLen, wire.TypeHINFO, 3600, hinfo)
}

var hinfo = []byte("\x07RFC8482\x00")
