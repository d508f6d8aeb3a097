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
