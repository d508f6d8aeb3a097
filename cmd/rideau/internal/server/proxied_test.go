package server_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	proxyproto "github.com/pires/go-proxyproto"

	"rideau/cmd/rideau/internal/server"
	"rideau/resolver/listener/secure/securetest"
	"rideau/resolver/resolvertest"
)

// proxiedConfig is a configuration with proxies of all kinds. Banned.example is banned for the clients in 10.77.0.0/16, those in 10.66.0.0/16
// are refused.
const proxiedConfig = `listen:
  addresses: ["127.0.0.1:0"]
  proxies:
    - {addresses: [127.0.0.4, 127.0.0.7]}
    - {addresses: [127.0.0.5], header: x-forwarded-for}
    - {addresses: [127.0.0.6], header: forwarded}
  encrypted:
    - {addresses: ["127.0.0.1:0"], protocols: [dot, doq, doh, doh3], certificates: [{certificate: dns.pem, key: dns.key}]}
clients: {allow: [127.0.0.1, 127.0.0.7, 10.77.0.0/16, "2001:db8:77::/48"]}
groups: [{id: phones, clients: [10.77.0.0/16, "2001:db8:77::/48"]}]
upstream: {servers: ["%s"]}
lists: [{id: list, names: [banned.example]}]
bans: [{id: ban, title: {en: The ban}, lists: [list], groups: [phones]}]
reload: {watch: false}
ops: {listen: "127.0.0.1:0"}
`

// startProxied runs a server of proxiedConfig.
func startProxied(t *testing.T) (*instance, *securetest.Authority) {
	t.Helper()
	up := new(resolvertest.Upstream)
	up.Start(t)
	if err := up.Load(". SOA\n* A\n\tanswer banned.example. 300 IN A 127.9.9.9\n* *\n"); err != nil {
		t.Fatal(err)
	}
	i := &instance{t: t, folder: t.TempDir(), log: new(syncBuffer)}
	ca := securetest.NewAuthority(t)
	ca.Write(i.folder, "dns", ca.Issue(time.Hour, "dns.example", "127.0.0.1"))
	i.write("rideau.yaml", fmt.Sprintf(proxiedConfig, up.Addr()))
	started := make(chan server.Facts, 1)
	i.Server = server.New(server.Options{Config: i.path("rideau.yaml"), Log: i.log, Workers: 1, Started: func(f server.Facts) { started <- f }})
	i.run(started)
	return i, ca
}

