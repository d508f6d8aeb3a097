package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"rideau/blocklists"
	"rideau/blocklists/egress"
	"rideau/blocklists/format"
	"rideau/blocklists/input"
	"rideau/blocklists/pack"
	"rideau/cmd/rideau/internal/server"
	"rideau/cmd/rideau/internal/setup"
	"rideau/config"
)

const egressHelp = `Prints the firewall rules that the network needs beside DNS, so that nobody goes around
Rideau: clients reach Rideau's addresses on ports 53 and 853, Rideau its upstreams; everybody
is refused ports 53 and 853 elsewhere, 784 and 8853, and 443 at the addresses of public
resolvers. Nothing is changed on this machine. blocklists/EGRESS.md explains each rule.

Rideau's addresses are those of listen.addresses, unless that is all addresses of the
machine or loopback: then name them, and those of other Rideau hosts, with --resolvers. The
clients are the ranges of clients.allow, unless --clients names others. The word system among
the upstreams stands for the servers of this machine's resolv.conf.

A name that is banned is no obstacle to a device that has the address. With --banned-networks,
the networks that the packs of bans in force have (of the built-in ones, Kaspersky's) are
refused altogether.`

func printEgress(c *call) int {
	format := egress.Format(c.string("format"))
	if !slices.Contains(egress.Formats(), format) {
		fmt.Fprintf(c.stderr, "rideau egress: --format %q is unknown; use %s\n", format, egressFormats())
		return exitUsage
	}
	rideau, err := addresses(c.strings("resolvers"))
	if err != nil {
		fmt.Fprintf(c.stderr, "rideau egress: --resolvers %v\n", err)
		return exitUsage
	}
	clients, err := prefixes(c.strings("clients"))
	if err != nil {
		fmt.Fprintf(c.stderr, "rideau egress: --clients %v\n", err)
		return exitUsage
	}
	cfg, err := setup.Load(c.string("config"))
	if err != nil {
		return c.fail(err)
	}
	source := c.string("config")
	if source == "" {
		source = "the one inside the program"
	}
	p, warnings, err := planEgress(cfg, source, rideau, clients)
	if err != nil {
		return c.fail(err)
	}
	p.Console = c.bool("kaspersky-console")
	if c.bool("banned-networks") {
		if p.Banned, err = bannedNetworks(c.ctx, cfg); err != nil {
			return c.fail(err)
		}
		if len(p.Banned) == 0 {
			warnings = append(warnings, "--banned-networks: no pack of a ban that is enforced has addresses")
		}
	}
	var out bytes.Buffer
	if err := egress.Write(&out, format, p); err != nil {
		return c.fail(err)
	}
	for _, w := range warnings {
		fmt.Fprintln(c.stderr, "rideau: warning:", w)
	}
	if _, err := c.stdout.Write(out.Bytes()); err != nil {
		return c.fail(err)
	}
	return exitOK
}

// egressFormats are the formats for people to read.
func egressFormats() string {
	var names []string
	for _, f := range egress.Formats() {
		names = append(names, string(f))
	}
	return strings.Join(names, ", ")
}

// planEgress is what a configuration says about the network around it; source
// is what to call it. What is given on the command line takes the place of what
// the configuration says.
func planEgress(cfg *config.Config, source string, rideau []netip.Addr, clients []netip.Prefix) (p egress.Plan, warnings []string, err error) {
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
	note("Configuration: %s.", source)
	for _, u := range p.Upstreams {
		if u.Addr().IsLoopback() {
			note("The upstream %v is on Rideau's own machine: PUT IN BY HAND whom it asks.", u)
		}
	}
	if len(up.System) > 0 {
		note("Upstreams named system are as resolv.conf had them here: %s.", strings.Trim(fmt.Sprint(up.System), "[]"))
	}
	if p.Rideau = rideau; len(rideau) == 0 {
		p.Rideau = served(cfg)
		if len(p.Rideau) == 0 {
			warnings = append(warnings, "listen.addresses has no address that clients could use; name Rideau's with --resolvers, "+
				"or the rules that refuse plain DNS stay comments")
		} else {
			note("Rideau's addresses are those of listen.addresses; name other Rideau hosts with --resolvers, all of them.")
		}
	}
	if p.Clients = clients; len(clients) == 0 {
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
				note("The upstream %v is also a public resolver, of %s: Rideau may ask it on that port, and nobody else.", u, r.Operator)
			}
		}
	}
	return p, warnings, nil
}

// bannedNetworks are the addresses in the packs of bans that are enforced for
// anybody, but for bans on bypasses: Rideau itself may have to ask a public
// resolver.
func bannedNetworks(ctx context.Context, cfg *config.Config) ([]netip.Prefix, error) {
	snap, _, err := server.LoadPolicy(ctx, cfg, nil, new(blocklists.Slots), false)
	if err != nil {
		return nil, err
	}
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

// listNetworks are the addresses in a pack that was found good.
func listNetworks(l input.List) (out []netip.Prefix, err error) {
	f, err := l.Open()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	_, err = format.Read(f, format.Options{File: l.Source, Format: l.Format, Tiers: l.Tiers, MaxBytes: l.MaxBytes, MaxSkipped: 1}, func(e format.Entry) error {
		if e.Name == nil && e.Rule == nil {
			out = append(out, e.Prefix)
		}
		return nil
	})
	return out, err
}

// served are the addresses to listen on that another machine could use.
func served(cfg *config.Config) []netip.Addr {
	var out []netip.Addr
	for _, a := range cfg.Listen.Addresses {
		if a.Addr().IsGlobalUnicast() {
			out = append(out, a.Addr())
		}
	}
	return out
}

func addresses(texts []string) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, s := range texts {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return nil, fmt.Errorf("%q is not an IP address", s)
		}
		if a = a.Unmap().WithZone(""); !a.IsGlobalUnicast() {
			return nil, fmt.Errorf("%q is not an address that clients could use", s)
		}
		out = append(out, a)
	}
	return out, nil
}

// prefixes reads blocks and single addresses.
func prefixes(texts []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range texts {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			var a netip.Addr
			a, err = netip.ParseAddr(s)
			a = a.Unmap().WithZone("")
			p = netip.PrefixFrom(a, a.BitLen())
		}
		switch {
		case err != nil:
			return nil, fmt.Errorf("%q is not an address or a CIDR block", s)
		case p.Addr().Is4In6():
			return nil, fmt.Errorf("%q: %w", s, errMapped)
		case p != p.Masked():
			return nil, fmt.Errorf("%q has bits set beyond its length; write %v", s, p.Masked())
		}
		out = append(out, p)
	}
	return out, nil
}

var errMapped = errors.New("write a block of IPv4 addresses as such")
