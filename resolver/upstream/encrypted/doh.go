package encrypted

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"rideau/resolver/wire"
)

const (
	mediaType = "application/dns-message" // RFC 8484 section 6
	maxHeader = 16 << 10
	// A connection that brings nothing for pingAfter gets a ping, and is closed
	// if there is no response within pingTimeout. Queries do not wait for that,
	// see links.
	pingAfter   = 3 * time.Second
	pingTimeout = 2 * time.Second
)

// DoH is a server asked over HTTPS (RFC 8484), by HTTP/2 or HTTP/3. It is
// safe for concurrent use.
type DoH struct {
	server
	capacity int
	barren   int // how many new connections of one query may be closed
	url      *url.URL
	header   http.Header // of all requests; nobody writes it
	links    *links
}

// NewDoH makes a server for a URL. Its host is not looked up and its port is not
// used: o.Addrs is where the server is. With h3 it is asked by HTTP/3, otherwise
// by HTTP/2. It connects to nothing yet.
func NewDoH(u *url.URL, h3 bool, o Options) *DoH {
	scheme := "https"
	if h3 {
		scheme = "h3"
	}
	if o.Name == "" {
		if _, err := netip.ParseAddr(u.Hostname()); err != nil && len(o.Pins) == 0 {
			o.Name = u.Hostname()
		}
	}
	request := *u
	if at := strings.IndexByte(u.Host, '%'); at > 0 { // a zone means nothing to the server (RFC 6874 section 1)
		request.Host = u.Host[:at] + u.Host[strings.IndexByte(u.Host, ']'):]
	}
	d := &DoH{url: &request, capacity: usualStreams, barren: maxBarren, header: http.Header{
		"Content-Type": {mediaType}, "Accept": {mediaType},
		"User-Agent": {""}, // sent empty, so that it tells nothing
	}}
	d.server = newServer(scheme+"://"+u.Host+u.Path, o)
	if !h3 {
		d.capacity *= maxConns
		d.barren = maxConns + 1 // others may fail beside its own
		d.tls.NextProtos = []string{"h2", "http/1.1"}
	}
	d.links = newLinks(func() *link {
		k, make := new(link), d.http2
		if h3 {
			make = d.http3
		}
		var transport http.RoundTripper
		transport, k.close, k.octets = make()
		k.ask = func(ctx context.Context, m []byte) ([]byte, error) { return d.ask(ctx, transport, m) }
		return k
	})
	return d
}

// http2 makes an HTTP client, and functions that close what is idle of it, and
// count the octets that came.
func (u *DoH) http2() (http.RoundTripper, func(), func() uint64) {
	octets := new(atomic.Uint64)
	t := &http.Transport{
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			c, err := u.dialTLS(ctx, octets)
			if err != nil {
				return nil, &dialError{err} // an interface that is nil, not one with a nil *tls.Conn
			}
			return c, nil
		},
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxIdleConns:           maxConns,
		MaxConnsPerHost:        maxConns, // else each of the first queries makes one
		IdleConnTimeout:        u.o.IdleTimeout,
		MaxResponseHeaderBytes: maxHeader,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
	}
	return t, t.CloseIdleConnections, octets.Load
}

// http3 is http2 for HTTP/3.
func (u *DoH) http3() (http.RoundTripper, func(), func() uint64) {
	last := new(atomic.Pointer[quic.Conn])
	t := &http3.Transport{
		TLSClientConfig:        u.tls,
		QUICConfig:             quicConfig(u.o.IdleTimeout),
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
		Dial: func(ctx context.Context, _ string, c *tls.Config, q *quic.Config) (*quic.Conn, error) {
			conn, err := u.dialQUIC(ctx, c.NextProtos, q)
			if err != nil {
				return nil, &dialError{err}
			}
			last.Store(conn)
			return conn, nil
		},
	}
	return t, func() { t.CloseIdleConnections() }, func() uint64 { return received(last.Load()) }
}

// dialError is the error of opening a connection.
type dialError struct{ error }

func (e *dialError) Unwrap() error { return e.error }

// connError is the error of a connection that was open: a new one may do
// better.
type connError struct {
	error
	kept bool // the connection had been used before
}

func (e *connError) Unwrap() error { return e.error }

// Close closes idle connections. Exchanges go on.
func (u *DoH) Close() { u.links.close() }

// Capacity implements member.Bounded: what servers allow as a rule, since the
// clients of HTTP do not tell what this one does.
func (u *DoH) Capacity() int { return u.capacity }

// Exchange implements member.Server. The query is sent by POST, with the id 0
// (RFC 8484 section 4.1).
func (u *DoH) Exchange(ctx context.Context, dst, query []byte) ([]byte, error) {
	m, err := prepare(query, 0, 0)
	if err != nil {
		return dst, u.fail(ctx, err)
	}
	resp, err := u.links.exchange(ctx, m)
	if err != nil {
		return dst, u.fail(ctx, err)
	}
	return appendResponse(dst, query, resp), nil
}

// ask sends m by t. If the connection turns out to be closed, it is sent again: few
// times if connections were new, and more often if they were kept, since a server that
// restarts closes all of them, and some allow few queries on each.
func (u *DoH) ask(ctx context.Context, t http.RoundTripper, m []byte) ([]byte, error) {
	for kept, fresh := 0, 0; ; {
		body, err := u.post(ctx, t, m)
		if err == nil {
			err = check(m, body)
		}
		var gone *connError
		if !errors.As(err, &gone) || ctx.Err() != nil {
			return body, err
		}
		if gone.kept {
			kept++
		} else {
			fresh++
		}
		if fresh == u.barren || kept == maxTries {
			return nil, err
		}
	}
}

// ExchangeStream implements member.Server: HTTPS is all there is.
func (u *DoH) ExchangeStream(ctx context.Context, dst, query []byte) ([]byte, error) {
	return u.Exchange(ctx, dst, query)
}

var errLong = errors.New("the response is longer than a message can be")

// post sends m by t. There are no redirects: only the server that was configured is
// asked.
func (u *DoH) post(ctx context.Context, t http.RoundTripper, m []byte) ([]byte, error) {
	var kept atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) { kept.Store(i.Reused) },
	})
	body := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(m)), nil }
	first, _ := body()
	req := (&http.Request{
		Method: http.MethodPost, URL: u.url, Host: u.url.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: u.header, Body: first, GetBody: body, ContentLength: int64(len(m)),
	}).WithContext(ctx)
	resp, err := t.RoundTrip(req)
	if err != nil {
		var dial *dialError
		if !errors.As(err, &dial) {
			err = &connError{err, kept.Load()}
		}
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		io.CopyN(io.Discard, resp.Body, maxHeader)
		return nil, fmt.Errorf("HTTP status %s", resp.Status)
	}
	if content := resp.Header.Get("Content-Type"); content != mediaType {
		if t, _, err := mime.ParseMediaType(content); err != nil || t != mediaType {
			return nil, fmt.Errorf("content of the type %.64q, where %s was asked for", content, mediaType)
		}
	}
	msg, err := io.ReadAll(io.LimitReader(resp.Body, wire.MaxMessage+1))
	if err != nil {
		return nil, &connError{err, kept.Load()}
	}
	if len(msg) > wire.MaxMessage {
		return nil, errLong
	}
	return msg, nil
}
