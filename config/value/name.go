package value

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"rideau/config/node"
)

// Domain parses a domain name. It returns it in lower case, without the final dot unless it is the root.
func Domain(v node.Value) (string, bool) {
	s, ok := v.Scalar()
	if !ok {
		v.Wrong("a domain name", "write a name such as corp.example")
		return "", false
	}
	if s == "." {
		return s, true
	}
	name := strings.ToLower(strings.TrimSuffix(s, "."))
	if zone := reverseZone(name); zone != "" {
		v.Problem("write a domain name; for the names of its addresses, reverse zones such as "+zone, "%s is an address, not a domain name", node.Quote(s))
		return "", false
	}
	if fault := NameFault(name); fault != "" {
		v.Problem("write a name such as corp.example; names in other scripts in their xn-- form", "%s is not a domain name: %s", node.Quote(s), fault)
		return "", false
	}
	return name, true
}

// NameFault says why a name in lower case, without its final dot, is not a domain name that can be used here. It is empty for one that is
// (RFC 1035 section 2.3.4).
func NameFault(name string) string {
	if len(name) > 253 {
		return "it is longer than 253 characters"
	}
	for label := range strings.SplitSeq(name, ".") {
		switch {
		case label == "":
			return "it has an empty label"
		case label == "*":
			return "it has a wildcard, and a zone covers all names below it anyway"
		case len(label) > 63:
			return "it has a label longer than 63 characters"
		}
		for _, r := range label {
			// The slash is for the reverse zones of RFC 2317.
			if !IsLowerAlphanumeric(r) && r != '-' && r != '_' && r != '/' {
				return fmt.Sprintf("it has the character %q", r)
			}
		}
	}
	return ""
}

// IsLowerAlphanumeric reports whether r is one of a-z and 0-9.
func IsLowerAlphanumeric(r rune) bool { return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' }

// IsLetters reports whether s has nothing but the letters a-z and A-Z.
func IsLetters(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') })
}

// reverseZone returns the reverse zone of an address or a CIDR block, or the first of its zones if the block has several (RFC 1035
// section 3.5, RFC 3596 section 2.5). It is empty for anything else.
func reverseZone(s string) string {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return ""
		}
		p = netip.PrefixFrom(a.WithZone(""), a.BitLen())
	}
	labels, format, per := p.Addr().AsSlice(), "%d.", 8
	zone := "in-addr.arpa"
	if p.Addr().Is6() {
		zone, format, per = "ip6.arpa", "%x.", 4
		var nibbles []byte
		for _, b := range labels {
			nibbles = append(nibbles, b>>4, b&0xF)
		}
		labels = nibbles
	}
	for _, l := range labels[:min(max(1, (p.Bits()+per-1)/per), len(labels))] {
		zone = fmt.Sprintf(format, l) + zone
	}
	return zone
}

// AliasTarget parses the name of a host, the target of an alias. Its first label may be an asterisk.
func AliasTarget(v node.Value) (string, bool) {
	s, ok := v.Scalar()
	labels := strings.Split(strings.TrimSuffix(s, "."), ".")
	if len(labels) > 1 && labels[0] == "*" {
		labels = labels[1:]
	}
	for _, l := range labels {
		ok = ok && l != "" && len(l) <= 63 && !strings.ContainsFunc(l, func(r rune) bool {
			return !IsLowerAlphanumeric(r) && (r < 'A' || r > 'Z') && r != '-' && r != '_'
		})
	}
	if !ok || len(s) > 253 {
		v.Wrong("a host name", "write one such as blocked.example.ca, in A-labels")
		return "", false
	}
	return s, true
}

// Identifier returns a parser of the id of an object of a kind. No other object of this kind may have the id.
func Identifier(kind string) node.Parse[string] {
	return func(v node.Value) (string, bool) {
		s, ok := node.Text(4096)(v)
		if !ok {
			return "", false
		}
		if s == "" || len(s) > 64 || strings.ContainsFunc(s, func(r rune) bool { return !IsLowerAlphanumeric(r) && r != '-' }) {
			v.Problem("use 1 to 64 of a-z, 0-9 and -", "%s is not an id", node.Quote(s))
			return s, false
		}
		return s, v.Claim(kind, s)
	}
}

// Reference returns a parser of the id of an object of a kind. The object may stand further down in the file, or be built in.
func Reference(kind string, builtin ...string) node.Parse[string] {
	return func(v node.Value) (string, bool) {
		s, ok := v.Scalar()
		if !ok {
			v.Wrong(fmt.Sprintf("the id of a %s", kind), "write the id of a "+kind)
			return "", false
		}
		v.Finally(func() {
			known := append(slices.Clone(builtin), v.IDs(kind)...)
			if !slices.Contains(known, s) {
				v.Problem(node.Suggest(s, known), "unknown %s %s", kind, node.Quote(s))
			}
		})
		return s, true
	}
}
