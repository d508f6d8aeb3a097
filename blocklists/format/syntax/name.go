package syntax

import (
	"bytes"
	"net/netip"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"rideau/resolver/wire"
)

const remedyName = "write a host name, such as example.com"

var (
	faultEmptyLabel = Fault{Reason: "empty label (two dots in a row, or a dot first)", Remedy: remedyName}
	faultLongLabel  = Fault{Reason: "label longer than 63 octets", Remedy: remedyName}
	faultLongName   = Fault{Reason: "name longer than 255 octets", Remedy: remedyName}
	faultRoot       = Fault{Reason: "the root covers every name", Remedy: "name what to block"}
	faultTLD        = Fault{Reason: "a single label covers a whole top-level domain", Remedy: "name what to block below it, or set allow_tld for the list"}
	faultNumeric    = Fault{Reason: "neither a name nor an address (a top-level domain is never a number)", Remedy: "correct the address, or write a host name"}
	faultStar       = Fault{Reason: "a star is allowed only as the whole first label", Remedy: "write *.example.com for what is below a name"}
	faultEquals     = Fault{Reason: "an equals sign is allowed only before a whole name", Remedy: "write =example.com for one name alone"}
	// Faults that the readers of formats find, too.
	FaultLongLine     = Fault{Reason: "line longer than 64 KiB", Remedy: "write one entry a line"}
	FaultPublicSuffix = Fault{Reason: "a suffix under which anybody can have a name (a public suffix)", Remedy: "name what to block below it, or set allow_tld for the list"}
	FaultSpace        = Fault{Reason: "white space inside an entry", Remedy: "write one entry a line; for lines of address and name set the list's format to hosts", Mixed: "write one entry a line"}
	faultURL          = Fault{Reason: "a slash in a name: a URL, or a path, which DNS does not see", Remedy: "write the host name alone, or an address block as 192.0.2.0/24"}
	faultPort         = Fault{Reason: "a colon in a name: a port, which DNS does not see", Remedy: "write the host name alone"}
	faultAdblock      = Fault{Reason: "an adblock rule", Remedy: "set the list's format to adblock", Mixed: "write the name alone, or put rules into a list of their own"}
	faultChar         = Fault{Reason: "a character that no host name has", Remedy: remedyName}
	faultUTF8         = Fault{Reason: "text that is not UTF-8", Remedy: "save the file as UTF-8"}
	faultIDN          = Fault{Reason: "not a valid internationalised name", Remedy: "correct it, or write its A-label form (xn--...)"}
	faultHostBits     = Fault{Reason: "an address block with bits set beyond its length", Remedy: "write the block's first address, such as 192.0.2.0/24"}
	faultPrefix       = Fault{Reason: "not an address block", Remedy: "write it as 192.0.2.0/24 or 2001:db8::/32"}
	faultAnyAddress   = Fault{Reason: "an address block that covers every address", Remedy: "name what to block"}
	faultZoneID       = Fault{Reason: "an address with a zone identifier", Remedy: "write the address without %zone"}
)

// HostChar says which octets a host name or a service name has: letters,
// digits, hyphen (RFC 952, RFC 1123 section 2.1), underscore (RFC 8552), and
// the dot between labels.
var HostChar = func() (t [256]bool) {
	for b := range t {
		t[b] = 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || b == '-' || b == '_' || b == '.'
	}
	return t
}()

// Names parses host names. The zero Names is ready for use. It is not safe for
// concurrent use.
type Names struct {
	idn *idna.Profile // made when first needed
	buf [wire.MaxName + 1]byte
}

// Parse returns the wire form of a host name, in lower case. It is valid until the next call of a
// method. tld allows names of one label.
func (n *Names) Parse(text []byte, tld bool) ([]byte, Fault) {
	for _, b := range text {
		if !HostChar[b] {
			if b < utf8.RuneSelf {
				return nil, charFault(text)
			}
			ascii, f := n.toASCII(text)
			if !f.OK() {
				return nil, f
			}
			return n.parseASCII(ascii, tld)
		}
	}
	return n.parseASCII(text, tld)
}

// parseASCII is Parse for a text that has host characters only.
func (n *Names) parseASCII(text []byte, tld bool) ([]byte, Fault) {
	if len(text) == 0 || len(text) == 1 && text[0] == '.' {
		return nil, faultRoot
	}
	if len(text) > wire.MaxName {
		return nil, faultLongName
	}
	name, err := wire.AppendName(n.buf[:0], text)
	if err != nil {
		return nil, nameFault(text)
	}
	if top := TopLabel(text); len(top) == len(bytes.TrimSuffix(text, []byte("."))) && !tld {
		return nil, faultTLD
	} else if AllDigits(top) {
		return nil, faultNumeric
	}
	return name, Fault{}
}

// TopLabel returns the rightmost label of a name that is not the root. text is not empty.
func TopLabel(text []byte) []byte {
	if text[len(text)-1] == '.' {
		text = text[:len(text)-1]
	}
	return text[bytes.LastIndexByte(text, '.')+1:]
}

// AllDigits reports whether a text has only digits, or is empty.
func AllDigits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// nameFault returns why [wire.AppendName] refused a name.
func nameFault(text []byte) Fault {
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

// charFault returns the fault of a text with octets that no host name has, by what the text seems to be.
func charFault(text []byte) Fault {
	switch {
	case bytes.HasPrefix(text, []byte("||")) || bytes.HasPrefix(text, []byte("@@")) || bytes.HasSuffix(text, []byte("^")):
		return faultAdblock
	case bytes.IndexByte(text, ' ') >= 0 || bytes.IndexByte(text, '\t') >= 0:
		return FaultSpace
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

// toASCII converts the U-labels of a name to A-labels (RFC 5891 section 5),
// mapping letter case and width as people expect (RFC 5895). Underscores and
// hyphens are allowed anywhere, since service names have them anywhere.
func (n *Names) toASCII(text []byte) ([]byte, Fault) {
	if !utf8.Valid(text) {
		return nil, faultUTF8
	}
	if len(text) > 4*wire.MaxName {
		return nil, faultLongName
	}
	if n.idn == nil {
		n.idn = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false),
			idna.StrictDomainName(false), idna.CheckHyphens(false))
	}
	ascii, err := n.idn.ToASCII(string(text))
	if err != nil {
		return nil, faultIDN
	}
	for i := range len(ascii) {
		if !HostChar[ascii[i]] {
			return nil, charFault([]byte(ascii))
		}
	}
	return []byte(ascii), Fault{}
}

// LikeAddress reports whether a text can only be meant as an address or a
// block of addresses: it has two colons, or what is before any slash ends in a
// label that is a number.
func LikeAddress(text []byte) bool {
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
	return AllDigits(TopLabel(host)) && bytes.IndexByte(host, '.') >= 0
}

// ParsePrefix parses an address or a block of addresses. IPv4-mapped IPv6
// becomes IPv4, as in answers.
func ParsePrefix(text []byte) (netip.Prefix, Fault) {
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
		return netip.PrefixFrom(a, a.BitLen()), Fault{}
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, faultPrefix
	}
	return CheckPrefix(p)
}

// CheckPrefix returns the prefix in the form that ParsePrefix returns, if it is a block of
// addresses and not all of them.
func CheckPrefix(p netip.Prefix) (netip.Prefix, Fault) {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	switch {
	case p.Bits() == 0:
		return netip.Prefix{}, faultAnyAddress
	case p.Masked() != p:
		return netip.Prefix{}, faultHostBits
	}
	return p, Fault{}
}
