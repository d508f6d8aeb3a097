// Package group finds which group a client belongs to, from its address and from what else its connection says of it.
package group

import (
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"

	"rideau/blocklists/prefix"
)

// ID numbers the groups of one policy from 1; 0 is a client of no group.
type ID uint16

// Group is a set of clients. A client belongs to it by its address, by a certificate, or by what it asks for.
type Group struct {
	ID string
	// Clients are addresses. The group with the longest prefix that holds an address has it.
	Clients []netip.Prefix
	// Certificates are those that clients of the group show.
	Certificates []Certificate
	// Path is where clients of the group ask by HTTPS, and Name the name that they ask for in TLS (SNI), in lower case. Anybody who
	// knows them can use them. Empty: there is none.
	Path, Name string
	// MayWeaken lets clients choose the group by its Path or Name from any group to which their addresses belong. Without it they can only
	// leave a group for one that blocks at least as much.
	MayWeaken bool
}

// Certificate says which certificates are meant: one with this name and this issuer. An empty one does not count; one of them is set.
type Certificate struct {
	// SAN is a name of the certificate: of a host, a mailbox, or a URI, or an address. "*." before the name of a host stands for all names
	// below it. Letters of hosts are lower case.
	SAN string
	// Issuer is the common name of what issued the certificate, or its whole distinguished name as RFC 2253 writes it.
	Issuer string
}

// matches reports whether c is a certificate that is meant.
func (m *Certificate) matches(c *Claims) bool {
	return (m.Issuer == "" || slices.Contains(c.Issuers, m.Issuer)) && (m.SAN == "" || slices.ContainsFunc(c.SANs, m.names))
}

// names reports whether san is the name, or one of the names, that is meant.
func (m *Certificate) names(san string) bool {
	if below, ok := strings.CutPrefix(m.SAN, "*"); ok && strings.HasPrefix(below, ".") {
		return len(san) > len(below) && strings.HasSuffix(san, below)
	}
	return san == m.SAN
}

// Claims are what a connection says of its client beside the address. They are of one client, and are not written
// once they are in use. A nil *Claims says nothing. They are safe for concurrent use.
type Claims struct {
	// SANs are the names of the client's certificate, which was verified, as in Certificate.SAN. Issuers are the ways to name what issued it.
	// Both are empty without a certificate.
	SANs, Issuers []string
	// Path is where the client asks by HTTPS; Name is the name that it asked for in TLS, in lower case.
	Path, Name string
	// Served says that the client is served whatever its address.
	Served bool

	found atomic.Uint64 // a generation of policy, and in the lowest 16 bits the group that was found with it
}

// At returns the claims of the same client with another path. c may be nil.
func (c *Claims) At(path string) *Claims {
	if c == nil {
		return &Claims{Path: path}
	}
	if c.Path == path {
		return c
	}
	return &Claims{SANs: c.SANs, Issuers: c.Issuers, Path: path, Name: c.Name, Served: c.Served}
}

// By is what a client belongs to a group by.
type By uint8

// Ways to belong to a group.
const (
	None By = iota // the client is in no group
	ByAddress
	ByCertificate
	ByPath
	ByName
)

// String is the word for b in what commands print.
func (b By) String() string { return [...]string{"", "address", "certificate", "path", "name"}[b] }

// Table finds groups. It is immutable.
type Table struct {
	addresses    *prefix.Table
	groups       []Group
	paths, names map[string]ID
	claims       bool // some group has more than addresses
}

// New makes a Table of groups, which it keeps.
func New(groups []Group) *Table {
	t := &Table{groups: groups, paths: map[string]ID{}, names: map[string]ID{}}
	var entries []prefix.Entry
	for i := range groups {
		g := &groups[i]
		for _, p := range g.Clients {
			entries = append(entries, prefix.Entry{Prefix: p, Value: uint32(i + 1)})
		}
		if g.Path != "" {
			t.paths[g.Path] = ID(i + 1)
		}
		if g.Name != "" {
			t.names[g.Name] = ID(i + 1)
		}
		t.claims = t.claims || len(g.Certificates) > 0 || g.Path != "" || g.Name != ""
	}
	t.addresses = prefix.New(entries)
	return t
}

// Address is the group of an address. It does not allocate.
func (t *Table) Address(a netip.Addr) ID { return ID(t.addresses.Lookup(a)) }

// Known is Find for a policy of that generation, from what c keeps of the last call if that is of the same generation. It does not allocate.
// stricter reports whether a group blocks at least as much as another.
func (t *Table) Known(a netip.Addr, c *Claims, generation uint64, stricter func(a, than ID) bool) ID {
	if c == nil || !t.claims {
		return t.Address(a)
	}
	if f := c.found.Load(); f != 0 && f>>16 == generation&(1<<48-1) {
		return ID(f)
	}
	id, _ := t.Find(a, c, stricter)
	c.found.Store(generation<<16 | uint64(id))
	return id
}

// Find returns the group of a client, and what it belongs to it by.
//
// A certificate decides first: the first group that means it has the client. Without one, the address does. A path or a name, which
// anybody can choose, then leads from that group to a stricter one only, or to one that may weaken if no certificate has decided. The path
// comes before the name.
func (t *Table) Find(a netip.Addr, c *Claims, stricter func(a, than ID) bool) (ID, By) {
	id, by := t.Address(a), ByAddress
	if c == nil {
		return id, by.of(id)
	}
	if i := slices.IndexFunc(t.groups, func(g Group) bool {
		return slices.ContainsFunc(g.Certificates, func(m Certificate) bool { return m.matches(c) })
	}); i >= 0 {
		id, by = ID(i+1), ByCertificate
	}
	for _, claim := range []struct {
		id ID
		by By
	}{{t.paths[c.Path], ByPath}, {t.names[c.Name], ByName}} {
		if claim.id != 0 && claim.id != id && (by != ByCertificate && t.groups[claim.id-1].MayWeaken || stricter(claim.id, id)) {
			return claim.id, claim.by
		}
	}
	return id, by.of(id)
}

// of is b, or None for a client of no group.
func (b By) of(id ID) By {
	if id == 0 {
		return None
	}
	return b
}
