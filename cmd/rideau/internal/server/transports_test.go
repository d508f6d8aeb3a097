package server_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"rideau/cmd/rideau/internal/server"
	"rideau/config/encrypted"
	"rideau/resolver/listener/secure/securetest"
	"rideau/resolver/ops"
	"rideau/resolver/resolvertest"
)

// encryptedConfig is a configuration with all transports, for clients at 127.0.0.1 and
// 127.0.0.2. The certificate is in dns.pem and dns.key.
const encryptedConfig = `listen:
  addresses: ["127.0.0.1:0"]
  encrypted:
    - {addresses: ["127.0.0.1:0"], protocols: [dot, doq, doh, doh3], certificates: [{certificate: dns.pem, key: dns.key}]}
clients: {allow: [127.0.0.1, 127.0.0.2], refused_per_second: 100000}
limits: {queries_per_second: %d, burst: %d}
upstream: {servers: ["%s"]}
lists: [{id: list, names: [banned.example]}]
bans: [{id: ban, title: {en: The ban}, lists: [list]}]
reload: {watch: false}
ops: {listen: "127.0.0.1:0"}
`

// startEncrypted runs a server with all transports.
func startEncrypted(t *testing.T, rate int) (*instance, *securetest.Authority) {
	t.Helper()
	up := new(resolvertest.Upstream)
	up.Start(t)
	if err := up.Load(". SOA\n* A\n\tanswer allowed.example. 300 IN A 127.9.9.9\n* *\n"); err != nil {
		t.Fatal(err)
	}
	i := &instance{t: t, folder: t.TempDir(), log: new(syncBuffer)}
	ca := securetest.NewAuthority(t)
	ca.Write(i.folder, "dns", ca.Issue(time.Hour, "dns.example", "127.0.0.1"))
	i.write("rideau.yaml", fmt.Sprintf(encryptedConfig, rate, rate, up.Addr()))
	started := make(chan server.Facts, 1)
	i.Server = server.New(server.Options{Config: i.path("rideau.yaml"), Log: i.log, Workers: 1, Started: func(f server.Facts) { started <- f }})
	i.run(started)
	return i, ca
}

// asking sends messages by one transport from an address. It returns the response, or in
// words what there was in its place.
type asking func(msg []byte) (response []byte, instead string)

// transports are the ways to ask a server, by their names.
func (i *instance) transports(ca *securetest.Authority, from string) map[string]asking {
	return i.transportsAs(ca, from, face{})
}

// face is what a client shows or asks for beside its address, each of which may be empty.
type face struct {
	path, sni   string
	certificate *tls.Certificate
	proxy       []byte      // comes before a connection's first octet, and before each datagram
	header      http.Header // of requests by HTTPS
}

// relay adds a header to requests.
type relay struct {
	http.RoundTripper
	header http.Header
}

func (r relay) RoundTrip(q *http.Request) (*http.Response, error) {
	q = q.Clone(q.Context())
	maps.Copy(q.Header, r.header)
	return r.RoundTripper.RoundTrip(q)
}

