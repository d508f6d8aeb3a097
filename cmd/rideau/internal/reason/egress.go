package reason

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"rideau/blocklists"
	"rideau/blocklists/egress"
	"rideau/blocklists/entry"
	"rideau/blocklists/format"
	"rideau/blocklists/input"
	"rideau/blocklists/pack"
	"rideau/cmd/rideau/internal/setup"
	"rideau/config"
)

// EgressOptions say what a configuration cannot know of the network.
type EgressOptions struct {
	Source  string         // what to call the configuration
	Rideau  []netip.Addr   // Rideau's addresses, if not those of listen.addresses
	Clients []netip.Prefix // the clients, if not those of clients.allow
}

// Egress returns what a configuration says about the firewall around it, for
// egress.Write.
func Egress(cfg *config.Config, o EgressOptions) (p egress.Plan, warnings []string, err error) {
	up, err := setup.PlanUpstreams(cfg, nil)
	if err != nil {
		return p, nil, err
	}
	warnings = up.Warnings
	p.Upstreams = setup.AddrsOf(up.Servers)
	for _, f := range cfg.Forward {
		p.Upstreams = append(p.Upstreams, setup.AddrsOf(f.Servers)...)
	}
	p.Upstreams = append(p.Upstreams, cfg.Fetch.Bootstrap...)
	note := func(format string, args ...any) { p.Notes = append(p.Notes, fmt.Sprintf(format, args...)) }
	note("Configuration: %s.", o.Source)
	for _, u := range p.Upstreams {
		if u.Addr().IsLoopback() {
			note("The upstream %v is on Rideau's own machine: PUT IN BY HAND the servers that it forwards to.", u)
		}
	}
	if len(up.System) > 0 {
		note("The upstreams that the word system stands for come from this machine's resolv.conf: %s.", strings.Trim(fmt.Sprint(up.System), "[]"))
	}
	if p.Rideau = o.Rideau; len(p.Rideau) == 0 {
		p.Rideau = served(cfg)
		if len(p.Rideau) == 0 {
			warnings = append(warnings, "listen.addresses has no address that clients could use; name Rideau's with --resolvers, "+
				"or the rules that refuse plain DNS stay comments")
		} else {
			note("Rideau's addresses are those of listen.addresses; name other Rideau hosts with --resolvers, all of them.")
		}
	}
	if p.Clients = o.Clients; len(p.Clients) == 0 {
		p.Clients = cfg.Clients.Allow
	}
	public, err := pack.Resolvers()
	if err != nil {
		return p, nil, err
	}
	for _, r := range public {
		p.Public = append(p.Public, egress.Public{Operator: r.Operator, Addrs: r.Addrs})
		for _, u := range p.Upstreams {
			if slices.Contains(r.Addrs, u.Addr()) {
				note("The upstream %v is also a public resolver, of %s: only Rideau may reach it, on that port.", u, r.Operator)
			}
		}
	}
	return p, warnings, nil
}

// BannedNetworks returns the addresses in the packs of bans that are enforced for
// any group. Bans on bypasses do not count: Rideau itself may have to ask a
// public resolver.
func BannedNetworks(snap *blocklists.Snapshot) ([]netip.Prefix, error) {
	var ids []string
	for _, b := range snap.Bans() {
		enforced := b.Ban.Mode == blocklists.Enforce || slices.Contains(slices.Collect(maps.Values(b.Ban.Modes)), blocklists.Enforce)
		if b.Active && enforced && !b.Ban.Bypass {
			ids = append(ids, b.Ban.Lists...)
		}
	}
	var out []netip.Prefix
	for _, l := range snap.Policy().Lists {
		if l.Format != format.Pack || l.Open == nil || !slices.Contains(ids, l.ID) {
			continue
		}
		more, err := listNetworks(l)
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	return out, nil
}

// listNetworks returns the addresses in a pack that was read before.
func listNetworks(l input.List) (out []netip.Prefix, err error) {
	f, err := l.Open()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	_, err = format.Read(f, format.Options{File: l.Source, Format: l.Format, Tiers: l.Tiers, MaxBytes: l.MaxBytes, MaxSkipped: 1}, func(e entry.Entry) error {
		if e.Name == nil && e.Rule == nil {
			out = append(out, e.Prefix)
		}
		return nil
	})
	return out, err
}

// served returns the addresses to listen on that another machine could use.
func served(cfg *config.Config) []netip.Addr {
	var out []netip.Addr
	for _, a := range cfg.Listen.Addresses {
		if a.Addr().IsGlobalUnicast() {
			out = append(out, a.Addr())
		}
	}
	return out
}
