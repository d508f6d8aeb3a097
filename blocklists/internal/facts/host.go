package facts

import (
	"bytes"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/idna"

	"rideau/resolver/wire"
)

// hosts reads the hosts that a URI names (RFC 3986 section 3.2.2): of an authority, of addresses such as those of sip: and
// mailto:, and of a text without scheme. It accepts what browsers accept, too: backslashes for slashes, any number of
// slashes, white space inside, and IPv4 addresses in fewer parts or in other bases.
//
// It allocates, which is no matter: the types are rare.
type hosts struct {
	rest  []byte // what may have further hosts, separated by @
	later bool   // a part was read
}

// uriHosts returns the hosts of a URI. The text is not written.
func uriHosts(text []byte) hosts {
	s := make([]byte, 0, len(text))
	for _, c := range text {
		switch {
		case c == '\\':
			s = append(s, '/')
		case c > ' ':
			s = append(s, c)
		}
	}
	for range maxSchemes {
		i := bytes.IndexAny(s, ":/?#[@")
		if i <= 0 || s[i] != ':' {
			break
		}
		if bytes.IndexByte(s[:i], '.') >= 0 && !bytes.HasPrefix(s[i:], []byte("://")) {
			break // a host and a port
		}
		s = s[i+1:]
		if len(s) > 0 && s[0] == '/' {
			s = bytes.TrimLeft(s, "/")
			if !nested(s) {
				break
			}
		} else if !nested(s) {
			break
		}
	}
	s = bytes.TrimLeft(s, "/")
	if i := bytes.IndexAny(s, "/?#"); i >= 0 {
		s = s[:i]
	}
	return hosts{rest: s}
}

// maxSchemes is how many schemes a URI may have one after the other, as in view-source:https:.
const maxSchemes = 4

// nested reports whether a text begins with a scheme and two slashes.
func nested(s []byte) bool {
	i := bytes.IndexAny(s, ":/?#[@")
	return i > 0 && bytes.HasPrefix(s[i:], []byte("://"))
}

// naptrRegexp returns the third string of a NAPTR record (RFC 3403 section 4.1).
func naptrRegexp(msg []byte, r *wire.Record) []byte {
	off := r.DataOff + 4
	for i := range 3 {
		if off >= r.End || off+1+int(msg[off]) > r.End {
			return nil
		}
		if i == 2 {
			return msg[off+1 : off+1+int(msg[off])]
		}
		off += 1 + int(msg[off])
	}
	return nil
}

// regexpHosts returns the hosts of what a substitution expression makes (RFC 3402 section 3.2). What it takes over from the
// subject, such as \1, counts as one letter, so that it ends no host.
func regexpHosts(text []byte) hosts {
	if len(text) < 3 {
		return hosts{}
	}
	var out []byte
	part := 0 // 1 in the replacement
	for i := 1; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\\' && i+1 < len(text):
			i++
			if c = text[i]; '0' <= c && c <= '9' {
				c = 'x'
			}
		case c == text[0]:
			part++
			continue
		}
		if part == 1 {
			out = append(out, c)
		}
	}
	return uriHosts(out)
}

// next sets name to the next host, or returns its address, as [Leads.Next] does.
func (h *hosts) next(name *wire.Name) (netip.Addr, bool) {
	for len(h.rest) > 0 {
		part, rest, user := bytes.Cut(h.rest, []byte{'@'})
		first := !h.later
		h.rest, h.later = rest, true
		if first && user {
			continue // who is at the host behind the @
		}
		if a, ok := host(part, name); ok {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// host reads the host that a text begins with.
func host(text []byte, name *wire.Name) (netip.Addr, bool) {
	if len(text) > 0 && text[0] == '[' {
		end := bytes.IndexByte(text, ']')
		if end < 0 {
			return netip.Addr{}, false
		}
		a, err := netip.ParseAddr(string(text[1:end]))
		return a.WithZone(""), err == nil
	}
	if i := bytes.IndexAny(text, ":;,&!<>\""); i >= 0 {
		text = text[:i]
	}
	s := strings.TrimSuffix(unescape(text), ".")
	if strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 }) {
		if ascii, err := idna.Lookup.ToASCII(s); err == nil {
			s = ascii
		}
	}
	if a, ok := parseIPv4(s); ok {
		return a, true
	}
	return netip.Addr{}, s != "" && strings.IndexByte(s, '\\') < 0 && name.SetText(s) == nil
}

// unescape replaces percent-encoded octets (RFC 3986 section 2.1).
func unescape(text []byte) string {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+2 < len(text) {
			if v, err := strconv.ParseUint(string(text[i+1:i+3]), 16, 8); err == nil {
				out = append(out, byte(v))
				i += 2
				continue
			}
		}
		out = append(out, text[i])
	}
	return string(out)
}

// parseIPv4 parses an IPv4 address in one to four parts, each decimal, octal or hexadecimal; the last one has the octets that are
// left, as in 0xc0000242 and 192.0.578.
func parseIPv4(s string) (netip.Addr, bool) {
	var v uint64
	for part := 0; ; part++ {
		text, rest, more := strings.Cut(s, ".")
		base := 10
		switch {
		case strings.HasPrefix(text, "0x"), strings.HasPrefix(text, "0X"):
			base, text = 16, text[2:]
		case len(text) > 1 && text[0] == '0':
			base = 8
		}
		n, err := strconv.ParseUint(text, base, 33)
		switch {
		case err != nil || part > 3:
			return netip.Addr{}, false
		case !more:
			if n >= 1<<(8*(4-part)) {
				return netip.Addr{}, false
			}
			return address(uint32(v<<(8*(4-part)) | n)), true
		case n > 255:
			return netip.Addr{}, false
		}
		v, s = v<<8|n, rest
	}
}
