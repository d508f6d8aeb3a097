package selftest

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// Transport is how an Endpoint is asked.
type Transport string

// Transports.
const (
	UDP  Transport = "udp"
	TCP  Transport = "tcp"
	DoT  Transport = "dot"
	DoH  Transport = "doh"
	DoH3 Transport = "doh3"
	DoQ  Transport = "doq"
)

// Endpoint is an address where the server answers by one transport.
type Endpoint struct {
	Transport Transport
	Addr      netip.AddrPort
	Path      string // of DoH and DoH3
}

func (e Endpoint) String() string { return string(e.Transport) + " " + e.Addr.String() }

// reachable is e with an address of this machine in place of the unspecified one.
func (e Endpoint) reachable() Endpoint {
	if e.Addr.Addr().IsUnspecified() {
		local := netip.AddrFrom4([4]byte{127, 0, 0, 1})
		if e.Addr.Addr().Is6() {
			local = netip.IPv6Loopback()
		}
		e.Addr = netip.AddrPortFrom(local, e.Addr.Port())
	}
	return e
}

// ask sends a query to an endpoint, and returns the response. Certificates are not
// checked: this process asks itself, and clients' trust is not what is tested.
func ask(ctx context.Context, e Endpoint, query []byte) ([]byte, error) {
	switch e.Transport {
	case DoT:
		d := tls.Dialer{Config: unchecked("dot")}
		c, err := d.DialContext(ctx, "tcp", e.Addr.String())
		if err != nil {
			return nil, err
		}
		return overStream(ctx, c, query)
	case DoH:
		t := &http.Transport{TLSClientConfig: unchecked(), ForceAttemptHTTP2: true}
		defer t.CloseIdleConnections()
		return overHTTP(ctx, t, e, query)
	case DoH3:
		t := &http3.Transport{TLSClientConfig: unchecked("h3")}
		defer t.Close()
		return overHTTP(ctx, t, e, query)
	case DoQ:
		return overQUIC(ctx, e, query)
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, string(e.Transport), e.Addr.String())
	if err != nil {
		return nil, err
	}
	if e.Transport == TCP {
		return overStream(ctx, c, query)
	}
	defer c.Close()
	if err := within(ctx, c); err != nil {
		return nil, err
	}
	if _, err := c.Write(query); err != nil {
		return nil, err
	}
	buf := make([]byte, dns.MaxMsgSize)
	n, err := c.Read(buf)
	return buf[:n], err
}

func unchecked(alpn ...string) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, NextProtos: alpn, MinVersion: tls.VersionTLS12}
}

// within has the deadline of a context hold for a connection.
func within(ctx context.Context, c interface{ SetDeadline(time.Time) error }) error {
	end, ok := ctx.Deadline()
	if !ok {
		return nil
	}
	return c.SetDeadline(end)
}

// overStream asks over a connection, and closes it.
func overStream(ctx context.Context, c net.Conn, query []byte) ([]byte, error) {
	defer c.Close()
	if err := within(ctx, c); err != nil {
		return nil, err
	}
	if _, err := c.Write(framed(query)); err != nil {
		return nil, err
	}
	return readFramed(c)
}

// framed is a message behind its length (RFC 1035 section 4.2.2).
func framed(m []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...)
}

func readFramed(r io.Reader) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	out := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(r, out)
	return out, err
}

func overHTTP(ctx context.Context, t http.RoundTripper, e Endpoint, query []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+e.Addr.String()+e.Path, bytes.NewReader(query))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/dns-message")
	resp, err := t.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%w: HTTP %d", errNoAnswer, resp.StatusCode)
	}
	return io.ReadAll(io.LimitReader(resp.Body, dns.MaxMsgSize))
}

// overQUIC asks by RFC 9250.
func overQUIC(ctx context.Context, e Endpoint, query []byte) ([]byte, error) {
	c, err := quic.DialAddr(ctx, e.Addr.String(), unchecked("doq"), nil)
	if err != nil {
		return nil, err
	}
	defer c.CloseWithError(0, "")
	s, err := c.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	if err := within(ctx, s); err != nil {
		return nil, err
	}
	zero := append([]byte(nil), query...) // the message id is 0 (RFC 9250 section 4.2.1)
	zero[0], zero[1] = 0, 0
	if _, err := s.Write(framed(zero)); err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	out, err := readFramed(s)
	if len(out) > 1 {
		copy(out, query[:2])
	}
	return out, err
}

// errNoAnswer is wrapped by the error of a server that answers, but not with a DNS
// message.
var errNoAnswer = errors.New("there is no answer")

// silent reports whether an error says that no answer came, and nothing else.
func silent(err error) bool {
	var timeout net.Error
	var reset *quic.StreamError
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &timeout) && timeout.Timeout() || errors.As(err, &reset) || errors.Is(err, errNoAnswer)
}
