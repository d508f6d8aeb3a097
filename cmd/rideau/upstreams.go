package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"rideau/config"
	"rideau/resolver"
	"rideau/resolver/upstream"
	"rideau/resolver/wire"
)

// containerDNS is the engine's own resolver in a container with a network of
// its own. What is sent there is redirected before it could come to us, though we
// listen on all addresses.
var containerDNS = netip.AddrFrom4([4]byte{127, 0, 0, 11})

// resolvConf is where a system says which resolvers it uses.
const resolvConf = "/etc/resolv.conf"

// upstreams are the groups of one configuration, while it serves.
type upstreams struct {
	// key is what they were made from: if a reload changes nothing of it,
	// they stay.
	key    string
	system []netip.AddrPort  // as in the plan
	groups []*upstream.Group // the first takes what no route takes, and may have no server
	routes []resolver.Route
	stop   context.CancelFunc
}

// upstreamPlan is what configuration and system say about upstreams.
type upstreamPlan struct {
	servers  []config.Server
	system   []netip.AddrPort // those among them that the system named
	warnings []string
}

// planUpstreams finds the addresses to forward to, and never one of our own.
// known are the servers that the system named before: they stay if it names
// none now, since DHCP clients and VPNs write its file in steps.
func planUpstreams(cfg *config.Config, known []netip.AddrPort) (upstreamPlan, error) {
	var p upstreamPlan
	for _, s := range cfg.Upstream.Servers {
		if s.Transport != config.System {
			if a, is := ourselves(cfg, s); is {
				return p, fmt.Errorf("%s: upstream.servers: %v is where this rideau listens; name another resolver, or queries would run in a circle", cfg.File, a)
			}
			p.add(s)
			continue
		}
		p.addSystem(cfg, known)
	}
	for _, a := range p.system {
		if !cfg.Upstream.Allows(a.Addr()) {
			return p, fmt.Errorf("%s: upstream.servers: system: %s names %v, which is not in upstream.allowed; correct %[2]s, add it there, or write the servers", configName(cfg), resolvConf, a.Addr())
		}
	}
	if len(p.servers) == 0 {
		p.warnings = append(p.warnings, "there is no upstream: banned names are answered, and nothing else can be; set upstream.servers")
	}
	for _, f := range cfg.Forward {
		for _, s := range f.Servers {
			if a, is := ourselves(cfg, s); is {
				return p, fmt.Errorf("%s:%d: forward: %v is where this rideau listens; name the zones' own servers", cfg.File, f.Line, a)
			}
		}
	}
	return p, nil
}

// addSystem adds the servers that the system names.
func (p *upstreamPlan) addSystem(cfg *config.Config, known []netip.AddrPort) {
	var named []netip.AddrPort
	text, err := os.ReadFile(resolvConf)
	if err == nil {
		named, err = upstream.SystemServers(bytes.NewReader(text))
	}
	if err != nil {
		p.warnings = append(p.warnings, fmt.Sprintf("%s: %v; set upstream.servers", resolvConf, err))
	}
	for _, a := range named {
		if isSelf(cfg, a) && a.Addr() != containerDNS {
			p.warnings = append(p.warnings, fmt.Sprintf("%s names %v, which is this rideau itself; it is left out", resolvConf, a))
			continue
		}
		p.system = append(p.system, a)
	}
	if len(p.system) == 0 && len(known) > 0 {
		p.warnings = append(p.warnings, fmt.Sprintf("%s names no server any more; %v stay", resolvConf, known))
		p.system = known
	}
	for _, a := range p.system {
		p.add(config.Plain(a))
	}
}

func (p *upstreamPlan) add(s config.Server) {
	if !slices.ContainsFunc(p.servers, func(o config.Server) bool { return o.Server == s.Server }) {
		p.servers = append(p.servers, s)
	}
}

// addrsOf are the addresses of servers.
func addrsOf(servers []config.Server) []netip.AddrPort {
	var out []netip.AddrPort
	for _, s := range servers {
		out = append(out, s.Addresses...)
	}
	return out
}

// ourselves is an address of a server at which queries would come back to us.
func ourselves(cfg *config.Config, s config.Server) (netip.AddrPort, bool) {
	for _, a := range s.Addresses {
		if isSelf(cfg, a) {
			return a, true
		}
	}
	return netip.AddrPort{}, false
}

