package syslog_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"rideau/resolver/audit"
	"rideau/resolver/audit/act"
	"rideau/resolver/audit/sink"
	"rideau/resolver/audit/spool"
)

// patience is how long a test waits for what must come.
const patience = 2 * time.Minute

// until waits for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// numbers encodes acts as their numbers, with something behind.
type numbers struct{ padding string }

func (numbers) Query(dst []byte, _ *audit.Record) []byte { return dst }
func (n numbers) Act(dst []byte, a *act.Act) []byte      { return fmt.Append(dst, a.Number, " ", n.padding) }
func (n numbers) events(from, to int) (out [][]byte) {
	for i := from; i <= to; i++ {
		out = append(out, n.Act(nil, &act.Act{Number: uint64(i)}))
	}
	return out
}

// peer is a server of counted octets. It counts how often each number came.
type peer struct {
	t     *testing.T
	tls   *tls.Config
	deaf  bool // it never reads
	mu    sync.Mutex
	ln    net.Listener
	conns map[net.Conn]bool
	got   map[int]int
	wg    sync.WaitGroup
}

// start listens: at a new address, or at the one from before.
func (p *peer) start(address string) string {
	p.t.Helper()
	var ln net.Listener
	until(p.t, "an address", func() (ok bool) {
		var err error
		ln, err = net.Listen("tcp", address)
		return err == nil
	})
	p.mu.Lock()
	p.ln, p.conns = ln, map[net.Conn]bool{}
	if p.got == nil {
		p.got = map[int]int{}
	}
	p.mu.Unlock()
	p.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.conns[c] = true
			p.mu.Unlock()
			if !p.deaf {
				p.wg.Go(func() { p.serve(c) })
			}
		}
	})
	return ln.Addr().String()
}

func (p *peer) serve(c net.Conn) {
	defer c.Close()
	if p.tls != nil {
		c = tls.Server(c, p.tls)
		defer c.Close()
	}
	in := bufio.NewReader(c)
	for {
		size, err := in.ReadString(' ')
		if err != nil {
			return
		}
		n, err := strconv.Atoi(size[:len(size)-1])
		if err != nil {
			p.t.Errorf("the frame begins with %q", size)
			return
		}
		text := make([]byte, n)
		if _, err := io.ReadFull(in, text); err != nil {
			return
		}
		word, _, _ := strings.Cut(string(text), " ")
		number, err := strconv.Atoi(word)
		if err != nil {
			p.t.Errorf("a message begins with %q", word)
			return
		}
		p.mu.Lock()
		p.got[number]++
		p.mu.Unlock()
	}
}

// stop ends the peer as its system would at kill -9, or by resets.
func (p *peer) stop(reset bool) {
	p.mu.Lock()
	p.ln.Close()
	for c := range p.conns {
		if t, ok := c.(*net.TCPConn); ok && reset {
			t.SetLinger(0)
		}
		c.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

func (p *peer) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.got)
}

// missing returns the first number up to n that did not come; 0 for none.
func (p *peer) missing(n int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := 1; i <= n; i++ {
		if p.got[i] == 0 {
			return i
		}
	}
	return 0
}

// run runs a Sink with a spool.
func run(t *testing.T, w sink.Writer, acts *act.Log, padding int) (k *sink.Sink, end func()) {
	t.Helper()
	return runWith(t, w, acts, numbers{strings.Repeat("x", padding)})
}

// runWith runs a Sink of a format.
func runWith(t *testing.T, w sink.Writer, acts *act.Log, format sink.Encoder) (k *sink.Sink, end func()) {
	t.Helper()
	dir := t.TempDir()
	k = sink.New(sink.Options{Name: "test", Acts: acts, Encoder: format, Writer: w,
		Spool: func() (*spool.Spool, int64, error) { return spool.Open(dir, 1<<30) }})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); k.Run(ctx) }()
	end = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(end)
	return k, end
}

// add adds acts, no faster than sinks take them.
func add(acts *act.Log, n int, sinks ...*sink.Sink) {
	for i := range n {
		acts.Add(act.Act{Kind: act.Flush})
		for _, k := range sinks {
			for i%1000 == 999 && k.Stats().Offered-k.Stats().Repeated < uint64(i)-900 {
				time.Sleep(time.Millisecond)
			}
		}
	}
}

// authority issues certificates for tests.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	dir  string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a.key = key
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err == nil {
		a.cert, err = x509.ParseCertificate(der)
	}
	if err != nil {
		t.Fatal(err)
	}
	a.write("ca.pem", "CERTIFICATE", der)
	return a
}

// write writes a file in PEM form, and returns its path.
func (a *authority) write(file, kind string, der []byte) string {
	path := filepath.Join(a.dir, file)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

func (a *authority) ca() string { return filepath.Join(a.dir, "ca.pem") }

// issue issues a certificate for a name and 127.0.0.1, as files and for Go.
func (a *authority) issue(name string) (certFile, keyFile string, c tls.Certificate) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	certFile, keyFile = a.write(name+".pem", "CERTIFICATE", der), a.write(name+".key", "PRIVATE KEY", private)
	if c, err = tls.LoadX509KeyPair(certFile, keyFile); err != nil {
		a.t.Fatal(err)
	}
	return certFile, keyFile, c
}
