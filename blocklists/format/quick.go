package format

import (
	"encoding/binary"
	"math/bits"

	"rideau/resolver/wire"
)

// shape is how nearly all lines of a format look: a host name between two
// texts, and no more. Such lines are read eight octets at a step; all others,
// and whatever may be wrong, are left to the whole of the format's rules.
type shape struct {
	before, after string
	match         Match
}

// Shapes are tried in order: the one without anything before comes last.
var (
	plainShapes   = []shape{{"=", "", Exact}, {"*.", "", Below}, {"", "", Suffix}}
	hostsShapes   = []shape{{"0.0.0.0 ", "", Exact}, {"127.0.0.1 ", "", Exact}, {"0.0.0.0\t", "", Exact}, {"127.0.0.1\t", "", Exact}, {"", "", Exact}}
	adblockShapes = []shape{{"||", "^", Suffix}, {"", "", Exact}}
)

const (
	// quickText is the longest name that is read by steps.
	quickText = 63
	// quickLine is what a line of any shape needs at most, its end and what
	// the last step reads beyond the name included.
	quickLine = quickText + 25
)

// quick takes the lines of the given shapes that are next and whole in the
// buffer.
func (l *reader) quick(shapes []shape) (err error) {
	all, _ := l.br.Peek(l.br.Buffered())
	rest := all
	l.bad = false
	for err == nil && len(shapes) > 0 && len(rest) >= quickLine {
		s := fit(shapes, rest)
		text := rest[len(s.before):]
		name, n := quickName(&l.name, text)
		end := lineEnd(text[n:], s.after)
		if n == 0 || end == 0 || l.opt.Format == Hosts && isLocal(text) {
			break
		}
		rest = text[n+end:]
		l.stats.Lines++
		l.at, l.bad = l.stats.Lines, false
		l.content++
		err = l.emitName(name, s.match)
	}
	l.br.Discard(len(all) - len(rest)) // no error: it is in the buffer
	return err
}

// fit is the first shape that a line may have.
func fit(shapes []shape, line []byte) *shape {
	for i := range shapes {
		s := &shapes[i]
		if len(s.before) == 0 || line[0] == s.before[0] && string(line[:len(s.before)]) == s.before {
			return s
		}
	}
	return &shapes[len(shapes)-1]
}

// lineEnd is how long the text and the line end at the beginning of b are; 0
// if there is anything else.
func lineEnd(b []byte, text string) int {
	if string(b[:len(text)]) != text {
		return 0
	}
	switch n := len(text); {
	case b[n] == '\n':
		return n + 1
	case b[n] == '\r' && b[n+1] == '\n':
		return n + 2
	}
	return 0
}

// quickName makes the wire form in dst of the host name that text begins with,
// and returns it and the length of the name's text. The length is 0 if the
// name is not for sure a good one that needs no further look: if it has one
// label, may end in a number, or is not shorter than any limit.
//
// The wire form is the text moved by an octet, with each dot replaced by the
// length of the label after it.
func quickName(dst *[wire.MaxName + 1]byte, text []byte) (name []byte, n int) {
	var dots uint64
	for {
		x, bad, dot := hostOctets(binary.LittleEndian.Uint64(text[n:]))
		binary.LittleEndian.PutUint64(dst[1+n:], x)
		dots |= dot << n
		if bad != 0 {
			n += bits.TrailingZeros64(bad) >> 3
			break
		}
		if n += 8; n > quickText {
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

// hostOctets looks at eight octets of text: x has them in lower case, bad the
// high bit of each that no host name has, and dot a bit for each dot.
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
