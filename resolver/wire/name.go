package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strconv"
	"unsafe"
)

const (
	// MaxName is the longest name in wire form, in octets (RFC 1035 section 3.1).
	MaxName = 255
	// MaxLabel is the longest label, in octets.
	MaxLabel = 63
	// maxLabels is the number of labels, without the root, that a name of
	// MaxName octets can have.
	maxLabels = 127
	// maxPointers bounds the compression pointers followed for one name. A name
	// has at most 127 labels, the last of which need no pointer, and a pointer
	// to a pointer is legal but useless, so well-formed messages stay far below
	// it. Other readers have the same bound.
	maxPointers = 126
)

// Name errors.
var (
	ErrName     = errors.New("name: malformed")
	ErrLongName = errors.New("name: longer than 255 octets")
)

// Name is a domain name in wire form, uncompressed, its ASCII letters in lower
// case (RFC 4343), with the offset of each label. The zero Name holds nothing;
// [Name.Parse] and [Name.Set] fill it. A Name is large (about 400 octets): pass
// pointers, and reuse it.
type Name struct {
	buf  [MaxName]byte
	len  uint8
	n    uint8
	offs [maxLabels]uint8
}

// Parse reads the name that starts at off in msg, following compression
// pointers, and returns the offset after it in the record that holds it.
// Pointers must point backwards (RFC 1035 section 4.1.4), which also bounds the
// work. After an error the content of n is undefined.
func (n *Name) Parse(msg []byte, off int) (next int, err error) {
	w, labels, pointers := 0, 0, 0
	limit := off // pointers must point before it
	next = -1
	for {
		if uint(off) >= uint(len(msg)) {
			return 0, ErrName
		}
		c := int(msg[off])
		switch c & 0xC0 {
		case 0x00:
			if w+1+c > MaxName {
				return 0, ErrLongName
			}
			if c == 0 {
				n.buf[w] = 0
				n.len, n.n = uint8(w+1), uint8(labels)
				if next < 0 {
					next = off + 1
				}
				return next, nil
			}
			if off+1+c > len(msg) {
				return 0, ErrName
			}
			n.offs[labels] = uint8(w)
			labels++
			n.buf[w] = byte(c)
			lower(n.buf[w+1:w+1+c], msg[off+1:off+1+c])
			w += 1 + c
			if w >= MaxName {
				return 0, ErrLongName
			}
			off += 1 + c
		case 0xC0:
			if off+1 >= len(msg) {
				return 0, ErrName
			}
			if next < 0 {
				next = off + 2
			}
			to := (c&0x3F)<<8 | int(msg[off+1])
			if to >= limit || to < HeaderLen {
				return 0, ErrName
			}
			if pointers++; pointers > maxPointers {
				return 0, ErrName
			}
			off, limit = to, to
		default:
			return 0, ErrName // RFC 6891 section 5: there are no other label types
		}
	}
}

// Set makes n the name with the wire form w: uncompressed, with the root label,
// letters in any case.
func (n *Name) Set(w []byte) error {
	i, labels := 0, 0
	for {
		if i >= len(w) || i >= MaxName {
			return ErrName
		}
		c := int(w[i])
		if c > MaxLabel {
			return ErrName
		}
		if c == 0 {
			break
		}
		if i+1+c >= len(w) || i+1+c >= MaxName {
			return ErrName
		}
		n.offs[labels] = uint8(i)
		labels++
		n.buf[i] = byte(c)
		lower(n.buf[i+1:i+1+c], w[i+1:i+1+c])
		i += 1 + c
	}
	if i+1 != len(w) {
		return ErrName
	}
	n.buf[i] = 0
	n.len, n.n = uint8(i+1), uint8(labels)
	return nil
}

// SetText makes n the name that text spells (see [AppendName]).
func (n *Name) SetText(text string) error {
	var tmp [MaxName]byte
	w, err := AppendName(tmp[:0], unsafe.Slice(unsafe.StringData(text), len(text)))
	if err != nil {
		return err
	}
	return n.Set(w)
}

// Bytes returns the wire form. It borrows n.
func (n *Name) Bytes() []byte { return n.buf[:n.len] }

// Len returns the length of the wire form in octets; 0 if n was never filled.
func (n *Name) Len() int { return int(n.len) }

// Labels returns the number of labels, without the root.
func (n *Name) Labels() int { return int(n.n) }

// Label returns the text of label i without its length octet; label 0 is the
// leftmost. It borrows n.
func (n *Name) Label(i int) []byte {
	o := int(n.offs[i])
	return n.buf[o+1 : o+1+int(n.buf[o])]
}

// Suffix returns the wire form of the k rightmost labels and the root;
// Suffix(0) is the root. It borrows n.
func (n *Name) Suffix(k int) []byte {
	return n.buf[n.SuffixOffset(k):n.len]
}

// SuffixOffset returns the offset of Suffix(k) in the wire form, in octets.
func (n *Name) SuffixOffset(k int) int {
	if k <= 0 {
		return int(n.len) - 1
	}
	return int(n.offs[int(n.n)-k])
}

// IsSubdomain reports whether n is zone or below it. zone is a wire form in
// lower case.
func (n *Name) IsSubdomain(zone []byte) bool {
	d := int(n.len) - len(zone)
	if d < 0 || string(n.buf[d:n.len]) != string(zone) {
		return false
	}
	if d == 0 || len(zone) == 1 {
		return true
	}
	_, found := slices.BinarySearch(n.offs[:n.n], uint8(d))
	return found
}

// Compare returns a negative number if n sorts before o in canonical order, 0
// if they are equal, and a positive number if n sorts after o (RFC 4034 section
// 6.1).
func (n *Name) Compare(o *Name) int {
	for i := 1; i <= min(n.Labels(), o.Labels()); i++ {
		if c := bytes.Compare(n.Label(n.Labels()-i), o.Label(o.Labels()-i)); c != 0 {
			return c
		}
	}
	return n.Labels() - o.Labels()
}

