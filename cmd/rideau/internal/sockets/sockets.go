// Package sockets has the sockets of a server: it binds what a configuration names and
// is not bound yet, serves it, and drains what a configuration no longer names.
package sockets

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"runtime"
	"slices"
	"sync"

	"rideau/cmd/rideau/internal/descriptors"
	"rideau/cmd/rideau/internal/held"
	"rideau/cmd/rideau/internal/setup"
	"rideau/config"
	"rideau/config/encrypted"
	"rideau/resolver"
	"rideau/resolver/limit"
	"rideau/resolver/listener"
)

// place is a configured address. n counts those with the same address: port 0 may
// be configured more than once.
type place struct {
	netip.AddrPort
	n int
}

// places returns the addresses of a configuration, in its order.
func places(cfg *config.Config) []place {
	seen := map[netip.AddrPort]int{}
	var out []place
	for _, a := range cfg.Listen.Addresses {
		out = append(out, place{a, seen[a]})
		seen[a]++
	}
	return out
}

// socket is a bound address.
type socket struct {
	*listener.Listener
	stop context.CancelFunc
	done chan struct{} // closed when it is no longer served

	hold held.Hold // who holds the sockets beside this process
}

// Set has the sockets of a server. Its methods are safe for concurrent use; only
// one goroutine at a time may call Bind, Open and Retain.
type Set struct {
	log     *slog.Logger
	workers int // for each address, unless configured
	busy    chan struct{}
	// connections are those of all addresses. They are set before the first bind.
	connections *listener.Connections
	most        int // of them
	// held belongs to the goroutine that calls Bind, Open and Retain.
	held *held.Sockets

	mu       sync.Mutex // guards the fields below; held for a moment only
	live     map[place]*socket
	draining map[*socket]place // no longer configured
	absent   map[place]bool    // IPv6 where the system has none
	past     listener.Stats    // of sockets that were closed
}

// New makes a Set without sockets. workers is how many each address has where the
// configuration does not say; 0 is one for each processor.
// It uses sockets of h where a configuration names their addresses, and has h hold those that it binds itself. h may be nil.
func New(log *slog.Logger, workers int, h *held.Sockets) *Set {
	return &Set{log: log, workers: workers, held: h, busy: make(chan struct{}, 1), live: map[place]*socket{}, draining: map[*socket]place{}, absent: map[place]bool{}}
}

// Busy has a token when a worker has read as many queries as it can at once.
func (s *Set) Busy() <-chan struct{} { return s.busy }

// LimitConnections sets how many connections clients may have, on all addresses together.
// servers is how many upstream servers there are. It is called before the first Bind.
func (s *Set) LimitConnections(cfg *config.Config, servers int) {
	t, resolvers := cfg.Listen.TCP, cfg.Clients.Resolvers
	need := descriptors.Need{Addresses: len(cfg.Listen.Addresses), Workers: cmp.Or(cfg.Listen.Workers, s.workers, runtime.GOMAXPROCS(0)),
		Servers: servers, MaxInFlight: cfg.Upstream.MaxInFlight}
	for _, l := range cfg.Listen.Encrypted {
		if slices.Contains(l.Protocols, encrypted.DoH) {
			need.HTTPS = t.MaxConnections // which count apart
		}
	}
	most, warning := need.Connections(descriptors.Limit(), t.MaxConnections)
	if warning != "" {
		s.log.Warn(warning)
	}
	s.most = most
	s.connections = listener.NewConnections(listener.Options{MaxConnections: most, MaxConnectionsPerClient: min(t.MaxConnectionsPerClient, most),
		Resolver: func(a netip.Addr) bool {
			return slices.ContainsFunc(resolvers, func(p netip.Prefix) bool { return p.Contains(a) })
		}})
}

// Connections are those that LimitConnections has limited, and how many there may be.
func (s *Set) Connections() (all *listener.Connections, most int) { return s.connections, s.most }

// Binding has the sockets that a configuration needs and that were not bound before.
type Binding struct {
	fresh  map[place]*socket
	absent []place // IPv6 where the system has none
}

// Close closes the sockets of a binding that was not opened. b may be nil.
func (b *Binding) Close() {
	if b != nil {
		for _, k := range b.fresh {
			k.Close()
		}
	}
}

// Bind binds the addresses that are not bound yet, all or none. The system queues the
// queries that come there, until Open serves them.
func (s *Set) Bind(cfg *config.Config, waits *limit.WaitLimit) (*Binding, error) {
	b := &Binding{fresh: map[place]*socket{}}
	for _, p := range places(cfg) {
		if s.at(p) != nil {
			continue
		}
		l, err := listener.Listen(nil, listener.Options{
			Addrs: []string{p.String()}, Workers: cmp.Or(cfg.Listen.Workers, s.workers), WaitLimit: waits, ReusePort: s.overlaps(p), Inherited: s.held.Taken(),
			Connections: s.connections, MaxPendingPerConnection: cfg.Listen.TCP.MaxPendingPerConnection, IdleTimeout: cfg.Listen.TCP.IdleTimeout,
			Busy: s.busy, Logger: s.log, Proxies: setup.Proxies(cfg),
		})
		if err != nil && setup.Optional(cfg, p.AddrPort) && setup.NoIPv6(err) {
			b.absent = append(b.absent, p)
			continue
		}
		if err != nil {
			b.Close()
			return nil, fmt.Errorf("%s: listen.addresses: %w", setup.Name(cfg), err)
		}
		b.fresh[p] = &socket{Listener: l, done: make(chan struct{})}
	}
	return b, nil
}