// proxyHeader is a header of the PROXY protocol as another implementation writes it.
func proxyHeader(t *testing.T, version byte, client string, edit func(*proxyproto.Header)) []byte {
	t.Helper()
	a := netip.MustParseAddrPort(client)
	h := &proxyproto.Header{Version: version, Command: proxyproto.PROXY, TransportProtocol: proxyproto.TCPv4,
		SourceAddr: net.TCPAddrFromAddrPort(a), DestinationAddr: net.TCPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:53"))}
	if a.Addr().Is6() {
		h.TransportProtocol, h.DestinationAddr = proxyproto.TCPv6, net.TCPAddrFromAddrPort(netip.MustParseAddrPort("[::1]:53"))
	}
	if edit != nil {
		edit(h)
	}
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestProxied: by each transport, the client that a listed proxy names counts in place of the proxy, and a proxy that names none gets no
// answer. From others no header counts.
func TestProxied(t *testing.T) {
	i, ca := startProxied(t)
	const none = "none"
	phone, stranger := proxyHeader(t, 2, "10.77.1.2:1000", nil), proxyHeader(t, 2, "10.66.1.2:1000", nil)
	header := func(name string, values ...string) http.Header { return http.Header{name: values} }
	for what, c := range map[string]struct {
		from string
		face face
		// what banned.example gets over UDP and TCP, over TLS and HTTPS by TCP, and over QUIC; none is no answer
		plain, tls, doh, doq, doh3 string
	}{
		"a phone":         {"127.0.0.4", face{proxy: phone}, "NXDOMAIN", "NXDOMAIN", "NXDOMAIN", none, none},
		"a phone by IPv6": {"127.0.0.4", face{proxy: proxyHeader(t, 2, "[2001:db8:77::1]:9", nil)}, "NXDOMAIN", "NXDOMAIN", "NXDOMAIN", none, none},
		"a stranger":      {"127.0.0.4", face{proxy: stranger}, "REFUSED", "REFUSED", "REFUSED", none, none},
		"more values": {"127.0.0.4", face{proxy: proxyHeader(t, 2, "10.77.1.2:1000", func(h *proxyproto.Header) {
			h.SetTLVs([]proxyproto.TLV{{Type: 1, Value: []byte("dot")}, {Type: 0xe0, Value: make([]byte, 700)}})
		})}, "NXDOMAIN", "NXDOMAIN", "NXDOMAIN", none, none},
		"too many values":     {"127.0.0.4", face{proxy: proxyHeader(t, 2, "10.77.1.2:1000", func(h *proxyproto.Header) { h.SetTLVs([]proxyproto.TLV{{Type: 0xe0, Value: make([]byte, 1100)}}) })}, none, none, none, none, none},
		"itself":              {"127.0.0.7", face{proxy: proxyHeader(t, 2, "10.77.1.2:1000", func(h *proxyproto.Header) { h.Command = proxyproto.LOCAL })}, "NOERROR", "NOERROR", "NOERROR", none, none},
		"no header":           {"127.0.0.4", face{}, none, none, none, none, none},
		"version 1":           {"127.0.0.4", face{proxy: proxyHeader(t, 1, "10.77.1.2:1000", nil)}, none, none, none, none, none},
		"an allowed one":      {"127.0.0.1", face{}, "NOERROR", "NOERROR", "NOERROR", "NOERROR", "NOERROR"},
		"a header of HTTP":    {"127.0.0.1", face{header: header("X-Forwarded-For", "10.77.1.2")}, "NOERROR", "NOERROR", "NOERROR", "NOERROR", "NOERROR"},
		"X-Forwarded-For":     {"127.0.0.5", face{header: header("X-Forwarded-For", "10.66.1.2, 10.77.1.2", "127.0.0.5")}, "REFUSED", "REFUSED", "NXDOMAIN", "REFUSED", "NXDOMAIN"},
		"not X-Forwarded-For": {"127.0.0.5", face{header: header("Forwarded", "for=10.77.1.2")}, "REFUSED", "REFUSED", none, "REFUSED", none},
		"no X-Forwarded-For":  {"127.0.0.5", face{}, "REFUSED", "REFUSED", none, "REFUSED", none},
		"Forwarded":           {"127.0.0.6", face{header: header("Forwarded", `for=10.66.1.2, proto=https;For="[2001:db8:77::1]:4711"`)}, "REFUSED", "REFUSED", "NXDOMAIN", "REFUSED", "NXDOMAIN"},
		"Forwarded, unknown":  {"127.0.0.6", face{header: header("Forwarded", "for=unknown")}, "REFUSED", "REFUSED", none, "REFUSED", none},
	} {
		for name, ask := range i.transportsAs(ca, c.from, c.face) {
			want := c.plain
			switch {
			case name == "dot":
				want = c.tls
			case name == "doq":
				want = c.doq
			case strings.HasPrefix(name, "doh3"):
				want = c.doh3
			case strings.HasPrefix(name, "doh"):
				want = c.doh
			}
			if want == none && name == "udp" {
				continue // see below
			}
			b, instead := ask(queryFor(t, "banned.example."))
			got := none
			if instead == "" {
				got, _, _ = strings.Cut(summary(b), ";")
			}
			if got != want {
				t.Errorf("%s by %s: %s (%s), want %s", what, name, got, instead, want)
			}
		}
	}
	if !strings.Contains(i.log.String(), "what a proxy sent was not answered") {
		t.Errorf("the log says nothing of a header that is missing:\n%s", i.log)
	}
	// Over UDP no answer is awaited: of two datagrams, the second has the answer.
	query := queryFor(t, "allowed.example.")
	for _, first := range [][]byte{query, append(proxyHeader(t, 1, "10.77.1.2:1000", nil), query...), phone[:20], phone, {}} {
		c, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 4)}, net.UDPAddrFromAddrPort(i.facts.Addrs[0]))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Write(first)
		c.Write(append(bytes.Clone(phone), queryFor(t, "banned.example.")...))
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		b := make([]byte, 4096)
		n, err := c.Read(b)
		if err != nil || !strings.HasPrefix(summary(b[:n]), "NXDOMAIN") {
			t.Errorf("%x: %v %s", first, err, summary(b[:n]))
		}
	}
}

// TestProxiedByDnsdist: dnsdist says for which clients it speaks, over UDP and TCP.
func TestProxiedByDnsdist(t *testing.T) {
	program, err := exec.LookPath("dnsdist")
	if err != nil {
		t.Skip("dnsdist is not there (Debian: dnsdist)")
	}
	i, _ := startProxied(t)
	at := freePort(t)
	i.write("dnsdist.conf", fmt.Sprintf(`setLocal("%s")
setACL({"127.0.0.0/8"})
setSecurityPollSuffix("")
newServer({address="%s", source="127.0.0.7", useProxyProtocol=true, healthCheckMode="up"})
`, at, i.facts.Addrs[0]))
	cmd := exec.Command(program, "--supervised", "--disable-syslog", "-C", i.path("dnsdist.conf"))
	var out syncBuffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
	}()
	for _, network := range []string{"udp", "tcp"} {
		for from, want := range map[string]int{"127.0.0.1": dns.RcodeSuccess, "127.0.0.9": dns.RcodeRefused} {
			c := &dns.Client{Net: network, Timeout: time.Second, Dialer: &net.Dialer{Timeout: time.Second}}
			c.Dialer.LocalAddr = &net.UDPAddr{IP: net.ParseIP(from)}
			if network == "tcp" {
				c.Dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
			}
			var m *dns.Msg
			for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
				if m, _, err = c.Exchange(new(dns.Msg).SetQuestion("allowed.example.", dns.TypeA), at); err == nil {
					break
				}
			}
			if err != nil || m.Rcode != want {
				t.Errorf("%s from %s: %v %v, want %s; dnsdist says\n%s", network, from, err, m, dns.RcodeToString[want], out.String())
			}
		}
	}
}

// freePort is an address of this machine that is free for UDP and TCP.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		u, err := net.ListenPacket("udp", l.Addr().String())
		l.Close()
		if err == nil {
			u.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}