// transportsAs are the ways to ask a server as a client that shows a face.
func (i *instance) transportsAs(ca *securetest.Authority, from string, f face) map[string]asking {
	ip := net.ParseIP(from)
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: ip}}
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dialer.DialContext(ctx, network, addr)
		if err == nil && len(f.proxy) > 0 {
			_, err = c.Write(f.proxy)
		}
		return c, err
	}
	config := func(protocols ...string) *tls.Config {
		c := &tls.Config{RootCAs: ca.Pool(), ServerName: cmp.Or(f.sni, "dns.example"), NextProtos: protocols}
		if f.certificate != nil {
			c.Certificates = []tls.Certificate{*f.certificate}
		}
		return c
	}
	dialQUIC := func(ctx context.Context, addr string, t *tls.Config, q *quic.Config) (*quic.Conn, error) {
		c, err := net.ListenUDP("udp", &net.UDPAddr{IP: ip})
		if err != nil {
			return nil, err
		}
		i.t.Cleanup(func() { c.Close() })
		return quic.Dial(ctx, c, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)), t, q)
	}
	at := map[encrypted.Protocol]netip.AddrPort{}
	for _, b := range i.facts.Encrypted {
		at[b.Protocol] = b.Addr
	}
	web := &http.Transport{DialContext: dial, TLSClientConfig: config(), ForceAttemptHTTP2: true}
	web1 := &http.Transport{DialContext: dial, TLSClientConfig: config(), TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}}
	web3 := &http3.Transport{TLSClientConfig: config(), Dial: dialQUIC}
	i.t.Cleanup(func() { web.CloseIdleConnections(); web1.CloseIdleConnections(); web3.Close() })
	plain, doh, doh3 := i.facts.Addrs[0].String(), "https://"+at[encrypted.DoH].String()+cmp.Or(f.path, "/dns-query"), "https://"+at[encrypted.DoH3].String()+cmp.Or(f.path, "/dns-query")
	return map[string]asking{
		"udp": func(msg []byte) ([]byte, string) {
			c, err := net.DialUDP("udp", &net.UDPAddr{IP: ip}, net.UDPAddrFromAddrPort(i.facts.Addrs[0]))
			if err != nil {
				return nil, err.Error()
			}
			defer c.Close()
			c.Write(append(slices.Clone(f.proxy), msg...))
			c.SetReadDeadline(time.Now().Add(patience(msg)))
			b := make([]byte, 65535)
			n, err := c.Read(b)
			if err != nil {
				return nil, "nothing"
			}
			return b[:n], ""
		},
		"tcp": func(msg []byte) ([]byte, string) {
			c, err := dial(context.Background(), "tcp", plain)
			return overStream(c, msg, err)
		},
		"dot": func(msg []byte) ([]byte, string) {
			c, err := dial(context.Background(), "tcp", at[encrypted.DoT].String())
			if err != nil {
				return nil, err.Error()
			}
			defer c.Close()
			t := tls.Client(c, config("dot"))
			return overStream(t, msg, t.Handshake())
		},
		"doq": func(msg []byte) ([]byte, string) {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			c, err := dialQUIC(ctx, at[encrypted.DoQ].String(), config("doq"), nil)
			if err != nil {
				return nil, err.Error()
			}
			defer c.CloseWithError(0, "")
			s, err := c.OpenStreamSync(ctx)
			if err != nil {
				return nil, err.Error()
			}
			s.SetDeadline(time.Now().Add(5 * time.Second))
			s.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...))
			s.Close()
			got, err := io.ReadAll(s)
			var ended *quic.ApplicationError
			var reset *quic.StreamError
			switch {
			case errors.As(err, &ended):
				return nil, fmt.Sprintf("the connection ends with %d", ended.ErrorCode)
			case errors.As(err, &reset):
				return nil, fmt.Sprintf("the stream ends with %d", reset.ErrorCode)
			case err != nil:
				return nil, err.Error()
			}
			return got[2:], ""
		},
		"doh GET by HTTP/2":    overHTTP(relay{web, f.header}, doh, false),
		"doh POST by HTTP/2":   overHTTP(relay{web, f.header}, doh, true),
		"doh GET by HTTP/1.1":  overHTTP(relay{web1, f.header}, doh, false),
		"doh POST by HTTP/1.1": overHTTP(relay{web1, f.header}, doh, true),
		"doh3 GET":             overHTTP(relay{web3, f.header}, doh3, false),
		"doh3 POST":            overHTTP(relay{web3, f.header}, doh3, true),
	}
}

// patience is how long to wait for a response: what is no query gets none.
func patience(msg []byte) time.Duration {
	if len(msg) < 12 || msg[2]&0x80 != 0 {
		return 100 * time.Millisecond
	}
	return 5 * time.Second
}

func overStream(c net.Conn, msg []byte, err error) ([]byte, string) {
	if err != nil {
		return nil, err.Error()
	}
	defer c.Close()
	c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...))
	c.SetReadDeadline(time.Now().Add(patience(msg)))
	var n [2]byte
	if _, err := io.ReadFull(c, n[:]); err != nil {
		return nil, "nothing"
	}
	b := make([]byte, binary.BigEndian.Uint16(n[:]))
	if _, err := io.ReadFull(c, b); err != nil {
		return nil, err.Error()
	}
	return b, ""
}

