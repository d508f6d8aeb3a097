// Package limit keeps one client, or many forged ones, from using what is there
// for all.
//
// A [Gate] decides which queries are answered at all. It bounds the queries a
// second of each client. And when the system drops queries because more come
// than can be read, it bounds those of each network, so that networks that send
// few lose none: addresses may be forged, and thousands of them cost their
// sender nothing. It also bounds what one address gets that may be forged: errors
// in answer to what is no query, and octets in large answers.
//
// A [WaitLimit] bounds how many queries wait for upstreams, and divides that
// among clients and zones: a flood of random names below one zone, and a client
// that is out of control, get a share and no more.
//
// Neither knows clients by name. Both count in tables of fixed size, by hashes
// that nobody outside can predict: memory does not grow with the number of
// addresses. The few clients that share a place in a table share its limit.
package limit

import (
	"hash/maphash"
	"net/netip"
)

// network is the part of an address that is counted as one client or network:
// whoever has one address of it usually has all of them.
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

// hashOf is the hash of the network of an address, which has so many bits.
func hashOf(seed maphash.Seed, a netip.Addr, v4, v6 int) uint64 {
	key := network(a, v4, v6)
	return maphash.Bytes(seed, key[:])
}
