package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"rideau/blocklists/egress"
	"rideau/cmd/rideau/internal/reason"
	"rideau/cmd/rideau/internal/setup"
)

const egressHelp = `Prints the firewall rules that the network needs in addition to DNS, so that no device goes
around Rideau. Clients reach Rideau's addresses on ports 53 and 853, and Rideau reaches its
upstreams. All else is refused: ports 53 and 853 elsewhere, 784 and 8853, and 443 at the
addresses of public resolvers. Nothing is changed on this machine. blocklists/EGRESS.md
explains each rule.

Rideau's addresses are those of listen.addresses. If these are all addresses of the machine
or loopback, name the real ones, and those of other Rideau hosts, with --resolvers. The
clients are the ranges of clients.allow, unless --clients names others. The word system among
the upstreams stands for the servers in this machine's resolv.conf.

A ban on a name does not stop a device that knows the address. --banned-networks also refuses
the networks in the packs of bans in force (of the built-in packs, Kaspersky's has some).`

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
	p, warnings, err := reason.Egress(cfg, reason.EgressOptions{Source: source, Rideau: rideau, Clients: clients})
	if err != nil {
		return c.fail(err)
	}
	p.Console = c.bool("kaspersky-console")
	if c.bool("banned-networks") {
		snap, _, err := setup.LoadPolicy(c.ctx, cfg, nil, nil, setup.ReadClock(cfg).Instants)
		if err != nil {
			return c.fail(err)
		}
		if p.Banned, err = reason.BannedNetworks(snap); err != nil {
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

// egressFormats returns the names of the formats, for people.
func egressFormats() string {
	var names []string
	for _, f := range egress.Formats() {
		names = append(names, string(f))
	}
	return strings.Join(names, ", ")
}

// addresses parses addresses that clients could use.
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

// prefixes parses CIDR blocks and single addresses.
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
