// Package encrypted asks other resolvers so that nobody on the path can read or
// change the messages: over TLS ([DoT], RFC 7858), HTTPS ([DoH], RFC 8484, by
// HTTP/2 and HTTP/3), and QUIC ([DoQ], RFC 9250).
//
// The server always has to authenticate itself (the strict profile of RFC 8310
// section 5): by a certificate for its name or address, by a public key that
// was configured, or by both. A server that cannot is not asked, and there is
// no fallback to plain text. Names are never looked up: servers are configured
// by address, and the name of an HTTPS server is only what its certificate has
// to be for.
//
// TCP Fast Open is not used: a connection carries thousands of queries, so that
// there is little to gain, and its cookie lets somebody on the path track the
// host. There is no early data either: it can be replayed (RFC 9250 section
// 4.5). Sessions are resumed.
//
// HTTP comes from net/http, and QUIC from quic-go, which is well maintained.
// Both cost more than code of our own would, and less than its mistakes.
package encrypted

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"rideau/resolver/upstream"
	"rideau/resolver/upstream/acceptance"
	"rideau/resolver/wire"
)

// Pin is the SHA-256 of a public key, as a SubjectPublicKeyInfo in DER (RFC
// 7858 section 4.2).
type Pin [sha256.Size]byte

// ParsePin parses a pin in base64, as in RFC 7858 appendix A.
func ParsePin(s string) (Pin, error) {
	var p Pin
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(b) != len(p) {
		return p, errors.New("a pin is 32 octets in base64")
	}
	copy(p[:], b)
	return p, nil
}

// Options say where a server is and how it authenticates itself.
type Options struct {
	// Addrs are the server's addresses, at least one. The first is asked, and
	// the others if it cannot be reached.
	Addrs []netip.AddrPort
	// Name is the name that the certificate has to be for. Without a name and
	// without pins, it has to be for the address.
	Name string
	// Pins are public keys, of which the server must have one. With a name, both
	// are checked.
	Pins []Pin
	// Roots are the authorities that may issue the certificate; nil for those of
	// the system.
	Roots *x509.CertPool
	// IdleTimeout is how long a connection is kept for the next query; 0 for
	// 30 seconds.
	IdleTimeout time.Duration
	// TrustAD: the server is trusted to validate (DNSSEC).
	TrustAD bool
	// Logger gets a message when there is a panic; nil for none.
	Logger *slog.Logger
}

const (
	defaultIdle = 30 * time.Second
	// dialTimeout is for connecting to one address, handshake included.
	dialTimeout = 4 * time.Second
	// maxConns is how many connections to an HTTPS server there are at most. Most
	// need one: it carries many queries at a time.
	maxConns = 4
	// maxTries is how many connections of one query may end, and maxBarren those of
	// them that have brought nothing, where each carries many.
	maxTries  = 16
	maxBarren = 3
	// maxSilence is how many queries in a row may be given up on a connection
	// that brings nothing before it counts as dead.
	maxSilence = 3
	// minSilence is how long no response must have come besides.
	minSilence = 1500 * time.Millisecond
	// usualStreams is how many streams servers allow on a connection, at least as
	// a rule (RFC 9113 section 6.5.2, RFC 9114 section 6.1).
	usualStreams = 100
	// fewStreams is what a connection counts as good for at least: what has ended may
	// seem to take a stream for a moment.
	fewStreams = 64
	// padding is what queries are padded to a multiple of (RFC 8467 section 4.1).
	padding = 128
)

// server is the part that the transports have in common.
type server struct {
	o     Options
	label string
	tls   *tls.Config
	first atomic.Uint32 // the index of the address that was reached last

	mismatches atomic.Uint64
}

