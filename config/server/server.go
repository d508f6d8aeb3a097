// Package server parses the upstream servers of a configuration, in every form in which one can be written.
package server

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"rideau/config/node"
	"rideau/config/value"
)

// Transport is the protocol by which a server is asked.
type Transport uint8

// Transports.
const (
	Do53   Transport = iota // UDP, and TCP for what is truncated
	TCP                     // TCP alone
	DoT                     // RFC 7858
	DoH                     // RFC 8484 by HTTP/2
	DoH3                    // RFC 8484 by HTTP/3
	DoQ                     // RFC 9250
	System                  // not a server: those that the system's resolv.conf names
)

// Encrypted reports whether nobody on the way can read or change messages.
func (t Transport) Encrypted() bool { return t == DoT || t == DoH || t == DoH3 || t == DoQ }

// Server is an upstream resolver. Two Servers with the same String are the same.
type Server struct {
	// Server is the server as an operator writes it, in its normal form: system, ADDRESS:PORT, tcp://ADDRESS:PORT, tls://ADDRESS:PORT,
	// quic://ADDRESS:PORT, https://HOST/PATH or h3://HOST/PATH.
	Server string `key:"server"`
	// Name is the name that the certificate has to have; empty for the host of the URL, or the address.
	Name string `key:"name"`
	// Pins are SHA-256 digests of public keys, in base64. The server must have one of these keys.
	Pins []string `key:"pins"`
	// Addresses are tried in their order. There is at least one, except for System.
	Addresses []netip.AddrPort `key:"addresses"`
	// CAFile is the path of a file with the certificates to trust in place of the system's; empty for the system's. Load makes it
	// relative to the directory of the configuration file.
	CAFile string `key:"ca_file"`
	// TrustAD says that the AD bit of the server's responses is believed (RFC 4035 section 3.2.3).
	TrustAD bool `key:"trust_ad"`

	// Transport is the protocol by which it is asked.
	Transport Transport
	// URL is where DoH and DoH3 send requests.
	URL string
	// Line is the line of the server in its file.
	Line int
}

// String returns the server as an operator writes it.
func (s Server) String() string { return s.Server }

// Plain returns the server at an address that is asked over UDP and TCP.
func Plain(a netip.AddrPort) Server {
	return Server{Server: a.String(), Addresses: []netip.AddrPort{a}}
}

