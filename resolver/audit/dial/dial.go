// Package dial connects to the servers that take evidence: by TCP, by TLS, and by
// sockets of this machine.
//
// Over TLS the server always has to authenticate itself, by a certificate for its
// name or address, by a public key that was configured, or by both. There is no
// fallback to plain text. The files of certificates and keys are read for each
// connection, so that renewed ones count without a reload. Names are never looked
// up: Rideau may be the machine's own resolver.
package dial

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"time"
)

// Options say where a server is and how it authenticates itself.
type Options struct {
	// Network is tcp, tls, udp, unix for a stream, or unixgram for datagrams.
	Network string
	// Address is an IP address and a port, or a path.
	Address string

	// The others are for TLS. Name is what the certificate has to be for; without
	// a name and without pins, it has to be for the address.
	Name string
	// CAFile has the authorities that may issue the certificate, in PEM; empty for
	// those of the system.
	CAFile string
	// Pins are SHA-256 digests of public keys in base64 (RFC 7858 section 4.2), of
	// which the server must have one. With a name, both are checked.
	Pins []string
	// Certificate and Key are files with what this side shows, in PEM; empty for
	// nothing.
	Certificate, Key string
}

const (
	// timeout is for connecting, handshake included.
	timeout = 10 * time.Second
	// silence is how long the server's kernel may leave unanswered what was sent
	// before the connection counts as broken.
	silence = 30 * time.Second
)

// Conn is a connection to a server. It is a net.Conn, and tells what arrived.
type Conn struct {
	net.Conn
	raw *counted
}

// counted counts what is written to a connection.
type counted struct {
	net.Conn
	octets atomic.Int64
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.octets.Add(int64(n))
	return n, err
}

// Check reports what is wrong with the options, files included.
func (o *Options) Check() error {
	if o.Network != "tls" {
		return nil
	}
	_, err := o.config()
	return err
}

// config makes the configuration of TLS.
func (o *Options) config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: o.Name}
	if c.ServerName == "" {
		a, err := netip.ParseAddrPort(o.Address)
		if err != nil {
			return nil, err
		}
		c.ServerName = a.Addr().WithZone("").String()
	}
	if o.CAFile != "" {
		text, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("ca_file: %s has no certificate; it must be in PEM form", o.CAFile)
		}
	}
	if o.Certificate != "" {
		pair, err := tls.LoadX509KeyPair(o.Certificate, o.Key)
		if err != nil {
			return nil, fmt.Errorf("certificate and key: %w", err)
		}
		// Shown also to a server that names other authorities than its issuer, so
		// that the server says what is wrong.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	if len(o.Pins) == 0 {
		return c, nil
	}
	// With a pin and no name, the key alone is checked.
	c.InsecureSkipVerify = o.Name == ""
	c.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) > 0 {
			sum := sha256.Sum256(state.PeerCertificates[0].RawSubjectPublicKeyInfo)
			if slices.Contains(o.Pins, base64.StdEncoding.EncodeToString(sum[:])) {
				return nil
			}
		}
		return errors.New("the server has none of the public keys that are pinned")
	}
	return c, nil
}

// Dial connects. It returns soon after ctx has ended.
func (o *Options) Dial(ctx context.Context) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	network := o.Network
	var config *tls.Config
	if network == "tls" {
		c, err := o.config()
		if err != nil {
			return nil, err
		}
		network, config = "tcp", c
	}
	d := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}, Control: control}
	nc, err := d.DialContext(ctx, network, o.Address)
	if err != nil {
		return nil, err
	}
	c := &Conn{raw: &counted{Conn: nc}}
	c.Conn = c.raw
	if config == nil {
		return c, nil
	}
	t := tls.Client(c.raw, config)
	if err := t.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, fmt.Errorf("%s: TLS: %w", o.Address, err)
	}
	c.Conn = t
	return c, nil
}

// Carried is how many octets were written to the network, those of TLS among
// them.
func (c *Conn) Carried() int64 { return c.raw.octets.Load() }

// Acknowledged is how many of the octets in Carried the server's kernel has, for
// certain. Where the system does not tell, ok is false.
func (c *Conn) Acknowledged() (n int64, ok bool) {
	carried := c.Carried()
	left, ok := unacknowledged(c.raw.Conn)
	return max(carried-left, 0), ok
}

// End says that nothing more will be written. What was written goes on its way.
func (c *Conn) End() error {
	if t, ok := c.Conn.(*tls.Conn); ok {
		if err := t.CloseWrite(); err != nil {
			return err
		}
	}
	if w, ok := c.raw.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}
