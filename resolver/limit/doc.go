// Package limit keeps clients from taking what is there for all.
//
// A [Gate] says which queries are answered at all. It bounds how many a second
// one client asks, and when the system loses queries because more come than can be
// read, it turns away those of the busiest networks, so that who asks little
// is heard: addresses may be forged, and thousands of them cost their sender
// nothing. A [WaitLimit] bounds how many queries wait for upstream, and divides
// that among clients and zones: who floods a server with random names below one
// zone, or is a client out of control, gets a share and no more.
//
// Neither knows clients by name. Both count in tables of fixed size, by
// hashes that nobody outside can foresee: memory does not grow with the number
// of addresses, and the few that share a place with somebody else share its fate.
package limit

import (
	"hash/maphash"
	"net/netip"
)

// network is the part of an address that counts as one: a forger has the
// whole of a network at hand, as has who is given one.
func network(a netip.Addr, v4, v6 int) (key [9]byte) {
	bits := v6
	if a.Is4() {
		bits = v4
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return key
	}
	if a.Is4() {
		b := p.Addr().As4()
		copy(key[:], b[:])
		return key
	}
	b := p.Addr().As16()
	key[8] = 6
	copy(key[:8], b[:8])
	return key
}

func hashOf(seed maphash.Seed, a netip.Addr, v4, v6 int) uint64 {
	key := network(a, v4, v6)
	return maphash.Bytes(seed, key[:])
}
