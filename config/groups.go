package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"rideau/config/encrypted"
	"rideau/config/node"
	"rideau/config/policy"
	"rideau/config/value"
)

// Group is a set of clients, for bans and exceptions. A client belongs to it by its address, its certificate, or by what it asks for.
type Group struct {
	// ID is the name of the group in bans and exceptions.
	ID string `key:"id"`
	// Clients has the group's blocks; host bits are zero. No block is in two groups. If several groups have an address, the longest prefix decides.
	Clients []netip.Prefix `key:"clients"`
	// Certificates are those that clients of the group show. The first group in the configuration that means a certificate has its client.
	Certificates []ClientCertificate `key:"certificates"`
	// Path is where clients of the group ask by HTTPS, and SNI the name that they ask for in TLS, in lower case. No two groups have the same.
	Path string `key:"path"`
	SNI  string `key:"sni"`
	// MayWeaken lets clients choose the group by Path or SNI though their addresses belong to one that blocks more.
	MayWeaken bool `key:"may_weaken"`
	// Line is the line where the group begins.
	Line int `key:"-"`
}

// ClientCertificate says which certificates are meant: those with this name, in lower case if it is that of a host, and this issuer. An
// empty one does not count; one of them is set.
type ClientCertificate struct {
	SAN    string `key:"san"`
	Issuer string `key:"issuer"`
}

// groupReader returns a parser of the groups of one file.
func (c *Config) groupReader() node.Parse[Group] {
	owner, paths, names, certificates := map[netip.Prefix]string{}, map[string]string{}, map[string]string{}, map[ClientCertificate]string{}
	return func(v node.Value) (Group, bool) {
		m := v.Mapping()
		g := Group{Line: v.Line()}
		node.Set(m, "id", &g.ID, value.Identifier("group"))
		node.Set(m, "clients", &g.Clients, node.List(1, 4096, func(v node.Value) (netip.Prefix, bool) {
			p, ok := value.Block(v)
			if !ok || !own(v, owner, p, p.String(), g.ID) {
				return p, false
			}
			v.Finally(func() { c.served(v, p) })
			return p, true
		}))
		node.Set(m, "certificates", &g.Certificates, node.List(1, 256, func(v node.Value) (ClientCertificate, bool) {
			x, ok := readClientCertificate(v)
			return x, ok && own(v, certificates, x, "this certificate", g.ID)
		}))
		node.Set(m, "path", &g.Path, func(v node.Value) (string, bool) {
			s, ok := encrypted.Path(v)
			return s, ok && own(v, paths, s, s, g.ID)
		})
		node.Set(m, "sni", &g.SNI, func(v node.Value) (string, bool) {
			s, ok := value.Domain(v)
			s = strings.ToLower(strings.TrimSuffix(s, "."))
			return s, ok && own(v, names, s, s, g.ID)
		})
		node.Set(m, "may_weaken", &g.MayWeaken, node.Boolean)
		m.Done()
		m.Require("id", "give the group an id")
		if !m.Has("clients") && !m.Has("certificates") && !m.Has("path") && !m.Has("sni") {
			m.Require("clients", "list its addresses or CIDR blocks; or write certificates, path or sni")
		}
		if g.MayWeaken && g.Path == "" && g.SNI == "" {
			m.At("may_weaken").Warn("take it out", "it is about groups with path or sni, and has no effect here")
		}
		if g.ID == policy.GroupAll {
			m.At("id").Problem("choose another id", "the group all is built in: it holds every client")
		}
		if g.ID == policy.GroupEnforced {
			m.At("id").Problem("choose another id", "the group enforced is built in: it holds the clients that another ban is enforced for")
		}
		v.Finally(func() { c.claimable(m, &g) })
		return g, m.Sound()
	}
}

// own has a group own x, which no other may own.
func own[K comparable](v node.Value, owner map[K]string, x K, called, id string) bool {
	other, taken := owner[x]
	if taken {
		v.Problem("keep it in one of them", "%s is already in group %q", called, other)
		return false
	}
	owner[x] = id
	return true
}

// readClientCertificate parses which certificates are meant.
func readClientCertificate(v node.Value) (ClientCertificate, bool) {
	m := v.Mapping()
	var c ClientCertificate
	node.Set(m, "san", &c.SAN, subjectName)
	node.Set(m, "issuer", &c.Issuer, func(v node.Value) (string, bool) {
		s, ok := node.Text(512)(v)
		if ok && s == "" {
			v.Problem("write the common name of the authority, or take it out", "the issuer is empty")
		}
		return s, ok && s != ""
	})
	m.Done()
	if !m.Has("san") && !m.Has("issuer") {
		m.Require("san", "write a name of the certificates, or issuer: and the common name of the authority")
	}
	return c, m.Sound()
}

// subjectName parses a subject alternative name: of a host, a mailbox or a URI, or an address.
func subjectName(v node.Value) (string, bool) {
	s, ok := node.Text(255)(v)
	if !ok {
		return "", false
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return a.String(), true
	}
	if strings.ContainsAny(s, "@:") {
		return s, true
	}
	host, _ := strings.CutPrefix(strings.ToLower(strings.TrimSuffix(s, ".")), "*.")
	if fault := value.NameFault(host); fault != "" || host == "" || strings.Contains(host, "*") {
		v.Problem("write the name of a host such as laptop.example or *.laptops.example, a mailbox, a URI or an address",
			"%s is no subject alternative name", node.Quote(s))
		return "", false
	}
	return strings.ToLower(strings.TrimSuffix(s, ".")), true
}

// claimable warns of what no client can show of itself, since no listener takes it.
func (c *Config) claimable(m *node.Mapping, g *Group) {
	any := func(f func(*encrypted.Listener) bool) bool {
		return slices.ContainsFunc(c.Listen.Encrypted, func(l encrypted.Listener) bool { return f(&l) })
	}
	warn := func(key, remedy, why string) {
		m.At(key).Warn(remedy, "%s", fmt.Sprintf("no client can belong to group %q by it: %s", g.ID, why))
	}
	if len(g.Certificates) > 0 && !any(func(l *encrypted.Listener) bool { return l.ClientCertificates != encrypted.None }) {
		warn("certificates", "write client_certificates: required and client_ca: at a listener of listen.encrypted", "no listener asks clients for certificates")
	}
	if g.Path != "" && !any(func(l *encrypted.Listener) bool { return slices.ContainsFunc(l.Protocols, encrypted.Protocol.HTTP) }) {
		warn("path", "add a listener with doh to listen.encrypted", "no listener speaks HTTPS")
	}
	if g.SNI != "" && len(c.Listen.Encrypted) == 0 {
		warn("sni", "add a listener to listen.encrypted", "no listener speaks TLS")
	}
}

// served warns of a block of a group whose queries are refused.
func (c *Config) served(v node.Value, p netip.Prefix) {
	if !slices.ContainsFunc(c.Clients.Allow, p.Overlaps) {
		v.Warn("add it to clients.allow", "%s is not in clients.allow, so the group gets no query from it", p)
	}
}
