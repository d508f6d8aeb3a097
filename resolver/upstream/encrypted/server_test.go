package encrypted_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/binary"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"rideau/resolver/upstream/encrypted"
	"rideau/resolver/upstream/member"
	"rideau/resolver/wire"
)

// authority makes certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{key: newKey(t), pool: x509.NewCertPool()}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, _ = x509.ParseCertificate(der)
	a.pool.AddCert(a.cert)
	return a
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// certificate is one for names and addresses, with its pin.
func (a *authority) certificate(t testing.TB, expired bool, for_ ...string) (tls.Certificate, encrypted.Pin) {
	t.Helper()
	key := newKey(t)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	if expired {
		tmpl.NotAfter = time.Now().Add(-time.Minute)
	}
	for _, s := range for_ {
		if ip := net.ParseIP(s); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, s)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	c, _ := x509.ParseCertificate(der)
	pin, err := encrypted.ParsePin(base64.StdEncoding.EncodeToString(func() []byte { h := sha256.Sum256(c.RawSubjectPublicKeyInfo); return h[:] }()))
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pin
}

// respond makes the response to a query, or none. It gets the query's octets and
// the number of those before.
type respond func(q []byte, n int) [][]byte

// echo answers any question with an A record.
func echo(q []byte, _ int) [][]byte {
	var m dns.Msg
	if m.Unpack(q) != nil {
		return nil
	}
	r := new(dns.Msg).SetReply(&m)
	r.AuthenticatedData = true
	rr, _ := dns.NewRR(m.Question[0].Name + " 60 IN A 192.0.2.1")
	r.Answer = append(r.Answer, rr)
	b, err := r.Pack()
	if err != nil {
		panic(err)
	}
	return [][]byte{b}
}

// server is a server of any kind.
type server struct {
	addr    netip.AddrPort
	queries atomic.Int64
	conns   atomic.Int64
	open    atomic.Int64 // TLS connections that are there now
	padded  atomic.Int64
	resumed atomic.Int64
	kill    func() // ends all connections that there are
	// hangs reports whether a query is never answered, and what it is sent by stays
	// open until the client gives it up; nil if none is.
	hangs atomic.Pointer[func(q []byte) bool]
}

func (s *server) hangsOn(q []byte) bool {
	hangs := s.hangs.Load()
	return hangs != nil && (*hangs)(q)
}

func (s *server) answer(f respond, q []byte) [][]byte {
	n := int(s.queries.Add(1)) - 1
	if len(q)%128 == 0 {
		s.padded.Add(1)
	}
	return f(q, n)
}

// startTLS serves DNS over TLS. Responses are sent in reverse order, when all that
// arrived on their connection has been read.
func startTLS(t testing.TB, cert tls.Certificate, f respond) *server {
	s := new(server)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"dot"}})
	if err != nil {
		t.Fatal(err)
	}
	s.addr = netip.MustParseAddrPort(l.Addr().String())
	var mu sync.Mutex
	var all []net.Conn
	s.kill = func() {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range all {
			c.Close()
		}
		all = nil
	}
	t.Cleanup(func() { l.Close(); s.kill() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			all = append(all, c)
			mu.Unlock()
			go s.serveStream(c, f)
		}
	}()
	return s
}

func (s *server) serveStream(c net.Conn, f respond) {
	defer c.Close()
	if c.(*tls.Conn).Handshake() != nil {
		return
	}
	s.conns.Add(1)
	s.open.Add(1)
	defer s.open.Add(-1)
	if c.(*tls.Conn).ConnectionState().DidResume {
		s.resumed.Add(1)
	}
	var mu sync.Mutex
	for {
		var head [2]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return
		}
		q := make([]byte, binary.BigEndian.Uint16(head[:]))
		if _, err := io.ReadFull(c, q); err != nil {
			return
		}
		if s.hangsOn(q) {
			continue
		}
		go func() {
			for _, r := range s.answer(f, q) {
				mu.Lock()
				c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(r))), r...))
				mu.Unlock()
			}
		}()
	}
}

// startHTTP serves DNS over HTTPS by HTTP/2.
func startHTTP(t testing.TB, cert tls.Certificate, h http.HandlerFunc) *server {
	s := new(server)
	srv := httptest.NewUnstartedServer(h)
	srv.EnableHTTP2 = true
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	srv.Config.ConnState = func(_ net.Conn, st http.ConnState) {
		if st == http.StateNew {
			s.conns.Add(1)
		}
	}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	s.addr = netip.MustParseAddrPort(srv.Listener.Addr().String())
	s.kill = srv.CloseClientConnections
	return s
}

// handler answers DNS queries by HTTP.
func (s *server) handler(f respond) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q, err := io.ReadAll(r.Body)
		if err != nil || r.Method != "POST" || r.Header.Get("Content-Type") != "application/dns-message" || r.ProtoMajor < 2 || wire.ID(q) != 0 {
			http.Error(w, "bad", http.StatusBadRequest)
			return
		}
		if s.hangsOn(q) {
			<-r.Context().Done()
			return
		}
		w.Header().Set("Content-Type", "application/dns-message")
		for _, b := range s.answer(f, q) {
			w.Write(b)
		}
	}
}

