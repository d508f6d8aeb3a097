package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// TestLinkLocal: two links have a server each, with one address and one port, so that only the zone tells them apart. Rideau asks the one
// whose zone is written, over UDP and TCP, and answers at link-local addresses itself; labels and errors name the zone.
func TestLinkLocal(t *testing.T) {
	t.Parallel()
	s := newSpace(t, "links")
	for _, d := range []string{"left0", "right0"} {
		s.ip("link", "add", d, "type", "veth", "peer", "name", d+"b")
		for _, end := range []string{d, d + "b"} {
			s.ip("link", "set", end, "addrgenmode", "none")
			s.ip("link", "set", end, "up")
		}
		s.ip("addr", "add", "fe80::1/64", "dev", d, "nodad")
	}
	port := 0
	for i, d := range []string{"left0", "right0"} {
		address := fmt.Sprintf("192.0.2.%d", i+1)
		s.do(func() { port = serveAt(t, fmt.Sprintf("fe80::1%%%s", d), port, address) })
	}
	for _, form := range []string{"[fe80::1%%%s]:%d", "tcp://[fe80::1%%25%s]:%d"} {
		for i, d := range []string{"left0", "right0"} {
			w := newWorld(t)
			server := fmt.Sprintf(form, d, port)
			w.write("rideau.yaml", strings.Replace(w.configText(func(s *settings) {
				s.listen = []string{"[fe80::1%right0]:0", "[fe80::1%left0]:0"}
			}), w.upstream.Addr().String(), server, 1))
			s.do(func() {
				p := startCommand(t, w.dir, rideau(context.Background(), w.dir, "serve", "--config", "rideau.yaml"))
				defer p.stop()
				for j, zone := range []string{"right0", "left0"} {
					if !strings.Contains(p.dns[j], "%"+zone) {
						t.Fatalf("it listens on %v", p.dns)
					}
					for _, network := range []string{"udp", "tcp"} {
						name := fmt.Sprintf("%s%d.example", network, j)
						if m, err := ask(network, p.dns[j], name, dns.TypeA); err != nil || outcome(m) != fmt.Sprintf("NOERROR 192.0.2.%d", i+1) {
							t.Errorf("%s at %s by %s: %v, %v", server, p.dns[j], network, m, err)
						}
					}
				}
				label := strings.Replace(fmt.Sprintf(form, d, port), "%25", "%", 1)
				if text := metricsOf(t, p); !strings.Contains(text, fmt.Sprintf("upstream=%q", label)) {
					t.Errorf("no metric has the label %s:\n%s", label, text)
				}
			})
		}
	}
}

// metricsOf returns the metrics of a process in this thread's namespace.
func metricsOf(t *testing.T, p *process) string {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.ops, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
	text, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// serveAt answers every query for an address record with one address, at a port of a host, or any port with 0, which it returns.
func serveAt(t *testing.T, host string, port int, address string) int {
	t.Helper()
	udp, err := net.ListenPacket("udp", net.JoinHostPort(host, fmt.Sprint(port)))
	if err != nil {
		t.Fatal(err)
	}
	port = udp.LocalAddr().(*net.UDPAddr).Port
	tcp, err := net.Listen("tcp", net.JoinHostPort(host, fmt.Sprint(port)))
	if err != nil {
		t.Fatal(err)
	}
	h := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.RecursionAvailable = true
		if rr, err := dns.NewRR(q.Question[0].Name + " 60 IN A " + address); err == nil && q.Question[0].Qtype == dns.TypeA {
			m.Answer = append(m.Answer, rr)
		}
		w.WriteMsg(m)
	})
	for _, d := range []*dns.Server{{PacketConn: udp, Handler: h}, {Listener: tcp, Handler: h}} {
		go d.ActivateAndServe()
		t.Cleanup(func() { d.Shutdown() })
	}
	return port
}
