package setup

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"rideau/config"
)

// Whatever is changed about a server makes new upstreams, and nothing else
// does.
func TestUpstreamsChange(t *testing.T) {
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(ca, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	load := func(servers string) *config.Config {
		t.Helper()
		path := filepath.Join(dir, "rideau.yaml")
		text := servers + "\nlists: [{id: l, names: [a.example]}]\nbans: [{id: b, title: {en: B}, lists: [l]}]\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	const base = "upstream: {servers: [{server: \"tls://192.0.2.1\", name: a.example}]}"
	var now *Upstreams
	change := func(what, servers string, want bool) {
		t.Helper()
		cfg := load(servers)
		plan, err := PlanUpstreams(cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		next, err := NewUpstreams(cfg, plan, now, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if (next != now) != want {
			t.Errorf("%s: new upstreams %v, want %v", what, next != now, want)
		}
		now = next
	}
	change("at first", base, true)
	change("the same", base, false)
	change("a line further down", "\n\n"+base, false)
	change("a name", "upstream: {servers: [{server: \"tls://192.0.2.1\", name: b.example}]}", true)
	change("a pin", "upstream: {servers: [{server: \"tls://192.0.2.1\", pins: [rJZ8VL1BcTDKnBtMjOHwlTXFFtHP9PgYyrSRnJJhXE4=]}]}", true)
	change("another pin", "upstream: {servers: [{server: \"tls://192.0.2.1\", pins: [zw6dr14yG2jsB4J47mywKVwXR+sOU23NkTRdHe9udlA=]}]}", true)
	change("trust", "upstream: {servers: [{server: \"tls://192.0.2.1\", trust_ad: true, pins: [zw6dr14yG2jsB4J47mywKVwXR+sOU23NkTRdHe9udlA=]}]}", true)
	change("letters", "upstream: {mix_case: false, servers: [{server: \"tls://192.0.2.1\", trust_ad: true, pins: [zw6dr14yG2jsB4J47mywKVwXR+sOU23NkTRdHe9udlA=]}]}", true)
	forward := "upstream: {servers: [192.0.2.1]}\nforward: [{zones: [corp.example], servers: [{server: \"tls://192.0.2.2\", "
	change("forward", forward+"name: a.example}]}]", true)
	change("forward again", forward+"name: a.example}]}]", false)
	change("a forward's name", forward+"name: b.example}]}]", true)
	a, b := newTestCA(t), newTestCA(t)
	write(a)
	change("a forward's authority", forward+"ca_file: ca.pem}]}]", true)
	change("the same authority", forward+"ca_file: ca.pem}]}]", false)
	write(b)
	change("another authority in the file", forward+"ca_file: ca.pem}]}]", true)
}

// newTestCA is a certificate in PEM form.
func newTestCA(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestServerList(t *testing.T) {
	got := ServerList([]config.Server{config.Plain(netip.MustParseAddrPort("[::1]:53")), config.Plain(netip.MustParseAddrPort("192.0.2.1:53"))})
	if got != "[::1]:53 192.0.2.1:53" {
		t.Errorf("%q", got)
	}
}
