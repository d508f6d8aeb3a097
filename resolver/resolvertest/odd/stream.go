package odd

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"
)

// listener counts connections, and wraps them so that they can die.
type listener struct {
	net.Listener
	s *Server
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		s := l.s
		s.mu.Lock()
		s.connections++
		x := &conn{Conn: c, number: s.connections, dead: make(chan struct{}), closed: make(chan struct{}), s: s}
		served := !s.ended && (s.Accepts == nil || s.Accepts(x.number))
		if served {
			s.open[x] = true
		}
		s.mu.Unlock()
		if served {
			return x, nil
		}
		c.Close()
	}
}

// conn is a connection. Once it is dead, it takes what it gets and says nothing.
type conn struct {
	net.Conn
	s       *Server
	number  int
	die     sync.Once
	dead    chan struct{}
	end     sync.Once
	closed  chan struct{}
	queries int // guarded by s.mu
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	select {
	case <-c.dead:
		<-c.closed
		return 0, net.ErrClosed
	default:
		return n, err
	}
}

func (c *conn) Write(b []byte) (int, error) {
	select {
	case <-c.dead:
		return len(b), nil
	default:
		return c.Conn.Write(b)
	}
}

// Close closes the connection, if it is not dead: then the other side is to know
// nothing of it until the server stops.
func (c *conn) Close() error {
	select {
	case <-c.dead:
		return nil
	default:
		return c.hangUp()
	}
}

func (c *conn) hangUp() error {
	c.end.Do(func() { close(c.closed) })
	c.s.mu.Lock()
	delete(c.s.open, c)
	c.s.mu.Unlock()
	return c.Conn.Close()
}

// Freeze makes all connections that are open die silently, as they do behind a router
// that forgot them: nothing that is sent on them is answered any more, and they are not
// closed. New connections work.
func (s *Server) Freeze() {
	if s.router != nil {
		s.router.forget()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		c.die.Do(func() { close(c.dead) })
	}
}

// HangUp closes all connections.
func (s *Server) HangUp() {
	s.mu.Lock()
	var all []*conn
	for c := range s.open {
		all = append(all, c)
	}
	quics := s.quics
	s.quics = nil
	s.mu.Unlock()
	for _, c := range quics {
		c.CloseWithError(0, "")
	}
	for _, c := range all {
		c.hangUp()
	}
}

// hangUpOn closes the connection of a client.
func (s *Server) hangUpOn(client string) {
	s.mu.Lock()
	quics := slices.Clone(s.quics)
	var its *conn
	for c := range s.open {
		if c.RemoteAddr().String() == client {
			its = c
		}
	}
	s.mu.Unlock()
	if its != nil {
		its.hangUp()
	}
	for _, c := range quics {
		if c.RemoteAddr().String() == client {
			c.CloseWithError(0, "")
		}
	}
}

// accept serves messages with a length before them, over TCP or TLS.
func (s *Server) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		s.running.Go(func() { s.serveStream(c) })
	}
}

func (s *Server) serveStream(c net.Conn) {
	defer c.Close()
	base, transport := under(c), TCP
	if s.cert != nil {
		transport = TLS
	}
	from := c.RemoteAddr().(*net.TCPAddr).AddrPort()
	var writing sync.Mutex
	for {
		var head [2]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return
		}
		raw := make([]byte, binary.BigEndian.Uint16(head[:]))
		if _, err := io.ReadFull(c, raw); err != nil {
			return
		}
		base.queries++
		q := &Query{Transport: transport, From: from, Connection: base.number, OnConnection: base.queries}
		r := s.reply(raw, q)
		if r == nil {
			return
		}
		send := func() {
			writing.Lock()
			defer writing.Unlock()
			for range 1 + r.Copies {
				if r.Drop {
					continue
				}
				out := r.pack(q)
				out = append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...)
				for ; r.Pieces && len(out) > 1; out = out[1:] {
					c.Write(out[:1])
				}
				c.Write(out)
			}
		}
		switch {
		case r.Close:
			time.Sleep(r.Delay)
			send()
			return
		case r.Delay > 0:
			s.running.Go(func() {
				wait := time.NewTimer(r.Delay)
				defer wait.Stop()
				select {
				case <-wait.C:
					send()
				case <-base.closed:
				}
			})
		default:
			send()
		}
	}
}

// under is the connection below TLS.
func under(c net.Conn) *conn {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return c.(*conn)
}

func (s *Server) serveHTTPS(l net.Listener) {
	s.mu.Lock()
	s.web = &http.Server{
		Handler:   http.HandlerFunc(s.serveRequest),
		ErrorLog:  log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{*s.cert}, NextProtos: []string{"h2"}},
	}
	web := s.web
	s.mu.Unlock()
	if err := web.ServeTLS(l, "", ""); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		panic(err)
	}
}

func (s *Server) serveRequest(w http.ResponseWriter, req *http.Request) {
	raw, err := io.ReadAll(io.LimitReader(req.Body, 65535))
	if req.Method == http.MethodGet {
		raw, err = base64.RawURLEncoding.DecodeString(req.URL.Query().Get("dns"))
	}
	from, _ := netip.ParseAddrPort(req.RemoteAddr)
	q := &Query{Transport: s.Over, From: from}
	s.mu.Lock()
	for c := range s.open {
		if c.RemoteAddr().String() == req.RemoteAddr {
			c.queries++
			q.Connection, q.OnConnection = c.number, c.queries
		}
	}
	s.mu.Unlock()
	r := s.reply(raw, q)
	if err != nil || r == nil {
		http.Error(w, "no query", http.StatusBadRequest)
		return
	}
	wait := time.NewTimer(r.Delay)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-req.Context().Done():
		return
	}
	if r.Drop {
		if r.Close {
			s.hangUpOn(req.RemoteAddr)
		}
		<-req.Context().Done()
		panic(http.ErrAbortHandler)
	}
	out := r.pack(q)
	w.Header().Set("Content-Type", "application/dns-message")
	if r.Close {
		w.Header().Set("Connection", "close") // HTTP/2 says GOAWAY
	}
	if r.Status != 0 {
		w.WriteHeader(r.Status)
	}
	w.Write(out)
}

// certificate makes one for the address 127.0.0.1 and the name dns.example, signed by its
// own key.
func certificate(t testing.TB) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, DNSNames: []string{"dns.example"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// Pin is the pin of the certificate's key (RFC 7858 section 4.2).
func (s *Server) Pin() string {
	sum := sha256.Sum256(s.cert.Leaf.RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// CA is the certificate, in PEM form, of a server over TLS or HTTPS. It is its own
// authority.
func (s *Server) CA() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.cert.Certificate[0]}))
}
