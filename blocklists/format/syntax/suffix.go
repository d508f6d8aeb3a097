package syntax

import (
	_ "embed"
	"encoding/binary"
	"strings"

	"golang.org/x/net/publicsuffix"
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
	h := hashName(name)
	return suffixBit(h) || suffixBit(h^belowMark) || suffixBit(hashName(name[1+name[0]:])^belowMark)
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
//
// Where the list says that all names below a company's are such suffixes (*.compute-1.amazonaws.com), they are hosts of single customers, and
// names like others. The company's name is the suffix, and so are the names of regions below it.
func IsPublicSuffix(name []byte) bool {
	if !MayBePublicSuffix(name) {
		return false
	}
	text, ok := hostText(name)
	if !ok {
		return false
	}
	suffix, icann := publicsuffix.PublicSuffix(text)
	if suffix != text || !icann && strings.IndexByte(text, '.') < 0 {
		return hasWildcard(name, text)
	}
	label, above, _ := strings.Cut(text, ".")
	return icann || isRegion(label) || !hasWildcard(name[1+name[0]:], above)
}

// hostText returns a name of at most maxSuffixLen octets as text, without a dot at the end, if it is a host name.
func hostText(name []byte) (string, bool) {
	var buf [maxSuffixLen]byte
	text := buf[:0]
	for ; len(name) > 1; name = name[1+name[0]:] {
		for _, c := range name[1 : 1+name[0]] {
			if c == '.' || !HostChar[c] {
				return "", false
			}
			text = append(text, c)
		}
		text = append(text, '.')
	}
	return string(text[:max(len(text)-1, 0)]), true
}

// hasWildcard reports whether all names directly below a name, in wire form and as text, are public suffixes.
func hasWildcard(name []byte, text string) bool {
	if text == "" || !suffixBit(hashName(name)^belowMark) {
		return false
	}
	probe := "0." + text
	suffix, _ := publicsuffix.PublicSuffix(probe)
	return suffix == probe
}

// isRegion reports whether a label is as clouds call their regions: eu-west-1.
func isRegion(label string) bool {
	parts := strings.Split(label, "-")
	last := len(parts) - 1
	if last < 2 || len(parts[0]) != 2 || len(parts[last]) != 1 || !AllDigits([]byte(parts[last])) {
		return false
	}
	for _, c := range strings.Join(parts[:last], "") {
		if c < 'a' || c > 'z' {
			return false
		}
	}
	return true
}
