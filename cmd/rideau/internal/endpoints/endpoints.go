// Package endpoints has the encrypted listeners of a server: it binds what a configuration names in listen.encrypted
// and is not bound yet, serves it, gives it new certificates, and drains what a configuration no longer names.
package endpoints

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"rideau/cmd/rideau/internal/certificates"
	"rideau/cmd/rideau/internal/held"
	"rideau/config"
	"rideau/config/encrypted"
	"rideau/resolver"
	"rideau/resolver/limit"
	"rideau/resolver/listener"
	"rideau/resolver/listener/admission"
	"rideau/resolver/listener/doh"
	"rideau/resolver/listener/secure"
	"rideau/resolver/listener/session"
)

// place is a configured address of a protocol. n counts those that are the same: port 0 may be configured more than once.
type place struct {
	protocol encrypted.Protocol
	netip.AddrPort
	n int
}

// places returns those of a configuration, in its order, and for each the index of its listener.
func places(cfg *config.Config) (all []place, of []int) {
	seen := map[place]int{}
	for i, l := range cfg.Listen.Encrypted {
		for _, p := range l.Protocols {
			for _, a := range l.Addresses {
				at := place{protocol: p, AddrPort: a}
				seen[at]++
				all, of = append(all, place{p, a, seen[at] - 1}), append(of, i)
			}
		}
	}
	return all, of
}

// server is what the listeners of all protocols have in common.
type server interface {
	Use(session.Handler, *resolver.Stats)
	Serve(context.Context) error
	Last()
	Close()
	held.Bound
}

// Figures are those of the endpoints of a protocol at one moment.
type Figures struct {
	Connections int // open now
	Panics      uint64
}

// endpoint is a bound address of a protocol.
type endpoint struct {
	server
	secure  *secure.Config
	set     func(doh.Settings) // nil without HTTP
	figures func() Figures
	hold    held.Hold // who holds its socket beside this process
	stop    context.CancelFunc
	done    chan struct{} // closed when it is no longer served
}

// Options are what endpoints share with the rest of the server.
type Options struct {
	Log   *slog.Logger
	Waits *limit.WaitLimit
	// Connections are those by TCP, among which are those by TLS. HTTPS and QUIC have Most.
	Connections *listener.Connections
	Most        int
	// Held has sockets with which the process was started, and holds others; nil for none.
	Held  *held.Sockets
	Clock func() time.Time
	// Machine returns the addresses of this machine; by default those of its interfaces.
	Machine func() []netip.Addr
}

// machine returns the addresses of this machine.
func (s *Set) machine() []netip.Addr {
	if s.o.Machine != nil {
		return s.o.Machine()
	}
	return machineAddresses()
}

// Set has the endpoints of a server. Its methods are safe for concurrent use; only one goroutine at a time may call
// Prepare and Commit.
type Set struct {
	o Options
	// gate has the connections by HTTPS and QUIC, handshakes those by TLS whose handshakes are under way. They are set by the first Prepare.
	gate, handshakes *admission.Gate

	mu       sync.Mutex // guards the fields below; held for a moment only
	live     map[place]*endpoint
	draining map[*endpoint]place // no longer configured
	shown    []*certificates.Set // of the listeners of the configuration
	hidden   []string            // why clients are not told of some of them, see Change.Designated
	absent   map[place]bool      // IPv6 where the system has none
	panics   uint64              // of endpoints that were closed
}

// New makes a Set without endpoints.
func New(o Options) *Set {
	return &Set{o: o, live: map[place]*endpoint{}, draining: map[*endpoint]place{}, absent: map[place]bool{}}
}

// limits makes the gates.
func (s *Set) limits(cfg *config.Config) {
	t, resolvers := cfg.Listen.TCP, cfg.Clients.Resolvers
	l := admission.Limits{Fresh: t.MaxHandshakes, FreshPerClient: max(t.MaxHandshakes/8, 16)}
	s.handshakes = admission.NewGate(l)
	l.Connections, l.PerClient = s.o.Most, min(t.MaxConnectionsPerClient, s.o.Most)
	l.Resolver = func(a netip.Addr) bool {
		return slices.ContainsFunc(resolvers, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	s.gate = admission.NewGate(l)
}

// Commit serves the endpoints of a change, gives the others their certificates, and drains those that the configuration does
// not name. It cannot fail.
func (c *Change) Commit(r *resolver.Resolver) {
	s := c.set
	c.committed = true
	_, hidden := c.Designated()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range c.absent {
		s.o.Log.Info("this system has no IPv6; serving IPv4 alone", "address", p.AddrPort)
		s.absent[p] = true
	}
	for p, e := range c.fresh {
		s.live[p] = e
		delete(s.absent, p)
	}
	keep := map[place]bool{}
	for i, p := range c.places {
		keep[p] = true
		e := s.live[p]
		if e == nil {
			continue
		}
		e.secure.Use(c.shown[c.of[i]].Settings)
		if e.set != nil {
			e.set(c.settings(i))
		}
	}
	s.shown, s.hidden = c.shown, hidden
	for _, p := range c.places {
		if e := c.fresh[p]; e != nil {
			e.hold = s.o.Held.Hold(string(p.protocol), e)
			if l, ok := e.server.(*listener.Listener); ok {
				l.Held(e.hold.Somebody())
			}
			s.serve(e, r)
		}
	}
	for p, e := range s.live {
		if !keep[p] {
			s.drain(p, e)
		}
	}
}

// serve serves an endpoint until its stop is called.
func (s *Set) serve(e *endpoint, r *resolver.Resolver) {
	ctx, stop := context.WithCancel(context.Background())
	e.stop = stop
	e.Use(r, r.Stats())
	go func() {
		defer close(e.done)
		if err := e.Serve(ctx); err != nil {
			s.o.Log.Error("listener ended", "address", e.Addr(), "error", err)
		}
	}()
}

// drain ends an endpoint that is not configured any more, while others serve. mu is held.
func (s *Set) drain(p place, e *endpoint) {
	delete(s.live, p)
	s.draining[e] = p
	s.o.Held.Release(e.hold)
	if l, ok := e.server.(*listener.Listener); ok {
		l.Held(false)
	}
	e.stop()
	go func() {
		<-e.done
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.draining, e)
		s.panics += e.figures().Panics
	}()
}

// settings are those of the place with an index in the change. mu is held.
func (c *Change) settings(i int) doh.Settings {
	l := &c.cfg.Listen.Encrypted[c.of[i]]
	out := doh.Settings{Path: l.Path}
	for _, g := range c.cfg.Groups {
		if g.Path != "" {
			out.Paths = append(out.Paths, g.Path)
		}
	}
	at := c.places[i]
	for j, p := range c.places { // HTTP/3 of the same address is told of
		if e := c.set.live[p]; e != nil && c.of[j] == c.of[i] && p.protocol == encrypted.DoH3 && p.AddrPort == at.AddrPort && p.n == at.n {
			out.AltSvc = altSvc(e.Addr().Port())
		}
	}
	return out
}

// Close drains and closes all endpoints.
func (s *Set) Close() {
	s.mu.Lock()
	var all []*endpoint
	for _, e := range s.live {
		all = append(all, e)
	}
	for e := range s.draining {
		all = append(all, e)
	}
	s.mu.Unlock()
	for _, e := range all {
		e.Last()
		e.stop()
	}
	for _, e := range all {
		<-e.done
	}
}
