package blockpage

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"rideau/cmd/rideau/internal/files"
	"rideau/config"
	"rideau/config/policy"
	"rideau/resolver/limit"
)

const (
	// leafLife is how long an issued certificate lives, and leafRenewal how long before its end another is issued.
	leafLife, leafRenewal = 24 * time.Hour, 6 * time.Hour
	// leafEarlier is how much earlier it begins, for clients whose clock is late.
	leafEarlier = time.Hour
	maxLeaves   = 1024
	// leavesPerSecond bounds the signatures that clients can cause.
	leavesPerSecond = 50
)

// Authority issues certificates for names. It is safe for concurrent use.
type Authority struct {
	certificate *x509.Certificate
	signer      crypto.Signer
	chain       [][]byte
	key         *ecdsa.PrivateKey // of all certificates that it issues
	leaves      *lru.Cache[string, *tls.Certificate]
	rate        limit.PerSecond
	issuing     sync.Mutex // one at a time, so that a name is issued once
	// Warnings are about what works, and is dangerous or soon ends.
	Warnings []config.Problem
}

// LoadAuthority reads the certificate and the key of the authority that a configuration names; nil if it names none. The error is config.Problems.
func LoadAuthority(c *config.Config, now time.Time) (*Authority, error) {
	b := &c.BlockPage
	if b.Certificate == "" || b.Key == "" {
		return nil, nil
	}
	problem := func(key, remedy, format string, args ...any) config.Problem {
		return config.Problem{File: c.File, Line: c.Line("block_page." + key), Key: "block_page." + key, Message: fmt.Sprintf(format, args...), Remedy: remedy}
	}
	fail := func(key, remedy, format string, args ...any) error {
		return config.Problems{problem(key, remedy, format, args...)}
	}
	access, err := files.Of(b.Key)
	if err == nil && access.EveryoneReads() {
		return nil, fail("ca_key", "chmod 600 "+b.Key, "every user of this machine can read the key %s, and so issue certificates for any name", b.Key)
	}
	text, err := os.ReadFile(b.Certificate)
	if err != nil {
		return nil, fail("ca_certificate", "put the certificate there, and let the user that rideau runs as read it", "%v", err)
	}
	key, err := os.ReadFile(b.Key)
	if err != nil {
		return nil, fail("ca_key", "put the key there, and let the user that rideau runs as read it", "%v", err)
	}
	pair, err := tls.X509KeyPair(text, key)
	if err != nil {
		return nil, fail("ca_certificate", "write both in PEM, and the key that belongs to the certificate, without a password", "%s and %s: %s", b.Certificate, b.Key,
			strings.TrimPrefix(err.Error(), "tls: "))
	}
	a := &Authority{certificate: pair.Leaf, chain: pair.Certificate}
	a.rate.SetMax(leavesPerSecond)
	var signs bool
	if a.signer, signs = pair.PrivateKey.(crypto.Signer); !signs || !a.certificate.IsCA || a.certificate.KeyUsage != 0 && a.certificate.KeyUsage&x509.KeyUsageCertSign == 0 {
		return nil, fail("ca_certificate", "issue one with CA:TRUE and keyCertSign", "%s is not the certificate of an authority", b.Certificate)
	}
	if now.After(a.certificate.NotAfter) {
		return nil, fail("ca_certificate", "renew it", "%s expired at %s", b.Certificate, a.certificate.NotAfter.UTC().Format(time.RFC3339))
	}
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	if a.leaves, err = lru.New[string, *tls.Certificate](maxLeaves); err != nil {
		return nil, err
	}
	a.Warnings = a.warnings(c, problem)
	return a, nil
}

