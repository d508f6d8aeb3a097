package setup

import (
	"errors"
	"net/netip"
	"syscall"

	"rideau/config"
)

// Optional reports whether an address is the IPv6 half of one such as ":53".
func Optional(cfg *config.Config, addr netip.AddrPort) bool {
	if addr.Addr() != netip.IPv6Unspecified() {
		return false
	}
	for _, a := range cfg.Listen.Addresses {
		if a.Addr() == netip.IPv4Unspecified() && a.Port() == addr.Port() {
			return true
		}
	}
	return false
}

// NoIPv6 reports whether an address cannot be bound because the system has no IPv6.
func NoIPv6(err error) bool {
	return errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EPROTONOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL)
}

// Overlap reports whether two addresses to listen on cannot both be bound by one
// program alone: they are the same, or one is all addresses of the family and the port
// of the other. Port 0 stands for a port that is free.
func Overlap(a, b netip.AddrPort) bool {
	return a.Port() != 0 && a.Port() == b.Port() && a.Addr().Is4() == b.Addr().Is4() &&
		(a.Addr() == b.Addr() || a.Addr().IsUnspecified() || b.Addr().IsUnspecified())
}
