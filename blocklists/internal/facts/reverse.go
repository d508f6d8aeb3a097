package facts

import (
	"net/netip"
	"strings"

	"rideau/resolver/wire"
)

const (
	inAddrArpa = "\x07in-addr\x04arpa\x00"
	ip6Arpa    = "\x03ip6\x04arpa\x00"
)

// MayBeReverse reports whether a name may be the reverse name of an address.
func MayBeReverse(name *wire.Name) bool {
	return endsIn(name, "\x04arpa\x00")
}

func endsIn(name *wire.Name, end string) bool {
	b := name.Bytes()
	return len(b) >= len(end) && string(b[len(b)-len(end):]) == end
}

// Reverse returns the address whose reverse name this is, or is below (RFC
// 1035 section 3.5, RFC 3596 section 2.5).
func Reverse(name *wire.Name) (netip.Addr, bool) {
	n := name.Labels()
	switch {
	case n >= 6 && endsIn(name, inAddrArpa):
		var a [4]byte
		for i := range a {
			v, ok := parseOctet(name.Label(n - 3 - i))
			if !ok {
				return netip.Addr{}, false
			}
			a[i] = v
		}
		return netip.AddrFrom4(a), true
	case n >= 34 && endsIn(name, ip6Arpa):
		var a [16]byte
		for i := range 32 {
			l := name.Label(n - 3 - i)
			if len(l) != 1 {
				return netip.Addr{}, false
			}
			v := strings.IndexByte("0123456789abcdef", l[0])
			if v < 0 {
				return netip.Addr{}, false
			}
			a[i/2] = a[i/2]<<4 | byte(v)
		}
		return netip.AddrFrom16(a).Unmap(), true
	}
	return netip.Addr{}, false
}

// parseOctet parses a number from 0 to 255 without leading zeros.
func parseOctet(l []byte) (byte, bool) {
	if len(l) == 0 || len(l) > 3 || l[0] == '0' && len(l) > 1 {
		return 0, false
	}
	v := 0
	for _, c := range l {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = 10*v + int(c-'0')
	}
	return byte(v), v < 256
}
