// Package facts finds in names and responses what policy is about: addresses,
// name servers, and what kind of response it is. None of its functions allocates,
// and all responses were accepted by wire.Response.Parse.
package facts

import (
	"net/netip"

	"rideau/resolver/wire"
)

// IsReferral reports whether a response neither answers nor denies (RFC 2308
// section 2.2): it only says which name servers to ask.
func IsReferral(msg []byte) bool {
	if wire.Count(msg, wire.Answer) > 0 || wire.HeaderRcode(msg) != wire.NoError {
		return false
	}
	w := wire.NewWalk(msg)
	var r wire.Record
	for w.Next(&r) {
		if r.Section == wire.Authority && r.Type == wire.TypeSOA {
			return false
		}
	}
	return true
}

// Address returns the address of an A or AAAA record. It is not valid for a record of another type.
func Address(msg []byte, r *wire.Record) netip.Addr {
	if r.Type != wire.TypeA && r.Type != wire.TypeAAAA {
		return netip.Addr{}
	}
	a, _ := netip.AddrFromSlice(msg[r.DataOff:r.End])
	return a
}

// EmbeddedIPv4 returns the IPv4 address that a DNS64 has put into an address of the well-known
// prefix 64:ff9b::/96 (RFC 6052 section 2.1).
func EmbeddedIPv4(a netip.Addr) (netip.Addr, bool) {
	if !a.Is6() {
		return a, false
	}
	b := a.As16()
	if string(b[:12]) != "\x00\x64\xff\x9b\x00\x00\x00\x00\x00\x00\x00\x00" {
		return a, false
	}
	return netip.AddrFrom4([4]byte(b[12:])), true
}

// NameServer sets server to the target of an NS record, and reports whether the record is one of
// a zone that name is in. Otherwise server is undefined.
func NameServer(msg []byte, r *wire.Record, name, server *wire.Name) bool {
	if r.Type != wire.TypeNS || r.Section == wire.Additional {
		return false
	}
	if _, err := server.Parse(msg, r.Off); err != nil || !name.IsSubdomain(server.Bytes()) {
		return false
	}
	_, err := server.Parse(msg, r.DataOff)
	return err == nil
}

// NextNameServer sets next to the smallest name server of name above last, in canonical order,
// and reports whether there is one. The zero Name is below all.
func NextNameServer(msg []byte, name, last, next *wire.Name) (found bool) {
	var server wire.Name
	w := wire.NewWalk(msg)
	var r wire.Record
	for w.Next(&r) && r.Section != wire.Additional {
		if NameServer(msg, &r, name, &server) && (last.Len() == 0 || server.Compare(last) > 0) && (!found || server.Compare(next) < 0) {
			*next, found = server, true
		}
	}
	return found
}

// AppendGlue appends the addresses that a response has for name servers of name, up to
// wire.MaxAdditional in all.
func AppendGlue(dst []netip.Addr, msg []byte, name *wire.Name) []netip.Addr {
	var owner wire.Name
	w := wire.NewWalk(msg)
	var r wire.Record
	for w.Next(&r) && len(dst) < wire.MaxAdditional {
		if r.Section != wire.Additional {
			continue
		}
		a := Address(msg, &r)
		if _, err := owner.Parse(msg, r.Off); a.IsValid() && err == nil && serves(msg, name, &owner) {
			dst = append(dst, a)
		}
	}
	return dst
}

// serves reports whether a host is a name server of name.
func serves(msg []byte, name, host *wire.Name) bool {
	var server wire.Name
	w := wire.NewWalk(msg)
	var r wire.Record
	for w.Next(&r) && r.Section != wire.Additional {
		if NameServer(msg, &r, name, &server) && string(server.Bytes()) == string(host.Bytes()) {
			return true
		}
	}
	return false
}
