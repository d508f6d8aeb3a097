// Package certificates reads the certificates that encrypted listeners show to clients, and says how long they
// live.
package certificates

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"rideau/cmd/rideau/internal/files"
	"rideau/cmd/rideau/internal/setup"
	"rideau/config"
	"rideau/config/encrypted"
	"rideau/resolver/listener/secure"
)

// Certificate is a certificate in use.
type Certificate struct {
	// File is its file; "self-signed" for one that Rideau has signed itself.
	File               string
	Names              []string // that clients can verify it for
	Addresses          []netip.Addr
	NotBefore, Expires time.Time
	SelfSigned         bool
}

// Set is what a listener shows to clients. It is immutable.
type Set struct {
	Settings     *secure.Settings
	Certificates []Certificate
	// Warnings are about what works, but not for long or not for all.
	Warnings []config.Problem
	of       encrypted.Listener
	der      [][]byte
}

// Load reads the files of a listener. before is what the listener had until now; nil if it is new. The error is
// config.Problems.
func Load(cfg *config.Config, index int, before *Set, now time.Time) (*Set, error) {
	l := &cfg.Listen.Encrypted[index]
	r := reader{file: cfg.File, listener: l, index: index, now: now, set: &Set{of: *l, Settings: &secure.Settings{MinVersion: tls.VersionTLS13}}}
	if l.MinVersion == "1.2" {
		r.set.Settings.MinVersion = tls.VersionTLS12
	}
	for i := range l.Certificates {
		r.read(i)
	}
	if l.SelfSigned {
		r.selfSigned(before)
	}
	r.clients()
	if len(r.problems) > 0 {
		return nil, r.problems
	}
	return r.set, nil
}

// Of is the listener that the Set was made for.
func (s *Set) Of() *encrypted.Listener { return &s.of }

// Files returns the files that the listeners of a configuration name.
func Files(cfg *config.Config) []string {
	var out []string
	for _, l := range cfg.Listen.Encrypted {
		for _, c := range l.Certificates {
			out = append(out, c.Certificate, c.Key)
		}
		if l.ClientCA != "" && l.ClientCertificates != encrypted.None {
			out = append(out, l.ClientCA)
		}
	}
	return out
}

// Equal reports whether two Sets are the same for clients.
func (s *Set) Equal(o *Set) bool {
	return o != nil && slices.EqualFunc(s.der, o.der, slices.Equal) && s.Settings.MinVersion == o.Settings.MinVersion &&
		s.Settings.ClientAuth == o.Settings.ClientAuth && s.Settings.Suffice == o.Settings.Suffice && (s.Settings.Clients == o.Settings.Clients || s.Settings.Clients != nil && s.Settings.Clients.Equal(o.Settings.Clients))
}

// reader collects what is in the files of a listener, and what is wrong with them.
type reader struct {
	file     string
	listener *encrypted.Listener
	index    int
	now      time.Time
	set      *Set
	problems config.Problems
}

func (r *reader) problem(key, remedy, format string, args ...any) config.Problem {
	return config.Problem{File: r.file, Line: r.listener.Line, Key: fmt.Sprintf("listen.encrypted[%d].%s", r.index, key),
		Message: fmt.Sprintf(format, args...), Remedy: remedy}
}

func (r *reader) fail(key, remedy, format string, args ...any) {
	r.problems = append(r.problems, r.problem(key, remedy, format, args...))
}

func (r *reader) warn(key, remedy, format string, args ...any) {
	r.set.Warnings = append(r.set.Warnings, r.problem(key, remedy, format, args...))
}

