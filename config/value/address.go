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
		v.Problem("write the server's address, not its name: to look up the name, Rideau would need a server", "%s is not an IP address", node.Quote(s))
		return netip.AddrPort{}, false
	}
	ap = unmap(ap)
	switch a := ap.Addr(); {
	case a.IsUnspecified() || a.IsMulticast() || isBroadcast(a):
		v.Problem("write the address of one server", "%s is not the address of a host", node.Quote(s))
	case ap.Port() == 0:
		v.Problem(fmt.Sprintf("write a port from 1 to 65535, or none for %d", port), "%s has port 0", node.Quote(s))
	default:
		return ap, true
	}
	return netip.AddrPort{}, false
}

func isBroadcast(a netip.Addr) bool { return a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) }

// cutPort cuts s around its last colon, and removes the brackets of the host.
func cutPort(s string) (host, port string, ok bool) {
	at := strings.LastIndexByte(s, ':')
	if at < 0 {
		return s, "", false
	}
	return strings.TrimSuffix(strings.TrimPrefix(s[:at], "["), "]"), s[at+1:], true
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
