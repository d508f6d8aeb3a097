// Package encrypted parses the list listen.encrypted of a configuration: where clients can ask by TLS, HTTPS and QUIC, and with which
// certificates.
package encrypted

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"rideau/config/node"
	"rideau/config/value"
)

// Protocol is a way to ask.
type Protocol string

// Protocols.
const (
	DoT  Protocol = "dot"  // DNS over TLS (RFC 7858)
	DoH  Protocol = "doh"  // DNS over HTTPS by HTTP/2 and HTTP/1.1 (RFC 8484)
	DoH3 Protocol = "doh3" // DNS over HTTPS by HTTP/3
	DoQ  Protocol = "doq"  // DNS over QUIC (RFC 9250)
)

// OverTCP reports whether the protocol takes a TCP port, and not a UDP port.
func (p Protocol) OverTCP() bool { return p == DoT || p == DoH }

// HTTP reports whether the protocol has a path.
func (p Protocol) HTTP() bool { return p == DoH || p == DoH3 }

// ClientCertificates says whether clients have to show certificates.
type ClientCertificates string

// Whether clients have to show certificates.
const (
	None     ClientCertificates = "none"     // they are not asked to
	Optional ClientCertificates = "optional" // one that is shown must be good
	Required ClientCertificates = "required" // without a good one there is no connection
)

// Certificate is a certificate that Rideau shows to clients.
type Certificate struct {
	// Certificate is the file of the certificate and of those that issued it, Key that of its key, both in PEM. Load makes them relative
	// to the directory of the configuration file.
	Certificate string `key:"certificate"`
	Key         string `key:"key"`
}

// Listener says where clients can ask, how, and which certificates they see.
type Listener struct {
	// Addresses are served by each of the Protocols.
	Addresses []netip.AddrPort `key:"addresses"`
	Protocols []Protocol       `key:"protocols"`
	// Certificates are shown to clients: the first that is for the name that a client asks for, or else the first. SelfSigned makes one at
	// each start in their place.
	Certificates []Certificate `key:"certificates"`
	SelfSigned   bool          `key:"self_signed"`
	// MinVersion is the lowest version of TLS.
	MinVersion string `key:"min_version"`
	// ClientCA is the file of the certificates that may have issued those of clients. Load makes it relative to the directory of the
	// configuration file.
	ClientCA           string             `key:"client_ca"`
	ClientCertificates ClientCertificates `key:"client_certificates"`
	// CertificatesSuffice serves clients that show good certificates wherever they are, also where clients.allow does not have their addresses.
	CertificatesSuffice bool `key:"certificates_suffice"`
	// Path is where DoH is.
	Path string `key:"path"`
	// Designate says that clients that ask in plain text are told of the listener (RFC 9462).
	Designate bool `key:"designate"`
	// Line is the line where the listener begins.
	Line int `key:"-"`
}

// Ports are TCP and UDP ports that are taken, with the lines that take them.
type Ports struct{ tcp, udp map[netip.AddrPort]int }

// NewPorts returns the ports that addresses take, over TCP and UDP. line is where they stand.
func NewPorts(addresses []netip.AddrPort, line int) *Ports {
	p := &Ports{map[netip.AddrPort]int{}, map[netip.AddrPort]int{}}
	for _, a := range addresses {
		p.tcp[a], p.udp[a] = line, line
	}
	return p
}

// Read returns a parser of the list. The addresses must not have ports that are taken.
func Read(taken *Ports) node.Parse[[]Listener] {
	return node.List(0, 16, func(v node.Value) (Listener, bool) { return read(v, taken) })
}

