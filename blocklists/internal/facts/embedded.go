package facts

import (
	"encoding/binary"
	"net/netip"
)

// Embedded reads the IPv4 addresses that an IPv6 address stands for: what is sent to
// it arrives at one of them. It is for:
//
//   - the translation prefixes of the network (RFC 6052 section 2.2), which the caller gives
//   - the well-known prefix 64:ff9b::/96 (RFC 6052 section 2.1)
//   - the prefixes for local use in 64:ff9b:1::/48 (RFC 8215), of any length, unless the caller gives one that
//     holds the address
//   - 6to4, 2002::/16 (RFC 3056 section 2)
//   - Teredo, 2001::/32: the server, and the client, whose bits are inverted (RFC 4380 section 4)
//   - ISATAP, whose interface identifier begins with 0:5efe or 200:5efe (RFC 5214 section 6.1)
//   - IPv4-compatible addresses, ::a.b.c.d, and IPv4-translated ones, ::ffff:0:a.b.c.d (RFC 4291 section 2.5.5.1, RFC
//     2765 section 2.1)
//
// An IPv4-mapped address counts as IPv4 everywhere, and has no other address in it.
type Embedded struct {
	b        [16]byte
	prefixes []netip.Prefix
	form     uint8 // the next form to try
	at       int   // the next of prefixes
	own      bool  // one of prefixes holds the address
}

// The forms of an address, in the order in which they are tried.
const (
	formOwn uint8 = iota
	formWellKnown
	formLocal96
	formLocal64
	formLocal56
	formLocal48
	form6to4
	formTeredoServer
	formTeredoClient
	formISATAP
	formPlain // IPv4-compatible or IPv4-translated
	formEnd
)

// NewEmbedded returns the Embedded of an address. The prefixes are those of the network's
// translators, of 32, 40, 48, 56, 64 or 96 bits. They are borrowed.
func NewEmbedded(a netip.Addr, prefixes []netip.Prefix) Embedded {
	if !MayEmbed(a, prefixes) {
		return Embedded{form: formEnd}
	}
	return Embedded{b: a.As16(), prefixes: prefixes}
}

// MayEmbed reports whether an address may stand for one of IPv4.
func MayEmbed(a netip.Addr, prefixes []netip.Prefix) bool {
	if !a.Is6() || a.Is4In6() {
		return false
	}
	b := a.As16()
	hi, lo := binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
	return len(prefixes) > 0 || hi>>32 == 0x64ff9b || hi>>48 == 0x2002 || hi>>32 == 0x20010000 || hi == 0 || isISATAP(lo)
}

func isISATAP(lo uint64) bool { return lo>>32&^0x02000000 == 0x5efe }

// Next returns the next of the addresses, and reports whether there is one. An address that was only guessed
// to be there is left out if it is in 0.0.0.0/8, which is no destination (RFC 1122 section 3.2.1.3).
func (e *Embedded) Next() (netip.Addr, bool) {
	hi, lo := binary.BigEndian.Uint64(e.b[:8]), binary.BigEndian.Uint64(e.b[8:])
	for e.form < formEnd {
		form := e.form
		if form == formOwn {
			if e.at == len(e.prefixes) {
				e.form++
				continue
			}
			p := e.prefixes[e.at]
			e.at++
			if p.Contains(netip.AddrFrom16(e.b)) {
				e.own = true
				return address(e.translated(p.Bits())), true
			}
			continue
		}
		e.form++
		var v4 uint32
		switch form {
		case formWellKnown:
			if hi == 0x64ff9b<<32 && lo>>32 == 0 {
				v4 = uint32(lo)
			}
		case formLocal96, formLocal64, formLocal56, formLocal48:
			if hi>>16 == 0x64ff9b0001 && !e.own {
				v4 = e.guessed(form)
			}
		case form6to4:
			if hi>>48 == 0x2002 {
				v4 = uint32(hi >> 16)
			}
		case formTeredoServer:
			if hi>>32 == 0x20010000 {
				v4 = uint32(hi)
			}
		case formTeredoClient:
			if hi>>32 == 0x20010000 {
				v4 = ^uint32(lo)
			}
		case formISATAP:
			if isISATAP(lo) {
				v4 = uint32(lo)
			}
		case formPlain:
			if hi == 0 && (lo>>32 == 0 || lo>>32 == 0xffff0000) {
				v4 = uint32(lo)
			}
		}
		if v4>>24 != 0 {
			return address(v4), true
		}
	}
	return netip.Addr{}, false
}

// guessed is the address in one for local use if its prefix had the length of a form; 0 if it cannot have it. Where the
// prefix is short, octet 8 and those behind the address are zero.
func (e *Embedded) guessed(form uint8) uint32 {
	bits, end := 96, 16
	switch form {
	case formLocal64:
		bits, end = 64, 13
	case formLocal56:
		bits, end = 56, 12
	case formLocal48:
		bits, end = 48, 11
	}
	if bits < 96 && e.b[8] != 0 {
		return 0
	}
	for _, c := range e.b[end:] {
		if c != 0 {
			return 0
		}
	}
	return e.translated(bits)
}

// translated is the address behind a prefix of so many bits (RFC 6052 section 2.2). It passes over octet 8, and does not read
// the octets behind the address, since translators do not.
func (e *Embedded) translated(bits int) uint32 {
	if bits == 96 {
		return binary.BigEndian.Uint32(e.b[12:])
	}
	var v uint32
	for i, n := bits/8, 0; n < 4; i++ {
		if i != 8 {
			v = v<<8 | uint32(e.b[i])
			n++
		}
	}
	return v
}

func address(v uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)})
}