func overHTTP(t http.RoundTripper, url string, post bool) asking {
	return func(msg []byte) ([]byte, string) {
		method, path, body := "GET", "?dns="+base64.RawURLEncoding.EncodeToString(msg), io.Reader(nil)
		if post {
			method, path, body = "POST", "", bytes.NewReader(msg)
		}
		r, err := http.NewRequest(method, url+path, body)
		if err != nil {
			return nil, err.Error()
		}
		if post {
			r.Header.Set("Content-Type", "application/dns-message")
		}
		client := http.Client{Transport: t, Timeout: 5 * time.Second}
		res, err := client.Do(r)
		if err != nil {
			return nil, err.Error()
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		switch {
		case err != nil:
			return nil, err.Error()
		case res.StatusCode != http.StatusOK:
			return nil, fmt.Sprint("status ", res.StatusCode)
		}
		return b, ""
	}
}

// summary is what a response says, without what differs from one to the next.
func summary(b []byte) string {
	m := new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		return "broken: " + err.Error()
	}
	out := []string{dns.RcodeToString[m.Rcode], fmt.Sprintf("opcode %d, %d questions, tc %v, ra %v, aa %v", m.Opcode, len(m.Question), m.Truncated, m.RecursionAvailable, m.Authoritative)}
	for _, rr := range slices.Concat(m.Answer, m.Ns) {
		rr.Header().Ttl = 0
		out = append(out, rr.String())
	}
	if o := m.IsEdns0(); o != nil {
		for _, x := range o.Option {
			out = append(out, fmt.Sprint(x.Option(), " ", x))
		}
	}
	return strings.Join(out, "; ")
}

// messages are the messages of TestTransports, by what they are. All have the id 0, which DoQ demands.
func messages(t *testing.T) map[string][]byte {
	t.Helper()
	pack := func(name string, qtype uint16, edit func(*dns.Msg)) []byte {
		m := new(dns.Msg).SetQuestion(name, qtype)
		m.Id = 0
		m.SetEdns0(1232, false)
		if edit != nil {
			edit(m)
		}
		b, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	opcode := func(o int) func(*dns.Msg) { return func(m *dns.Msg) { m.Opcode = o } }
	good := pack("allowed.example.", dns.TypeA, nil)
	all := map[string][]byte{
		"allowed":       good,
		"banned":        pack("www.banned.example.", dns.TypeA, nil),
		"banned, HTTPS": pack("banned.example.", dns.TypeHTTPS, nil),
		"without EDNS":  pack("allowed.example.", dns.TypeA, func(m *dns.Msg) { m.Extra = nil }),
		"UPDATE":        pack("allowed.example.", dns.TypeSOA, opcode(dns.OpcodeUpdate)),
		"NOTIFY":        pack("allowed.example.", dns.TypeSOA, opcode(dns.OpcodeNotify)),
		"STATUS":        pack("allowed.example.", dns.TypeA, opcode(dns.OpcodeStatus)),
		"AXFR":          pack("allowed.example.", dns.TypeAXFR, nil),
		"IXFR": pack("allowed.example.", dns.TypeIXFR, func(m *dns.Msg) {
			m.Ns = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: "allowed.example.", Rrtype: dns.TypeSOA, Class: 1}, Ns: ".", Mbox: "."}}
		}),
		"ANY":           pack("allowed.example.", dns.TypeANY, nil),
		"CHAOS":         pack("allowed.example.", dns.TypeTXT, func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }),
		"no question":   pack("allowed.example.", dns.TypeA, func(m *dns.Msg) { m.Question = nil }),
		"two questions": pack("allowed.example.", dns.TypeA, func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }),
		"an answer": pack("allowed.example.", dns.TypeA, func(m *dns.Msg) {
			m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: "allowed.example.", Rrtype: 1, Class: 1}, A: net.IP{1, 2, 3, 4}}}
		}),
		"EDNS version 1": pack("allowed.example.", dns.TypeA, func(m *dns.Msg) { m.IsEdns0().SetVersion(1) }),
		"TSIG":           pack("allowed.example.", dns.TypeA, func(m *dns.Msg) { m.SetTsig("key.", dns.HmacSHA256, 300, 1) }),
		"large": pack("allowed.example.", dns.TypeA, func(m *dns.Msg) {
			m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Code: 65001, Data: make([]byte, 1100)}}
		}),
		"cut in its name": good[:16],
		"cut in its OPT":  good[:len(good)-3],
		"a loop":          append(bytes.Clone(good[:12]), 0xc0, 12, 0, 1, 0, 1),
		"a pointer ahead": append(bytes.Clone(good[:12]), 3, 'a', 'b', 'c', 0xc0, 40, 0, 1, 0, 1),
		"a response":      slices.Concat(good[:2], []byte{good[2] | 0x80}, good[3:]),
		"a header alone":  good[:12],
	}
	return all
}