// overlaps reports whether a socket of this server has an address that includes p
// or that p includes: a draining one with the same address, or one of the two is
// the unspecified address.
func (s *Set) overlaps(p place) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for o := range s.live {
		if setup.Overlap(p.AddrPort, o.AddrPort) {
			return true
		}
	}
	for _, o := range s.draining {
		if setup.Overlap(p.AddrPort, o.AddrPort) {
			return true
		}
	}
	return false
}

// at returns the socket for p; nil if there is none.
func (s *Set) at(p place) *socket {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live[p]
}

// Open serves the sockets of a binding.
func (s *Set) Open(b *Binding, r *resolver.Resolver) {
	for _, p := range b.absent {
		s.log.Info("this system has no IPv6; serving IPv4 alone", "address", p.AddrPort)
		s.mu.Lock()
		s.absent[p] = true
		s.mu.Unlock()
	}
	for _, k := range slices.SortedFunc(maps.Values(b.fresh), func(x, y *socket) int { return x.Addr().Compare(y.Addr()) }) {
		k.hold = s.held.Hold("", k)
		k.Held(k.hold.Somebody())
	}
	for p, k := range b.fresh {
		ctx, stop := context.WithCancel(context.Background())
		k.stop = stop
		k.Use(r, r.Stats())
		go func() {
			defer close(k.done)
			if err := k.Serve(ctx); err != nil {
				s.log.Error("listener ended", "address", k.Addr(), "error", err)
			}
		}()
		s.mu.Lock()
		s.live[p] = k
		delete(s.absent, p)
		s.mu.Unlock()
	}
}

// Retain drains and closes the sockets that a configuration does not name, while
// the others serve.
func (s *Set) Retain(cfg *config.Config) {
	keep := map[place]bool{}
	for _, p := range places(cfg) {
		keep[p] = true
	}
	var gone []*socket
	s.mu.Lock()
	for p, k := range s.live {
		if !keep[p] {
			delete(s.live, p)
			s.draining[k] = p
			gone = append(gone, k)
		}
	}
	s.mu.Unlock()
	for _, k := range gone {
		s.held.Release(k.hold)
		k.Held(false)
		k.stop()
		go func() {
			<-k.done
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.draining, k)
			addStats(&s.past, k.Stats())
		}()
	}
}

// Close drains and closes all sockets. They are served until no query waits; what comes
// then waits for the next process, where somebody holds the sockets for it.
func (s *Set) Close() {
	s.mu.Lock()
	var all []*socket
	for _, k := range s.live {
		all = append(all, k)
	}
	for k := range s.draining {
		all = append(all, k)
	}
	s.mu.Unlock()
	for _, k := range all {
		k.Last()
		k.stop()
	}
	for _, k := range all {
		<-k.done
	}
}

// Bound returns the addresses that are bound for a configuration, in its order.
func (s *Set) Bound(cfg *config.Config) []netip.AddrPort {
	var out []netip.AddrPort
	for _, p := range places(cfg) {
		if k := s.at(p); k != nil {
			out = append(out, k.Addr())
		}
	}
	return out
}

// String names every socket with its address, those that drain too: two strings are
// equal if the sockets are the same.
func (s *Set) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprint(s.live, s.draining, s.absent)
}

// Missing returns which addresses of a configuration are not served, and why.
func (s *Set) Missing(cfg *config.Config) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, p := range places(cfg) {
		k, ok := s.live[p]
		if s.absent[p] {
			continue
		}
		if !ok {
			out = append(out, fmt.Sprintf("%v is not bound", p.AddrPort))
			continue
		}
		select {
		case <-k.done:
			out = append(out, fmt.Sprintf("%v is no longer served", p.AddrPort))
		default:
		}
	}
	return out
}

// Shield lets the system drop datagrams of networks that flood, on all sockets;
// nil ends that.
func (s *Set) Shield(by *limit.Shield) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.live {
		if err := k.Shield(by); err != nil {
			s.log.Debug("a socket cannot be shielded from a flood", "address", k.Addr(), "error", err)
		}
	}
}

// Stats returns the sum of the figures of all sockets, open and closed.
func (s *Set) Stats() listener.Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := s.past
	sum.Backlog = 0
	for _, k := range s.live {
		addStats(&sum, k.Stats())
	}
	for k := range s.draining {
		addStats(&sum, k.Stats())
	}
	return sum
}

func addStats(sum *listener.Stats, t listener.Stats) {
	sum.Connections += t.Connections
	sum.Refused += t.Refused
	sum.SendErrors += t.SendErrors
	sum.Panics += t.Panics
	sum.Lost += t.Lost
	sum.Shielded += t.Shielded
	sum.Backlog = max(sum.Backlog, t.Backlog)
}
