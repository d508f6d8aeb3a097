package blockpage_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/compile"
	"rideau/blocklists/format"
	"rideau/blocklists/input"
	"rideau/cmd/rideau/internal/blockpage"
	"rideau/config"
	"rideau/resolver/audit/act"
)

// bans are the bans of the tests, by the names that they block.
func bans() map[string]blocklists.Ban {
	return map[string]blocklists.Ban{
		"chat.example": {ID: "ca-chat", TitleEN: "Ban on Chat <b> & \"quotes\"", TitleFR: "Interdiction de Clavardage", Authority: "The Board", Instrument: "Order 1 of 2023",
			URL: "https://law.example/order?a=1&b=2", Contact: "desk@department.example", EDE: 16, Page: true, Effective: time.Date(2023, 10, 1, 0, 0, 0, 0, time.UTC)},
		"own.example":  {ID: "own", TitleEN: "Own policy", URL: "javascript:alert(1)", Contact: "+1 613 555 0100", EDE: 15, Page: true},
		"sink.example": {ID: "sink", TitleEN: "Led elsewhere", EDE: 15},
	}
}

func policyOf(t testing.TB) *blocklists.Snapshot {
	t.Helper()
	p := blocklists.Policy{PageGroups: []string{"all"}, Groups: []blocklists.Group{{ID: "trusting", Clients: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}}}
	for name, b := range bans() {
		p.Lists = append(p.Lists, input.List{ID: b.ID, Source: b.ID, Format: format.Plain, Unguarded: true,
			Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(name + "\n")), nil }})
		b.Action, b.Groups, b.Lists, b.TTL = blocklists.Sinkhole, []string{"all"}, []string{b.ID}, time.Minute
		p.Bans = append(p.Bans, b)
	}
	s, _, err := compile.Load(context.Background(), p, nil, compile.Options{Now: time.Now(), Slots: new(blocklists.Slots)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// world is a server on real sockets.
type world struct {
	*blockpage.Server
	http, https string

	mu     sync.Mutex
	visits []act.Visit // guarded by mu; bans has the ban of each
	bans   []string
}

func serve(t *testing.T) *world {
	t.Helper()
	w, snap, cfg := new(world), policyOf(t), config.Default()
	cfg.BlockPage.HTTPSGroups = []string{"trusting"}
	w.Server = blockpage.New(blockpage.Options{Policy: func() *blocklists.Snapshot { return snap }, Config: func() *config.Config { return cfg },
		Log: slog.New(slog.DiscardHandler), Now: time.Now, Record: func(a act.Act) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.visits, w.bans = append(w.visits, *a.Visit), append(w.bans, a.Object)
		}})
	at := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}
	if err := w.Listen(at, false); err != nil {
		t.Fatal(err)
	}
	if err := w.Listen(at, true); err != nil {
		t.Fatal(err)
	}
	w.http, w.https = w.Addrs()[0].String(), w.Addrs()[1].String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); w.Serve(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return w
}

func (w *world) visited() []act.Visit {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.visits
}

