package endpoints

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"rideau/cmd/rideau/internal/certificates"
	"rideau/cmd/rideau/internal/setup"
	"rideau/config"
	"rideau/config/encrypted"
	"rideau/resolver/listener"
	"rideau/resolver/listener/doh"
	"rideau/resolver/listener/doq"
	"rideau/resolver/listener/dot"
	"rideau/resolver/listener/secure"
)

// Change is what a configuration makes of the endpoints. It is not in force before Commit.
type Change struct {
	// Changed says that clients see other certificates than before.
	Changed bool
	// Warnings are about certificates.
	Warnings []config.Problem

	set       *Set
	cfg       *config.Config
	places    []place
	of        []int // indices of listeners, for places
	shown     []*certificates.Set
	fresh     map[place]*endpoint
	absent    []place
	committed bool
}

// Prepare reads the certificates of a configuration, and binds the addresses that are not bound yet: all of it, or
// nothing. The system queues the connections that come there, until Commit serves them.
func (s *Set) Prepare(cfg *config.Config) (*Change, error) {
	if s.gate == nil {
		s.limits(cfg)
	}
	c := &Change{set: s, cfg: cfg, fresh: map[place]*endpoint{}}
	c.places, c.of = places(cfg)
	if err := c.read(); err != nil {
		return nil, err
	}
	for i, p := range c.places {
		s.mu.Lock()
		live := s.live[p]
		s.mu.Unlock()
		if live != nil {
			continue
		}
		e, err := s.bind(cfg, p, c.shown[c.of[i]])
		if err != nil && setup.NoIPv6(err) && c.optional(i) {
			c.absent = append(c.absent, p)
			continue
		}
		if err != nil {
			c.Close()
			l := &cfg.Listen.Encrypted[c.of[i]]
			return nil, config.Problems{{File: setup.Name(cfg), Line: l.Line, Key: fmt.Sprintf("listen.encrypted[%d].addresses", c.of[i]), Message: err.Error()}}
		}
		c.fresh[p] = e
	}
	return c, nil
}

// read reads the certificates of all listeners.
func (c *Change) read() error {
	var problems config.Problems
	c.set.mu.Lock()
	before := c.set.shown
	c.set.mu.Unlock()
	for i := range c.cfg.Listen.Encrypted {
		l := &c.cfg.Listen.Encrypted[i]
		var old *certificates.Set
		if j := slices.IndexFunc(before, func(o *certificates.Set) bool {
			return slices.Equal(o.Of().Addresses, l.Addresses) && slices.Equal(o.Of().Protocols, l.Protocols)
		}); j >= 0 {
			old = before[j]
		}
		now, err := certificates.Load(c.cfg, i, old, c.set.o.Clock())
		var more config.Problems
		if errors.As(err, &more) {
			problems = append(problems, more...)
			continue
		}
		c.Changed = c.Changed || !now.Equal(old)
		c.Warnings = append(c.Warnings, now.Warnings...)
		c.shown = append(c.shown, now)
	}
	if len(problems) > 0 {
		return problems
	}
	return nil
}

// optional reports whether a place is the IPv6 half of an address such as ":853".
func (c *Change) optional(i int) bool {
	p := c.places[i]
	return p.Addr() == netip.IPv6Unspecified() &&
		slices.Contains(c.cfg.Listen.Encrypted[c.of[i]].Addresses, netip.AddrPortFrom(netip.IPv4Unspecified(), p.Port()))
}

// Close closes what a change that is not committed has bound. c may be nil.
func (c *Change) Close() {
	if c == nil || c.committed {
		return
	}
	for _, e := range c.fresh {
		e.Close()
	}
}

