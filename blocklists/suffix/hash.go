package suffix

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
)

// A path is a name in wire form without the root label's octet.

// key is the secret of a trie's hashes. Octets of names are combined with a secret
// before they are multiplied: with constants instead, somebody could choose a name
// that makes the product 0, whatever the rest of the name is.
type key struct{ start, block, head uint64 }

func newKey() key { return key{rand.Uint64(), rand.Uint64(), rand.Uint64()} }

// sum returns the hash of a path of two octets or more. It reads octets in blocks
// of eight from the right, across labels, so that all suffixes
// of one name share the work. The rest on the left is read as the
// first eight octets of the path, which overlap a block.
func (k *key) sum(path []byte) uint64 {
	state, taken := k.start, 0
	for len(path)-taken > 8 {
		taken += 8
		state = k.take(state, path[len(path)-taken:])
	}
	if len(path) >= 8 {
		return k.finish(state, binary.LittleEndian.Uint64(path), len(path))
	}
	return k.finish(state, short(path), len(path))
}

func (k *key) take(state uint64, block []byte) uint64 {
	return mix(binary.LittleEndian.Uint64(block)^k.block, state)
}

func (k *key) finish(state, head uint64, n int) uint64 {
	return mix(head^k.head, state^uint64(n))
}

// short returns up to seven octets as a number.
func short(path []byte) uint64 {
	n := len(path)
	if n >= 4 {
		return uint64(binary.LittleEndian.Uint32(path)) | uint64(binary.LittleEndian.Uint32(path[n-4:]))<<32
	}
	return uint64(path[0]) | uint64(path[n>>1])<<8 | uint64(path[n-1])<<16
}

// tag returns the octet of a hash that a bucket stores: the low end; the high end
// chooses the bucket. It is from 1 to 254.
func tag(h uint64) uint8 { return uint8(h&0xFFFF*254>>16) + 1 }

func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}
