// Package text reads and prints names, types and dates as people write them.
package text

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"rideau/blocklists/entry"
	"rideau/blocklists/format"
	"rideau/resolver/wire"
)

// TypeName returns the name of a type, such as AAAA or TYPE65280.
func TypeName(t uint16) string {
	if s, ok := dns.TypeToString[t]; ok {
		return s
	}
	return "TYPE" + strconv.Itoa(int(t))
}

// ParseName parses a name as people type it, by the rules of lists: U-labels
// become A-labels, and what cannot be a host name is an error.
func ParseName(text string) (*wire.Name, error) {
	name := new(wire.Name)
	if text == "." {
		return name, name.Set([]byte{0})
	}
	found := false
	_, err := format.Read(strings.NewReader(text), format.Options{File: "NAME", AllowTLD: true}, func(e entry.Entry) error {
		if found || e.Name == nil || e.Match != entry.Suffix {
			return errNoName
		}
		found = true
		return name.Set(e.Name)
	})
	var p format.Problem
	switch {
	case errors.As(err, &p):
		return nil, fmt.Errorf("%q: %s; %s", text, p.Reason, p.Remedy)
	case err != nil || !found:
		return nil, fmt.Errorf("%q: not a domain name; write a host name, such as web.wechat.com", text)
	}
	return name, nil
}

var errNoName = errors.New("not one name")

// ParseType parses the name of a type, in upper or lower case.
func ParseType(s string) (uint16, bool) {
	s = strings.ToUpper(s)
	if t, ok := dns.StringToType[s]; ok {
		return t, true
	}
	if n, found := strings.CutPrefix(s, "TYPE"); found {
		t, err := strconv.ParseUint(n, 10, 16)
		return uint16(t), err == nil
	}
	return 0, false
}

// Date returns an instant as RFC 3339 writes it, in UTC; "" for the zero Time.
func Date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// RcodeName returns the name of a response code, such as NXDOMAIN.
func RcodeName(r uint16) string {
	if s, ok := dns.RcodeToString[int(r)]; ok {
		return s
	}
	return "RCODE" + strconv.Itoa(int(r))
}

// ParseAddress parses an address as people type it, in brackets or with a /32 or /128 too. ok is false if the text is no address.
func ParseAddress(s string) (a netip.Addr, ok bool) {
	s = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	a, err := netip.ParseAddr(s)
	if p, e := netip.ParsePrefix(s); err != nil && e == nil && p.IsSingleIP() {
		a, err = p.Addr(), nil
	}
	return a.Unmap().WithZone(""), err == nil
}

// ReverseName returns the name under which an address is looked up (RFC 1035 section 3.5, RFC 3596 section 2.5).
func ReverseName(a netip.Addr) *wire.Name {
	reverse, err := dns.ReverseAddr(a.String())
	name := new(wire.Name)
	if err == nil {
		err = name.SetText(reverse)
	}
	if err != nil {
		panic(fmt.Sprintf("the reverse name of %v: %v", a, err)) // every address has one
	}
	return name
}

// ReverseAddress returns the address whose reverse name this is; ok is false if it is none.
func ReverseAddress(n *wire.Name) (a netip.Addr, ok bool) {
	labels := strings.Split(strings.ToLower(strings.TrimSuffix(n.String(), ".")), ".")
	slices.Reverse(labels)
	var b []byte
	switch {
	case len(labels) == 6 && labels[1] == "in-addr":
		for _, l := range labels[2:] {
			b = append(append(b, l...), '.')
		}
		b = b[:len(b)-1]
	case len(labels) == 34 && labels[1] == "ip6":
		for i, l := range labels[2:] {
			if b = append(b, l...); i%4 == 3 && i < 31 {
				b = append(b, ':')
			}
		}
	default:
		return a, false
	}
	a, err := netip.ParseAddr(string(b))
	return a, err == nil && labels[0] == "arpa"
}
