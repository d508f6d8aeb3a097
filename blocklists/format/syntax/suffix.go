package syntax

import (
	_ "embed"
	"encoding/binary"
	"strings"

	"golang.org/x/net/publicsuffix"

	"rideau/resolver/wire"
)

// suffixBits is a Bloom filter with the hash of each public suffix, and of
// each name below which all names are public suffixes. It avoids most look-ups in
// the list of golang.org/x/net/publicsuffix: one takes as long as all other work
// for a name. A test compares it with that list, and writes it with
// -update.
//
//go:embed suffix.bits
var suffixBits string

const (
	suffixBitCount = 1 << 18
	maxSuffixLen   = 80 // of the wire form
	// belowMark makes the hash for "all names below" of the hash of the name.
	belowMark = 0x9E3779B97F4A7C15
)

// MayBePublicSuffix reports whether a name, in wire form, could be a public suffix. It is fast, and
// may be true by mistake; IsPublicSuffix makes no mistakes.
func MayBePublicSuffix(name []byte) bool {
	if len(name) > maxSuffixLen || len(name) < 2 {
		return false
	}
	return suffixBit(hashName(name)) || suffixBit(hashName(name[1+name[0]:])^belowMark)
}

// suffixBit reports whether the three bits of a hash are set. By chance they are once
// in a thousand times.
func suffixBit(h uint64) bool {
	for range 3 {
		if b := h % suffixBitCount; suffixBits[b/8]&(1<<(b%8)) == 0 {
			return false
		}
		h >>= 20
	}
	return true
}

// hashName returns a hash that is the same on all machines.
func hashName(b []byte) uint64 {
	h := uint64(len(b))
	for ; len(b) >= 8; b = b[8:] {
		h = (h ^ binary.LittleEndian.Uint64(b)) * 0xFF51AFD7ED558CCD
		h ^= h >> 32
	}
	var tail uint64
	for i, c := range b {
		tail |= uint64(c) << (8 * i)
	}
	h = (h ^ tail) * 0xC4CEB9FE1A85EC53
	return h ^ h>>29
}

// IsPublicSuffix reports whether anybody can have a name directly below this
// one, as its registry or owner has it: com, co.uk, github.io. name is in wire form and lower case.
func IsPublicSuffix(name []byte) bool {
	if !MayBePublicSuffix(name) {
		return false
	}
	text := strings.TrimSuffix(wire.NameString(name), ".")
	suffix, icann := publicsuffix.PublicSuffix(text)
	return suffix == text && (icann || strings.IndexByte(text, '.') >= 0)
}
