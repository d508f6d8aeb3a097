// Package secure says how TLS is spoken to clients: with which certificates,
// versions and keys, and whose certificates of clients are good. What it says can
// change while connections are open; it holds for new ones.
package secure

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
	"sync/atomic"

	"rideau/blocklists/group"
)

// Settings are immutable once they are in use.
type Settings struct {
	// Certificates has at least one. A client gets the first that is for the name
	// that it asks for and that it can verify, or else the first.
	Certificates []tls.Certificate
	// MinVersion is tls.VersionTLS12 or tls.VersionTLS13, which zero means.
	MinVersion uint16
	// Clients have issued the certificates that clients may show. ClientAuth is
	// tls.NoClientCert, tls.VerifyClientCertIfGiven or
	// tls.RequireAndVerifyClientCert.
	Clients    *x509.CertPool
	ClientAuth tls.ClientAuthType
	// Suffice says that clients with good certificates are served whatever their addresses.
	Suffice bool
}

// Config has the Settings in use. It is safe for concurrent use.
type Config struct{ settings atomic.Pointer[Settings] }

// NewConfig makes a Config with these Settings.
func NewConfig(s *Settings) *Config {
	c := new(Config)
	c.Use(s)
	return c
}

// Use sets what new connections are made with.
func (c *Config) Use(s *Settings) { c.settings.Store(s) }

// made is the configuration of TLS that was made of Settings.
type made struct {
	of     *Settings
	config *tls.Config
}

// For returns a configuration for connections of these protocols (RFC 7301). A
// client that names protocols, but none of these, gets no connection, so that
// nobody can make it speak another protocol to us; one that names none does.
//
// Key agreement is Go's: X25519MLKEM768 comes first. Session tickets resume
// connections, also after Use, and never carry early data.
func (c *Config) For(protocols ...string) *tls.Config {
	var last atomic.Pointer[made]
	current := func() *tls.Config {
		s := c.settings.Load()
		m := last.Load()
		if m == nil || m.of != s {
			m = &made{s, s.config(protocols)}
			last.Store(m)
		}
		return m.config
	}
	base := current().Clone()
	base.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return current(), nil }
	return base
}

func (s *Settings) config(protocols []string) *tls.Config {
	c := &tls.Config{
		Certificates: s.Certificates, MinVersion: s.MinVersion, NextProtos: protocols,
		ClientCAs: s.Clients, ClientAuth: s.ClientAuth,
		// One record for what is written at once: responses are short, and their
		// sizes are hidden by padding if at all.
		DynamicRecordSizingDisabled: true,
	}
	if c.MinVersion == 0 {
		c.MinVersion = tls.VersionTLS13
	}
	return c
}

// Claims are what a connection whose handshake is complete says of its client: the name that it asked for, and its certificate if that was
// verified. They are nil if it says nothing.
func (c *Config) Claims(s *tls.ConnectionState) *group.Claims {
	if s == nil || s.ServerName == "" && len(s.VerifiedChains) == 0 {
		return nil
	}
	who := &group.Claims{Name: strings.ToLower(strings.TrimSuffix(s.ServerName, "."))}
	if len(s.VerifiedChains) == 0 {
		return who
	}
	who.Served = c.settings.Load().Suffice
	leaf := s.VerifiedChains[0][0]
	for _, n := range leaf.DNSNames {
		who.SANs = append(who.SANs, strings.ToLower(strings.TrimSuffix(n, ".")))
	}
	who.SANs = append(who.SANs, leaf.EmailAddresses...)
	for _, u := range leaf.URIs {
		who.SANs = append(who.SANs, u.String())
	}
	for _, a := range leaf.IPAddresses {
		who.SANs = append(who.SANs, a.String())
	}
	who.Issuers = []string{leaf.Issuer.String()}
	if n := leaf.Issuer.CommonName; n != "" {
		who.Issuers = append(who.Issuers, n)
	}
	return who
}
