package encrypted_test

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/quic"

	"rideau/resolver/upstream/encrypted"
)

// startOtherQUIC serves DNS over QUIC by an implementation that shares no code
// with the client's.
func startOtherQUIC(t testing.TB, cert tls.Certificate, retry bool, f respond) *server {
	s := new(server)
	e, err := quic.Listen("udp", "127.0.0.1:0", &quic.Config{RequireAddressValidation: retry,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"doq"}, MinVersion: tls.VersionTLS13}})
	if err != nil {
		t.Fatal(err)
	}
	s.addr = netip.MustParseAddrPort(e.LocalAddr().String())
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		e.Close(ctx) // at once
	})
	var mu sync.Mutex
	var all []*quic.Conn
	s.kill = func() {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range all {
			c.Abort(&quic.ConnectionCloseError{}) // DOQ_NO_ERROR
		}
		all = nil
	}
	go func() {
		for {
			c, err := e.Accept(ctx)
			if err != nil {
				return
			}
			s.conns.Add(1)
			mu.Lock()
			all = append(all, c)
			mu.Unlock()
			go func() {
				for {
					st, err := c.AcceptStream(ctx)
					if err != nil {
						return
					}
					go s.serveOtherQUIC(st, f)
				}
			}()
		}
	}()
	return s
}

func (s *server) serveOtherQUIC(st *quic.Stream, f respond) {
	b, err := io.ReadAll(st) // to the FIN
	if err != nil || len(b) < 14 || int(binary.BigEndian.Uint16(b)) != len(b)-2 || binary.BigEndian.Uint16(b[2:]) != 0 {
		st.Reset(2)
		return
	}
	for _, r := range s.answer(f, b[2:]) {
		st.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(r))), r...))
	}
	st.Close()
}

// large answers any question with some 50 KB of text.
func large(q []byte, _ int) [][]byte {
	var m dns.Msg
	if m.Unpack(q) != nil {
		return nil
	}
	r := new(dns.Msg).SetReply(&m)
	for i := range 250 {
		rr, _ := dns.NewRR(fmt.Sprintf("%s 60 IN TXT \"%0200d\"", m.Question[0].Name, i))
		r.Answer = append(r.Answer, rr)
	}
	b, err := r.Pack()
	if err != nil {
		panic(err)
	}
	return [][]byte{b}
}

// TestOtherQUIC asks a server of another implementation.
func TestOtherQUIC(t *testing.T) {
	ca := newAuthority(t)
	cert, pin := ca.certificate(t, false, "dns.example")
	for _, c := range []struct {
		name    string
		queries int
		retry   bool
		f       respond
	}{{"small", 100, false, echo}, {"large", 30, false, large}, {"address validated", 100, true, echo}} {
		t.Run(c.name, func(t *testing.T) {
			noLeak(t)
			s := startOtherQUIC(t, cert, c.retry, c.f)
			u := encrypted.NewDoQ(encrypted.Options{Addrs: []netip.AddrPort{s.addr}, Name: "dns.example", Roots: ca.pool, Pins: []encrypted.Pin{pin}})
			t.Cleanup(u.Close)
			var wg sync.WaitGroup
			for i := range c.queries {
				wg.Go(func() {
					if err := ask(t, u, fmt.Sprintf("n%d.example", i), 30*time.Second); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if n := s.conns.Load(); n > 4 {
				t.Errorf("%d connections", n)
			}
			if p, n := s.padded.Load(), s.queries.Load(); p != n {
				t.Errorf("%d of %d queries are padded", p, n)
			}
			for range 3 {
				s.kill()
				if err := ask(t, u, "again.example", 5*time.Second); err != nil {
					t.Errorf("after the connection has gone: %v", err)
				}
			}
		})
	}
	t.Run("of another name", func(t *testing.T) {
		s := startOtherQUIC(t, cert, false, echo)
		u := encrypted.NewDoQ(encrypted.Options{Addrs: []netip.AddrPort{s.addr}, Name: "other.example", Roots: ca.pool})
		t.Cleanup(u.Close)
		err := ask(t, u, "n.example", 5*time.Second)
		if invalid := (*tls.CertificateVerificationError)(nil); !errors.As(err, &invalid) {
			t.Errorf("got %v", err)
		}
		if n := s.queries.Load(); n != 0 {
			t.Errorf("%d queries were sent", n)
		}
	})
}
