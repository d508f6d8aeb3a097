package endpoints

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"rideau/cmd/rideau/internal/certificates"
	"rideau/config/encrypted"
	"rideau/resolver/designation"
)

// Designated returns the endpoints that clients are told of when they ask for them in plain text, and why others are not among
// them. A client verifies the certificate for the address that it asks in plain text (RFC 9462 section 4.2): so that
// has to be among those of the certificate.
func (c *Change) Designated() (services []designation.Service, reasons []string) {
	for i := range c.cfg.Listen.Encrypted {
		l := &c.cfg.Listen.Encrypted[i]
		if !l.Designate {
			continue
		}
		cert := &c.shown[i].Certificates[0]
		addresses, why := c.reachable(l, cert)
		if why == "" {
			why = unfit(l, cert)
		}
		if now := c.set.o.Clock(); why == "" && (cert.NotBefore.After(now) || cert.Expires.Before(now)) {
			why = fmt.Sprintf("the certificate %s is not valid now", cert.File)
		}
		if why != "" {
			reasons = append(reasons, fmt.Sprintf("listen.encrypted[%d]: devices do not find it by themselves (DDR): %s", i, why))
			continue
		}
		services = append(services, c.services(i, cert, addresses)...)
	}
	slices.SortStableFunc(services, func(a, b designation.Service) int { return cmp.Compare(a.Priority, b.Priority) })
	return services, reasons
}

// unfit returns why no client that finds a listener can use it; empty if clients can.
func unfit(l *encrypted.Listener, cert *certificates.Certificate) string {
	switch {
	case cert.SelfSigned:
		return "no device trusts a certificate that Rideau signs itself"
	case l.ClientCertificates == encrypted.Required:
		return "it wants a certificate from each client"
	case target(cert) == "":
		return fmt.Sprintf("the certificate %s is for no name", cert.File)
	}
	return ""
}

// target is the first name of a certificate that a host can have; empty if there is none.
func target(cert *certificates.Certificate) string {
	i := slices.IndexFunc(cert.Names, func(n string) bool { return !strings.Contains(n, "*") && strings.Contains(n, ".") })
	if i < 0 {
		return ""
	}
	return cert.Names[i]
}

// reachable returns the addresses at which clients reach a listener and can verify its certificate, or why there are none.
func (c *Change) reachable(l *encrypted.Listener, cert *certificates.Certificate) (out []netip.Addr, why string) {
	plain := c.own(c.cfg.Listen.Addresses)
	for _, a := range plain.named {
		if !cert.For(a) {
			return nil, fmt.Sprintf("the certificate %s is not for the address %v of listen.addresses", cert.File, a)
		}
	}
	if len(plain.named) == 0 && !slices.ContainsFunc(plain.all, cert.For) {
		return nil, fmt.Sprintf("the certificate %s is for no address of this machine", cert.File)
	}
	for _, a := range c.own(l.Addresses).all {
		if cert.For(a) && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Sprintf("the certificate %s is for none of its addresses", cert.File)
	}
	return out, ""
}

// owned are addresses of this machine. named are those that a configuration names; all has the machine's others, too, if one of
// the addresses is unspecified.
type owned struct{ named, all []netip.Addr }

// own returns the addresses of this machine that addresses stand for.
func (c *Change) own(addresses []netip.AddrPort) (o owned) {
	for _, a := range addresses {
		if !a.Addr().IsUnspecified() {
			o.named = append(o.named, a.Addr().WithZone(""))
			o.all = append(o.all, a.Addr().WithZone(""))
			continue
		}
		for _, m := range c.set.machine() {
			if m.Is4() == a.Addr().Is4() {
				o.all = append(o.all, m)
			}
		}
	}
	// A loopback address is for this machine alone, unless there is no other.
	if named := slices.DeleteFunc(slices.Clone(o.named), netip.Addr.IsLoopback); len(named) > 0 || len(o.all) > len(o.named) {
		o.named = named
	}
	return o
}

// machineAddresses returns the addresses of this machine's interfaces.
func machineAddresses() []netip.Addr {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var out []netip.Addr
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, p.Addr().Unmap())
		}
	}
	return out
}

// services are those of a listener: DoH first, which most devices have, then DoT, then DoQ.
func (c *Change) services(i int, cert *certificates.Certificate, addresses []netip.Addr) []designation.Service {
	l := &c.cfg.Listen.Encrypted[i]
	var out []designation.Service
	for j, p := range c.places {
		e := c.endpoint(p)
		if c.of[j] != i || e == nil {
			continue
		}
		s := designation.Service{Target: target(cert), Port: e.Addr().Port()}
		switch p.protocol {
		case encrypted.DoH:
			s.Priority, s.ALPN, s.Path = 1, []string{"h2"}, l.Path
		case encrypted.DoH3:
			s.Priority, s.ALPN, s.Path = 1, []string{"h3"}, l.Path
		case encrypted.DoT:
			s.Priority, s.ALPN = 2, []string{"dot"}
		case encrypted.DoQ:
			s.Priority, s.ALPN = 3, []string{"doq"}
		}
		for _, a := range addresses {
			switch {
			case p.Addr() != a && !(p.Addr().IsUnspecified() && p.Addr().Is4() == a.Is4()):
			case a.Is4():
				s.IPv4 = append(s.IPv4, a)
			default:
				s.IPv6 = append(s.IPv6, a)
			}
		}
		if len(s.IPv4)+len(s.IPv6) > 0 {
			out = join(out, s)
		}
	}
	return out
}

// join adds a service to others: to that of the same kind and port, if there is one.
func join(all []designation.Service, s designation.Service) []designation.Service {
	for i := range all {
		o := &all[i]
		if o.Priority != s.Priority || o.Port != s.Port {
			continue
		}
		for _, p := range s.ALPN {
			if !slices.Contains(o.ALPN, p) {
				o.ALPN = append(o.ALPN, p)
			}
		}
		o.IPv4, o.IPv6 = union(o.IPv4, s.IPv4), union(o.IPv6, s.IPv6)
		return all
	}
	return append(all, s)
}

func union(a, b []netip.Addr) []netip.Addr {
	for _, x := range b {
		if !slices.Contains(a, x) {
			a = append(a, x)
		}
	}
	return a
}

// endpoint returns the endpoint for a place, which is bound; nil if there is none.
func (c *Change) endpoint(p place) *endpoint {
	if e := c.fresh[p]; e != nil {
		return e
	}
	c.set.mu.Lock()
	defer c.set.mu.Unlock()
	return c.set.live[p]
}