func newServer(label string, o Options, alpn ...string) server {
	if o.IdleTimeout <= 0 {
		o.IdleTimeout = defaultIdle
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return server{o: o, label: label, tls: tlsConfig(&o, alpn)}
}

// panicked logs a panic in the handling of a connection.
func (s *server) panicked(value any) {
	s.o.Logger.Error("a connection was given up: a fault in the program", "upstream", s.label, "panic", value, "stack", string(debug.Stack()))
}

// Addr is what operators call the server: its address or URL, with a scheme.
func (s *server) Addr() string { return s.label }

// TrustsAD reports whether the server is trusted to validate. It is
// authenticated whenever it is asked.
func (s *server) TrustsAD() bool { return s.o.TrustAD }

// Endpoint is nil: the server is never asked by plain datagrams.
func (s *server) Endpoint() *acceptance.Endpoint { return nil }

// Mismatches counts the messages on connections that were no response to what
// had been asked.
func (s *server) Mismatches() uint64 { return s.mismatches.Load() }

var errPin = errors.New("the server has none of the public keys that are pinned")

func tlsConfig(o *Options, alpn []string) *tls.Config {
	c := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         o.Name,
		RootCAs:            o.Roots,
		NextProtos:         alpn,
		ClientSessionCache: tls.NewLRUClientSessionCache(16),
	}
	if len(o.Pins) == 0 {
		return c
	}
	// With a pin and no name, the key alone is checked. VerifyConnection is called
	// for resumed sessions too.
	c.InsecureSkipVerify = o.Name == ""
	pins := slices.Clone(o.Pins)
	c.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) > 0 && slices.Contains(pins, Pin(sha256.Sum256(state.PeerCertificates[0].RawSubjectPublicKeyInfo))) {
			return nil
		}
		return errPin
	}
	return c
}

// configFor is the TLS configuration for an address.
func (s *server) configFor(a netip.AddrPort) *tls.Config {
	if s.tls.ServerName != "" {
		return s.tls
	}
	c := s.tls.Clone() // with the same session cache
	c.ServerName = a.Addr().WithZone("").String()
	return c
}

// each calls connect with one address after another, beginning with the one that
// was reached last, until one works.
func (s *server) each(ctx context.Context, connect func(context.Context, netip.AddrPort) error) error {
	var err error
	n := uint32(len(s.o.Addrs))
	first := s.first.Load()
	for i := range n {
		at := (first + i) % n
		limit := dialTimeout
		if i+1 < n {
			limit = dialTimeout / 3 // another may be quicker
		}
		c, cancel := context.WithTimeout(ctx, limit)
		err = connect(c, s.o.Addrs[at])
		cancel()
		if err == nil {
			if at != first {
				s.first.Store(at)
			}
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return err
}

// dialTLS connects, and authenticates the server.
func (s *server) dialTLS(ctx context.Context, octets *atomic.Uint64) (*tls.Conn, error) {
	var conn *tls.Conn
	err := s.each(ctx, func(ctx context.Context, a netip.AddrPort) error {
		d := net.Dialer{KeepAliveConfig: keepAlive}
		c, err := d.DialContext(ctx, "tcp", a.String())
		if err != nil {
			return err
		}
		conn = tls.Client(&counted{c, octets}, s.configFor(a))
		if err := conn.HandshakeContext(ctx); err != nil {
			c.Close()
			return err
		}
		return nil
	})
	return conn, err
}

// counted is a connection that counts the octets that came over it, and over others.
type counted struct {
	net.Conn
	octets *atomic.Uint64
}

// Read implements net.Conn.
func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.octets.Add(uint64(n))
	return n, err
}

// keepAlive detects within half a minute that the server is gone.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}

// prepare makes the message that is sent for a query: a padded copy with an id,
// after prefix free octets.
func prepare(query []byte, id uint16, prefix int) ([]byte, error) {
	if w := wire.NewWalk(query); w.Err() != nil || wire.Count(query, wire.Question) != 1 || len(query) > wire.MaxMessage-padding {
		return nil, wire.ErrMessage
	}
	m := make([]byte, prefix, prefix+len(query)+padding+4)
	m = append(m, query...)
	m = append(m[:prefix], wire.Pad(m[prefix:], padding)...)
	wire.SetID(m[prefix:], id)
	return m, nil
}

var errMismatch = errors.New("the response is to another question")

// appendResponse appends resp under the id of query. With nil it is resp itself.
func appendResponse(dst, query, resp []byte) []byte {
	wire.SetID(resp, wire.ID(query))
	if dst == nil {
		return resp
	}
	return append(dst, resp...)
}

// fail is the error of an exchange.
func (s *server) fail(ctx context.Context, err error) error {
	return upstream.ErrorOf(ctx, s.label, err)
}

// label is an address with its scheme.
func label(scheme string, o *Options, path string) string {
	host := o.Addrs[0].String()
	return fmt.Sprintf("%s://%s%s", scheme, host, path)
}