// bind binds a place.
func (s *Set) bind(cfg *config.Config, p place, shown *certificates.Set) (*endpoint, error) {
	t := &cfg.Listen.TCP
	e := &endpoint{secure: secure.NewConfig(shown.Settings), done: make(chan struct{})}
	share := s.overlaps(p)
	if p.protocol == encrypted.DoT {
		l, err := listener.Listen(nil, listener.Options{
			Addrs: []string{p.String()}, Workers: 1, WaitLimit: s.o.Waits, ReusePort: share, Inherited: s.o.Held.Taken(), Connections: s.o.Connections,
			MaxPendingPerConnection: t.MaxPendingPerConnection, IdleTimeout: t.IdleTimeout, Logger: s.o.Log, Proxies: setup.Proxies(cfg),
			TLS: dot.Wrap(dot.Options{Secure: e.secure, Fresh: s.handshakes, HandshakeTimeout: listener.DefaultMessageTimeout}),
		})
		if err != nil {
			return nil, err
		}
		e.server, e.figures = l, func() Figures { n := l.Stats(); return Figures{n.Connections, n.Panics} }
		return e, nil
	}
	web := doh.Options{
		Secure: e.secure, Gate: s.gate, Proxies: setup.Proxies(cfg), ManyHandshakes: t.MaxHandshakes / 2, MaxStreams: t.MaxPendingPerConnection, WaitLimit: s.o.Waits,
		MessageTimeout: listener.DefaultMessageTimeout, WriteTimeout: doh.DefaultWriteTimeout, IdleTimeout: t.IdleTimeout, Drain: listener.DefaultDrain, Logger: s.o.Log,
	}
	if p.protocol == encrypted.DoH {
		tcp, err := listener.BindTCP(p.AddrPort, share, s.o.Held.Taken())
		if err != nil {
			return nil, err
		}
		l := doh.New(tcp, web)
		e.server, e.set, e.figures = l, l.Set, func() Figures { n := l.Stats(); return Figures{n.Connections, n.Panics} }
		return e, nil
	}
	udp, err := listener.BindUDP(p.AddrPort, share, s.o.Held.Taken())
	if err != nil {
		return nil, err
	}
	if p.protocol == encrypted.DoH3 {
		l, err := doh.New3(udp, web)
		if err != nil {
			return nil, err
		}
		e.server, e.set, e.figures = l, l.Set, func() Figures { n := l.Stats(); return Figures{n.Connections, n.Panics} }
		return e, nil
	}
	l, err := doq.Listen(doq.Options{
		Conn: udp, Secure: e.secure, Gate: s.gate, Proxies: web.Proxies, ManyHandshakes: web.ManyHandshakes, MaxStreams: web.MaxStreams, WaitLimit: s.o.Waits,
		HandshakeTimeout: web.MessageTimeout, MessageTimeout: web.MessageTimeout, WriteTimeout: listener.DefaultWriteTimeout, IdleTimeout: t.IdleTimeout, Drain: web.Drain, Logger: s.o.Log,
	})
	if err != nil {
		return nil, err
	}
	e.server, e.figures = l, func() Figures { n := l.Stats(); return Figures{n.Connections, n.Panics} }
	return e, nil
}

// overlaps reports whether an endpoint of this server has an address of the same transport that includes p or that p
// includes.
func (s *Set) overlaps(p place) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	overlap := func(o place) bool {
		return o.protocol.OverTCP() == p.protocol.OverTCP() && setup.Overlap(o.AddrPort, p.AddrPort)
	}
	for o := range s.live {
		if overlap(o) {
			return true
		}
	}
	for _, o := range s.draining {
		if overlap(o) {
			return true
		}
	}
	return false
}

// altSvc is the header that tells of HTTP/3 at a port, for a day (RFC 7838).
func altSvc(port uint16) string { return fmt.Sprintf(`h3=":%d"; ma=86400`, port) }

// Try reads the certificates of a configuration and binds its addresses, as Prepare does, and closes them at once. It calls report
// with what is wrong.
func Try(cfg *config.Config, o Options, report func(key string, line int, err error)) (warnings []config.Problem) {
	c := &Change{set: New(o), cfg: cfg}
	for i := range cfg.Listen.Encrypted {
		l := &cfg.Listen.Encrypted[i]
		shown, err := certificates.Load(cfg, i, nil, o.Clock())
		if err != nil {
			report("", l.Line, err)
		} else {
			warnings = append(warnings, shown.Warnings...)
			c.shown = append(c.shown, shown)
		}
	}
	if len(c.shown) == len(cfg.Listen.Encrypted) {
		_, hidden := c.Designated()
		for _, why := range hidden {
			warnings = append(warnings, config.Problem{File: cfg.File, Message: why, Remedy: "see docs/encrypted.md; or write designate: false"})
		}
	}
	c.places, c.of = places(cfg)
	for i, p := range c.places {
		try := listener.TryUDP
		if p.protocol.OverTCP() {
			try = listener.TryTCP
		}
		if err := try(p.AddrPort); err != nil && !(setup.NoIPv6(err) && c.optional(i)) {
			report(fmt.Sprintf("listen.encrypted[%d].addresses", c.of[i]), cfg.Listen.Encrypted[c.of[i]].Line, err)
		}
	}
	slices.SortStableFunc(warnings, func(a, b config.Problem) int { return cmp.Compare(a.Line, b.Line) })
	return warnings
}
