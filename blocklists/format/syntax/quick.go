package syntax

import (
	"encoding/binary"
	"math/bits"
)

// MaxQuick is the longest name that [Names.Quick] parses, and QuickRead how many
// octets of text it needs to see at most.
const (
	MaxQuick  = 63
	QuickRead = MaxQuick + 1
)

// Quick parses the host name that text begins with, eight octets at a
// step. It returns the wire form, valid until the next call of a method, and the length of the name's text. The length is 0 if the
// name is not certainly a good one: if it has one
// label, may end in a number, or is longer than MaxQuick. Then Parse decides. len(text) must be QuickRead or more.
//
// The wire form is the text shifted by an octet, with each dot replaced by the
// length of the label after it.
func (p *Names) Quick(text []byte) (name []byte, n int) {
	dst := &p.buf
	var dots uint64
	for {
		x, bad, dot := hostOctets(binary.LittleEndian.Uint64(text[n:]))
		binary.LittleEndian.PutUint64(dst[1+n:], x)
		dots |= dot << n
		if bad != 0 {
			n += bits.TrailingZeros64(bad) >> 3
			break
		}
		if n += 8; n > MaxQuick {
			return nil, 0
		}
	}
	end := n
	dots &= 1<<end - 1
	if dots&1 != 0 || dots&(dots>>1) != 0 {
		return nil, 0
	}
	if end > 0 && dots>>(end-1) != 0 { // the root's
		end--
		dots &^= 1 << end
	}
	if dots == 0 || text[end-1]-'0' <= 9 {
		return nil, 0
	}
	at := 0 // of the length octet of the label at hand
	for ; dots != 0; dots &= dots - 1 {
		dot := bits.TrailingZeros64(dots)
		dst[at] = byte(dot - at)
		at = dot + 1
	}
	dst[at] = byte(end - at)
	dst[end+1] = 0
	return dst[:end+2], n
}

// hostOctets examines eight octets of text: x is the octets in lower case, bad has the
// high bit of each octet that no host name has, and dot has one bit for each dot.
func hostOctets(text uint64) (x, bad, dot uint64) {
	const (
		ones  = 0x0101010101010101
		highs = 0x80 * ones
		lows  = 0x7F * ones
	)
	// Sums of octets below 0x80 do not carry over into the next. The high bit
	// says whether one is in a range, or other than a given one.
	y := text & lows
	lower := y | 0x20*ones
	letter := (lower + (0x80-'a')*ones) &^ (lower + (0x7F-'z')*ones)
	digit := (y + (0x80-'-')*ones) &^ (y + (0x7F-'9')*ones) // or one of -./
	notSlash := (y ^ '/'*ones) + lows
	notUnderscore := (y ^ '_'*ones) + lows
	notDot := (y ^ '.'*ones) + lows
	good := letter | digit&notSlash | ^notUnderscore
	bad = (^good | text) & highs
	x = text | letter&highs>>2
	return x, bad, (^notDot & highs >> 7) * 0x0102040810204080 >> 56
}
