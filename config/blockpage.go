package config

import (
	"net/netip"
	"slices"

	"rideau/config/node"
	"rideau/config/policy"
	"rideau/config/value"
)

// BlockPage is the page to which bans with the action page lead.
type BlockPage struct {
	// HTTP and HTTPS are the addresses where it is served; empty for no service.
	HTTP  []netip.AddrPort `key:"http" applies:"restart"`
	HTTPS []netip.AddrPort `key:"https" applies:"restart"`
	// IPv4 and IPv6 are the addresses by which clients reach it; invalid for none.
	IPv4 netip.Addr `key:"ipv4" applies:"lists"`
	IPv6 netip.Addr `key:"ipv6" applies:"lists"`
	// Groups are the ids of the groups that are led to it. For others the names do not exist.
	Groups []string `key:"groups" applies:"lists"`
	// HTTPSGroups are the ids of the groups that trust the authority whose certificate and key are in these files, in PEM. Relative as List.File.
	HTTPSGroups []string `key:"https_groups" applies:"live"`
	Certificate string   `key:"ca_certificate" applies:"live"`
	Key         string   `key:"ca_key" applies:"live"`
}

func defaultBlockPage() BlockPage {
	return BlockPage{Groups: []string{policy.GroupAll}, HTTPSGroups: []string{policy.GroupAll}}
}

func (c *Config) readBlockPage(m *node.Mapping) {
	b := &c.BlockPage
	taken := distinctAddresses()
	var plain, encrypted [][]netip.AddrPort
	node.Set(m, "http", &plain, node.List(0, 16, taken))
	node.Set(m, "https", &encrypted, node.List(0, 16, taken))
	b.HTTP, b.HTTPS = slices.Concat(plain...), slices.Concat(encrypted...)
	node.Set(m, "ipv4", &b.IPv4, value.Sinkhole4)
	node.Set(m, "ipv6", &b.IPv6, value.Sinkhole6)
	for key, to := range map[string]*[]string{"groups": &b.Groups, "https_groups": &b.HTTPSGroups} {
		node.Set(m, key, to, node.List(1, policy.MaxGroups, node.Distinct(value.Reference("group", policy.GroupAll))))
	}
	node.Set(m, "ca_certificate", &b.Certificate, value.FileOrNone)
	node.Set(m, "ca_key", &b.Key, value.FileOrNone)
	if len(b.HTTPS) > 0 && (b.Certificate == "" || b.Key == "") {
		m.At("https").Problem("write ca_certificate and ca_key, or remove https", "certificates for names need an authority that issues them")
	}
}

// checkBlockPage reports bans that lead to a page that is nowhere, and a page to which no ban leads.
func (c *Config) checkBlockPage(m *node.Mapping) {
	b, used := &c.BlockPage, false
	for i := range c.Bans {
		if c.Bans[i].Action != policy.ActionPage {
			continue
		}
		used = true
		if !b.IPv4.IsValid() && !b.IPv6.IsValid() {
			m.At("bans").Problem("write block_page.ipv4 or block_page.ipv6, or use another action", "the ban %s leads to the block page, which has no address", c.Bans[i].ID)
		}
	}
	if !used && len(b.HTTP)+len(b.HTTPS) > 0 {
		m.At("block_page").Warn("write action: page in a ban, or remove block_page", "no ban leads to the block page")
	}
}
