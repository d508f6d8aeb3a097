package config

import (
	"crypto/sha256"
	"encoding/base64"
	"net/netip"
	"net/url"
	"strings"

	"rideau/config/node"
)

// Transport is how a server is asked.
type Transport uint8

// Transports.
const (
	Do53   Transport = iota // UDP, and TCP for what is truncated
	TCP                     // TCP alone
	DoT                     // RFC 7858
	DoH                     // RFC 8484 by HTTP/2
	DoH3                    // RFC 8484 by HTTP/3
	DoQ                     // RFC 9250
	System                  // whatever the system's resolv.conf names
)

// Encrypted reports whether nobody on the way can read or change what is said.
func (t Transport) Encrypted() bool { return t == DoT || t == DoH || t == DoH3 || t == DoQ }

// Server is an upstream resolver. It is comparable by String.
type Server struct {
	// Server is the server as it is written, in one form for each: system, ADDRESS:PORT, tcp://ADDRESS:PORT, tls://ADDRESS:PORT,
	// quic://ADDRESS:PORT, https://HOST/PATH or h3://HOST/PATH.
	Server string `key:"server"`
	// Name is what the certificate has to be for; empty for the host of the URL, or the address.
	Name string `key:"name"`
	// Pins are the SHA-256 of the public keys of which the server must have one, in base64.
	Pins []string `key:"pins"`
	// Addresses are where it is, in the order in which they are tried. There is one at least, but for the system's.
	Addresses []netip.AddrPort `key:"addresses"`
	// CAFile is the path of a file with the certificates to trust instead of the system's, made relative as List.File is; empty for none.
	CAFile string `key:"ca_file"`
	// TrustAD believes the server that it has checked signatures.
	TrustAD bool `key:"trust_ad"`

	// Transport is how it is asked.
	Transport Transport
	// URL is what is asked with DoH and DoH3.
	URL string
	// Line is where the server is written.
	Line int
}

// String is the server as an operator writes it.
func (s Server) String() string { return s.Server }

// Plain is a server at an address, without encryption.
func Plain(a netip.AddrPort) Server {
	return Server{Server: a.String(), Addresses: []netip.AddrPort{a}}
}

// serverReader reads servers, each of which may be listed once. The word system is for upstream alone.
func (c *Config) serverReader(system bool) node.Parse[Server] {
	lines := map[string]int{}
	return func(v node.Value) (Server, bool) {
		s, ok := c.server(v, system)
		if !ok {
			return s, false
		}
		if first, dup := lines[s.Server]; dup {
			written, _ := v.Scalar()
			if written == "" {
				written = s.Server
			}
			v.Problem("remove one of them", "%s is listed twice (first on line %d)", node.Quote(written), first)
			return s, false
		}
		lines[s.Server] = v.Line()
		return s, true
	}
}

// server reads a server: its address alone, or a mapping.
func (c *Config) server(v node.Value, system bool) (Server, bool) {
	s := Server{Line: v.Line()}
	if _, scalar := v.Scalar(); scalar || !v.IsMapping() {
		return s, s.parse(v, system) && c.located(v, &s)
	}
	m := v.Mapping()
	good := true
	node.Set(m, "server", &s.Server, func(v node.Value) (string, bool) {
		good = s.parse(v, system)
		return s.Server, good
	})
	node.Set(m, "name", &s.Name, domain)
	node.Set(m, "pins", &s.Pins, node.List(1, 16, node.Distinct(pin)))
	var at []netip.AddrPort
	node.Set(m, "addresses", &at, node.List(1, 16, node.Distinct(s.address)))
	node.Set(m, "ca_file", &s.CAFile, file)
	node.Set(m, "trust_ad", &s.TrustAD, node.Boolean)
	m.Done()
	m.Require("server", "write where the server is, as in tls://192.0.2.53")
	if !m.Sound() || !m.Has("server") || !good {
		return s, false
	}
	if len(at) > 0 {
		s.Addresses = at
	}
	return s, s.fits(m) && c.located(v, &s)
}

// fits holds the keys of a server against its transport.
func (s *Server) fits(m *node.Mapping) bool {
	for _, key := range []string{"name", "pins", "ca_file"} {
		if m.Has(key) && !s.Transport.Encrypted() {
			m.At(key).Problem("write the server as tls://, https://, h3:// or quic://, or take the key out", "%s shows no certificate", s.Server)
			return false
		}
	}
	switch {
	case m.Has("addresses") && s.Transport != DoH && s.Transport != DoH3:
		m.At("addresses").Problem("write the address into server", "only https:// and h3:// servers have addresses beside")
		return false
	case s.TrustAD && s.Transport == System:
		m.At("trust_ad").Problem("write the server's address", "the system may name any server, and it may change")
		return false
	case s.TrustAD && !s.Transport.Encrypted() && !s.Addresses[0].Addr().IsLoopback():
		m.At("trust_ad").Problem("reach it by tls://, https://, h3:// or quic://, or take the key out",
			"%s is asked in plain text, where anybody on the way can set AD", s.Server)
		return false
	}
	return true
}

