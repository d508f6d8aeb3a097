package setup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"

	"rideau/blocklists"
	"rideau/cmd/rideau/internal/loop"
	"rideau/config"
	"rideau/resolver"
	"rideau/resolver/cache"
	"rideau/resolver/special"
	"rideau/resolver/upstream"
	"rideau/resolver/upstream/do53"
	"rideau/resolver/upstream/member"
	"rideau/resolver/wire"
)

// ContainerDNS is the address of the container engine's resolver in a container
// with a network of its own. The engine redirects queries to it, so that they do not
// come back to Rideau, even if Rideau listens on all addresses.
var ContainerDNS = netip.AddrFrom4([4]byte{127, 0, 0, 11})

// ResolvConf is the file that names the system's resolvers.
const ResolvConf = "/etc/resolv.conf"

// Upstreams are the groups of one configuration. They are made, started, and
// closed once.
type Upstreams struct {
	Servers []config.Server   // of the default group
	System  []netip.AddrPort  // those among them that the system named
	Groups  []*upstream.Group // first the default group, which may have no server
	Routes  []resolver.Route  // the zones of the other groups, and those of Loops
	Loops   *loop.Detector    // of servers that forward to this Rideau

	key    string // all settings that they were made from
	stop   context.CancelFunc
	probes sync.WaitGroup
}

// UpstreamPlan has the servers of the default group, before anything is made.
type UpstreamPlan struct {
	Servers  []config.Server
	System   []netip.AddrPort // those among them that the system named
	Warnings []string
}

