package server_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/cmd/rideau/internal/server"
	"rideau/resolver/listener/secure/securetest"
	"rideau/resolver/resolvertest"
)

// groupsConfig is a configuration with groups that clients belong to in all ways. Banned.example is banned for all, strict.example for
// the groups strict and kiosk; lax and managed have an exception for both.
const groupsConfig = `listen:
  addresses: ["127.0.0.1:0"]
  encrypted:
    - {addresses: ["127.0.0.1:0"], protocols: [dot, doq, doh, doh3], certificates: [{certificate: dns.pem, key: dns.key}],
       client_ca: root.pem, client_certificates: %s}
clients: {allow: [127.0.0.1, 127.0.0.2]}
groups:
  - {id: kiosk, clients: [127.0.0.2]}
  - {id: strict, path: /strict, sni: Strict.dns.example}
  - {id: lax, path: /lax, sni: lax.dns.example}
  - {id: chosen, path: /chosen, may_weaken: true}
  - {id: managed, certificates: [{san: "*.devices.example", issuer: test root}, {san: other.example, issuer: nobody}]}
upstream: {servers: ["%s"]}
lists: [{id: list, names: [banned.example]}, {id: more, names: [strict.example]}]
bans:
  - {id: ban, title: {en: The ban}, lists: [list]}
  - {id: more, title: {en: More}, lists: [more], groups: [kiosk, strict]}
exceptions: [{id: some, groups: [lax, chosen, managed], names: [banned.example, strict.example], reason: A test}]
reload: {watch: false}
log: {blocked: true, blocked_max_rate: 10000}
ops: {listen: "127.0.0.1:0"}
`

// TestGroups: by each transport, a client is in the group that its certificate, its address, its path and its name make it be in. What
// anybody can choose leads to no group that blocks less, unless the configuration says so.
func TestGroups(t *testing.T) {
	i, ca := startGroups(t, "optional")
	good, stranger, other := ca.Issue(time.Hour, "laptop.devices.example"), ca.Issue(time.Hour, "example"), ca.Issue(time.Hour, "other.example")
	for _, c := range []struct {
		from string
		face face
		// what is blocked: b for banned.example, s for strict.example; of transports with TLS, and of those by HTTPS, if that differs
		tls, https string
	}{
		{"127.0.0.1", face{}, "b", ""},
		{"127.0.0.2", face{}, "bs", ""},
		{"127.0.0.1", face{path: "/strict"}, "b", "bs"},
		{"127.0.0.1", face{sni: "strict.dns.example"}, "bs", ""},
		{"127.0.0.1", face{path: "/lax"}, "b", ""},
		{"127.0.0.1", face{sni: "lax.dns.example"}, "b", ""},
		{"127.0.0.2", face{path: "/lax", sni: "lax.dns.example"}, "bs", ""},
		{"127.0.0.2", face{path: "/lax", sni: "strict.dns.example"}, "bs", ""},
		{"127.0.0.1", face{path: "/chosen"}, "b", "none"},
		{"127.0.0.2", face{path: "/chosen"}, "bs", "none"},
		{"127.0.0.2", face{certificate: &good}, "none", ""},
		{"127.0.0.1", face{certificate: &good, path: "/strict"}, "none", "bs"},
		{"127.0.0.2", face{certificate: &good, path: "/lax"}, "none", ""},
		{"127.0.0.2", face{certificate: &stranger}, "bs", ""},
		{"127.0.0.2", face{certificate: &other}, "bs", ""},
	} {
		for name, ask := range i.transportsAs(ca, c.from, c.face) {
			want := c.tls
			if strings.HasPrefix(name, "doh") && c.https != "" {
				want = c.https
			}
			if name == "udp" || name == "tcp" {
				want = map[string]string{"127.0.0.1": "b", "127.0.0.2": "bs"}[c.from]
			}
			if got := blockedOf(t, ask); got != want {
				t.Errorf("%s from %s, %+v: %s is blocked, want %s", name, c.from, c.face, got, want)
			}
		}
	}
	if s := i.log.String(); !strings.Contains(s, "group=strict") || !strings.Contains(s, "group=kiosk") {
		t.Errorf("the log names no group:\n%s", s)
	}
}

// blockedOf is which of banned.example and strict.example are blocked, by their first letters.
func blockedOf(t *testing.T, ask asking) string {
	t.Helper()
	got := ""
	for _, n := range []string{"banned", "strict"} {
		b, instead := ask(queryFor(t, n+".example."))
		switch {
		case instead != "":
			return instead
		case strings.HasPrefix(summary(b), "NXDOMAIN"):
			got += n[:1]
		case !strings.HasPrefix(summary(b), "NOERROR"):
			return summary(b)
		}
	}
	if got == "" {
		return "none"
	}
	return got
}

// TestCertificatesSuffice: where that is configured, a client with a good certificate is served although clients.allow does not have its
// address; one without gets no connection, and over UDP the address decides.
func TestCertificatesSuffice(t *testing.T) {
	for _, suffice := range []bool{false, true} {
		more := "required"
		if suffice {
			more += ", certificates_suffice: true"
		}
		i, ca := startGroups(t, more)
		good := ca.Issue(time.Hour, "laptop.devices.example")
		for name, ask := range i.transportsAs(ca, "127.0.0.3", face{certificate: &good}) {
			b, instead := ask(queryFor(t, "allowed.example."))
			want := "REFUSED"
			if suffice && name != "udp" && name != "tcp" {
				want = "NOERROR"
			}
			if instead != "" || !strings.HasPrefix(summary(b), want) {
				t.Errorf("%s, suffice %v: %s %s, want %s", name, suffice, instead, summary(b), want)
			}
		}
		if b, instead := i.transports(ca, "127.0.0.1")["dot"](queryFor(t, "allowed.example.")); instead == "" {
			t.Errorf("without a certificate: %s", summary(b))
		}
	}
}

// startGroups runs a server of groupsConfig.
func startGroups(t *testing.T, certificates string) (*instance, *securetest.Authority) {
	t.Helper()
	up := new(resolvertest.Upstream)
	up.Start(t)
	if err := up.Load(". SOA\n* A\n\tanswer banned.example. 300 IN A 127.9.9.9\n* *\n"); err != nil {
		t.Fatal(err)
	}
	i := &instance{t: t, folder: t.TempDir(), log: new(syncBuffer)}
	ca := securetest.NewAuthority(t)
	ca.Write(i.folder, "dns", ca.Issue(time.Hour, "dns.example", "strict.dns.example", "lax.dns.example", "127.0.0.1"))
	ca.WriteRoot(i.folder)
	i.write("rideau.yaml", fmt.Sprintf(groupsConfig, certificates, up.Addr()))
	started := make(chan server.Facts, 1)
	i.Server = server.New(server.Options{Config: i.path("rideau.yaml"), Log: i.log, Workers: 1, Started: func(f server.Facts) { started <- f }})
	i.run(started)
	return i, ca
}

// queryFor is a query for the addresses of a name. Its id is 0, which DoQ demands.
func queryFor(t *testing.T, name string) []byte {
	t.Helper()
	m := new(dns.Msg).SetQuestion(name, dns.TypeA)
	m.Id = 0
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}
