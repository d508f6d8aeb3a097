package evidence

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	server "rideau/config"
	"rideau/config/encrypted"
	"rideau/resolver/audit/act"
	"rideau/resolver/ops"
	"rideau/resolver/ops/access"
)

func TestActor(t *testing.T) {
	for _, c := range []struct {
		from *ops.Caller
		want act.Actor
	}{
		{nil, act.Actor{Way: act.ByItself}},
		{&ops.Caller{Address: "192.0.2.1:4711"}, act.Actor{Way: act.ByHTTP, Address: "192.0.2.1:4711"}},
		{&ops.Caller{Address: "192.0.2.1:4711", Who: access.Who{Way: access.ByToken, Name: "ops.token_file"}}, act.Actor{Way: act.ByHTTP, Address: "192.0.2.1:4711", User: "ops.token_file"}},
		{&ops.Caller{Socket: true}, act.Actor{Way: act.BySocket}},
		{&ops.Caller{Socket: true, Peer: &ops.Peer{User: 0, Process: 7}}, act.Actor{Way: act.BySocket, User: "0", Process: 7}},
	} {
		if got := Actor(c.from); got != c.want {
			t.Errorf("%+v: %+v, want %+v", c.from, got, c.want)
		}
	}
}

// kinds returns the kinds of acts, with who asked.
func kinds(acts []act.Act) (out []string) {
	for _, a := range acts {
		out = append(out, string(a.Kind)+" "+a.Object+" by "+string(a.Actor.Way))
	}
	return out
}

func equal(t *testing.T, got []act.Act, want ...string) {
	t.Helper()
	k := kinds(got)
	for i := range max(len(k), len(want)) {
		if i >= len(k) || i >= len(want) || k[i] != want[i] {
			t.Fatalf("got %q, want %q", k, want)
		}
	}
}

// TestChangedExceptions: what becomes of exceptions is told with ticket and approver: made and changed by somebody, begun and ended by that
// or by date.
func TestChangedExceptions(t *testing.T) {
	by := act.Actor{Way: act.ByHTTP, Address: "192.0.2.1:4711"}
	later := act.Exception{ID: "b", Ticket: "T2", Approver: "B", Effective: time.Unix(1800000000, 0)}
	now := act.Exception{ID: "a", Ticket: "T1", Approver: "A", InForce: true}
	of := func(all ...act.Exception) map[string]act.Exception {
		out := map[string]act.Exception{}
		for _, x := range all {
			out[x.ID] = x
		}
		return out
	}
	made := changedExceptions(by, nil, of(now, later))
	equal(t, made, "exception_made a by http", "exception_began a by http", "exception_made b by http")
	if x := made[2].Exception; x.Ticket != "T2" || x.Approver != "B" || x.InForce || made[2].Actor != by {
		t.Errorf("%+v", made[2])
	}
	equal(t, changedExceptions(by, of(now, later), of(now, later)))
	begun := later
	begun.InForce = true
	equal(t, changedExceptions(act.Actor{Way: act.ByDate}, of(now, later), of(now, begun)), "exception_began b by date")
	equal(t, changedExceptions(by, of(begun), of(later)), "exception_ended b by date")
	longer := begun
	longer.Expires = time.Unix(1900000000, 0)
	equal(t, changedExceptions(by, of(begun), of(longer)), "exception_made b by http")
	equal(t, changedExceptions(by, of(now, later), nil), "exception_ended a by http", "exception_removed a by http", "exception_removed b by http")
}

// pemOf returns a certificate.
func pemOf(t *testing.T, name string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(255), Subject: pkix.Name{CommonName: name}, NotAfter: time.Unix(1900000000, 0)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// TestCertificates: a certificate is told by its names and digest, and a change of one with the digests of both.
func TestCertificates(t *testing.T) {
	one, two := pemOf(t, "one"), pemOf(t, "two")
	c, ok := Certificate("fetch.ca_file", append([]byte("# comment\n"), one...))
	if !ok || c.Subject != "CN=one" || c.Serial != "ff" || len(c.Fingerprint) != 64 || c.NotAfter.Unix() != 1900000000 {
		t.Errorf("%+v", c)
	}
	both, _ := Certificate("fetch.ca_file", append(one, two...))
	if both.Fingerprint == c.Fingerprint || both.Subject != c.Subject {
		t.Errorf("%+v", both)
	}
	if _, ok := Certificate("x", []byte("nothing")); ok {
		t.Error("nothing is a certificate")
	}
	by := act.Actor{Way: act.ByFile}
	was, is := map[string]act.Certificate{"fetch.ca_file": c}, map[string]act.Certificate{"fetch.ca_file": both}
	got := changedCertificates(by, was, is)
	equal(t, got, "certificate_changed fetch.ca_file by file")
	if ch := got[0].Changes[0]; ch.Before != c.Fingerprint || ch.After != both.Fingerprint || got[0].Certificate.Subject != "CN=one" {
		t.Errorf("%+v", got[0])
	}
	equal(t, changedCertificates(by, was, was))
	equal(t, changedCertificates(by, nil, was), "certificate_changed fetch.ca_file by file")
	if gone := changedCertificates(by, was, nil); gone[0].Certificate != nil || gone[0].Changes[0].After != "" {
		t.Errorf("%+v", gone)
	}
}

// TestFollowCertificates: a file that is replaced without a reload is told, once.
func TestFollowCertificates(t *testing.T) {
	e, cfg := New("node", t.TempDir(), Options{}), new(server.Config)
	cfg.Listen.Encrypted = []encrypted.Listener{{Certificates: []encrypted.Certificate{{Certificate: filepath.Join(t.TempDir(), "dns.pem")}}}}
	cfg.Fetch.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	write := func(name string) {
		t.Helper()
		if err := os.WriteFile(cfg.Fetch.CAFile, pemOf(t, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	equal(t, e.FollowCertificates(cfg)) // not begun
	e.follow(followed{begun: true, certificates: certificates(cfg)})
	equal(t, e.FollowCertificates(cfg))
	write("two")
	got := e.FollowCertificates(cfg)
	equal(t, got, "certificate_changed fetch.ca_file by itself")
	if c := got[0].Certificate; c.Subject != "CN=two" || c.File != cfg.Fetch.CAFile {
		t.Errorf("%+v", c)
	}
	equal(t, e.FollowCertificates(cfg))
	if err := os.WriteFile(cfg.Listen.Encrypted[0].Certificates[0].Certificate, pemOf(t, "dns.example"), 0o600); err != nil {
		t.Fatal(err)
	}
	equal(t, e.FollowCertificates(cfg), "certificate_changed listen.encrypted[0].certificates[0].certificate by itself")
}