// located sees to it that the server has an address that is not ours.
func (c *Config) located(v node.Value, s *Server) bool {
	if s.Transport == System {
		return true
	}
	if len(s.Addresses) == 0 {
		v.Problem("add addresses, as in {server: "+node.Quote(s.Server)+", addresses: [192.0.2.53]}",
			"%s is given by a name, which nobody looks up: asking for it would need a server first", node.Quote(s.Server))
		return false
	}
	for _, a := range s.Addresses {
		v.Finally(func() {
			c.notOurselves(v, a)
			c.approved(v, a)
		})
	}
	return true
}

const serverForms = "write 192.0.2.53, tls://192.0.2.53#dns.example, https://dns.example/dns-query#192.0.2.53, or see the example"

// parse reads what says where a server is.
func (s *Server) parse(v node.Value, system bool) bool {
	text, ok := v.Scalar()
	switch {
	case !ok:
		v.Wrong("a server", serverForms)
		return false
	case text == "system" && !system:
		v.Problem("write the addresses of the servers that know these zones", "the system's servers cannot be used here")
		return false
	case text == "system":
		s.Transport, s.Server = System, text
		return true
	}
	scheme, rest, isURL := strings.Cut(text, "://")
	if !isURL {
		if text != "" && isLetters(text) && system {
			v.Problem(node.Suggest(text, []string{"system"})+", or an address", "unknown keyword %s", node.Quote(text))
			return false
		}
		return s.at(v, text, "", 53)
	}
	rest, extra, _ := strings.Cut(rest, "#")
	switch scheme {
	case "udp":
		return extra == "" && s.at(v, rest, "", 53) || s.odd(v, extra)
	case "tcp":
		s.Transport = TCP
		return extra == "" && s.at(v, rest, "tcp://", 53) || s.odd(v, extra)
	case "tls", "quic":
		s.Transport = DoT
		if scheme == "quic" {
			s.Transport = DoQ
		}
		if extra != "" {
			if fault := nameFault(strings.ToLower(extra)); fault != "" {
				v.Problem(serverForms, "%s is no name for a certificate: %s", node.Quote(extra), fault)
				return false
			}
			s.Name = strings.ToLower(extra)
		}
		return s.at(v, rest, scheme+"://", 853)
	case "https", "h3":
		s.Transport = DoH
		if scheme == "h3" {
			s.Transport = DoH3
		}
		return s.web(v, scheme, rest, extra)
	}
	v.Problem("use tcp, tls, https, h3 or quic", "unknown way of asking %s", node.Quote(scheme))
	return false
}

func (s *Server) odd(v node.Value, extra string) bool {
	if extra != "" {
		v.Problem("take it out", "%s after the address means nothing here", node.Quote("#"+extra))
	}
	return false
}

// at reads an address, of which the port may be missing.
func (s *Server) at(v node.Value, text, scheme string, port uint16) bool {
	a, ok := hostAddress(v, text, port)
	if ok {
		s.Server, s.Addresses = scheme+a.String(), []netip.AddrPort{a}
	}
	return ok
}

// web reads what follows https:// or h3://, and the addresses behind the #.
func (s *Server) web(v node.Value, scheme, rest, extra string) bool {
	u, err := url.Parse("https://" + rest)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" {
		v.Problem("write it as https://dns.example/dns-query", "%s is not the URL of a DNS server", node.Quote(scheme+"://"+rest))
		return false
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/dns-query"
	}
	u.Host = strings.ToLower(u.Host)
	s.URL, s.Server = u.String(), scheme+"://"+u.Host+u.Path
	port := uint16(443)
	if p, err := netip.ParseAddrPort("0.0.0.0:" + u.Port()); err == nil {
		port = p.Port()
	}
	if a, err := netip.ParseAddr(u.Hostname()); err == nil {
		s.Addresses = []netip.AddrPort{netip.AddrPortFrom(a.Unmap(), port)}
	}
	if extra == "" {
		return true
	}
	s.Addresses = nil
	for text := range strings.SplitSeq(extra, ",") {
		a, ok := hostAddress(v, text, port)
		if !ok {
			return false
		}
		s.Addresses = append(s.Addresses, a)
	}
	return true
}

// address reads one of the addresses of a server with a URL.
func (s *Server) address(v node.Value) (netip.AddrPort, bool) {
	text, ok := v.Scalar()
	if !ok {
		v.Wrong("an address", "write 192.0.2.53")
		return netip.AddrPort{}, false
	}
	port := uint16(443)
	if u, err := url.Parse(s.URL); err == nil {
		if p, err := netip.ParseAddrPort("0.0.0.0:" + u.Port()); err == nil {
			port = p.Port()
		}
	}
	return hostAddress(v, text, port)
}

// pin is the hash of a public key.
func pin(v node.Value) (string, bool) {
	text, ok := v.Scalar()
	text = strings.TrimPrefix(text, "sha256/")
	if b, err := base64.StdEncoding.DecodeString(text); !ok || err != nil || len(b) != sha256.Size {
		v.Wrong("the SHA-256 of a public key in base64", "make it with: openssl x509 -in CERT -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64")
		return "", false
	}
	return text, true
}
