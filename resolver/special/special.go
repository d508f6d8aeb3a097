// Package special answers queries for special-use names (RFC 6761), which are
// never forwarded.
package special

import (
	"rideau/blocklists/suffix"
	"rideau/resolver/wire"
)

// A specialKind is how a special-use zone is answered.
type specialKind uint8

const (
	absent    specialKind = iota // nothing exists, not even the zone: NXDOMAIN
	empty                        // the zone exists, nothing is in it (RFC 6303 section 3)
	localhost                    // loopback addresses (RFC 6761 section 6.3)
	loopback4                    // as empty, with a PTR record for 127.0.0.1
	loopback6                    // the same for ::1; the zone is the name
	noData                       // all names exist, without data (RFC 9462 section 6.4)
)

// specials are the zones that are answered here and not forwarded, unless a
// route takes them. The first is a placeholder: index 0 means none.
var specials = []struct {
	zone string
	kind specialKind
}{
	None: {},
	// RFC 6761, RFC 7686, RFC 9476
	{"localhost", localhost}, {"invalid", absent}, {"test", absent}, {"onion", absent}, {"alt", absent},
	{"home.arpa", empty},      // RFC 8375
	{"resolver.arpa", noData}, // RFC 9462
	// RFC 6303 section 4
	{"10.in-addr.arpa", empty},
	{"16.172.in-addr.arpa", empty}, {"17.172.in-addr.arpa", empty}, {"18.172.in-addr.arpa", empty}, {"19.172.in-addr.arpa", empty},
	{"20.172.in-addr.arpa", empty}, {"21.172.in-addr.arpa", empty}, {"22.172.in-addr.arpa", empty}, {"23.172.in-addr.arpa", empty},
	{"24.172.in-addr.arpa", empty}, {"25.172.in-addr.arpa", empty}, {"26.172.in-addr.arpa", empty}, {"27.172.in-addr.arpa", empty},
	{"28.172.in-addr.arpa", empty}, {"29.172.in-addr.arpa", empty}, {"30.172.in-addr.arpa", empty}, {"31.172.in-addr.arpa", empty},
	{"168.192.in-addr.arpa", empty},
	{"0.in-addr.arpa", empty}, {"127.in-addr.arpa", loopback4}, {"254.169.in-addr.arpa", empty},
	{"2.0.192.in-addr.arpa", empty}, {"100.51.198.in-addr.arpa", empty}, {"113.0.203.in-addr.arpa", empty},
	{"255.255.255.255.in-addr.arpa", empty},
	{"0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa", empty},
	{"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa", loopback6},
	{"d.f.ip6.arpa", empty},
	{"8.e.f.ip6.arpa", empty}, {"9.e.f.ip6.arpa", empty}, {"a.e.f.ip6.arpa", empty}, {"b.e.f.ip6.arpa", empty},
	{"8.b.d.0.1.0.0.2.ip6.arpa", empty},
	// RFC 7793: 100.64.0.0/10
	{"64.100.in-addr.arpa", empty}, {"65.100.in-addr.arpa", empty}, {"66.100.in-addr.arpa", empty}, {"67.100.in-addr.arpa", empty},
	{"68.100.in-addr.arpa", empty}, {"69.100.in-addr.arpa", empty}, {"70.100.in-addr.arpa", empty}, {"71.100.in-addr.arpa", empty},
	{"72.100.in-addr.arpa", empty}, {"73.100.in-addr.arpa", empty}, {"74.100.in-addr.arpa", empty}, {"75.100.in-addr.arpa", empty},
	{"76.100.in-addr.arpa", empty}, {"77.100.in-addr.arpa", empty}, {"78.100.in-addr.arpa", empty}, {"79.100.in-addr.arpa", empty},
	{"80.100.in-addr.arpa", empty}, {"81.100.in-addr.arpa", empty}, {"82.100.in-addr.arpa", empty}, {"83.100.in-addr.arpa", empty},
	{"84.100.in-addr.arpa", empty}, {"85.100.in-addr.arpa", empty}, {"86.100.in-addr.arpa", empty}, {"87.100.in-addr.arpa", empty},
	{"88.100.in-addr.arpa", empty}, {"89.100.in-addr.arpa", empty}, {"90.100.in-addr.arpa", empty}, {"91.100.in-addr.arpa", empty},
	{"92.100.in-addr.arpa", empty}, {"93.100.in-addr.arpa", empty}, {"94.100.in-addr.arpa", empty}, {"95.100.in-addr.arpa", empty},
	{"96.100.in-addr.arpa", empty}, {"97.100.in-addr.arpa", empty}, {"98.100.in-addr.arpa", empty}, {"99.100.in-addr.arpa", empty},
	{"100.100.in-addr.arpa", empty}, {"101.100.in-addr.arpa", empty}, {"102.100.in-addr.arpa", empty}, {"103.100.in-addr.arpa", empty},
	{"104.100.in-addr.arpa", empty}, {"105.100.in-addr.arpa", empty}, {"106.100.in-addr.arpa", empty}, {"107.100.in-addr.arpa", empty},
	{"108.100.in-addr.arpa", empty}, {"109.100.in-addr.arpa", empty}, {"110.100.in-addr.arpa", empty}, {"111.100.in-addr.arpa", empty},
	{"112.100.in-addr.arpa", empty}, {"113.100.in-addr.arpa", empty}, {"114.100.in-addr.arpa", empty}, {"115.100.in-addr.arpa", empty},
	{"116.100.in-addr.arpa", empty}, {"117.100.in-addr.arpa", empty}, {"118.100.in-addr.arpa", empty}, {"119.100.in-addr.arpa", empty},
	{"120.100.in-addr.arpa", empty}, {"121.100.in-addr.arpa", empty}, {"122.100.in-addr.arpa", empty}, {"123.100.in-addr.arpa", empty},
	{"124.100.in-addr.arpa", empty}, {"125.100.in-addr.arpa", empty}, {"126.100.in-addr.arpa", empty}, {"127.100.in-addr.arpa", empty},
}

