package certificates

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/netip"
	"os"
	"slices"
	"time"

	"rideau/config/encrypted"
)

// selfSignedLife is how long a certificate lives that Rideau signs itself.
const selfSignedLife = 397 * 24 * time.Hour

// selfSigned adds a certificate that Rideau signs itself: that of before, unless the addresses differ or it is
// about to expire.
func (r *reader) selfSigned(before *Set) {
	const key = "self_signed"
	if before != nil && before.of.SelfSigned && slices.Equal(before.of.Addresses, r.listener.Addresses) && before.Certificates[0].Fault(r.now) == "" {
		r.add(before.Settings.Certificates[0], SelfSigned, key)
	} else {
		pair, err := sign(r.listener, r.now)
		if err != nil {
			r.fail(key, "write certificates", "%v", err)
			return
		}
		r.add(pair, SelfSigned, key)
	}
	r.set.Certificates[0].SelfSigned = true
}

// SelfSigned is the File of a certificate that Rideau has signed itself.
const SelfSigned = "self-signed"

// sign makes a certificate for the addresses of a listener, localhost and the name of the host.
func sign(l *encrypted.Listener, now time.Time) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return tls.Certificate{}, err
	}
	c := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: "Rideau, signed by itself"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(selfSignedLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true, DNSNames: []string{"localhost"}}
	if host, err := os.Hostname(); err == nil && host != "" && host != "localhost" {
		c.DNSNames = append(c.DNSNames, host)
	}
	addresses := []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	for _, a := range l.Addresses {
		if !a.Addr().IsUnspecified() && !slices.Contains(addresses, a.Addr()) {
			addresses = append(addresses, a.Addr())
		}
	}
	for _, a := range addresses {
		c.IPAddresses = append(c.IPAddresses, a.AsSlice())
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}