func read(v node.Value, taken *Ports) (Listener, bool) {
	m := v.Mapping()
	l := Listener{MinVersion: "1.3", ClientCertificates: None, Path: "/dns-query", Designate: true, Line: v.Line()}
	var addresses [][]netip.AddrPort
	node.Set(m, "addresses", &addresses, node.List(1, 64, value.ListenAddress))
	l.Addresses = slices.Concat(addresses...)
	node.Set(m, "protocols", &l.Protocols, node.List(1, 4, node.Distinct(node.Word("a protocol", DoT, DoH, DoH3, DoQ))))
	node.Set(m, "certificates", &l.Certificates, node.List(0, 16, readCertificate))
	node.Set(m, "self_signed", &l.SelfSigned, node.Boolean)
	node.Set(m, "min_version", &l.MinVersion, node.Word("a version", "1.3", "1.2"))
	node.Set(m, "client_ca", &l.ClientCA, value.FileOrNone)
	node.Set(m, "client_certificates", &l.ClientCertificates, node.Word("a choice", None, Optional, Required))
	node.Set(m, "certificates_suffice", &l.CertificatesSuffice, node.Boolean)
	node.Set(m, "path", &l.Path, Path)
	node.Set(m, "designate", &l.Designate, node.Boolean)
	m.Done()
	m.Require("addresses", "write addresses, such as [\":853\"] for dot and doq, or [\":443\"] for doh and doh3")
	m.Require("protocols", "write protocols: [dot, doq] or [doh, doh3]")
	l.checkCertificates(m, v)
	if m.Has("path") && !slices.ContainsFunc(l.Protocols, Protocol.HTTP) {
		m.At("path").Problem("take it out, or add doh to protocols", "path is for doh and doh3")
	}
	if m.Sound() {
		l.claim(m.At("addresses"), taken)
	}
	return l, m.Sound()
}

func (l *Listener) checkCertificates(m *node.Mapping, v node.Value) {
	switch {
	case len(l.Certificates) == 0 && !l.SelfSigned && m.Sound():
		v.Problem("write certificates: [{certificate: dns.pem, key: dns.key}], or self_signed: true to try it out", "there is no certificate to show")
	case len(l.Certificates) > 0 && l.SelfSigned:
		m.At("self_signed").Problem("take it out", "there are certificates, too")
	case l.SelfSigned:
		m.At("self_signed").Warn("write certificates for anything but a trial",
			"no device trusts a certificate that Rideau signs itself, and no device is told of it")
	}
	switch {
	case l.ClientCertificates != None && l.ClientCA == "":
		m.At("client_certificates").Problem("write client_ca: and the file of the CA that issues them", "nothing says which client certificates are good")
	case l.ClientCA != "" && l.ClientCertificates == None:
		m.At("client_ca").Warn("write client_certificates: optional or required", "clients are not asked for certificates, and client_ca has no effect")
	}
	if l.CertificatesSuffice && l.ClientCertificates != Required {
		m.At("certificates_suffice").Problem("write client_certificates: required, or take it out", "clients without certificates are let in, too")
	}
	if m.Has("min_version") && l.MinVersion == "1.2" && !slices.ContainsFunc(l.Protocols, Protocol.OverTCP) {
		m.At("min_version").Warn("take it out", "QUIC has TLS 1.3 only")
	}
}

// claim takes the ports of a listener.
func (l *Listener) claim(at node.Value, taken *Ports) {
	for _, p := range l.Protocols {
		ports, kind := taken.udp, "UDP"
		if p.OverTCP() {
			ports, kind = taken.tcp, "TCP"
		}
		for _, a := range l.Addresses {
			if first, dup := ports[a]; dup && a.Port() != 0 {
				at.Problem("choose another address or port for one of them", "%s needs %s on %s, which line %d takes", p, kind, a, first)
				return
			}
			ports[a] = l.Line
		}
	}
}

func readCertificate(v node.Value) (Certificate, bool) {
	m := v.Mapping()
	var c Certificate
	node.Set(m, "certificate", &c.Certificate, value.File)
	node.Set(m, "key", &c.Key, value.File)
	m.Done()
	m.Require("certificate", "write the file of the certificate and of those that issued it, in PEM")
	m.Require("key", "write the file of the certificate's key, in PEM")
	return c, m.Sound()
}

// Path parses the path of a URL.
func Path(v node.Value) (string, bool) {
	const remedy = "write a path such as /dns-query"
	s, ok := v.Scalar()
	switch odd := strings.IndexFunc(s, func(r rune) bool {
		return !value.IsLetters(string(r)) && (r < '0' || r > '9') && !strings.ContainsRune("/-._~", r)
	}); {
	case !ok:
		v.Wrong("a path", remedy)
	case !strings.HasPrefix(s, "/"):
		v.Problem(remedy, "%s does not begin with /", node.Quote(s))
	case len(s) > 256:
		v.Problem("use at most 256", "the path has %d bytes", len(s))
	case odd >= 0:
		v.Problem("use a-z, A-Z, 0-9, and -._~/", "%s has %s", node.Quote(s), node.Quote(fmt.Sprintf("%.1s", s[odd:])))
	case strings.Contains(s, "//") || strings.Contains(s, "/."):
		v.Problem(remedy, "clients change %s before they ask for it", node.Quote(s))
	default:
		return s, true
	}
	return "", false
}
