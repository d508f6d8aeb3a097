package format

import (
	"bytes"
	"net/netip"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"rideau/resolver/wire"
)

// hostChar says which octets a host name or a service name has: letters,
// digits, hyphen (RFC 952, RFC 1123 section 2.1), underscore (RFC 8552), and
// the dot between labels.
var hostChar = func() (t [256]bool) {
	for b := range t {
		t[b] = 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || b == '-' || b == '_' || b == '.'
	}
	return t
}()

// emit gives add the entry of a name; what is no name counts as unusable, and
// then quote is the text to show.
func (l *reader) emit(quote, text []byte, m Match) error {
	name, f := l.parseName(text)
	if !f.ok() {
		l.skip(quote, f)
		return nil
	}
	return l.emitName(name, m)
}

// emitEither is emit for a text that may also be an address or a block of them.
func (l *reader) emitEither(quote, text []byte, m Match) error {
	if !likeAddress(text) {
		return l.emit(quote, text, m)
	}
	p, f := parsePrefix(text)
	if !f.ok() {
		l.skip(quote, f)
		return nil
	}
	return l.emitPrefix(p)
}

// parseName returns the wire form of a host name, in the reader's own buffer.
func (l *reader) parseName(text []byte) ([]byte, fault) {
	for _, b := range text {
		if !hostChar[b] {
			if b < utf8.RuneSelf {
				return nil, charFault(text)
			}
			ascii, f := l.toASCII(text)
			if !f.ok() {
				return nil, f
			}
			return l.asciiName(ascii)
		}
	}
	return l.asciiName(text)
}

// asciiName is parseName for a text that has host characters only.
func (l *reader) asciiName(text []byte) ([]byte, fault) {
	if len(text) == 0 || len(text) == 1 && text[0] == '.' {
		return nil, faultRoot
	}
	if len(text) > wire.MaxName {
		return nil, faultLongName
	}
	name, err := wire.AppendName(l.name[:0], text)
	if err != nil {
		return nil, nameFault(text)
	}
	if top := topLabel(text); len(top) == len(bytes.TrimSuffix(text, []byte("."))) && !l.opt.AllowTLD {
		return nil, faultTLD
	} else if allDigits(top) {
		return nil, faultNumeric
	}
	return name, fault{}
}

// topLabel is the rightmost label of a name, the root aside.
func topLabel(text []byte) []byte {
	if text[len(text)-1] == '.' {
		text = text[:len(text)-1]
	}
	return text[bytes.LastIndexByte(text, '.')+1:]
}

func allDigits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// nameFault tells what [wire.AppendName] did not like.
func nameFault(text []byte) fault {
	label := 0
	for _, b := range text {
		switch {
		case b != '.':
			label++
		case label == 0:
			return faultEmptyLabel
		default:
			label = 0
		}
		if label > wire.MaxLabel {
			return faultLongLabel
		}
	}
	return faultLongName
}

// charFault tells what a text with octets that no host name has seems to be.
func charFault(text []byte) fault {
	switch {
	case bytes.HasPrefix(text, []byte("||")) || bytes.HasPrefix(text, []byte("@@")) || bytes.HasSuffix(text, []byte("^")):
		return faultAdblock
	case bytes.IndexByte(text, ' ') >= 0 || bytes.IndexByte(text, '\t') >= 0:
		return faultSpace
	case bytes.IndexByte(text, '/') >= 0:
		return faultURL
	case bytes.IndexByte(text, ':') >= 0:
		return faultPort
	case bytes.IndexByte(text, '*') >= 0:
		return faultStar
	case bytes.IndexByte(text, '=') >= 0:
		return faultEquals
	}
	return faultChar
}

// toASCII turns the U-labels of a name into A-labels (RFC 5891 section 5),
// mapping letter case and width as people expect (RFC 5895). Underscores and
// hyphens are left alone, for service names have them anywhere.
func (l *reader) toASCII(text []byte) ([]byte, fault) {
	if !utf8.Valid(text) {
		return nil, faultUTF8
	}
	if len(text) > 4*wire.MaxName {
		return nil, faultLongName
	}
	if l.idn == nil {
		l.idn = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false),
			idna.StrictDomainName(false), idna.CheckHyphens(false))
	}
	ascii, err := l.idn.ToASCII(string(text))
	if err != nil {
		return nil, faultIDN
	}
	for i := range len(ascii) {
		if !hostChar[ascii[i]] {
			return nil, charFault([]byte(ascii))
		}
	}
	return []byte(ascii), fault{}
}

// likeAddress reports whether a text can only be meant as an address or a
// block of them: it has two colons, or what is before any slash ends in a
// label that is a number.
func likeAddress(text []byte) bool {
	if i := bytes.IndexByte(text, ':'); i >= 0 {
		return bytes.IndexByte(text[i+1:], ':') >= 0 && !bytes.Contains(text, []byte("//"))
	}
	host, _, _ := bytes.Cut(text, []byte("/"))
	if len(host) == 0 {
		return false
	}
	if last := host[len(host)-1]; last < '0' || last > '9' {
		return false
	}
	return allDigits(topLabel(host)) && bytes.IndexByte(host, '.') >= 0
}

// parsePrefix reads an address or a block of addresses. IPv4-mapped IPv6
// becomes IPv4, which is what answers hold.
func parsePrefix(text []byte) (netip.Prefix, fault) {
	s := string(text)
	if bytes.IndexByte(text, '%') >= 0 {
		return netip.Prefix{}, faultZoneID
	}
	if bytes.IndexByte(text, '/') < 0 {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return netip.Prefix{}, faultNumeric
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), fault{}
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, faultPrefix
	}
	return checkPrefix(p)
}

func checkPrefix(p netip.Prefix) (netip.Prefix, fault) {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	switch {
	case p.Bits() == 0:
		return netip.Prefix{}, faultAnyAddress
	case p.Masked() != p:
		return netip.Prefix{}, faultHostBits
	}
	return p, fault{}
}