// Reader returns a parser of servers, each of which may be listed once. Only with system may one be the word system. check is called with
// each address once the whole configuration is known; it reports to the value what is wrong with the address.
func Reader(system bool, check func(v node.Value, a netip.AddrPort)) node.Parse[Server] {
	lines := map[string]int{}
	return func(v node.Value) (Server, bool) {
		s, ok := parse(v, system)
		if !ok || !s.checkAddresses(v, check) {
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

// parse parses a server: the text that says where it is, or a mapping.
func parse(v node.Value, system bool) (Server, bool) {
	s := Server{Line: v.Line()}
	if _, scalar := v.Scalar(); scalar || !v.IsMapping() {
		return s, s.parse(v, system)
	}
	m := v.Mapping()
	good := true
	node.Set(m, "server", &s.Server, func(v node.Value) (string, bool) {
		good = s.parse(v, system)
		return s.Server, good
	})
	node.Set(m, "name", &s.Name, value.Domain)
	node.Set(m, "pins", &s.Pins, node.List(1, 16, node.Distinct(value.Pin)))
	var at []netip.AddrPort
	node.Set(m, "addresses", &at, node.List(1, 16, node.Distinct(s.address)))
	node.Set(m, "ca_file", &s.CAFile, value.File)
	node.Set(m, "trust_ad", &s.TrustAD, node.Boolean)
	m.Done()
	m.Require("server", "write where the server is, as in tls://192.0.2.53")
	if !m.Sound() || !m.Has("server") || !good {
		return s, false
	}
	if len(at) > 0 {
		s.Addresses = at
	}
	return s, s.checkKeys(m)
}

// checkKeys refuses keys that mean nothing for the server's transport.
func (s *Server) checkKeys(m *node.Mapping) bool {
	for _, key := range []string{"name", "pins", "ca_file"} {
		if m.Has(key) && !s.Transport.Encrypted() {
			m.At(key).Problem("write the server as tls://, https://, h3:// or quic://, or take the key out", "%s shows no certificate", s.Server)
			return false
		}
	}
	switch {
	case m.Has("addresses") && s.Transport != DoH && s.Transport != DoH3:
		m.At("addresses").Problem("write the address into server", "only https:// and h3:// servers have the key addresses")
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

// checkAddresses refuses a server without an address, and has each address checked at the end.
func (s *Server) checkAddresses(v node.Value, check func(v node.Value, a netip.AddrPort)) bool {
	if s.Transport == System {
		return true
	}
	if len(s.Addresses) == 0 {
		v.Problem("add addresses, as in {server: "+node.Quote(s.Server)+", addresses: [192.0.2.53]}",
			"%s is given by a name, and Rideau looks up no names of servers: it would need a server for that", node.Quote(s.Server))
		return false
	}
	for _, a := range s.Addresses {
		v.Finally(func() { check(v, a) })
	}
	return true
}

const forms = "write 192.0.2.53, tls://192.0.2.53#dns.example, https://dns.example/dns-query#192.0.2.53, or see the example"

// parse parses the text that says where a server is.
func (s *Server) parse(v node.Value, system bool) bool {
	text, ok := v.Scalar()
	switch {
	case !ok:
		v.Wrong("a server", forms)
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
		if text != "" && value.IsLetters(text) && system {
			v.Problem(node.Suggest(text, []string{"system"})+", or an address", "unknown keyword %s", node.Quote(text))
			return false
		}
		return s.parseAddress(v, text, "", 53)
	}
	rest, extra, _ := strings.Cut(value.PlainZone(rest), "#")
	switch scheme {
	case "udp":
		return extra == "" && s.parseAddress(v, rest, "", 53) || s.refuseExtra(v, extra)
	case "tcp":
		s.Transport = TCP
		return extra == "" && s.parseAddress(v, rest, "tcp://", 53) || s.refuseExtra(v, extra)
	case "tls", "quic":
		s.Transport = DoT
		if scheme == "quic" {
			s.Transport = DoQ
		}
		if extra != "" {
			if fault := value.NameFault(strings.ToLower(extra)); fault != "" {
				v.Problem(forms, "%s is no name for a certificate: %s", node.Quote(extra), fault)
				return false
			}
			s.Name = strings.ToLower(extra)
		}
		return s.parseAddress(v, rest, scheme+"://", 853)
	case "https", "h3":
		s.Transport = DoH
		if scheme == "h3" {
			s.Transport = DoH3
		}
		return s.parseURL(v, scheme, rest, extra)
	}
	v.Problem("use tcp, tls, https, h3 or quic", "unknown transport %s", node.Quote(scheme))
	return false
}

// refuseExtra reports text after a # where there must be none.
func (s *Server) refuseExtra(v node.Value, extra string) bool {
	if extra != "" {
		v.Problem("take it out", "%s after the address means nothing here", node.Quote("#"+extra))
	}
	return false
}

// parseAddress parses an address. If it has no port, the port is the given one.
func (s *Server) parseAddress(v node.Value, text, scheme string, port uint16) bool {
	a, ok := value.HostAddress(v, text, port)
	if ok {
		s.Server, s.Addresses = scheme+a.String(), []netip.AddrPort{a}
	}
	return ok
}

// parseURL parses the text after https:// or h3://, and in extra the addresses after the #.
func (s *Server) parseURL(v node.Value, scheme, rest, extra string) bool {
	u, err := url.Parse(value.URLZone("https://" + rest))
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" {
		v.Problem("write it as https://dns.example/dns-query", "%s is not the URL of a DNS server", node.Quote(scheme+"://"+rest))
		return false
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/dns-query"
	}
	if !strings.HasPrefix(u.Host, "[") { // a zone may have capital letters
		u.Host = strings.ToLower(u.Host)
	}
	port := uint16(443)
	if p, err := netip.ParseAddrPort("0.0.0.0:" + u.Port()); err == nil {
		port = p.Port()
	}
	if _, err := netip.ParseAddr(u.Hostname()); err == nil {
		a, ok := value.HostAddress(v, u.Host, port)
		if !ok {
			return false
		}
		s.Addresses = []netip.AddrPort{a}
		if u.Host = "[" + a.Addr().String() + "]"; a.Addr().Is4() {
			u.Host = a.Addr().String()
		}
		if a.Port() != 443 {
			u.Host += ":" + strconv.Itoa(int(a.Port()))
		}
	}
	s.URL, s.Server = u.String(), scheme+"://"+u.Host+u.Path
	if extra == "" {
		return true
	}
	s.Addresses = nil
	for text := range strings.SplitSeq(extra, ",") {
		a, ok := value.HostAddress(v, text, port)
		if !ok {
			return false
		}
		s.Addresses = append(s.Addresses, a)
	}
	return true
}

// address parses one of the addresses of a server with a URL.
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
	return value.HostAddress(v, text, port)
}
