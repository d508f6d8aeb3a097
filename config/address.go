package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"rideau/config/node"
)

// listenAddress is host:port, where the host is an IP address or nothing for all addresses of both families.
func listenAddress(v node.Value) ([]netip.AddrPort, bool) {
	const remedy = "write 127.0.0.1:53, \"[::1]:53\" or \":53\" for all addresses"
	s, ok := v.Scalar()
	if !ok {
		v.Wrong("an address", remedy)
		return nil, false
	}
	if port, every := strings.CutPrefix(s, ":"); every {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			v.Wrong("an address with a port", remedy)
			return nil, false
		}
		p := uint16(n)
		return []netip.AddrPort{netip.AddrPortFrom(netip.IPv4Unspecified(), p), netip.AddrPortFrom(netip.IPv6Unspecified(), p)}, true
	}
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		if a, err := netip.ParseAddr(s); err == nil {
			v.Problem("write "+strconv.Quote(netip.AddrPortFrom(a, 53).String()), "%s has no port", node.Quote(s))
			return nil, false
		}
		v.Wrong("an address with a port", remedy)
		return nil, false
	}
	ap = unmap(ap)
	if ap.Addr().IsMulticast() {
		v.Problem(remedy, "%s is a multicast address", node.Quote(s))
		return nil, false
	}
	return []netip.AddrPort{ap}, true
}

func unmap(ap netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()) }

// serverAddress is the address of a DNS server, with port 53 unless another is written.
func serverAddress(v node.Value) (netip.AddrPort, bool) {
	s, ok := v.Scalar()
	if !ok {
		v.Wrong("an address", "write 192.0.2.1, 192.0.2.1:5353 or \"[2001:db8::1]:5353\"")
		return netip.AddrPort{}, false
	}
	return hostAddress(v, s, 53)
}

// cutPort cuts s around its last colon, the host without brackets.
func cutPort(s string) (host, port string, ok bool) {
	at := strings.LastIndexByte(s, ':')
	if at < 0 {
		return s, "", false
	}
	return strings.TrimSuffix(strings.TrimPrefix(s[:at], "["), "]"), s[at+1:], true
}

// hostAddress is the address of a host, with a port unless another is written. v is blamed.
func hostAddress(v node.Value, s string, port uint16) (netip.AddrPort, bool) {
	ap, err := netip.ParseAddrPort(s)
	if a, alone := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")); alone == nil {
		ap, err = netip.AddrPortFrom(a, port), nil
	}
	if host, after, cut := cutPort(s); err != nil && cut {
		if _, err := netip.ParseAddr(host); err == nil {
			v.Problem(fmt.Sprintf("write a port from 1 to 65535, or none for %d", port), "%s is not the number of a port", node.Quote(after))
			return netip.AddrPort{}, false
		}
	}
	if err != nil {
		v.Problem("write the server's address, not its name: asking for the name would need a server first", "%s is not an IP address", node.Quote(s))
		return netip.AddrPort{}, false
	}
	ap = unmap(ap)
	switch a := ap.Addr(); {
	case a.IsUnspecified() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		v.Problem("write the address of one server", "%s is not the address of a host", node.Quote(s))
	case ap.Port() == 0:
		v.Problem(fmt.Sprintf("write a port from 1 to 65535, or none for %d", port), "%s has port 0", node.Quote(s))
	default:
		return ap, true
	}
	return netip.AddrPort{}, false
}

// block is a CIDR block or a single address.
func block(v node.Value) (netip.Prefix, bool) {
	s, ok := v.Scalar()
	if !ok {
		v.Wrong("an address or a CIDR block", "write 192.0.2.0/24 or 192.0.2.1")
		return netip.Prefix{}, false
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		v.Wrong("an address or a CIDR block", "write 192.0.2.0/24 or 192.0.2.1")
		return netip.Prefix{}, false
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if p != p.Masked() {
		v.Problem(fmt.Sprintf("write %s for the block or %s for the one address", p.Masked(), p.Addr()),
			"%s has bits set beyond its prefix length", node.Quote(s))
		return netip.Prefix{}, false
	}
	return p, true
}

// domain is a domain name in presentation form. It returns it in lower case, without the final dot unless it is the root.
func domain(v node.Value) (string, bool) {
	s, ok := v.Scalar()
	if !ok {
		v.Wrong("a domain name", "write a name such as corp.example")
		return "", false
	}
	if s == "." {
		return s, true
	}
	name := strings.ToLower(strings.TrimSuffix(s, "."))
	if zone := reverseZone(name); zone != "" {
		v.Problem("write a domain name; for the names of its addresses, reverse zones such as "+zone, "%s is an address, not a domain name", node.Quote(s))
		return "", false
	}
	if what := nameFault(name); what != "" {
		v.Problem("write a name such as corp.example; names in other scripts in their xn-- form", "%s is not a domain name: %s", node.Quote(s), what)
		return "", false
	}
	return name, true
}

// reverseZone is the reverse zone of an address or an address block, or the first
// of those that a block has if its length is between theirs (RFC 1035 section 3.5, RFC 3596
// section 2.5). It is empty for anything else.
func reverseZone(s string) string {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return ""
		}
		p = netip.PrefixFrom(a.WithZone(""), a.BitLen())
	}
	labels, format, per := p.Addr().AsSlice(), "%d.", 8
	zone := "in-addr.arpa"
	if p.Addr().Is6() {
		zone, format, per = "ip6.arpa", "%x.", 4
		var nibbles []byte
		for _, b := range labels {
			nibbles = append(nibbles, b>>4, b&0xF)
		}
		labels = nibbles
	}
	for _, l := range labels[:min(max(1, (p.Bits()+per-1)/per), len(labels))] {
		zone = fmt.Sprintf(format, l) + zone
	}
	return zone
}

// nameFault says why name, without its final dot, is no domain name of use here; it is empty for one that is (RFC 1035 section 2.3.4).
func nameFault(name string) string {
	if len(name) > 253 {
		return "it is longer than 253 characters"
	}
	for label := range strings.SplitSeq(name, ".") {
		switch {
		case label == "":
			return "it has an empty label"
		case label == "*":
			return "it has a wildcard, and a zone covers all names below it anyway"
		case len(label) > 63:
			return "it has a label longer than 63 characters"
		}
		for _, r := range label {
			// The slash is for the reverse zones of RFC 2317.
			if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '/' {
				return fmt.Sprintf("it has the character %q", r)
			}
		}
	}
	return ""
}