// isSelf reports whether queries to an address would come back to us.
func isSelf(cfg *config.Config, a netip.AddrPort) bool {
	for _, l := range cfg.Listen.Addresses {
		if l.Port() != a.Port() {
			continue
		}
		if l.Addr() == a.Addr() || a.Addr().IsUnspecified() {
			return true
		}
		if l.Addr().IsUnspecified() && l.Addr().Is4() == a.Addr().Unmap().Is4() && isLocal(a.Addr()) {
			return true
		}
	}
	return false
}

func isLocal(a netip.Addr) bool {
	if a.IsLoopback() {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(addrs, func(n net.Addr) bool {
		p, err := netip.ParsePrefix(n.String())
		return err == nil && p.Addr().WithZone("") == a.WithZone("")
	})
}

// newUpstreams makes the groups. Those with the same servers as before keep
// what they learned.
func newUpstreams(cfg *config.Config, p upstreamPlan, old *upstreams, log *slog.Logger) (*upstreams, error) {
	u := &upstreams{system: p.system, key: serversKey(p.servers) + fmt.Sprint(p.system, cfg.Upstream.AttemptTimeout, cfg.Upstream.Timeout,
		cfg.Upstream.ProbeInterval, cfg.Upstream.ProbeName, cfg.Upstream.Cookies, cfg.Upstream.MixCase, sharingOf(&cfg.Upstream).key(), forwardKey(cfg))}
	if old != nil && old.key == u.key {
		return old, nil
	}
	probe := new(wire.Name)
	if err := probe.SetText(cfg.Upstream.ProbeName); err != nil {
		return nil, fmt.Errorf("upstream.probe_name: %w", err)
	}
	o := upstream.Options{AttemptTimeout: cfg.Upstream.AttemptTimeout, Timeout: cfg.Upstream.Timeout,
		ProbeInterval: cfg.Upstream.ProbeInterval, ProbeName: probe, Logger: log}
	group := func(name string, servers []config.Server, s sharing) (*upstream.Group, error) {
		var ups []upstream.Upstream
		for _, at := range servers {
			up, err := newUpstream(cfg, at, log)
			if err != nil {
				return nil, err
			}
			ups = append(ups, up)
		}
		g := upstream.NewGroup(name, s.options(o), ups...)
		if old != nil {
			for _, was := range old.groups {
				g.Inherit(was)
			}
		}
		return g, nil
	}
	g, err := group("default", p.servers, sharingOf(&cfg.Upstream))
	if err != nil {
		return nil, err
	}
	u.groups = append(u.groups, g)
	for i := range cfg.Forward {
		f := &cfg.Forward[i]
		// A probe for the root may be refused by servers of a zone, so that
		// theirs asks for the zone.
		zone := new(wire.Name)
		if err := zone.SetText(f.Zones[0]); err != nil {
			return nil, fmt.Errorf("forward: %w", err)
		}
		o.ProbeName = zone
		g, err := group(f.Zones[0], f.Servers, sharingOfForward(f))
		if err != nil {
			return nil, err
		}
		u.groups = append(u.groups, g)
		u.routes = append(u.routes, resolver.Route{Zones: f.Zones, Upstream: g})
	}
	return u, nil
}

func forwardKey(cfg *config.Config) string {
	var b strings.Builder
	for i := range cfg.Forward {
		f := &cfg.Forward[i]
		fmt.Fprintln(&b, f.Zones, serversKey(f.Servers), sharingOfForward(f).key())
	}
	return b.String()
}

// fallback is the upstream for what no route takes; nil if there is none.
func (u *upstreams) fallback(p upstreamPlan) resolver.Upstream {
	if len(p.servers) == 0 {
		return nil
	}
	return u.groups[0]
}

// start probes the upstreams until stop is called.
func (u *upstreams) start(ctx context.Context) {
	ctx, u.stop = context.WithCancel(ctx)
	for _, g := range u.groups {
		go g.Run(ctx)
	}
}

// end stops the probes and lets go of idle connections. Exchanges under way
// end by themselves.
func (u *upstreams) end() {
	u.stop()
	for _, g := range u.groups {
		g.Close()
	}
}

// upstreamNames describes, for explain, where each route of a State goes; the
// routes have no upstreams.
func upstreamNames(cfg *config.Config) ([]string, []resolver.Route) {
	p, err := planUpstreams(cfg, nil)
	names := []string{"none"}
	if err == nil && len(p.servers) > 0 {
		names[0] = fmt.Sprint(p.servers)
	}
	var routes []resolver.Route
	for _, f := range cfg.Forward {
		names = append(names, fmt.Sprintf("%v (forward)", f.Servers))
		routes = append(routes, resolver.Route{Zones: f.Zones})
	}
	return names, routes
}
