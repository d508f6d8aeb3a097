package odd

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// forgetful is a socket behind a router that forgets clients: nothing goes to and
// comes from those any more.
type forgetful struct {
	net.PacketConn

	mu     sync.Mutex // guards what follows
	known  map[netip.AddrPort]bool
	forgot map[netip.AddrPort]bool
}

func (f *forgetful) passes(a net.Addr) bool {
	at := a.(*net.UDPAddr).AddrPort()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.known[at] = true
	return !f.forgot[at]
}

func (f *forgetful) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for a := range f.known {
		f.forgot[a] = true
	}
}

func (f *forgetful) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, a, err := f.PacketConn.ReadFrom(b)
		if err != nil || f.passes(a) {
			return n, a, err
		}
	}
}

func (f *forgetful) WriteTo(b []byte, a net.Addr) (int, error) {
	if !f.passes(a) {
		return len(b), nil
	}
	return f.PacketConn.WriteTo(b, a)
}

// startQUIC serves queries by QUIC: RFC 9250, or RFC 9114.
func (s *Server) startQUIC(t testing.TB) {
	t.Helper()
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	s.addr = udp.LocalAddr().(*net.UDPAddr).AddrPort()
	s.cert = certificate(t)
	s.router = &forgetful{PacketConn: udp, known: map[netip.AddrPort]bool{}, forgot: map[netip.AddrPort]bool{}}
	config := &tls.Config{Certificates: []tls.Certificate{*s.cert}, NextProtos: []string{"doq"}}
	if s.Over == HTTP3 {
		config.NextProtos = []string{http3.NextProtoH3}
	}
	transport := &quic.Transport{Conn: s.router}
	l, err := transport.Listen(config, &quic.Config{MaxIdleTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	var web http3.Server
	web.Handler = http.HandlerFunc(s.serveRequest)
	s.running.Go(func() {
		for {
			c, err := l.Accept(context.Background())
			if err != nil {
				return
			}
			number, served := s.admit(c)
			switch {
			case !served:
				c.CloseWithError(0, "")
			case s.Over == HTTP3:
				s.running.Go(func() { web.ServeQUICConn(c) })
			default:
				s.running.Go(func() { s.serveQUIC(c, number) })
			}
		}
	})
	s.endQUIC = func() {
		l.Close()
		transport.Close()
		udp.Close()
	}
}

// admit counts a connection, and reports whether it is served.
func (s *Server) admit(c *quic.Conn) (number int, served bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connections++
	if s.ended || s.Accepts != nil && !s.Accepts(s.connections) {
		return 0, false
	}
	s.quics = append(s.quics, c)
	return s.connections, true
}

func (s *Server) serveQUIC(c *quic.Conn, number int) {
	var queries int
	for {
		stream, err := c.AcceptStream(context.Background())
		if err != nil {
			return
		}
		raw, err := io.ReadAll(io.LimitReader(stream, 2+65535))
		if err != nil || len(raw) < 2 {
			stream.CancelWrite(2) // DOQ_PROTOCOL_ERROR
			continue
		}
		queries++
		q := &Query{Transport: QUIC, From: c.RemoteAddr().(*net.UDPAddr).AddrPort(), Connection: number, OnConnection: queries}
		r := s.reply(raw[2:], q)
		if r == nil {
			c.CloseWithError(2, "")
			return
		}
		if r.Close {
			c.CloseWithError(0, "") // instead of an answer: what is on its way would be lost
			return
		}
		if r.Drop {
			continue
		}
		s.running.Go(func() {
			wait := time.NewTimer(r.Delay)
			defer wait.Stop()
			select {
			case <-wait.C:
			case <-c.Context().Done():
				return
			}
			out := r.pack(q)
			stream.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...))
			stream.Close()
		})
	}
}