// String returns the name in presentation form, with a final dot.
func (n *Name) String() string { return NameString(n.Bytes()) }

// NameString returns the presentation form of an uncompressed name in wire
// form, with a final dot and the escapes of RFC 1035 section 5.1. For what is
// no name it returns "?".
func NameString(w []byte) string {
	if len(w) == 1 && w[0] == 0 {
		return "."
	}
	var out []byte
	for i := 0; ; {
		if i >= len(w) {
			return "?"
		}
		c := int(w[i])
		if c == 0 {
			return string(out)
		}
		if c > MaxLabel || i+1+c > len(w) {
			return "?"
		}
		for _, b := range w[i+1 : i+1+c] {
			switch {
			case b == '.' || b == '\\' || b == '"' || b == ';' || b == '(' || b == ')' || b == '@' || b == '$':
				out = append(out, '\\', b)
			case b <= ' ' || b > '~':
				out = append(out, '\\', '0'+b/100, '0'+b/10%10, '0'+b%10)
			default:
				out = append(out, b)
			}
		}
		out = append(out, '.')
		i += 1 + c
	}
}

// AppendName appends the wire form, in lower case, of a name written as text.
// The final dot is optional; "." is the root. It accepts the escapes \X and
// \DDD of RFC 1035 section 5.1, and any octet: a caller that wants host names
// only must check first. On an error dst is returned unchanged.
func AppendName(dst, text []byte) ([]byte, error) {
	if len(text) == 1 && text[0] == '.' {
		return append(dst, 0), nil
	}
	if len(text) == 0 {
		return dst, errors.New("name: empty")
	}
	if bytes.IndexByte(text, '\\') < 0 {
		return appendPlainName(dst, text)
	}
	base := len(dst)
	out := append(dst, 0)
	start := base // offset of the current label's length octet
	for i := 0; i < len(text); i++ {
		b := text[i]
		switch b {
		case '.':
			if len(out)-start == 1 {
				return dst, errors.New("name: empty label")
			}
			out[start] = byte(len(out) - start - 1)
			start = len(out)
			out = append(out, 0)
			continue
		case '\\':
			if i+1 >= len(text) {
				return dst, errors.New("name: ends in a backslash")
			}
			i++
			b = text[i]
			if '0' <= b && b <= '9' {
				if i+2 >= len(text) {
					return dst, errors.New("name: escape needs three digits")
				}
				v, err := strconv.ParseUint(string(text[i:i+3]), 10, 8)
				if err != nil {
					return dst, errors.New("name: escape is not a number up to 255")
				}
				b = byte(v)
				i += 2
			}
		}
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		out = append(out, b)
		if len(out)-start-1 > MaxLabel {
			return dst, errors.New("name: label longer than 63 octets")
		}
	}
	if len(out)-start > 1 {
		out[start] = byte(len(out) - start - 1)
		out = append(out, 0)
	}
	if len(out)-base > MaxName {
		return dst, ErrLongName
	}
	return out, nil
}

// appendPlainName does the same for a text without escapes: the length of each
// label goes where the dot before it stands.
func appendPlainName(dst, text []byte) ([]byte, error) {
	if len(text) > MaxName {
		// Report a wrong label rather than the length.
		for label := range bytes.SplitSeq(bytes.TrimSuffix(text, []byte{'.'}), []byte{'.'}) {
			if err := labelFault(len(label)); err != nil {
				return dst, err
			}
		}
		return dst, ErrLongName
	}
	base := len(dst)
	out := append(append(dst, 0), text...)
	lower(out[base+1:], text)
	for start := base; ; {
		n := bytes.IndexByte(out[start+1:], '.')
		last := n < 0
		if last {
			n = len(out) - start - 1
		}
		if n == 0 && last { // the text ends in a dot
			out[start] = 0
			break
		}
		if err := labelFault(n); err != nil {
			return dst, err
		}
		out[start] = byte(n)
		if last {
			out = append(out, 0)
			break
		}
		start += 1 + n
	}
	if len(out)-base > MaxName {
		return dst, ErrLongName
	}
	return out, nil
}

// labelFault returns what is wrong with a label of n octets, or nil.
func labelFault(n int) error {
	switch {
	case n == 0:
		return errors.New("name: empty label")
	case n > MaxLabel:
		return errors.New("name: label longer than 63 octets")
	}
	return nil
}

// lower copies src to dst with ASCII letters in lower case, eight octets at a
// time. Both have the same length, and may be the same slice.
func lower(dst, src []byte) {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	_ = dst[:len(src)]
	i := 0
	for ; i+8 <= len(src); i += 8 {
		x := binary.LittleEndian.Uint64(src[i:])
		low := x &^ highs
		// The high bit of each octet tells whether the octet is at least 'A',
		// and whether it is above 'Z'.
		upper := (low + (0x80-'A')*ones) &^ (low + (0x7F-'Z')*ones) &^ x & highs
		binary.LittleEndian.PutUint64(dst[i:], x|upper>>2)
	}
	for ; i < len(src); i++ {
		dst[i] = lowerTable[src[i]]
	}
}

// EqualFold reports whether two octet strings are equal but for the case of
// ASCII letters (RFC 4343).
func EqualFold(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i, c := range a {
		if lowerTable[c] != lowerTable[b[i]] {
			return false
		}
	}
	return true
}

var lowerTable = func() (t [256]byte) {
	for i := range t {
		t[i] = byte(i)
		if 'A' <= i && i <= 'Z' {
			t[i] += 'a' - 'A'
		}
	}
	return t
}()
