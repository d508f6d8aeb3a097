package syslog_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rideau/resolver/audit/act"
	"rideau/resolver/audit/dial"
	"rideau/resolver/audit/sink"
	"rideau/resolver/audit/syslog"
	"rideau/resolver/resolvertest"
)

// stream makes a Stream that is closed at the end.
func stream(t *testing.T, o dial.Options) *syslog.Stream {
	t.Helper()
	w, err := syslog.NewStream(o)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// whole checks the counts of a Sink: nothing is lost, nothing waits.
func whole(t *testing.T, k *sink.Sink, n int) {
	t.Helper()
	st := k.Stats()
	if st.Kept != st.Offered || st.Offered != uint64(n)+st.Repeated || st.Waiting != 0 {
		t.Errorf("%d events: %+v", n, st)
	}
}

// A server that ends again and again under load, by resets in the middle of
// frames or in good order, misses nothing, over TCP and over TLS. Nor does
// another one, which is never told of it.
func TestRestarts(t *testing.T) {
	a := newAuthority(t)
	_, _, cert := a.issue("siem.example")
	for name, config := range map[string]*tls.Config{"tcp": nil, "tls": {Certificates: []tls.Certificate{cert}}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, steady := &peer{t: t, tls: config}, &peer{t: t}
			address := p.start(resolvertest.FreeAddress(t).String())
			o := dial.Options{Network: name, Address: address, Name: "siem.example", CAFile: a.ca()}
			acts := act.New()
			k, end := run(t, stream(t, o), acts, 200)
			other, otherEnd := run(t, stream(t, dial.Options{Network: "tcp", Address: steady.start("127.0.0.1:0")}), acts, 20)
			total := 0
			for round := range 3 {
				before := p.count()
				add(acts, 1500, k, other)
				total += 1500
				until(t, "something arrives", func() bool { return p.count() > before })
				p.stop(round%2 == 0)
				add(acts, 300, k, other)
				total += 300
				p.start(address)
			}
			until(t, "all arrives", func() bool { return p.missing(total) == 0 && steady.missing(total) == 0 && k.Stats().Waiting == 0 })
			end()
			otherEnd()
			p.stop(false)
			steady.stop(false)
			whole(t, k, total)
			whole(t, other, total)
			if st := other.Stats(); st.Repeated != 0 {
				t.Errorf("the server that did not end: %+v", st)
			}
		})
	}
}

// A server that accepts and never reads delays nothing for long, and what its
// kernel took is delivered to the one after it.
func TestDeaf(t *testing.T) {
	p := &peer{t: t, deaf: true}
	address := p.start(resolvertest.FreeAddress(t).String())
	acts := act.New()
	k, end := run(t, stream(t, dial.Options{Network: "tcp", Address: address}), acts, 8000)
	const n = 2500
	add(acts, n, k)
	until(t, "the sink notices", func() bool { return k.Stats().Waiting > 0 })
	p.stop(false)
	p.deaf = false
	p.start(address)
	until(t, "all arrives", func() bool { return p.missing(n) == 0 && k.Stats().Waiting == 0 })
	end()
	p.stop(false)
	whole(t, k, n)
}

