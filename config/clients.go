package config

import (
	"net/netip"
	"slices"

	"rideau/config/node"
	"rideau/config/value"
)

// Clients says whose queries are answered.
type Clients struct {
	// Allow has the blocks whose queries are answered; host bits are zero. Keywords are replaced by the blocks that they stand for.
	Allow []netip.Prefix `key:"allow" applies:"live"`
	// Resolvers has the blocks of clients that are resolvers themselves and ask for many others; host bits are zero.
	Resolvers []netip.Prefix `key:"resolvers" applies:"restart"`
	// RefusedPerSecond is the number of REFUSED responses a second to all other clients together. Beyond it they get no response.
	RefusedPerSecond int `key:"refused_per_second" applies:"restart"`
}

// keyword returns the blocks of a keyword of clients.allow, or none. Private is RFC 1918, RFC 4193, and the link-local blocks of RFC 3927
// and RFC 4291.
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

func (c *Clients) read(m *node.Mapping) {
	var allow [][]netip.Prefix
	node.Set(m, "allow", &allow, node.List(1, 4096, allowed))
	if len(allow) > 0 {
		c.Allow = nil
	}
	for _, p := range slices.Concat(allow...) {
		if !slices.Contains(c.Allow, p) {
			c.Allow = append(c.Allow, p)
		}
	}
	node.Set(m, "resolvers", &c.Resolvers, node.List(0, 256, func(v node.Value) (netip.Prefix, bool) {
		p, ok := value.Block(v)
		if ok {
			v.Finally(func() {
				if !slices.ContainsFunc(c.Allow, p.Overlaps) {
					v.Warn("add it to clients.allow", "%s is not in clients.allow, so that its queries are refused", p)
				}
			})
		}
		return p, ok
	}))
	node.Set(m, "refused_per_second", &c.RefusedPerSecond, node.Integer(0, 1_000_000))
}

// allowed parses a keyword, a block or an address.
func allowed(v node.Value) ([]netip.Prefix, bool) {
	s, ok := v.Scalar()
	blocks := keyword(s)
	if len(blocks) == 0 {
		if ok && s != "" && value.IsLetters(s) {
			v.Problem(node.Suggest(s, []string{"loopback", "private", "any"})+", or an address or block", "unknown keyword %s", node.Quote(s))
			return nil, false
		}
		p, ok := value.Block(v)
		if !ok {
			return nil, false
		}
		blocks = []netip.Prefix{p}
	}
	if blocks[0].Bits() == 0 {
		v.Warn("list the networks you serve, unless a firewall does",
			"%s answers the whole Internet: an open resolver is used in reflection attacks (RFC 5358)", node.Quote(s))
	}
	return blocks, true
}