// PlanUpstreams finds the servers to forward to; an address of this Rideau is an
// error. known are the servers that the system named before: they stay if it names
// none now, since DHCP clients and VPNs write its file in steps.
func PlanUpstreams(cfg *config.Config, known []netip.AddrPort) (UpstreamPlan, error) {
	var p UpstreamPlan
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
	for _, a := range p.System {
		if !cfg.Upstream.Allows(a.Addr()) {
			return p, fmt.Errorf("%s: upstream.servers: system: %s names %v, which is not in upstream.allowed; correct %[2]s, add it there, or write the servers", Name(cfg), ResolvConf, a.Addr())
		}
	}
	if len(p.Servers) == 0 {
		p.Warnings = append(p.Warnings, "there is no upstream: banned names are answered, and nothing else can be; set upstream.servers")
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
func (p *UpstreamPlan) addSystem(cfg *config.Config, known []netip.AddrPort) {
	var named []netip.AddrPort
	text, err := os.ReadFile(ResolvConf)
	if err == nil {
		named, err = do53.SystemServers(bytes.NewReader(text))
	}
	if err != nil {
		p.Warnings = append(p.Warnings, fmt.Sprintf("%s: %v; set upstream.servers", ResolvConf, err))
	}
	for _, a := range named {
		if IsSelf(cfg, a) && a.Addr() != ContainerDNS {
			p.Warnings = append(p.Warnings, fmt.Sprintf("%s names %v, which is this rideau itself; it is left out", ResolvConf, a))
			continue
		}
		p.System = append(p.System, a)
	}
	if len(p.System) == 0 && len(known) > 0 {
		p.Warnings = append(p.Warnings, fmt.Sprintf("%s names no server any more; %v stay", ResolvConf, known))
		p.System = known
	}
	for _, a := range p.System {
		p.add(config.Plain(a))
	}
}

func (p *UpstreamPlan) add(s config.Server) {
	if !slices.ContainsFunc(p.Servers, func(o config.Server) bool { return o.Server == s.Server }) {
		p.Servers = append(p.Servers, s)
	}
}

// AddrsOf returns the addresses of servers.
func AddrsOf(servers []config.Server) []netip.AddrPort {
	var out []netip.AddrPort
	for _, s := range servers {
		out = append(out, s.Addresses...)
	}
	return out
}

// ourselves returns an address of a server that is one of this Rideau's.
func ourselves(cfg *config.Config, s config.Server) (netip.AddrPort, bool) {
	for _, a := range s.Addresses {
		if IsSelf(cfg, a) {
			return a, true
		}
	}
	return netip.AddrPort{}, false
}

// IsSelf reports whether queries to an address would come back to this Rideau.
func IsSelf(cfg *config.Config, a netip.AddrPort) bool {
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

// NewUpstreams makes the groups of a configuration. It returns old if no setting
// has changed; otherwise servers that are in old, too, keep what they learned
// (latency, health). old may be nil.
func NewUpstreams(cfg *config.Config, p UpstreamPlan, old *Upstreams, log *slog.Logger) (*Upstreams, error) {
	u := &Upstreams{Servers: p.Servers, System: p.System, key: serversKey(p.Servers) + fmt.Sprint(p.System, cfg.Upstream.AttemptTimeout, cfg.Upstream.Timeout,
		cfg.Upstream.ProbeInterval, cfg.Upstream.ProbeName, cfg.Upstream.Cookies, cfg.Upstream.MixCase, cfg.Upstream.LoopCheck, groupOptionsOf(&cfg.Upstream).key(), forwardKey(cfg))}
	if old != nil && old.key == u.key {
		return old, nil
	}
	probe := new(wire.Name)
	if err := probe.SetText(cfg.Upstream.ProbeName); err != nil {
		return nil, fmt.Errorf("upstream.probe_name: %w", err)
	}
	o := upstream.Options{AttemptTimeout: cfg.Upstream.AttemptTimeout, Timeout: cfg.Upstream.Timeout,
		ProbeInterval: cfg.Upstream.ProbeInterval, ProbeName: probe, Logger: log}
	var targets []loop.Target
	group := func(name, key, zone string, servers []config.Server, s groupOptions) (*upstream.Group, error) {
		var ups []member.Server
		for _, at := range servers {
			up, err := newUpstream(cfg, at, log)
			if err != nil {
				return nil, err
			}
			ups = append(ups, up)
			targets = append(targets, loop.Target{Key: key, Zone: zone, Server: up})
		}
		g := upstream.NewGroup(name, s.apply(o), ups...)
		if old != nil {
			for _, was := range old.Groups {
				g.Inherit(was)
			}
		}
		return g, nil
	}
	g, err := group("default", "upstream.servers", loop.Default, p.Servers, groupOptionsOf(&cfg.Upstream))
	if err != nil {
		return nil, err
	}
	u.Groups = append(u.Groups, g)
	for i := range cfg.Forward {
		f := &cfg.Forward[i]
		// The servers of a zone may refuse a probe for the root, so that they
		// get one for the zone.
		zone := new(wire.Name)
		if err := zone.SetText(f.Zones[0]); err != nil {
			return nil, fmt.Errorf("forward: %w", err)
		}
		o.ProbeName = zone
		g, err := group(f.Zones[0], fmt.Sprintf("the servers of forward for %s", f.Zones[0]), f.Zones[0], f.Servers, groupOptionsOfForward(f))
		if err != nil {
			return nil, err
		}
		u.Groups = append(u.Groups, g)
		u.Routes = append(u.Routes, resolver.Route{Zones: f.Zones, Upstream: g})
	}
	if !cfg.Upstream.LoopCheck {
		targets = nil
	}
	u.Loops = loop.New(targets, log)
	if zones := u.Loops.Zones(); len(zones) > 0 {
		u.Routes = append(u.Routes, resolver.Route{Zones: zones, Upstream: u.Loops})
	}
	return u, nil
}

func forwardKey(cfg *config.Config) string {
	var b strings.Builder
	for i := range cfg.Forward {
		f := &cfg.Forward[i]
		fmt.Fprintln(&b, f.Zones, serversKey(f.Servers), groupOptionsOfForward(f).key())
	}
	return b.String()
}

// Fallback returns the upstream for names in no route; nil if there is none.
func (u *Upstreams) Fallback(p UpstreamPlan) upstream.Upstream {
	if len(p.Servers) == 0 {
		return nil
	}
	return u.Groups[0]
}

// AllLoop reports whether each server of the default group forwards to this Rideau.
func (u *Upstreams) AllLoop() bool {
	stats := u.Groups[0].Stats()
	return len(stats) > 0 && !slices.ContainsFunc(stats, func(s member.Stat) bool { return !u.Loops.Found(s.Addr) })
}

// Start probes the servers until ctx ends or Close is called.
func (u *Upstreams) Start(ctx context.Context) {
	ctx, u.stop = context.WithCancel(ctx)
	for _, g := range u.Groups {
		u.probes.Go(func() { g.Run(ctx) })
	}
	u.probes.Go(func() { u.Loops.Run(ctx) })
}

// Close stops the probes and closes idle connections. Exchanges that have begun
// still end. Upstreams that were never started can be closed, too.
func (u *Upstreams) Close() {
	if u.stop != nil {
		u.stop()
	}
	for _, g := range u.Groups {
		g.Close()
	}
}

// Wait returns when the probes have ended, after Close.
func (u *Upstreams) Wait() { u.probes.Wait() }

// UpstreamNames returns the routes of a configuration, without upstreams, and for
// people the servers of each: first those for names in no route.
func UpstreamNames(cfg *config.Config) ([]string, []resolver.Route) {
	p, err := PlanUpstreams(cfg, nil)
	names := []string{"none"}
	if err == nil && len(p.Servers) > 0 {
		names[0] = fmt.Sprint(p.Servers)
	}
	var routes []resolver.Route
	for _, f := range cfg.Forward {
		names = append(names, fmt.Sprintf("%v (forward)", f.Servers))
		routes = append(routes, resolver.Route{Zones: f.Zones})
	}
	return names, routes
}

// Fingerprint is equal for equal settings alone. The saved cache carries it, so that
// the answers of other servers are not restored.
func (u *Upstreams) Fingerprint() cache.Fingerprint { return sha256.Sum256([]byte(u.key)) }

// PolicyState returns the State of a configuration without upstreams.
func PolicyState(cfg *config.Config, snap *blocklists.Snapshot) (*resolver.State, error) {
	_, routes := UpstreamNames(cfg)
	here, err := Presence(cfg)
	if err != nil {
		return nil, err
	}
	return resolver.NewState(resolver.StateOptions{Policy: snap, Clients: cfg.Clients.Allow, Routes: routes, UDPSize: 4096, Presence: here})
}

// Presence returns the name of a configuration by which clients recognize this Rideau;
// nil if it has none.
func Presence(cfg *config.Config) (*special.Presence, error) {
	here := &cfg.OnNetwork
	return special.NewPresence(here.Name, here.Text, here.IPv4, here.IPv6)
}
