// Package value parses single values of a configuration: addresses, names, paths, URLs, digests. It knows nothing of the keys they belong
// to. Every function reports to the value what is wrong with it and what to write there.
package value

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"rideau/config/node"
)

// ListenAddress parses host:port, where the host is an IP address. Without a host it means all addresses, and the result has one for IPv4
// and one for IPv6.
func ListenAddress(v node.Value) ([]netip.AddrPort, bool) {
	const remedy = "write 127.0.0.1:53, \"[::1]:53\" or \":53\" for all addresses"
	s, ok := v.Scalar()
	if !ok {
		v.Wrong("an address", remedy)
		return nil, false
	}
	if port, all := strings.CutPrefix(s, ":"); all {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			v.Wrong("an address with a port", remedy)
			return nil, false
		}
		p := uint16(n)
		return []netip.AddrPort{netip.AddrPortFrom(netip.IPv4Unspecified(), p), netip.AddrPortFrom(netip.IPv6Unspecified(), p)}, true
	}
	ap, port, fault := split(s)
	switch {
	case fault != "":
		v.Problem(fault, "%s is not an address with a port", node.Quote(s))
		return nil, false
	case !ap.Addr().IsValid() || port == badPort:
		v.Wrong("an address with a port", remedy)
		return nil, false
	case port == noPort:
		v.Problem("write "+strconv.Quote(netip.AddrPortFrom(ap.Addr(), 53).String()), "%s has no port", node.Quote(s))
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

// ServerAddress parses the address of a DNS server. The port is 53 unless another is written.
func ServerAddress(v node.Value) (netip.AddrPort, bool) {
	s, ok := v.Scalar()
	if !ok {
		v.Wrong("an address", "write 192.0.2.1, 192.0.2.1:5353 or \"[2001:db8::1]:5353\"")
		return netip.AddrPort{}, false
	}
	return HostAddress(v, s, 53)
}

// HostAddress parses s, which is part of the value v, as the address of a host. The port is the given one unless another is written.
func HostAddress(v node.Value, s string, port uint16) (netip.AddrPort, bool) {
	ap, has, fault := split(s)
	switch {
	case fault != "":
		v.Problem(fault, "%s is not the address of a host", node.Quote(s))
		return netip.AddrPort{}, false
	case !ap.Addr().IsValid():
		v.Problem("write the server's address, not its name: to look up the name, Rideau would need a server", "%s is not an IP address", node.Quote(s))
		return netip.AddrPort{}, false
	case has == badPort:
		v.Problem(fmt.Sprintf("write a port from 1 to 65535, or none for %d", port), "%s is not the number of a port", node.Quote(s[strings.LastIndexByte(s, ':')+1:]))
		return netip.AddrPort{}, false
	case has == noPort:
		ap = netip.AddrPortFrom(ap.Addr(), port)
	}
	ap = unmap(ap)
	switch a := ap.Addr(); {
	case a.IsUnspecified() || a.IsMulticast() || isBroadcast(a):
		v.Problem("write the address of one server", "%s is not the address of a host", node.Quote(s))
	case ap.Port() == 0:
		v.Problem(fmt.Sprintf("write a port from 1 to 65535, or none for %d", port), "%s has port 0", node.Quote(s))
	default:
		if a.Is6() && a.IsLinkLocalUnicast() && a.Zone() == "" {
			v.Warn(fmt.Sprintf("write it with the interface, as in \"[%s%%eth0]\"", a), "%s is a link-local address, which is on each link of this machine", node.Quote(s))
		}
		return ap, true
	}
	return netip.AddrPort{}, false
}

func isBroadcast(a netip.Addr) bool { return a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) }

// portKind is what stands behind an address.
type portKind uint8

const (
	noPort portKind = iota
	goodPort
	badPort // no number of a port
)

// split parses an IP address, which may be in brackets, and the port behind it. An IPv6 address may have a zone, with and without brackets.
// The address is not valid if s has none; fault says what to write if the zone is the reason.
func split(s string) (ap netip.AddrPort, has portKind, fault string) {
	host, port, ported := s, "", false
	if inside, bracket := strings.CutPrefix(s, "["); bracket {
		var behind string
		if host, behind, bracket = strings.Cut(inside, "]"); !bracket {
			return ap, noPort, ""
		}
		if port, ported = strings.CutPrefix(behind, ":"); !ported && behind != "" {
			return ap, noPort, ""
		}
	} else if at := strings.LastIndexByte(s, ':'); at >= 0 && strings.IndexByte(s, ':') == at {
		host, port, ported = s[:at], s[at+1:], true
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return ap, noPort, ""
	}
	if fault = zoneFault(a); fault != "" {
		return ap, noPort, fault
	}
	if !ported {
		return netip.AddrPortFrom(a, 0), noPort, ""
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPortFrom(a, 0), badPort, ""
	}
	return netip.AddrPortFrom(a, uint16(n)), goodPort, ""
}

