package config

import (
	"net/netip"
	"slices"
)

// Clients says who is answered.
type Clients struct {
	// Allow holds the blocks whose queries are answered; host bits are zero. Keywords stand here as what they mean.
	Allow []netip.Prefix `key:"allow"`
	// RefusedPerSecond is the number of REFUSED responses a second to all other clients together; beyond it they get none.
	RefusedPerSecond int `key:"refused_per_second"`
}

// GroupAll is the group that every client is in; no other may have its name.
const GroupAll = "all"

// MaxGroups is the number of groups that a configuration may have.
const MaxGroups = 1024

// Group is a set of clients that bans and exceptions can be limited to. Of several groups that hold an address, it belongs to the one
// with the longest prefix.
type Group struct {
	// ID is what bans and exceptions call the group.
	ID string `key:"id"`
	// Clients holds the group's blocks; host bits are zero. No block is in two groups.
	Clients []netip.Prefix `key:"clients"`
	// Line is where the group begins in its file.
	Line int `key:"-"`
}

// keyword gives the blocks of a keyword of clients.allow, or none. Private is RFC 1918, RFC 4193 and the link-local blocks of RFC 3927 and RFC 4291.
func keyword(s string) []netip.Prefix {
	var blocks []string
	switch s {
	case "loopback":
		blocks = []string{"127.0.0.0/8", "::1/128"}
	case "private":
		blocks = []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10"}
	case "any":
		blocks = []string{"0.0.0.0/0", "::/0"}
	}
	out := make([]netip.Prefix, len(blocks))
	for i := range blocks {
		out[i] = netip.MustParsePrefix(blocks[i])
	}
	return out
}

func defaultClients() Clients {
	return Clients{Allow: append(keyword("loopback"), keyword("private")...), RefusedPerSecond: 100}
}

func (c *Clients) read(m *mapping) {
	var allow [][]netip.Prefix
	set(m, "allow", &allow, list(1, 4096, allowed))
	if len(allow) > 0 {
		c.Allow = nil
	}
	for _, p := range slices.Concat(allow...) {
		if !slices.Contains(c.Allow, p) {
			c.Allow = append(c.Allow, p)
		}
	}
	set(m, "refused_per_second", &c.RefusedPerSecond, integer(0, 1_000_000))
}

// allowed reads a keyword, a block or an address.
func allowed(v value) ([]netip.Prefix, bool) {
	s, ok := v.scalar()
	blocks := keyword(s)
	if len(blocks) == 0 {
		if ok && s != "" && isLetters(s) {
			v.problem(suggest(s, []string{"loopback", "private", "any"})+", or an address or block", "unknown keyword %s", quote(s))
			return nil, false
		}
		p, ok := block(v)
		if !ok {
			return nil, false
		}
		blocks = []netip.Prefix{p}
	}
	if blocks[0].Bits() == 0 {
		v.warn("list the networks you serve, unless a firewall does",
			"%s answers the whole Internet: an open resolver is used in reflection attacks (RFC 5358)", quote(s))
	}
	return blocks, true
}

func isLetters(s string) bool {
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') {
			return false
		}
	}
	return true
}

// groupReader reads the groups of one file.
func groupReader() parse[Group] {
	owner := map[netip.Prefix]string{}
	return func(v value) (Group, bool) {
		m := v.mapping()
		g := Group{Line: v.line}
		set(m, "id", &g.ID, identifier("group"))
		set(m, "clients", &g.Clients, list(1, 4096, func(v value) (netip.Prefix, bool) {
			p, ok := block(v)
			if !ok {
				return p, false
			}
			if other, taken := owner[p]; taken {
				v.problem("keep it in one of them", "%s is already in group %q", p, other)
				return p, false
			}
			owner[p] = g.ID
			v.r.finish = append(v.r.finish, func(c *Config) { v.served(c, p) })
			return p, true
		}))
		m.done()
		m.require("id", "give the group an id")
		m.require("clients", "list its addresses or CIDR blocks")
		if g.ID == GroupAll {
			m.at("id").problem("choose another id", "the group all is built in: it holds every client")
		}
		return g, m.sound
	}
}

// served warns of a group's block whose queries are refused altogether.
func (v value) served(c *Config, p netip.Prefix) {
	if !slices.ContainsFunc(c.Clients.Allow, p.Overlaps) {
		v.warn("add it to clients.allow", "%s is not allowed to ask, so the group never meets it", p)
	}
}
