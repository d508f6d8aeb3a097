// Package proxied reads from load balancers and proxies for which client they speak: by the PROXY protocol, version 2, before a
// connection's or a datagram's first octet, or by a header of HTTP. Only those that are listed are believed, and they are not
// answered without it.
//
// It has a reader of its own for the PROXY protocol, since the header comes before each datagram, too, where nothing may be allocated.
package proxied

import (
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"strings"

	"rideau/blocklists/prefix"
)

// How says how a proxy tells for whom it speaks.
type How uint8

// Ways to tell.
const (
	Not           How = iota // it is no proxy
	Header                   // by the PROXY protocol, version 2
	Forwarded                // by the header Forwarded of HTTP (RFC 7239)
	XForwardedFor            // by the header X-Forwarded-For
)

// Source are the addresses of proxies.
type Source struct {
	Addresses []netip.Prefix
	How       How
}

// Sources are all proxies. They are immutable. A nil *Sources has none.
type Sources struct{ table *prefix.Table }

// New makes Sources; nil of none.
func New(all []Source) *Sources {
	var entries []prefix.Entry
	for _, s := range all {
		for _, p := range s.Addresses {
			entries = append(entries, prefix.Entry{Prefix: p, Value: uint32(s.How)})
		}
	}
	if len(entries) == 0 {
		return nil
	}
	return &Sources{prefix.New(entries)}
}

// How says how an address tells for whom it speaks. It does not allocate.
func (s *Sources) How(a netip.Addr) How {
	if s == nil {
		return Not
	}
	return How(s.table.Lookup(a.Unmap().WithZone("")))
}

// Errors of headers.
var (
	ErrNone = errors.New("a proxy did not say for which client it speaks")
	errBad  = errors.New("a proxy's header is malformed")
)

const (
	signature = "\r\n\r\n\x00\r\nQUIT\n"
	fixedLen  = 16
	// maxRest bounds what comes after the first 16 octets: addresses, and values that are not looked at.
	maxRest = 1024
)

// Read reads the header that begins a connection, and no octet more. It returns the client, or via if the proxy speaks for itself.
func Read(r io.Reader, via netip.Addr) (netip.Addr, error) {
	var buf [fixedLen + maxRest]byte
	if _, err := io.ReadFull(r, buf[:fixedLen]); err != nil {
		return netip.Addr{}, err
	}
	n, err := restLen(buf[:fixedLen])
	if err != nil {
		return netip.Addr{}, err
	}
	if _, err := io.ReadFull(r, buf[fixedLen:fixedLen+n]); err != nil {
		return netip.Addr{}, err
	}
	return client(buf[:fixedLen+n], via)
}

// Datagram returns the client of a datagram that begins with a header, or via if the proxy speaks for itself, and what comes after the
// header. It does not allocate.
func Datagram(b []byte, via netip.Addr) (netip.Addr, []byte, error) {
	if len(b) < fixedLen {
		return netip.Addr{}, nil, ErrNone
	}
	n, err := restLen(b)
	if err != nil {
		return netip.Addr{}, nil, err
	}
	if len(b) < fixedLen+n {
		return netip.Addr{}, nil, errBad
	}
	a, err := client(b[:fixedLen+n], via)
	return a, b[fixedLen+n:], err
}

// restLen is how many octets of a header come after its first 16.
func restLen(b []byte) (int, error) {
	if string(b[:len(signature)]) != signature {
		return 0, ErrNone
	}
	n := int(binary.BigEndian.Uint16(b[14:]))
	if b[12]>>4 != 2 || n > maxRest {
		return 0, errBad
	}
	return n, nil
}

// client is the client that a header names.
func client(b []byte, via netip.Addr) (netip.Addr, error) {
	rest := b[fixedLen:]
	switch command, family := b[12]&15, b[13]>>4; {
	case command == 0: // LOCAL: the proxy looks whether we are there
		return via, nil
	case command != 1:
	case family == 1 && len(rest) >= 12:
		return netip.AddrFrom4([4]byte(rest[:4])), nil
	case family == 2 && len(rest) >= 36:
		return netip.AddrFrom16([16]byte(rest[:16])).Unmap(), nil
	}
	return netip.Addr{}, errBad
}

// maxHops is how many proxies may stand in a header of HTTP.
const maxHops = 16

// HTTP returns the client for whom a request comes. values are those of the header that how means, in their order. Each proxy adds
// at the end whom it speaks for: the last that is no proxy of that kind itself is the client, and what stands before it is what the
// client wrote.
func (s *Sources) HTTP(how How, values []string) (netip.Addr, error) {
	list := strings.Split(strings.Join(values, ","), ",")
	for i := range min(len(list), maxHops) {
		a, ok := hop(how, strings.TrimSpace(list[len(list)-1-i]))
		if !ok {
			return netip.Addr{}, ErrNone
		}
		if s.How(a) != how {
			return a, nil
		}
	}
	return netip.Addr{}, ErrNone
}

// hop is the address of an element of a header.
func hop(how How, text string) (netip.Addr, bool) {
	if how == Forwarded {
		found := ""
		for _, p := range strings.Split(text, ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
			if strings.EqualFold(name, "for") {
				found = value
			}
		}
		text = strings.Trim(found, `"`)
	}
	if a, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return a.Unmap().WithZone(""), true
	}
	ap, err := netip.ParseAddrPort(text)
	return ap.Addr().Unmap().WithZone(""), err == nil
}
