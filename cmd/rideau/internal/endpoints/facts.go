package endpoints

import (
	"fmt"
	"net/netip"
	"slices"

	"rideau/cmd/rideau/internal/certificates"
	"rideau/config"
	"rideau/config/encrypted"
	"rideau/resolver/ops/metrics"
)

// Bound is an endpoint that is served.
type Bound struct {
	Protocol encrypted.Protocol
	Addr     netip.AddrPort
	Path     string // of HTTP
	// SelfSigned: clients cannot verify the certificate.
	SelfSigned bool
	// ClientCertificates says whether clients have to show certificates.
	ClientCertificates encrypted.ClientCertificates
}

// String is the endpoint as people write it.
func (b Bound) String() string {
	switch b.Protocol {
	case encrypted.DoT:
		return "tls://" + b.Addr.String()
	case encrypted.DoQ:
		return "quic://" + b.Addr.String()
	case encrypted.DoH3:
		return "h3://" + b.Addr.String() + b.Path
	}
	return "https://" + b.Addr.String() + b.Path
}

// Bound returns the endpoints that are bound for a configuration, in its order.
func (s *Set) Bound(cfg *config.Config) []Bound {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Bound
	all, of := places(cfg)
	for i, p := range all {
		if e := s.live[p]; e != nil {
			l := &cfg.Listen.Encrypted[of[i]]
			b := Bound{Protocol: p.protocol, Addr: e.Addr(), SelfSigned: l.SelfSigned, ClientCertificates: l.ClientCertificates}
			if p.protocol.HTTP() {
				b.Path = l.Path
			}
			out = append(out, b)
		}
	}
	return out
}

// Missing returns which endpoints of a configuration are not served, and why.
func (s *Set) Missing(cfg *config.Config) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	all, _ := places(cfg)
	for _, p := range all {
		e, ok := s.live[p]
		if s.absent[p] {
			continue
		}
		if !ok {
			out = append(out, fmt.Sprintf("%v for %s is not bound", p.AddrPort, p.protocol))
			continue
		}
		select {
		case <-e.done:
			out = append(out, fmt.Sprintf("%v for %s is no longer served", p.AddrPort, p.protocol))
		default:
		}
	}
	return out
}

// Panics is how many queries were given up because of a panic.
func (s *Set) Panics() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.panics
	for _, e := range s.live {
		n += e.figures().Panics
	}
	for e := range s.draining {
		n += e.figures().Panics
	}
	return n
}

// Certificates returns the certificates in use.
func (s *Set) Certificates() []certificates.Certificate {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []certificates.Certificate
	for _, shown := range s.shown {
		for _, c := range shown.Certificates {
			if !slices.ContainsFunc(out, func(o certificates.Certificate) bool { return o.File == c.File }) {
				out = append(out, c)
			}
		}
	}
	return out
}

// Metrics returns the figures of this moment.
func (s *Set) Metrics() metrics.Encrypted {
	var out metrics.Encrypted
	s.mu.Lock()
	open := map[encrypted.Protocol]int{}
	for p, e := range s.live {
		open[p.protocol] += e.figures().Connections
	}
	for e, p := range s.draining {
		open[p.protocol] += e.figures().Connections
	}
	gates := s.gate != nil
	out.Hidden = slices.Clone(s.hidden)
	s.mu.Unlock()
	for _, p := range []encrypted.Protocol{encrypted.DoT, encrypted.DoH, encrypted.DoH3, encrypted.DoQ} {
		if n, ok := open[p]; ok {
			out.Connections = append(out.Connections, metrics.Connections{Transport: string(p), Open: n})
		}
	}
	if gates && len(out.Connections) > 0 {
		web, tls := s.gate.Stats(), s.handshakes.Stats()
		out.Handshakes = web.Fresh + tls.Fresh
		out.Refused, out.Evicted = web.Refused+tls.Refused, web.Evicted+tls.Evicted
	}
	for _, c := range s.Certificates() {
		out.Certificates = append(out.Certificates, metrics.Certificate{File: c.File, Expires: c.Expires, Fault: c.Fault(s.o.Clock())})
	}
	return out
}