// What a server's kernel has and the server did not read is given back without
// another Write, and at the end.
func TestSettle(t *testing.T) {
	for _, last := range []bool{false, true} {
		p := &peer{t: t, deaf: true}
		w := stream(t, dial.Options{Network: "tcp", Address: p.start(resolvertest.FreeAddress(t).String())})
		if n, err := w.Write(t.Context(), numbers{}.events(1, 10)); n != 10 || err != nil {
			t.Fatal(n, err)
		}
		until(t, "the connection is accepted", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return len(p.conns) > 0 })
		var back *sink.Returned
		if last {
			go func() { // while Settle waits
				defer p.stop(true)
			}()
			if err := w.Settle(t.Context(), true); !errors.As(err, &back) {
				t.Errorf("at the end: %v", err)
			}
		} else {
			if err := w.Settle(t.Context(), false); err != nil {
				t.Error(err)
			}
			p.stop(true)
			until(t, "Settle tells", func() bool { return errors.As(w.Settle(t.Context(), false), &back) })
		}
		if back == nil || len(back.Events) != 10 || string(back.Events[9]) != "10 " {
			t.Errorf("given back: %v", back)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
}

// The end waits until all has arrived, and then gives nothing back. A server that
// is silent and does not read does not make it wait longer than its context.
func TestEnd(t *testing.T) {
	p := &peer{t: t}
	w := stream(t, dial.Options{Network: "tcp", Address: p.start(resolvertest.FreeAddress(t).String())})
	if n, err := w.Write(t.Context(), numbers{}.events(1, 500)); n != 500 || err != nil {
		t.Fatal(n, err)
	}
	if err := w.Settle(t.Context(), true); err != nil {
		t.Error(err)
	}
	w.Close()
	p.stop(false)
	if p.missing(500) != 0 {
		t.Error("the end did not wait")
	}
	p = &peer{t: t, deaf: true}
	w = stream(t, dial.Options{Network: "tcp", Address: p.start(resolvertest.FreeAddress(t).String())})
	taken := 0
	for {
		n, err := w.Write(t.Context(), numbers{strings.Repeat("x", 8000)}.events(taken+1, taken+100))
		if taken += n; err != nil {
			break
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var back *sink.Returned
	if err := w.Settle(ctx, true); !errors.As(err, &back) || len(back.Events) == 0 || len(back.Events) > taken {
		t.Errorf("%d were taken, given back: %v", taken, err)
	}
	w.Close()
	p.stop(true)
}

// Only a server that authenticates itself is sent anything.
func TestAuthentication(t *testing.T) {
	a, foreign := newAuthority(t), newAuthority(t)
	certFile, keyFile, cert := a.issue("siem.example")
	clients := x509.NewCertPool()
	clients.AddCert(a.cert)
	good := &tls.Config{Certificates: []tls.Certificate{cert}}
	demanding := &tls.Config{Certificates: []tls.Certificate{cert}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert}
	old := &tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	sum := sha256.Sum256(cert.Leaf.RawSubjectPublicKeyInfo)
	pin := []string{base64.StdEncoding.EncodeToString(sum[:])}
	wrong := []string{base64.StdEncoding.EncodeToString(make([]byte, 32))}
	for _, c := range []struct {
		name   string
		server *tls.Config
		o      dial.Options
		err    string
	}{
		{"name", good, dial.Options{Name: "siem.example", CAFile: a.ca()}, ""},
		{"address", good, dial.Options{CAFile: a.ca()}, ""},
		{"pin alone", good, dial.Options{Pins: pin}, ""},
		{"pin and name", good, dial.Options{Pins: pin, Name: "siem.example", CAFile: a.ca()}, ""},
		{"client certificate", demanding, dial.Options{CAFile: a.ca(), Certificate: certFile, Key: keyFile}, ""},
		{"wrong authority", good, dial.Options{Name: "siem.example", CAFile: foreign.ca()}, "unknown authority"},
		{"authorities of the system", good, dial.Options{Name: "siem.example"}, "x509"},
		{"wrong name", good, dial.Options{Name: "other.example", CAFile: a.ca()}, "other.example"},
		{"wrong pin", good, dial.Options{Pins: wrong}, "pinned"},
		{"wrong pin, right name", good, dial.Options{Pins: wrong, Name: "siem.example", CAFile: a.ca()}, "pinned"},
		{"right pin, wrong name", good, dial.Options{Pins: pin, Name: "other.example", CAFile: a.ca()}, "other.example"},
		{"no client certificate", demanding, dial.Options{CAFile: a.ca()}, "certificate"},
		{"TLS 1.1", old, dial.Options{CAFile: a.ca()}, "protocol version"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &peer{t: t, tls: c.server}
			c.o.Network, c.o.Address = "tls", p.start(resolvertest.FreeAddress(t).String())
			defer p.stop(true)
			w := stream(t, c.o)
			defer w.Close()
			var err error
			arrived := func() bool { p.mu.Lock(); defer p.mu.Unlock(); return p.got[1] > 0 }
			until(t, "an outcome", func() bool {
				// With TLS 1.3, a server refuses a client after the first Write.
				if _, err = w.Write(t.Context(), numbers{}.events(1, 1)); err != nil && strings.Contains(err.Error(), "does not answer") {
					return false
				}
				return err != nil || arrived()
			})
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("got %v, want %q", err, c.err)
			}
			if c.err != "" && arrived() {
				t.Error("it was sent something")
			}
		})
	}
}

// Files that are wrong are refused at once, and renewed ones count for the next
// connection.
func TestFiles(t *testing.T) {
	a := newAuthority(t)
	certFile, keyFile, cert := a.issue("siem.example")
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, o := range map[string]dial.Options{
		"no such file":               {CAFile: empty + "x"},
		"has no certificate":         {CAFile: empty},
		"certificate and key:":       {Certificate: certFile, Key: empty},
		"failed to find certificate": {Certificate: keyFile, Key: keyFile},
	} {
		o.Network, o.Address = "tls", "127.0.0.1:1"
		if _, err := syslog.NewStream(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	foreign, err := os.ReadFile(newAuthority(t).ca())
	if err != nil {
		t.Fatal(err)
	}
	right, err := os.ReadFile(a.ca())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, foreign, 0o600); err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, tls: &tls.Config{Certificates: []tls.Certificate{cert}}}
	w := stream(t, dial.Options{Network: "tls", Address: p.start(resolvertest.FreeAddress(t).String()), CAFile: file})
	defer w.Close()
	defer p.stop(true)
	if _, err := w.Write(t.Context(), numbers{}.events(1, 1)); err == nil {
		t.Error("a foreign authority is accepted")
	}
	if err := os.WriteFile(file, right, 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, "it arrives", func() bool { w.Write(t.Context(), numbers{}.events(1, 1)); return p.count() == 1 })
}

// Over UDP each event is a datagram. A server that is not there is noticed, and
// what it did not get is delivered when it is.
func TestUDP(t *testing.T) {
	address := resolvertest.FreeAddress(t).String()
	acts := act.New()
	k, end := run(t, syslog.NewDatagrams(dial.Options{Network: "udp", Address: address}), acts, 100)
	add(acts, 5)
	until(t, "the sink notices", func() bool { add(acts, 1); return k.Stats().Waiting > 0 })
	c, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var b [2048]byte
	c.SetReadDeadline(time.Now().Add(patience))
	for waited := k.Stats().Waiting; waited > 0; waited-- {
		if _, _, err := c.ReadFrom(b[:]); err != nil {
			t.Fatal(err)
		}
	}
	end()
}

// The socket of this machine takes datagrams too. One that is made anew, as when
// its program starts again, gets what the old one missed.
func TestUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	listen := func() *net.UnixConn {
		c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		c.SetReadDeadline(time.Now().Add(patience))
		return c
	}
	acts := act.New()
	k, end := run(t, syslog.NewDatagrams(dial.Options{Network: "unixgram", Address: path}), acts, 100)
	defer end()
	got := map[string]bool{}
	for round := range 2 {
		add(acts, 200) // many more than the socket holds
		until(t, "the sink notices", func() bool { return k.Stats().Waiting > 0 })
		c := listen()
		var b [2048]byte
		for len(got) < 200*(round+1) {
			n, err := c.Read(b[:])
			if err != nil {
				t.Fatal(err)
			}
			got[string(b[:n])] = true
		}
		c.Close()
		os.Remove(path)
	}
}
