// Package egress writes the firewall rules that a network needs beside DNS, so
// that clients cannot ask another resolver instead of Rideau. EGRESS.md
// numbers the rules and gives the reasons.
//
// The output depends on the plan alone: the same plan gives the same octets.
package egress

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
)

// Format is the language of a firewall.
type Format string

// Formats.
const (
	NFTables Format = "nftables"  // nft(8), Linux
	PF       Format = "pf"        // pf.conf(5), FreeBSD and OpenBSD
	CiscoACL Format = "cisco-acl" // extended access lists of IOS and IOS XE
)

// Formats returns all formats.
func Formats() []Format { return []Format{NFTables, PF, CiscoACL} }

// Plan is what the rules are about.
type Plan struct {
	// Rideau are Rideau's own addresses, as clients and upstreams see them.
	// Without any, the rules that refuse plain DNS are written as comments:
	// they would leave all clients without DNS.
	Rideau []netip.Addr
	// Clients are the ranges that may send queries to Rideau.
	Clients []netip.Prefix
	// Upstreams are the servers that Rideau, and nobody else, may send queries to.
	Upstreams []netip.AddrPort
	// Public are the public resolvers to which HTTPS is refused.
	Public []Public
	// Banned are networks that nobody may reach at all.
	Banned []netip.Prefix
	// Console also refuses the ports of Kaspersky's cloud console.
	Console bool
	// Notes are for the person who loads the rules: where the plan comes from, and
	// what has to be added by hand. A note is one line of ASCII text.
	Notes []string
}

// Public is a public resolver.
type Public struct {
	Operator string
	Addrs    []netip.Addr
}

// Write writes the rules. It leaves out loopback
// addresses, and ranges that lie within others.
func Write(w io.Writer, f Format, p Plan) error {
	var b bytes.Buffer
	t := tidy(p)
	switch f {
	case NFTables:
		writeNFTables(&b, t)
	case PF:
		writePF(&b, t)
	case CiscoACL:
		writeCisco(&b, t)
	default:
		var names []string
		for _, f := range Formats() {
			names = append(names, string(f))
		}
		return fmt.Errorf("format %q is unknown; use %s", f, strings.Join(names, ", "))
	}
	_, err := w.Write(b.Bytes())
	return err
}

// Ports that the rules are about.
const (
	portDNS = 53
	portDoT = 853 // and DoQ (RFC 7858, RFC 9250)
)

// oldDoQ are the ports of DoQ before RFC 9250.
var oldDoQ = []uint16{784, 8853}

// consolePorts are the ranges of Kaspersky's cloud console: first and last.
var consolePorts = [][2]uint16{{23100, 23199}, {27200, 27299}, {29200, 29299}}

// intro is the first comment of the rules, in each format.
const intro = `What this network needs beside DNS, so that nobody goes around Rideau.
Written by "rideau egress"; run it again when the configuration changes.
EGRESS.md explains the rules by their numbers.`

// plan is a tidy Plan, divided by family: 4 and 6.
type plan struct {
	rideau    [2][]netip.Addr
	clients   [2][]netip.Prefix
	upstreams [2][]netip.AddrPort
	public    [2][]Public
	banned    [2][]netip.Prefix
	console   bool
	notes     []string
}

const (
	v4 = iota
	v6
)

// known reports whether there is an address of Rideau.
func (p *plan) known() bool { return len(p.rideau[v4])+len(p.rideau[v6]) > 0 }

// warning is a comment for a plan without an address of Rideau.
func (p *plan) warning() []string {
	if p.known() {
		return nil
	}
	return []string{
		"PUT IN BY HAND: Rideau's own addresses are not known. Until they are put in, the",
		"rules that refuse plain DNS stand here as comments: they would cut everybody off.",
		`Run "rideau egress" with --resolvers and Rideau's addresses.`,
	}
}

func tidy(in Plan) *plan {
	p := &plan{console: in.Console}
	for _, n := range in.Notes {
		p.notes = append(p.notes, printable(n))
	}
	for _, a := range in.Rideau {
		if a = a.Unmap().WithZone(""); usable(a) && a.IsGlobalUnicast() {
			p.rideau[family(a)] = append(p.rideau[family(a)], a)
		}
	}
	for _, u := range in.Upstreams {
		u = netip.AddrPortFrom(u.Addr().Unmap().WithZone(""), u.Port())
		if usable(u.Addr()) {
			p.upstreams[family(u.Addr())] = append(p.upstreams[family(u.Addr())], u)
		}
	}
	for _, ranges := range []struct {
		in []netip.Prefix
		to *[2][]netip.Prefix
	}{{in.Clients, &p.clients}, {in.Banned, &p.banned}} {
		for _, r := range ranges.in {
			if r.IsValid() && !r.Addr().IsLoopback() {
				to := &ranges.to[family(r.Addr())]
				*to = append(*to, r.Masked())
			}
		}
	}
	for _, r := range in.Public {
		var addrs [2][]netip.Addr
		for _, a := range r.Addrs {
			if a = a.Unmap(); usable(a) {
				addrs[family(a)] = append(addrs[family(a)], a)
			}
		}
		for f := range addrs {
			if a := distinct(addrs[f], netip.Addr.Compare); len(a) > 0 {
				p.public[f] = append(p.public[f], Public{printable(r.Operator), a})
			}
		}
	}
	for f := range p.rideau {
		p.rideau[f] = distinct(p.rideau[f], netip.Addr.Compare)
		p.upstreams[f] = distinct(p.upstreams[f], netip.AddrPort.Compare)
		p.clients[f] = outermost(p.clients[f])
		p.banned[f] = outermost(p.banned[f])
	}
	return p
}

// usable reports whether a firewall can meet packets with the address.
func usable(a netip.Addr) bool {
	return a.IsValid() && !a.IsLoopback() && !a.IsUnspecified() && !a.IsMulticast()
}

func family(a netip.Addr) int {
	if a.Is4() {
		return v4
	}
	return v6
}

// distinct sorts, and removes duplicates.
func distinct[T comparable](s []T, compare func(a, b T) int) []T {
	s = slices.Clone(s)
	slices.SortFunc(s, compare)
	return slices.Compact(s)
}

// outermost removes the ranges that lie in others.
func outermost(s []netip.Prefix) []netip.Prefix {
	s = distinct(s, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	var out []netip.Prefix
	for _, p := range s {
		if n := len(out); n == 0 || !out[n-1].Overlaps(p) {
			out = append(out, p)
		}
	}
	return out
}

// printable returns text for a comment: ASCII, on one line.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

// join returns the elements as text, with sep between them.
func join[T fmt.Stringer](s []T, sep string) string {
	out := make([]string, len(s))
	for i, x := range s {
		out[i] = x.String()
	}
	return strings.Join(out, sep)
}

// byPort returns the upstreams of a family by their ports, in the order of the ports.
func byPort(s []netip.AddrPort) (ports []uint16, addrs map[uint16][]netip.Addr) {
	addrs = map[uint16][]netip.Addr{}
	for _, u := range s {
		addrs[u.Port()] = append(addrs[u.Port()], u.Addr())
	}
	for port := range addrs {
		ports = append(ports, port)
	}
	slices.Sort(ports)
	return ports, addrs
}