// zoneFault says what to write in place of an address whose zone is no name or number of an interface; it is empty if there is nothing
// wrong.
func zoneFault(a netip.Addr) string {
	zone := a.Zone()
	if at := strings.LastIndexByte(zone, ':'); at > 0 {
		if _, err := strconv.ParseUint(zone[at+1:], 10, 16); err == nil {
			return fmt.Sprintf("write \"[%s]:%s\"", a.WithZone(zone[:at]), zone[at+1:])
		}
	}
	if strings.ContainsFunc(zone, func(r rune) bool { return r <= ' ' || r == 0x7F || strings.ContainsRune("[]:/%#,\"'", r) }) {
		return "write the interface after the %, as in \"[fe80::1%eth0]:53\""
	}
	return ""
}

// PlainZone returns a URL with the zone of its host as it stands in an address: %eth0 in place of %25eth0 (RFC 6874 section 2). Other text
// is returned as it is.
func PlainZone(s string) string {
	if start, end, ok := zoneIn(s); ok && strings.HasPrefix(s[start:end], "%25") && end-start > 3 {
		return s[:start+1] + s[start+3:]
	}
	return s
}

// URLZone is the reverse of PlainZone.
func URLZone(s string) string {
	s = PlainZone(s)
	if start, _, ok := zoneIn(s); ok {
		return s[:start] + "%25" + s[start+1:]
	}
	return s
}

// zoneIn finds the zone in a URL whose host is an address in brackets: it stands from start, where the % is, to end.
func zoneIn(s string) (start, end int, ok bool) {
	from := 0
	if at := strings.Index(s, "://"); at >= 0 {
		from = at + 3
	}
	host := s[from:]
	if at := strings.IndexAny(host, "/?#"); at >= 0 {
		host = host[:at]
	}
	host = host[strings.LastIndexByte(host, '@')+1:]
	if !strings.HasPrefix(host, "[") {
		return 0, 0, false
	}
	from = strings.Index(s, host)
	start, end = strings.IndexByte(host, '%'), strings.IndexByte(host, ']')
	return from + start, from + end, start > 0 && end > start
}

// Block parses a CIDR block, or a single address as the block that has only this one.
func Block(v node.Value) (netip.Prefix, bool) {
	s, ok := v.Scalar()
	if !ok {
		v.Wrong("an address or a CIDR block", "write 192.0.2.0/24 or 192.0.2.1")
		return netip.Prefix{}, false
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	if host, bits, _ := strings.Cut(s, "/"); strings.Contains(host, "%") {
		if a, err := netip.ParseAddr(host); err == nil {
			v.Problem("write "+strings.TrimSuffix(a.WithZone("").String()+"/"+bits, "/")+" for the address behind any interface", "%s has a zone, which a block cannot have", node.Quote(s))
			return netip.Prefix{}, false
		}
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

// NAT64 parses the prefix of a translator (RFC 6052 section 2.2).
func NAT64(v node.Value) (netip.Prefix, bool) {
	p, ok := Block(v)
	if !ok {
		return p, false
	}
	switch p.Bits() {
	case 32, 40, 48, 56, 64, 96:
		if p.Addr().Is6() {
			return p, true
		}
	}
	v.Problem("write the prefix that the network's translator or DNS64 has, such as 2001:db8:64::/96", "%s is no prefix of IPv6 with a length of 32, 40, 48, 56, 64 or 96", p)
	return p, false
}

// Sinkhole4 parses an IPv4 address that clients can be sent to.
func Sinkhole4(v node.Value) (netip.Addr, bool) {
	return sinkhole(v, "an IPv4 address", netip.Addr.Is4)
}

// Sinkhole6 parses an IPv6 address that clients can be sent to.
func Sinkhole6(v node.Value) (netip.Addr, bool) {
	return sinkhole(v, "an IPv6 address", func(a netip.Addr) bool { return a.Is6() && !a.Is4In6() && a.Zone() == "" })
}

// sinkhole refuses loopback addresses: they would send clients to services of their own.
func sinkhole(v node.Value, want string, family func(netip.Addr) bool) (netip.Addr, bool) {
	const remedy = "write the address of a host of yours, or leave it out for the unspecified address"
	s, ok := v.Scalar()
	a, err := netip.ParseAddr(s)
	switch {
	case !ok || err != nil || !family(a):
		v.Wrong(want, remedy)
	case a.IsLoopback():
		v.Problem(remedy, "%s is a loopback address: clients would connect to themselves", a)
	case a.IsMulticast() || isBroadcast(a):
		v.Problem(remedy, "%s is not the address of one host", a)
	default:
		return a, true
	}
	return netip.Addr{}, false
}