// TestTransports: whatever is sent, each transport gives what UDP gives. What gets nothing by
// UDP gets nothing of DNS by the others.
func TestTransports(t *testing.T) {
	i, ca := startEncrypted(t, 0)
	ways, strangers := i.transports(ca, "127.0.0.2"), i.transports(ca, "127.0.0.3")
	none := map[string]string{"tcp": "nothing", "dot": "nothing", "doq": "the connection ends with 2"}
	for what, msg := range messages(t) {
		for _, who := range []map[string]asking{ways, strangers} {
			udp, instead := who["udp"](msg)
			want := instead
			if instead == "" {
				want = summary(udp)
			}
			for name, ask := range who {
				b, instead := ask(msg)
				switch {
				case name == "udp":
				case want != "nothing" && instead == "":
					if got := summary(b); got != want {
						t.Errorf("%s by %s:\n%s, and by UDP:\n%s", what, name, got, want)
					}
				case want == "nothing":
					wanted, stream := none[name]
					if !stream {
						wanted = "status 400"
					}
					if instead != wanted {
						t.Errorf("%s by %s: %x %s, want %s", what, name, b, instead, wanted)
					}
				default:
					t.Errorf("%s by %s: %s, and by UDP:\n%s", what, name, instead, want)
				}
			}
		}
	}
	for name := range map[string]bool{"allowed": true, "banned": true, "UPDATE": true} {
		b, _ := ways["doq"](messages(t)[name])
		want := map[string]string{"allowed": "NOERROR", "banned": "NXDOMAIN", "UPDATE": "REFUSED"}[name]
		if got := summary(b); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", name, got)
		}
		b, _ = strangers["doq"](messages(t)[name])
		if got := summary(b); !strings.HasPrefix(got, "REFUSED") {
			t.Errorf("%s, from a stranger: %s", name, got)
		}
	}
	for _, line := range []string{`outcome="blocked",qtype="a",transport="dot"`, `outcome="blocked",qtype="https",transport="doq"`, `outcome="denied"`, `transport="doh3"`} {
		if !strings.Contains(i.metrics(), line) {
			t.Errorf("no metric has %s", line)
		}
	}
}

// metrics returns the metrics.
func (i *instance) metrics() string { return i.get("/metrics") }

// TestTransportsLimited: all transports count against the same rate of a client, and a client whose
// address is its own gets REFUSED beyond it.
func TestTransportsLimited(t *testing.T) {
	i, ca := startEncrypted(t, 1)
	ways := i.transports(ca, "127.0.0.2")
	good := messages(t)["allowed"]
	if b, instead := ways["tcp"](good); instead != "" || !strings.HasPrefix(summary(b), "NOERROR") {
		t.Fatalf("the first query: %s %s", b, instead)
	}
	for name, ask := range ways {
		if name == "udp" {
			continue
		}
		refused := false
		for range 3 { // one a second is let through
			b, instead := ask(good)
			if instead != "" {
				t.Errorf("%s: %s", name, instead)
				break
			}
			refused = refused || strings.HasPrefix(summary(b), "REFUSED")
		}
		if !refused {
			t.Errorf("%s: no query is refused", name)
		}
	}
}