func startHTTP3(t testing.TB, cert tls.Certificate, f respond) *server {
	s := new(server)
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = netip.MustParseAddrPort(pc.LocalAddr().String())
	srv := &http3.Server{TLSConfig: http3.ConfigureTLSConfig(&tls.Config{Certificates: []tls.Certificate{cert}}), Handler: s.handler(f)}
	go srv.Serve(pc)
	t.Cleanup(func() { srv.Close(); pc.Close() })
	return s
}

// startQUIC serves DNS over QUIC.
func startQUIC(t testing.TB, cert tls.Certificate, f respond) *server {
	s := new(server)
	l, err := quic.ListenAddr("127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"doq"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.addr = netip.MustParseAddrPort(l.Addr().String())
	var mu sync.Mutex
	var all []*quic.Conn
	s.kill = func() {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range all {
			c.CloseWithError(0, "")
		}
		all = nil
	}
	t.Cleanup(func() { s.kill(); l.Close() })
	go func() {
		for {
			c, err := l.Accept(context.Background())
			if err != nil {
				return
			}
			s.conns.Add(1)
			mu.Lock()
			all = append(all, c)
			mu.Unlock()
			go func() {
				for {
					st, err := c.AcceptStream(context.Background())
					if err != nil {
						return
					}
					go s.serveQUIC(st, f)
				}
			}()
		}
	}()
	return s
}

func (s *server) serveQUIC(st *quic.Stream, f respond) {
	b, err := io.ReadAll(st) // to the FIN
	if err != nil || len(b) < 14 || int(binary.BigEndian.Uint16(b)) != len(b)-2 || wire.ID(b[2:]) != 0 {
		st.CancelWrite(2)
		return
	}
	if s.hangsOn(b[2:]) {
		<-st.Context().Done()
		return
	}
	for _, r := range s.answer(f, b[2:]) {
		st.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(r))), r...))
	}
	st.Close()
}

func query(t testing.TB, name string) []byte {
	t.Helper()
	var n wire.Name
	if err := n.SetText(name); err != nil {
		t.Fatal(err)
	}
	return wire.AppendQuery(nil, 4711, &n, wire.TypeA, wire.ClassIN, false, false, true, 1232)
}

// ask asks, and returns what is wrong with the response.
func ask(t testing.TB, u member.Server, name string, limit time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	q := query(t, name)
	was := string(q)
	out, err := u.Exchange(ctx, []byte("before"), q)
	if string(q) != was {
		t.Errorf("%s: the query was written", name)
	}
	if err != nil {
		if string(out) != "before" {
			t.Errorf("%s: with an error %q is returned", name, out)
		}
		return err
	}
	if !strings.HasPrefix(string(out), "before") || !wire.Matches(q, out[6:]) {
		t.Errorf("%s: %x is not the response to %x", name, out, q)
	}
	return nil
}

// kinds makes a server and a client of each kind.
func kinds(t *testing.T, cert tls.Certificate, f respond, o encrypted.Options, test func(t *testing.T, s *server, u member.Server)) {
	kindsVia(t, cert, f, o, nil, test)
}

// kindsVia is kinds with clients that ask at another address than the server's.
func kindsVia(t *testing.T, cert tls.Certificate, f respond, o encrypted.Options, via func(t *testing.T, s *server) netip.AddrPort,
	test func(t *testing.T, s *server, u member.Server)) {
	var now *testing.T
	at := func(s *server) encrypted.Options {
		o := o
		o.Addrs = []netip.AddrPort{s.addr}
		if via != nil {
			o.Addrs[0] = via(now, s)
		}
		return o
	}
	link := &url.URL{Scheme: "https", Host: "dns.example", Path: "/dns-query"}
	run := func(name string, start func() (*server, member.Server)) {
		t.Run(name, func(t *testing.T) {
			noLeak(t)
			now = t
			s, u := start()
			t.Cleanup(func() { u.(interface{ Close() }).Close() })
			test(t, s, u)
		})
	}
	run("DoT", func() (*server, member.Server) {
		s := startTLS(t, cert, f)
		return s, encrypted.NewDoT(at(s))
	})
	run("DoH", func() (*server, member.Server) {
		var s *server
		s = startHTTP(t, cert, func(w http.ResponseWriter, r *http.Request) { s.handler(f)(w, r) })
		return s, encrypted.NewDoH(link, false, at(s))
	})
	run("DoH3", func() (*server, member.Server) {
		s := startHTTP3(t, cert, f)
		return s, encrypted.NewDoH(link, true, at(s))
	})
	run("DoQ", func() (*server, member.Server) {
		s := startQUIC(t, cert, f)
		return s, encrypted.NewDoQ(at(s))
	})
}

// noLeak fails the test if a goroutine of ours is left some time after it.
func noLeak(t *testing.T) {
	t.Cleanup(func() {
		var stacks string
		for range 100 {
			buf := make([]byte, 1<<20)
			stacks = string(buf[:runtime.Stack(buf, true)])
			if !strings.Contains(stacks, "pipeline.(*conn)") {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Errorf("left:\n%s", stacks)
	})
}