// warnings returns what is dangerous about the authority, and which bans it is of no use for.
func (a *Authority) warnings(c *config.Config, problem func(key, remedy, format string, args ...any) config.Problem) (out []config.Problem) {
	ca := a.certificate
	if len(ca.PermittedDNSDomains) == 0 {
		return append(out, problem("ca_certificate", "issue one with name constraints that permit the banned names alone (RFC 5280 section 4.2.1.10)",
			"%s has no name constraints: whoever steals its key can pretend to be any site", c.BlockPage.Certificate))
	}
	for i := range c.Bans {
		b := &c.Bans[i]
		if b.Action == pageAction && b.Canary != "" && !a.Permits(b.Canary) {
			out = append(out, problem("ca_certificate", "issue one whose name constraints permit its names", "%s does not permit %s of the ban %s: its names have no block page by HTTPS",
				c.BlockPage.Certificate, b.Canary, b.ID))
		}
	}
	for _, l := range c.Lists {
		for _, name := range l.Names {
			name = strings.TrimPrefix(strings.TrimPrefix(name, "*."), "=")
			led := slices.ContainsFunc(c.Bans, func(b policy.Ban) bool { return b.Action == pageAction && slices.Contains(b.Lists, l.ID) })
			if led && len(out) < 5 && !a.Permits(name) {
				out = append(out, problem("ca_certificate", "issue one whose name constraints permit it", "%s does not permit %s of the list %s: it has no block page by HTTPS",
					c.BlockPage.Certificate, name, l.ID))
			}
		}
	}
	return out
}

// Permits reports whether the name constraints of the authority permit a name (RFC 5280 section 4.2.1.10).
func (a *Authority) Permits(name string) bool {
	within := func(domain string) bool {
		domain = strings.ToLower(domain)
		return name == strings.TrimPrefix(domain, ".") && !strings.HasPrefix(domain, ".") || strings.HasSuffix(name, "."+strings.TrimPrefix(domain, ".")) || domain == ""
	}
	c := a.certificate
	return !slices.ContainsFunc(c.ExcludedDNSDomains, within) && (len(c.PermittedDNSDomains) == 0 || slices.ContainsFunc(c.PermittedDNSDomains, within))
}

// errBusy is the error of more certificates in a second than are issued.
var errBusy = errors.New("too many certificates are asked for")

// errConstraint is the error of a name that the authority may not vouch for.
var errConstraint = errors.New("the name constraints of the authority do not permit the name")

// Issue returns a certificate for a name in lower case, without a final dot. Whoever calls it has made sure that the name is banned.
func (a *Authority) Issue(name string, now time.Time) (*tls.Certificate, error) {
	if !a.Permits(name) {
		return nil, errConstraint
	}
	if c, ok := a.fresh(name, now); ok {
		return c, nil
	}
	if !a.rate.Take(now.Unix()) {
		return nil, errBusy
	}
	a.issuing.Lock()
	defer a.issuing.Unlock()
	if c, ok := a.fresh(name, now); ok {
		return c, nil
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	end := now.Add(leafLife)
	if a.certificate.NotAfter.Before(end) {
		end = a.certificate.NotAfter
	}
	begin := now.Add(-leafEarlier)
	if a.certificate.NotBefore.After(begin) {
		begin = a.certificate.NotBefore
	}
	// The name stands in subjectAltName alone: a common name has 64 octets at most.
	template := &x509.Certificate{SerialNumber: serial, NotBefore: begin, NotAfter: end, DNSNames: []string{name}, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &a.key.PublicKey, a.signer)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	c := &tls.Certificate{Certificate: append([][]byte{der}, a.chain...), PrivateKey: a.key, Leaf: leaf}
	a.leaves.Add(name, c)
	return c, nil
}

// fresh returns a certificate that was issued before and is good for a while.
func (a *Authority) fresh(name string, now time.Time) (*tls.Certificate, bool) {
	c, ok := a.leaves.Get(name)
	if !ok || now.Add(min(leafRenewal, a.certificate.NotAfter.Sub(now)/2)).After(c.Leaf.NotAfter) {
		return nil, false
	}
	return c, true
}
