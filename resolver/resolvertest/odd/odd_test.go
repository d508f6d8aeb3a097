package odd_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"rideau/resolver/resolvertest/odd"
)

const patience = 10 * time.Second

// ask sends a query for name to s over its transport.
func ask(t *testing.T, s *odd.Server, over odd.Transport, name string) (*dns.Msg, error) {
	t.Helper()
	q := new(dns.Msg).SetQuestion(name, dns.TypeA)
	q.SetEdns0(1232, false)
	roots := x509.NewCertPool()
	if over != odd.UDP && over != odd.TCP {
		roots.AppendCertsFromPEM([]byte(s.CA()))
	}
	c := dns.Client{Timeout: patience, Net: map[odd.Transport]string{odd.TCP: "tcp", odd.TLS: "tcp-tls"}[over], TLSConfig: &tls.Config{RootCAs: roots}}
	if over == odd.QUIC {
		return askQUIC(s, roots, q)
	}
	if over != odd.HTTPS && over != odd.HTTP3 {
		m, _, err := c.Exchange(q, s.Addr().String())
		return m, err
	}
	raw, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	web := http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}}
	if over == odd.HTTP3 {
		h3 := &http3.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
		defer h3.Close()
		web.Transport = h3
	}
	defer web.CloseIdleConnections()
	resp, err := web.Post("https://"+s.Addr().String()+"/dns-query", "application/dns-message", bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	m := new(dns.Msg)
	return m, m.Unpack(b)
}

// askQUIC sends a query over a connection of its own.
func askQUIC(s *odd.Server, roots *x509.CertPool, q *dns.Msg) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := quic.DialAddr(ctx, s.Addr().String(), &tls.Config{RootCAs: roots, NextProtos: []string{"doq"}}, nil)
	if err != nil {
		return nil, err
	}
	defer c.CloseWithError(0, "")
	stream, err := c.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	raw, err := q.Pack()
	if err != nil {
		return nil, err
	}
	stream.SetDeadline(time.Now().Add(patience))
	stream.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(raw))), raw...))
	stream.Close()
	b, err := io.ReadAll(stream)
	if err != nil || len(b) < 2 {
		return nil, fmt.Errorf("%x: %w", b, err)
	}
	m := new(dns.Msg)
	return m, m.Unpack(b[2:])
}

// TestRight: a server whose Does is nil is right over all transports.
func TestRight(t *testing.T) {
	for _, over := range []odd.Transport{odd.UDP, odd.TCP, odd.TLS, odd.HTTPS, odd.QUIC, odd.HTTP3} {
		s := &odd.Server{Over: over}
		s.Start(t)
		ways := []odd.Transport{over}
		if over == odd.UDP {
			ways = append(ways, odd.TCP)
		}
		for _, way := range ways {
			m, err := ask(t, s, way, "www.example.")
			if err != nil || len(m.Answer) != 1 || m.IsEdns0() == nil || !m.RecursionAvailable {
				t.Errorf("%s: %v, %v", way, err, m)
			}
		}
		if s.Queries() != len(ways) {
			t.Errorf("%s: %d queries, want %d", over, s.Queries(), len(ways))
		}
	}
}

// TestStreams: a connection that a server closes is closed, and one that it froze is
// open and silent.
func TestStreams(t *testing.T) {
	s := &odd.Server{Over: odd.TCP, Does: func(q *odd.Query, r *odd.Reply) { r.Close = q.OnConnection == 2 }}
	s.Start(t)
	dial := func() *dns.Conn {
		c, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return &dns.Conn{Conn: c}
	}
	once := func(c *dns.Conn, wait time.Duration) error {
		c.SetDeadline(time.Now().Add(wait))
		if err := c.WriteMsg(new(dns.Msg).SetQuestion("www.example.", dns.TypeA)); err != nil {
			return err
		}
		_, err := c.ReadMsg()
		return err
	}
	c := dial()
	for i := range 2 {
		if err := once(c, patience); err != nil {
			t.Fatalf("query %d: %v", i, err)
		}
	}
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.ReadMsg(); err != io.EOF {
		t.Errorf("the connection is not closed after the second answer: %v", err)
	}
	c = dial()
	if err := once(c, patience); err != nil {
		t.Fatal(err)
	}
	s.Freeze()
	if err, ok := once(c, 50*time.Millisecond).(net.Error); !ok || !err.Timeout() {
		t.Errorf("a frozen connection says %v", err)
	}
	if err := once(dial(), patience); err != nil {
		t.Errorf("a new connection says %v", err)
	}
	if s.Connections() != 3 {
		t.Errorf("%d connections, want 3", s.Connections())
	}
}
