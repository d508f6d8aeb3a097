package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"syscall"

	"rideau/cmd/rideau/internal/setup"
	"rideau/config"
	"rideau/resolver"
	"rideau/resolver/limit"
	"rideau/resolver/listener"
)

// place is a configured address. Port 0 may be configured more than once, and
// n tells those apart.
type place struct {
	netip.AddrPort
	n int
}

// places are the addresses of a configuration, in its order.
func places(cfg *config.Config) []place {
	seen := map[netip.AddrPort]int{}
	var out []place
	for _, a := range cfg.Listen.Addresses {
		out = append(out, place{a, seen[a]})
		seen[a]++
	}
	return out
}

// socket is one address that is listened on.
type socket struct {
	*listener.Listener
	stop context.CancelFunc
	done chan struct{} // closed when it is served no more
}

// sockets are those of a server. Its methods are safe for concurrent use, but
// bind, open and retain are for one goroutine at a time.
type sockets struct {
	log     *slog.Logger
	workers int // for each address, unless configured

	mu      sync.Mutex // guards what follows; held for a moment only
	live    map[place]*socket
	leaving map[*socket]place // those that drain
	absent  map[place]bool    // IPv6 where the system has none
	past    listener.Stats    // of those that are gone
}

func newSockets(log *slog.Logger, workers int) *sockets {
	return &sockets{log: log, workers: workers, live: map[place]*socket{}, leaving: map[*socket]place{}, absent: map[place]bool{}}
}

// binding is the addresses that a configuration binds beside those that are bound already.
type binding struct {
	fresh  map[place]*socket
	absent []place // IPv6 where the system has none
}

// close closes what is bound. b may be nil.
func (b *binding) close() {
	if b != nil {
		for _, k := range b.fresh {
			k.Close()
		}
	}
}

// bind binds the addresses that are not bound yet, all or none. Nothing is served there before open.
func (s *sockets) bind(cfg *config.Config, r *resolver.Resolver, room *limit.WaitLimit) (*binding, error) {
	b := &binding{fresh: map[place]*socket{}}
	for _, p := range places(cfg) {
		if s.at(p) != nil {
			continue
		}
		l, err := listener.Listen(r, listener.Options{
			Addrs: []string{p.String()}, Workers: cmp.Or(cfg.Listen.Workers, s.workers), WaitLimit: room, ReusePort: s.overlaps(p),
			MaxConnections: cfg.Listen.TCP.MaxConnections, MaxConnectionsPerClient: cfg.Listen.TCP.MaxConnectionsPerClient,
			MaxPendingPerConnection: cfg.Listen.TCP.MaxPendingPerConnection, IdleTimeout: cfg.Listen.TCP.IdleTimeout,
			Logger: s.log, Stats: r.Stats(),
		})
		if err != nil && optional(cfg, p) && noIPv6(err) {
			b.absent = append(b.absent, p)
			continue
		}
		if err != nil {
			b.close()
			return nil, fmt.Errorf("%s: listen.addresses: %w", setup.Name(cfg), err)
		}
		b.fresh[p] = &socket{Listener: l, done: make(chan struct{})}
	}
	return b, nil
}

// overlaps reports whether a socket of ours holds an address that would be in
// the way of p: one that drains, or the wildcard and an address under it.
func (s *sockets) overlaps(p place) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	inTheWay := func(o place) bool {
		return p.Port() != 0 && o.Port() == p.Port() && o.Addr().Is4() == p.Addr().Is4() &&
			(o.Addr() == p.Addr() || o.Addr().IsUnspecified() || p.Addr().IsUnspecified())
	}
	for o := range s.live {
		if inTheWay(o) {
			return true
		}
	}
	for _, o := range s.leaving {
		if inTheWay(o) {
			return true
		}
	}
	return false
}

// optional reports whether p is the IPv6 half of an address such as ":53".
func optional(cfg *config.Config, p place) bool {
	if p.Addr() != netip.IPv6Unspecified() {
		return false
	}
	for _, a := range cfg.Listen.Addresses {
		if a.Addr() == netip.IPv4Unspecified() && a.Port() == p.Port() {
			return true
		}
	}
	return false
}

func noIPv6(err error) bool {
	return errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EPROTONOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL)
}

// at is the socket for p; nil if there is none.
func (s *sockets) at(p place) *socket {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live[p]
}

// open serves addresses that were bound.
func (s *sockets) open(b *binding) {
	for _, p := range b.absent {
		s.log.Info("this system has no IPv6; serving IPv4 alone", "address", p.AddrPort)
		s.mu.Lock()
		s.absent[p] = true
		s.mu.Unlock()
	}
	for p, k := range b.fresh {
		ctx, stop := context.WithCancel(context.Background())
		k.stop = stop
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

// retain lets the sockets that a configuration does not name drain while the
// others serve.
func (s *sockets) retain(cfg *config.Config) {
	keep := map[place]bool{}
	for _, p := range places(cfg) {
		keep[p] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for p, k := range s.live {
		if keep[p] {
			continue
		}
		delete(s.live, p)
		s.leaving[k] = p
		k.stop()
		go func() {
			<-k.done
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.leaving, k)
			addStats(&s.past, k.Stats())
		}()
	}
}

// close drains all sockets.
func (s *sockets) close() {
	s.mu.Lock()
	var all []*socket
	for _, k := range s.live {
		all = append(all, k)
	}
	for k := range s.leaving {
		all = append(all, k)
	}
	s.mu.Unlock()
	for _, k := range all {
		k.stop()
	}
	for _, k := range all {
		<-k.done
	}
}

// bound are the addresses that are bound for a configuration, in its order.
func (s *sockets) bound(cfg *config.Config) []netip.AddrPort {
	var out []netip.AddrPort
	for _, p := range places(cfg) {
		if k := s.at(p); k != nil {
			out = append(out, k.Addr())
		}
	}
	return out
}

// missing says which addresses of a configuration are not served.
func (s *sockets) missing(cfg *config.Config) []string {
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
			out = append(out, fmt.Sprintf("%v is served no more", p.AddrPort))
		default:
		}
	}
	return out
}

// shield keeps all sockets from networks that flood; nil lets them be.
func (s *sockets) shield(by *limit.Shield) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.live {
		if err := k.Shield(by); err != nil {
			s.log.Debug("a socket cannot be kept from a flood", "address", k.Addr(), "error", err)
		}
	}
}

// stats sums the figures of all sockets that there are and were.
func (s *sockets) stats() listener.Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := s.past
	sum.Backlog = 0
	for _, k := range s.live {
		addStats(&sum, k.Stats())
	}
	for k := range s.leaving {
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