// specialTTL is the TTL of answers about special-use names, in seconds. The SOA
// record of RFC 6303 has 10800, but an operator who adds a forward for the zone
// should not have to wait for three hours.
const specialTTL = 600

// None is no zone.
const None = 0

// Zone is the name of a zone as text, by its index.
func Zone(index uint16) string { return specials[index].zone }

// Add adds the special-use zones to b, with their indexes, which are above None
// and below 1,024.
func Add(b *suffix.Builder) error {
	for i := 1; i < len(specials); i++ {
		w, err := wire.AppendName(nil, []byte(specials[i].zone))
		if err != nil {
			return err
		}
		if err := b.Add(w, uint16(i)); err != nil {
			return err
		}
	}
	return nil
}

// Append answers a query, of which msg is the message, for a name of a zone,
// given by its index. labels is the number of labels of the zone. The response
// has no OPT record. ok is false, and nothing is appended, for queries that are
// forwarded nevertheless: those for the DS records of the zones below arpa, which
// prove that the zones are insecure (RFC 8375 section 7).
func Append(dst []byte, v *wire.Query, msg []byte, index uint16, labels int) (_ []byte, ok bool) {
	kind := specials[index].kind
	apex := v.Name.Labels() == labels
	if v.Type == wire.TypeDS && apex && kind != absent && kind != localhost {
		return dst, false
	}
	base := len(dst)
	owner := wire.HeaderLen + v.Name.SuffixOffset(labels)
	rcode := wire.NoError
	if kind == absent || !apex && (kind == empty || kind == loopback4 || kind == loopback6) {
		rcode = wire.NXDomain
	}
	var rdata []byte
	switch {
	case kind == localhost && v.Type == wire.TypeA:
		rdata = loopbackAddr4
	case kind == localhost && v.Type == wire.TypeAAAA:
		rdata = loopbackAddr6
	case kind == loopback6 && apex && v.Type == wire.TypePTR:
		rdata = localhostName
	case kind == loopback4 && v.Name.Len() == len(loopbackPTR) && string(v.Name.Bytes()) == loopbackPTR:
		rcode = wire.NoError
		if v.Type == wire.TypePTR {
			rdata = localhostName
		}
	}
	dst = wire.Reply(dst, v, msg, rcode)
	switch {
	case rdata != nil:
		dst = wire.AppendRecord(dst, base, wire.Answer, wire.HeaderLen, v.Type, specialTTL, rdata)
	case rcode == wire.NoError && apex && kind != localhost && v.Type == wire.TypeSOA:
		dst = wire.AppendSOA(dst, base, wire.Answer, owner, specialTTL)
	case rcode == wire.NoError && apex && kind != localhost && v.Type == wire.TypeNS:
		dst = wire.AppendRecord(dst, base, wire.Answer, owner, v.Type, specialTTL, v.Name.Bytes())
	default:
		dst = wire.AppendSOA(dst, base, wire.Authority, owner, specialTTL)
	}
	return dst, true
}

var (
	loopbackAddr4 = []byte{127, 0, 0, 1}
	loopbackAddr6 = []byte{15: 1}
	localhostName = []byte("\x09localhost\x00")
)

const loopbackPTR = "\x011\x010\x010\x03127\x07in-addr\x04arpa\x00"

// Answer is [Append] for a query that is made here, such as one for what an alias
// leads to.
func Answer(query []byte, index uint16, labels int) (answer []byte, ok bool) {
	var v wire.Query
	if v.Parse(query) != wire.FaultNone {
		return nil, false
	}
	return Append(nil, &v, query, index, labels)
}
