package auditlog

import (
	"net/netip"

	"rideau/resolver/audit/privacy"
)

// Clients says how much of a client's address is written.
type Clients uint8

// How much of an address is written.
const (
	Address Clients = iota // all
	Network                // the /24 of IPv4 or the /48 of IPv6
	Nobody                 // nothing
)

// String is what is written of an address; "" for nothing.
func (c Clients) String(a netip.Addr) string { return string(c.appendTo(nil, a)) }

// appendTo appends what is written of an address.
func (c Clients) appendTo(b []byte, a netip.Addr) []byte {
	switch {
	case c == Nobody:
		return b
	case c == Network && a.IsValid():
		return privacy.AppendNetwork(b, a)
	}
	return a.AppendTo(b)
}
