// Package text reads and prints names, types and dates as people write them.
package text

import (
	"errors"
	"fmt"
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