// read reads a certificate and its key.
func (r *reader) read(i int) {
	c := r.listener.Certificates[i]
	at := fmt.Sprintf("certificates[%d]", i)
	text, err := readFile(c.Certificate)
	if err != nil {
		r.fail(at+".certificate", "put the certificate there, and let the user that rideau runs as read it", "%v", err)
	}
	key, keyErr := readFile(c.Key)
	if keyErr != nil {
		r.fail(at+".key", "put the key there, and let the user that rideau runs as read it", "%v", keyErr)
	}
	if err != nil || keyErr != nil {
		return
	}
	pair, err := tls.X509KeyPair(text, key)
	if err != nil {
		name, remedy := at+".certificate", "write both in PEM, the certificate first and those that issued it below it"
		if errors.Is(err, x509.ErrUnsupportedAlgorithm) || strings.Contains(err.Error(), "private key") {
			name, remedy = at+".key", "write the key that belongs to the certificate, in PEM and without a password"
		}
		r.fail(name, remedy, "%s and %s: %s", c.Certificate, c.Key, strings.TrimPrefix(err.Error(), "tls: "))
		return
	}
	if access, err := files.Of(c.Key); err == nil && access.EveryoneReads() {
		r.warn(at+".key", "chmod 600 "+c.Key, "every user of this machine can read the key %s", c.Key)
	}
	r.add(pair, c.Certificate, at+".certificate")
}

// readFile reads a regular file: a pipe could be read without end.
func readFile(path string) ([]byte, error) {
	if err := setup.Regular(path); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// add adds a certificate, and warns of what clients will not like.
func (r *reader) add(pair tls.Certificate, file, key string) {
	leaf := pair.Leaf
	c := Certificate{File: file, Names: leaf.DNSNames, NotBefore: leaf.NotBefore, Expires: leaf.NotAfter}
	for _, ip := range leaf.IPAddresses {
		if a, ok := netip.AddrFromSlice(ip); ok {
			c.Addresses = append(c.Addresses, a.Unmap())
		}
	}
	r.set.Settings.Certificates = append(r.set.Settings.Certificates, pair)
	r.set.Certificates = append(r.set.Certificates, c)
	r.set.der = append(r.set.der, pair.Certificate...)
	if why := c.Fault(r.now); why != "" {
		r.warn(key, "renew it", "%s", why)
	}
	if len(c.Names) == 0 && len(c.Addresses) == 0 {
		r.warn(key, "issue it with the names and addresses of this server", "%s is for no name and no address (subjectAltName), and no client accepts it", file)
	}
}

// clients reads who may issue the certificates of clients.
func (r *reader) clients() {
	l := r.listener
	switch l.ClientCertificates {
	case encrypted.Optional:
		r.set.Settings.ClientAuth = tls.VerifyClientCertIfGiven
	case encrypted.Required:
		r.set.Settings.ClientAuth = tls.RequireAndVerifyClientCert
		r.set.Settings.Suffice = l.CertificatesSuffice
	default:
		return
	}
	text, err := readFile(l.ClientCA)
	if err != nil {
		r.fail("client_ca", "put the certificates of those who issue those of clients there", "%v", err)
		return
	}
	r.set.Settings.Clients = x509.NewCertPool()
	if !r.set.Settings.Clients.AppendCertsFromPEM(text) {
		r.fail("client_ca", "write the certificates of those who issue those of clients, in PEM", "%s has no certificate", l.ClientCA)
	}
}

// Fault says what is wrong with the dates of a certificate; empty if nothing is. It warns when a third of its life is
// left, so that there is time to find out why it was not renewed.
func (c *Certificate) Fault(now time.Time) string {
	left := c.Expires.Sub(now)
	switch {
	case now.Before(c.NotBefore):
		return fmt.Sprintf("the certificate %s is valid only from %s on", c.File, c.NotBefore.UTC().Format(time.RFC3339))
	case left <= 0:
		return fmt.Sprintf("the certificate %s expired at %s, and clients refuse it", c.File, c.Expires.UTC().Format(time.RFC3339))
	case left < c.Expires.Sub(c.NotBefore)/3:
		return fmt.Sprintf("the certificate %s expires at %s, and less than a third of its life is left", c.File, c.Expires.UTC().Format(time.RFC3339))
	}
	return ""
}

// For reports whether clients can verify the certificate for an address.
func (c *Certificate) For(a netip.Addr) bool {
	return slices.Contains(c.Addresses, a.Unmap().WithZone(""))
}
