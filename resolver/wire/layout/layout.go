// Package layout knows how the RDATA of each type of record is built.
//
// It reads octets and nothing else: names that may be compressed are the
// caller's, as they lead out of the RDATA. It never panics, allocates nothing,
// and its work is linear in the octets.
package layout

import "encoding/binary"

const (
	maxName  = 255 // octets of a name (RFC 1035 section 3.1)
	maxLabel = 63
)

// Of returns how the RDATA of a type is built. ok is false for a type whose
// RDATA may be anything. Each letter stands for a part:
//
//	n       a name, perhaps compressed, which the caller reads
//	u       a name that is never compressed
//	1 to 8  as many octets; L is 16 of them, R 18
//	s       octets after an octet with their number
//	S       one or more of s, to the end
//	x       one or more octets, to the end
//	*       any octets, to the end
//	b       a bitmap of types (RFC 4034 section 4.1.2), to the end
//	p       service parameters (RFC 9460 section 2.2), to the end
//	g       a gateway, whose form the octet before the last one says (RFC 4025 section 2.3)
//	G       the same in an AMTRELAY record, whose form the last octet says (RFC 8777 section 4.2)
//	H       a HIP record (RFC 8005 section 5)
//	a       address prefixes (RFC 3123 section 4), to the end
func Of(t uint16) (parts string, ok bool) {
	switch t {
	case 2, 3, 4, 5, 7, 8, 9, 12, 39: // NS, MD, MF, CNAME, MB, MG, MR, PTR, DNAME
		return "n", true
	case 6: // SOA
		return "nn884", true
	case 13: // HINFO
		return "ss", true
	case 14, 17: // MINFO, RP
		return "nn", true
	case 15, 18, 21, 36: // MX, AFSDB, RT, KX
		return "2n", true
	case 16, 56, 99, 258, 261, 262: // TXT, NINFO, SPF, AVC, RESINFO, WALLET
		return "S", true
	case 19, 100: // X25, UINFO
		return "s", true
	case 20: // ISDN: the second string may be left out
		return "S", true
	case 23: // NSAP-PTR
		return "u", true
	case 24, 46: // SIG, RRSIG
		return "Rux", true
	case 25, 48, 57, 60: // KEY, DNSKEY, RKEY, CDNSKEY
		return "4*", true
	case 26: // PX
		return "2nn", true
	case 27: // GPOS
		return "sss", true
	case 28, 29: // AAAA, LOC
		return "L", true
	case 30: // NXT
		return "nb", true
	case 33: // SRV
		return "6n", true
	case 35: // NAPTR
		return "4sssn", true
	case 37: // CERT
		return "5*", true
	case 42: // APL
		return "a", true
	case 43, 59, 32768, 32769: // DS, CDS, TA, DLV
		return "4x", true
	case 44: // SSHFP
		return "2x", true
	case 45: // IPSECKEY
		return "3g*", true
	case 47: // NSEC
		return "ub", true
	case 49, 61: // DHCID, OPENPGPKEY
		return "x", true
	case 50: // NSEC3
		return "4ssb", true
	case 51: // NSEC3PARAM
		return "4s", true
	case 52, 53: // TLSA, SMIMEA
		return "3x", true
	case 55: // HIP
		return "H", true
	case 58: // TALINK
		return "uu", true
	case 62: // CSYNC
		return "6b", true
	case 63: // ZONEMD
		return "6x", true
	case 64, 65: // SVCB, HTTPS
		return "2np", true
	case 66: // DSYNC
		return "5u", true
	case 101, 102: // UID, GID
		return "4", true
	case 104, 106: // NID, L64
		return "28", true
	case 105, 108: // L32, EUI48
		return "6", true
	case 107: // LP
		return "2u", true
	case 109: // EUI64
		return "8", true
	case 256: // URI
		return "4x", true
	case 257: // CAA
		return "1s*", true
	case 260: // AMTRELAY
		return "2G", true
	}
	return "", false
}

// Skip returns the offset in an RDATA after the part at off, a letter of what Of
// returns but n; -1 if the part is malformed. off is within data.
func Skip(data []byte, off int, part byte) int {
	rest := data[off:]
	n := -1
	switch part {
	case 'u':
		n = plainName(rest)
	case 's':
		n = charString(rest)
	case 'S':
		for n = 0; len(rest) > 0 || n == 0; {
			k := charString(rest)
			if k < 0 {
				return -1
			}
			n, rest = n+k, rest[k:]
		}
	case 'x', '*':
		if n = len(rest); n == 0 && part == 'x' {
			return -1
		}
	case 'b':
		n = allOr(typeBitmap(rest), rest)
	case 'p':
		n = allOr(serviceParams(rest), rest)
	case 'a':
		n = allOr(addressPrefixes(rest), rest)
	case 'g':
		n = gateway(data[off-2], rest)
	case 'G':
		n = gateway(data[off-1]&0x7F, rest)
	case 'H':
		n = hostIdentity(rest)
	}
	if n < 0 {
		return -1
	}
	return off + n
}

func allOr(ok bool, rest []byte) int {
	if !ok {
		return -1
	}
	return len(rest)
}

// charString is the length of the character string (RFC 1035 section 3.3) that
// data begins with, its length octet included; -1 if there is none.
func charString(data []byte) int {
	if len(data) == 0 || 1+int(data[0]) > len(data) {
		return -1
	}
	return 1 + int(data[0])
}

// plainName is the length of the uncompressed name that data begins with, -1 if
// there is none.
func plainName(data []byte) int {
	for n := 0; n < len(data) && n < maxName; n += 1 + int(data[n]) {
		if data[n] == 0 {
			return n + 1
		}
		if data[n] > maxLabel {
			return -1
		}
	}
	return -1
}

// typeBitmap reports whether data is a bitmap of types: blocks in ascending
// order, each of 1 to 32 octets.
func typeBitmap(data []byte) bool {
	for last := -1; len(data) > 0; {
		if len(data) < 2 || int(data[0]) <= last || data[1] == 0 || data[1] > 32 || 2+int(data[1]) > len(data) {
			return false
		}
		last = int(data[0])
		data = data[2+int(data[1]):]
	}
	return true
}

// gateway is the length of a gateway of a kind: none, IPv4, IPv6 or a name.
func gateway(kind byte, data []byte) int {
	n := -1
	switch kind {
	case 0:
		n = 0
	case 1:
		n = 4
	case 2:
		n = 16
	case 3:
		n = plainName(data)
	}
	if n > len(data) {
		return -1
	}
	return n
}

// hostIdentity is the length of a HIP record's RDATA.
func hostIdentity(data []byte) int {
	if len(data) < 4 {
		return -1
	}
	n := 4 + int(data[0]) + int(binary.BigEndian.Uint16(data[2:]))
	for n < len(data) { // rendezvous servers
		k := plainName(data[n:])
		if k < 0 {
			return -1
		}
		n += k
	}
	return n
}

// addressPrefixes reports whether data is a list of prefixes of addresses.
func addressPrefixes(data []byte) bool {
	for len(data) > 0 {
		if len(data) < 4 {
			return false
		}
		family, bits, n := binary.BigEndian.Uint16(data), int(data[2]), int(data[3]&0x7F)
		octets := 4
		if family == 2 {
			octets = 16
		}
		if family != 1 && family != 2 || bits > 8*octets || n > octets || 4+n > len(data) || n > 0 && data[3+n] == 0 {
			return false
		}
		data = data[4+n:]
	}
	return true
}
