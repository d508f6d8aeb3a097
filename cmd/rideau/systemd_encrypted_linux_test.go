package main

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestRestartHeldEncrypted: the service manager keeps the sockets of encrypted listeners, too. What comes there while no server
// runs is answered by the next one.
func TestRestartHeldEncrypted(t *testing.T) {
	w := newWorld(t)
	plain, dnsPort, web := freeAddress(t, "127.0.0.1"), freeAddress(t, "127.0.0.1"), freeAddress(t, "127.0.0.1")
	listeners := func(more string) func(*settings) {
		return func(s *settings) {
			s.listen = []string{plain}
			s.moreListen = fmt.Sprintf(`, encrypted: [%s{addresses: [%q], protocols: [doh, doh3], self_signed: true}]`, more, web)
		}
	}
	w.config(listeners(fmt.Sprintf(`{addresses: [%q], protocols: [dot, doq], self_signed: true}, `, dnsPort)))
	m := newManager(w, "FDSTORE=32")
	p := m.start()
	kept := func(protocol, addr string) string {
		host, port, _ := net.SplitHostPort(addr)
		return "rideau-" + protocol + "-" + host + "_" + port
	}
	all := []string{kept("dot", dnsPort), kept("doq", dnsPort), kept("doh", web), kept("doh3", web), kept("tcp", plain), kept("udp", plain)}
	for range 2 {
		p.within(time.Now(), "all are kept", func() (string, bool) {
			names := m.names()
			return fmt.Sprint(names), !slices.ContainsFunc(all, func(n string) bool { return !slices.Contains(names, n) })
		})
		p.signal(syscall.SIGTERM)
		<-p.ended
		// Nobody runs. None of these is sent again.
		tcp := map[string]net.Conn{}
		for _, addr := range []string{dnsPort, web} {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			tcp[addr] = c
		}
		udp := map[string]net.Conn{dnsPort: quicOfNoVersion(t, dnsPort), web: quicOfNoVersion(t, web)}
		p = m.start()
		secure := tls.Client(tcp[dnsPort], &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"dot"}})
		secure.SetDeadline(time.Now().Add(10 * time.Second))
		dot := &dns.Conn{Conn: secure}
		if err := dot.WriteMsg(new(dns.Msg).SetQuestion("banned.example.", dns.TypeA)); err != nil {
			t.Errorf("DoT: %v", err)
		} else if a, err := dot.ReadMsg(); err != nil || a.Rcode != dns.RcodeNameError {
			t.Errorf("DoT: %v, %v", a, err)
		}
		if code, err := askOverHTTPS(t, tcp[web], web); err != nil || code != dns.RcodeNameError {
			t.Errorf("DoH: %v, %v", code, err)
		}
		for addr, c := range udp {
			b := make([]byte, 1500)
			c.SetReadDeadline(time.Now().Add(10 * time.Second))
			if n, err := c.Read(b); err != nil || n < 7 || binary.BigEndian.Uint32(b[1:]) != 0 {
				t.Errorf("QUIC at %s: %x, %v", addr, b[:n], err)
			}
		}
	}
	// What the configuration does not name any more is not kept either.
	w.config(listeners(""))
	p.within(time.Now(), "two less are kept", func() (string, bool) {
		names := m.names()
		return fmt.Sprint(names), !slices.Contains(names, all[0]) && !slices.Contains(names, all[1]) && slices.Contains(names, all[2])
	})
	p.stop()
}

// quicOfNoVersion sends one packet of a version of QUIC that nobody has, which a server answers with the versions that it has
// (RFC 9000 section 6).
func quicOfNoVersion(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	b := append([]byte{0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8, 1, 2, 3, 4, 5, 6, 7, 8, 8, 9, 9, 9, 9, 9, 9, 9, 9}, make([]byte, 1200)...)
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	return c
}

// askOverHTTPS asks over a connection for a name that is banned.
func askOverHTTPS(t *testing.T, c net.Conn, addr string) (code int, err error) {
	t.Helper()
	q, err := new(dns.Msg).SetQuestion("banned.example.", dns.TypeA).Pack()
	if err != nil {
		return 0, err
	}
	tr := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return c, nil },
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	defer tr.CloseIdleConnections()
	res, err := (&http.Client{Transport: tr, Timeout: 10 * time.Second}).Get("https://" + addr + "/dns-query?dns=" + base64.RawURLEncoding.EncodeToString(q))
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err
	}
	a := new(dns.Msg)
	err = a.Unpack(b)
	return a.Rcode, err
}