// get sends a request for a name, with headers in pairs.
func (w *world) get(t *testing.T, method, name, path string, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, "http://"+w.http+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = name
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"

// TestPage: which ban, why, since when, whom to ask, and a reference, in both languages, and nothing else.
func TestPage(t *testing.T) {
	w := serve(t)
	r, body := w.get(t, "GET", "www.Chat.example:80", "/any?path", "Accept", browser, "Accept-Language", "fr-CA,fr;q=0.9,en;q=0.5")
	if r.StatusCode != 451 {
		t.Errorf("%s", r.Status)
	}
	reference := w.visited()[0].Reference
	for _, want := range []string{`<html lang="fr">`, "www.chat.example", "Interdiction de Clavardage", "Ban on Chat &lt;b&gt; &amp; &#34;quotes&#34;", "The Board", "Order 1 of 2023",
		`<a href="https://law.example/order?a=1&amp;b=2" rel="noreferrer noopener">`, `href="mailto:desk@department.example"`, "1er octobre 2023", "October 1, 2023", "<dd>" + reference + "</dd>"} {
		if !strings.Contains(body, want) {
			t.Errorf("%q is not in %s", want, body)
		}
	}
	if strings.Index(body, `<section lang="fr">`) > strings.Index(body, `<section lang="en">`) {
		t.Error("English is first")
	}
	for _, not := range []string{"127.0.0.1", "<script", "rideau", "Rideau", "go1.", "<img"} {
		if strings.Contains(body, not) {
			t.Errorf("%q is in %s", not, body)
		}
	}
	for key, want := range map[string]string{"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex, nofollow", "X-Content-Type-Options": "nosniff",
		"Content-Type": "text/html; charset=utf-8", "Content-Language": "fr, en", "Server": "", "Strict-Transport-Security": "", "Set-Cookie": ""} {
		if got := r.Header.Get(key); got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
	csp := r.Header.Get("Content-Security-Policy")
	if !strings.HasPrefix(csp, "default-src 'none'; style-src 'sha256-") || strings.Contains(csp, "unsafe") || !strings.Contains(csp, "frame-ancestors 'none'") {
		t.Error(csp)
	}
	// A ban of one's own, with a contact and an address that are no links.
	r, body = w.get(t, "POST", "own.example", "/")
	if r.StatusCode != 403 || !strings.Contains(body, `<html lang="en">`) || strings.Contains(body, "javascript:alert(1)\"") || !strings.Contains(body, "<dd>&#43;1 613 555 0100</dd>") {
		t.Errorf("%s %s", r.Status, body)
	}
}

// TestVisits: a client's requests for a ban within minutes are one visit, which is recorded once; the reference says nothing about the client.
func TestVisits(t *testing.T) {
	w := serve(t)
	for range 3 {
		w.get(t, "GET", "chat.example", "/")
	}
	w.get(t, "GET", "own.example", "/")
	w.get(t, "GET", "own.example", "/favicon.ico")
	w.get(t, "GET", "free.example", "/")
	all := w.visited()
	if len(all) != 2 || w.bans[0] != "ca-chat" || w.bans[1] != "own" || all[0].Client.String() != "127.0.0.1" || all[0].Reference == all[1].Reference {
		t.Errorf("%+v", all)
	}
	for _, v := range all {
		if !regexp.MustCompile(`^[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}$`).MatchString(v.Reference) {
			t.Errorf("%q", v.Reference)
		}
	}
}

// TestRequests: every method and path, programs, names that no ban stops, and what is no request.
func TestRequests(t *testing.T) {
	w := serve(t)
	for _, c := range []struct {
		method, name, path, accept string
		status                     int
		content, body              string
	}{
		{"GET", "chat.example", "/", "application/json", 451, "application/problem+json", `"status":451`},
		{"PUT", "chat.example", "/v1/messages", "application/vnd.api+json, */*;q=0.1", 451, "application/problem+json", `"id":"ca-chat"`},
		{"HEAD", "chat.example", "/", browser, 451, "text/html; charset=utf-8", ""},
		{"DELETE", "chat.example.", "/%2e%2e/..//x", browser, 451, "text/html; charset=utf-8", "Ban on Chat"},
		{"OPTIONS", "chat.example", "/", "", 451, "text/html; charset=utf-8", "Ban on Chat"},
		{"GET", "chat.example", "/a.png", "image/avif,image/webp,*/*;q=0.8", 451, "text/plain; charset=utf-8", "This site is blocked\n"},
		{"GET", "chat.example", "/favicon.ico", "image/*", 404, "", ""},
		{"GET", "free.example", "/", browser, 421, "text/html; charset=utf-8", "There is nothing here"},
		{"GET", "free.example", "/", "application/json", 421, "application/problem+json", `"status":421`},
		{"GET", "127.0.0.1", "/", browser, 421, "text/html; charset=utf-8", "There is nothing here"},
		{"GET", "chat.example<script>", "/", browser, 421, "text/html; charset=utf-8", "There is nothing here"},
		{"GET", strings.Repeat("a", 64) + ".chat.example", "/", browser, 421, "text/html; charset=utf-8", "There is nothing here"},
	} {
		r, body := w.get(t, c.method, c.name, c.path, "Accept", c.accept)
		if r.StatusCode != c.status || r.Header.Get("Content-Type") != c.content || !strings.Contains(body, c.body) || c.body == "" && body != "" || strings.Contains(body, "<script") {
			t.Errorf("%s %s%s for %q: %s %s %s", c.method, c.name, c.path, c.accept, r.Status, r.Header, body)
		}
		if strings.Contains(c.content, "json") && !json.Valid([]byte(body)) {
			t.Errorf("%s", body)
		}
	}
	for sent, want := range map[string]string{
		"CONNECT chat.example:443 HTTP/1.1\r\nHost: chat.example:443\r\n\r\n":                   "HTTP/1.1 405 ",
		"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n":                                                  "HTTP/1.1 400 ",
		"GET / HTTP/1.1\r\nHost: chat.example\r\nX: " + strings.Repeat("a", 20000) + "\r\n\r\n": "HTTP/1.1 431 ",
		"GET / HTTP/1.0\r\n\r\n":           "HTTP/1.0 421 ",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": "HTTP/1.1 421 ",
		"POST / HTTP/1.1\r\nHost: chat.example\r\nContent-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n":      "HTTP/1.1 451 ",
		"POST / HTTP/1.1\r\nHost: chat.example\r\nContent-Length: 5\r\nTransfer-Encoding: chunked, x\r\n\r\nabcde": "HTTP/1.1 501 ",
	} {
		c, err := net.Dial("tcp", w.http)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(10 * time.Second))
		io.WriteString(c, sent)
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil || !strings.HasPrefix(line, want) {
			t.Errorf("%.40q: %q, %v", sent, line, err)
		}
		c.Close()
	}
}

// TestConnections: silent connections of one client do not keep others out, and are bounded.
func TestConnections(t *testing.T) {
	w := serve(t)
	closed := make(chan bool, 64)
	for range 40 { // more than one client may have
		c, err := net.Dial("tcp", w.http)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		go func() { c.Read(make([]byte, 1)); closed <- true }()
	}
	for range 40 - 32 {
		select {
		case <-closed:
		case <-time.After(20 * time.Second):
			t.Fatal("all silent connections are kept")
		}
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	c, err := d.Dial("tcp", w.http)
	if err != nil {
		t.Skip("there is no second address of this machine:", err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: chat.example\r\n\r\n")
	if line, err := bufio.NewReader(c).ReadString('\n'); !strings.HasPrefix(line, "HTTP/1.1 451 ") {
		t.Errorf("another client: %q, %v", line, err)
	}
}

// ca writes an authority to files, and returns a configuration with it.
func ca(t *testing.T, change func(*x509.Certificate)) (*config.Config, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "department"}, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, PermittedDNSDomainsCritical: true, PermittedDNSDomains: []string{"chat.example", "sink.example"}}
	change(template)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	c, dir := config.Default(), t.TempDir()
	c.BlockPage.Certificate, c.BlockPage.Key = filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca.key")
	for path, b := range map[string]*pem.Block{c.BlockPage.Certificate: {Type: "CERTIFICATE", Bytes: der}, c.BlockPage.Key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c, root
}

// TestHTTPS: a client that trusts the authority sees the page by HTTPS, for names that are banned for it and lead there, and for no others.
func TestHTTPS(t *testing.T) {
	w := serve(t)
	c, root := ca(t, func(*x509.Certificate) {})
	dial := func(name, from string) (*tls.Conn, error) {
		roots := x509.NewCertPool()
		roots.AddCert(root)
		d := tls.Dialer{NetDialer: &net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}, Config: &tls.Config{RootCAs: roots, ServerName: name}}
		conn, err := d.Dial("tcp", w.https)
		if err != nil {
			return nil, err
		}
		return conn.(*tls.Conn), nil
	}
	if _, err := dial("chat.example", "127.0.0.1"); err == nil {
		t.Error("there is a certificate without an authority")
	}
	a, err := blockpage.LoadAuthority(c, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	w.Use(a)
	var first []byte
	for range 2 {
		conn, err := dial("www.chat.example", "127.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		leaf := conn.ConnectionState().PeerCertificates[0]
		if leaf.NotAfter.After(root.NotAfter) || leaf.NotBefore.Before(root.NotBefore) || len(leaf.DNSNames) != 1 || leaf.PublicKeyAlgorithm != x509.ECDSA || leaf.IsCA {
			t.Errorf("%+v", leaf)
		}
		if first == nil {
			first = leaf.Raw
		} else if string(first) != string(leaf.Raw) {
			t.Error("a name has another certificate for each connection")
		}
		fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: www.chat.example\r\nConnection: close\r\n\r\n")
		body, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(body), "HTTP/1.1 451 ") || !strings.Contains(string(body), "Ban on Chat") {
			t.Errorf("%s, %v", body, err)
		}
		conn.Close()
	}
	for name, why := range map[string]string{"free.example": "not banned", "example": "above a banned name", "sink.example": "its ban does not lead here", "own.example": "the authority does not permit it",
		"": "no name", "xn--.chat.example\u00e9": "no name"} {
		if conn, err := dial(name, "127.0.0.1"); err == nil {
			t.Errorf("%q, %s: %v", name, why, conn.ConnectionState().PeerCertificates[0].DNSNames)
		}
	}
	if _, err := dial("chat.example", "127.0.0.9"); err == nil {
		t.Error("a group that does not trust the authority has a certificate")
	}
}

// TestAuthority: which authorities are refused, and which are warned of.
func TestAuthority(t *testing.T) {
	none := func(*x509.Certificate) {}
	c, _ := ca(t, none)
	a, err := blockpage.LoadAuthority(c, time.Now())
	if err != nil || len(a.Warnings) > 0 {
		t.Errorf("%v, %v", err, a)
	}
	for name, want := range map[string]bool{"chat.example": true, "a.b.chat.example": true, "achat.example": false, "example": false} {
		if a.Permits(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
	for want, change := range map[string]func(*x509.Certificate){
		"is not the certificate of an authority": func(c *x509.Certificate) { c.IsCA, c.KeyUsage, c.PermittedDNSDomains = false, 0, nil },
		"expired at":                             func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) },
	} {
		c, _ := ca(t, change)
		if _, err := blockpage.LoadAuthority(c, time.Now()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	c, _ = ca(t, func(c *x509.Certificate) { c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = nil, false })
	if a, err := blockpage.LoadAuthority(c, time.Now()); err != nil || len(a.Warnings) != 1 || !strings.Contains(a.Warnings[0].Message, "no name constraints") {
		t.Errorf("%v, %v", err, a)
	}
	c, _ = ca(t, none)
	if err := os.Chmod(c.BlockPage.Key, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := blockpage.LoadAuthority(c, time.Now()); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Error("a key that everyone can read is used:", err)
	}
	other, _ := ca(t, none)
	c.BlockPage.Key = other.BlockPage.Key
	if _, err := blockpage.LoadAuthority(c, time.Now()); err == nil || !strings.Contains(err.Error(), "does not match") {
		t.Error(err)
	}
	c.BlockPage.Key = filepath.Join(t.TempDir(), "none")
	if _, err := blockpage.LoadAuthority(c, time.Now()); err == nil || !strings.Contains(err.Error(), "put the key there") {
		t.Error(err)
	}
}

// TestRateOfCertificates: how many names have a new certificate in a second is bounded; those that have one keep it.
func TestRateOfCertificates(t *testing.T) {
	c, _ := ca(t, func(*x509.Certificate) {})
	a, err := blockpage.LoadAuthority(c, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	now, issued := time.Now(), 0
	for i := range 200 {
		if _, err := a.Issue(fmt.Sprintf("n%d.chat.example", i), now); err == nil {
			issued++
		}
	}
	if issued != 50 {
		t.Errorf("%d certificates in a second", issued)
	}
	if _, err := a.Issue("n0.chat.example", now); err != nil {
		t.Error(err)
	}
	if _, err := a.Issue("n199.chat.example", now.Add(time.Second)); err != nil {
		t.Error(err)
	}
}