// TestCertificatesReloaded: new files are for new connections, an open one goes on; files that do not
// belong together change nothing.
func TestCertificatesReloaded(t *testing.T) {
	i, ca := startEncrypted(t, 0)
	var at netip.AddrPort
	for _, b := range i.facts.Encrypted {
		if b.Protocol == encrypted.DoT {
			at = b.Addr
		}
	}
	dial := func() *tls.Conn {
		t.Helper()
		c, err := tls.Dial("tcp", at.String(), &tls.Config{RootCAs: ca.Pool(), ServerName: "dns.example"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	ask := func(c *tls.Conn) {
		t.Helper()
		d := &dns.Conn{Conn: c}
		c.SetDeadline(time.Now().Add(5 * time.Second))
		d.WriteMsg(new(dns.Msg).SetQuestion("allowed.example.", dns.TypeA))
		if m, err := d.ReadMsg(); err != nil || m.Rcode != dns.RcodeSuccess {
			t.Errorf("%v", err)
		}
	}
	serial := func(c *tls.Conn) string { return c.ConnectionState().PeerCertificates[0].SerialNumber.String() }
	old := dial()
	ask(old)

	next := ca.Issue(30*24*time.Hour, "dns.example", "127.0.0.1")
	ca.Write(i.folder, "next", next)
	i.write("dns.pem", i.read("next.pem")) // the key is not there yet
	_, err := i.Reload(t.Context(), "the test")
	if err == nil || !strings.Contains(err.Error(), "rideau.yaml:4: listen.encrypted[0].certificates[0].key: ") || !strings.Contains(err.Error(), "private key does not match") {
		t.Errorf("%v", err)
	}
	if got := serial(dial()); got != serial(old) {
		t.Error("a certificate without its key is in use")
	}
	i.write("dns.key", i.read("next.key"))
	result, err := i.Reload(t.Context(), "the test")
	if err != nil || !result.Changed {
		t.Fatalf("%v, %+v", err, result)
	}
	if got := serial(dial()); got != next.Leaf.SerialNumber.String() {
		t.Errorf("certificate %s, want %v", got, next.Leaf.SerialNumber)
	}
	ask(old)
	if result, err = i.Reload(t.Context(), "the test"); err != nil || result.Changed {
		t.Errorf("without a change: %v, %+v", err, result)
	}

	// A third of its life is left, and then nothing.
	for _, want := range []string{"less than a third of its life is left", "expired at"} {
		life := 20 * time.Minute
		if want == "expired at" {
			life = -time.Minute
		}
		ca.Write(i.folder, "dns", ca.Issue(life, "dns.example"))
		result, err = i.Reload(t.Context(), "the test")
		if err != nil || !slices.ContainsFunc(result.Warnings, func(p ops.Problem) bool { return strings.Contains(p.Message, want) }) {
			t.Errorf("%v: %v, %+v", life, err, result.Warnings)
		}
		if ready := i.get("/readyz"); !strings.Contains(ready, want) {
			t.Errorf("/readyz: %s", ready)
		}
	}
	ask(old)
	if !strings.Contains(i.metrics(), `rideau_certificate_expiry_timestamp_seconds{certificate="`+i.path("dns.pem")+`"}`) {
		t.Error("there is no metric of the certificate's end")
	}

	// A listener that is taken out of the configuration ends, and the others go on.
	i.write("rideau.yaml", strings.Replace(i.read("rideau.yaml"), "dot, doq, doh, doh3", "doq", 1))
	if _, err := i.Reload(t.Context(), "the test"); err != nil {
		t.Fatal(err)
	}
	old.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := old.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the connection to a listener that is gone: %v", err)
	}
	if b, instead := i.transports(ca, "127.0.0.1")["doq"](messages(t)["banned"]); instead == "" {
		t.Errorf("the expired certificate was verified: %x", b)
	}
}

// TestDesignation: a client that asks in plain text is told of the encrypted transports, with the ports that are bound, while their
// certificate is for the address that it asks; else it is told of none, and /readyz says why.
func TestDesignation(t *testing.T) {
	i, ca := startEncrypted(t, 0)
	ask := func() *dns.Msg {
		t.Helper()
		m, err := dns.Exchange(new(dns.Msg).SetQuestion("_dns.resolver.arpa.", dns.TypeSVCB), i.facts.Addrs[0].String())
		if err != nil || m.Rcode != dns.RcodeSuccess {
			t.Fatalf("%v, %v", m, err)
		}
		return m
	}
	ports := map[string]encrypted.Protocol{"h2": encrypted.DoH, "h3": encrypted.DoH3, "dot": encrypted.DoT, "doq": encrypted.DoQ}
	answer := ask().Answer
	for _, rr := range answer {
		svcb := rr.(*dns.SVCB)
		var alpn, port, hint string
		for _, kv := range svcb.Value {
			switch kv.Key() {
			case dns.SVCB_ALPN:
				alpn = kv.String()
			case dns.SVCB_PORT:
				port = kv.String()
			case dns.SVCB_IPV4HINT:
				hint = kv.String()
			}
		}
		if svcb.Target != "dns.example." || port != fmt.Sprint(i.endpoint(ports[alpn]).Port()) || hint != "127.0.0.1" {
			t.Errorf("%v", rr)
		}
	}
	if len(answer) != 4 {
		t.Errorf("%v", answer)
	}
	ca.Write(i.folder, "dns", ca.Issue(time.Hour, "dns.example", "192.0.2.1"))
	if _, err := i.Reload(t.Context(), "the test"); err != nil {
		t.Fatal(err)
	}
	if m := ask(); len(m.Answer) != 0 || len(m.Ns) != 1 {
		t.Errorf("with a certificate for another address: %v", m)
	}
	if ready := i.get("/readyz"); !strings.Contains(ready, "is not for the address 127.0.0.1 of listen.addresses") {
		t.Errorf("/readyz: %s", ready)
	}
}
