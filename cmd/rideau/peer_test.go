package main

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// These tests talk to programs of others, as upstreams and as clients. All other tests
// know only this project's own idea of DNS.

// tool finds a program. Without it the test is skipped, except in continuous
// integration, which must have them all.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path = filepath.Join("/usr/sbin", name)
		_, err = os.Stat(path)
	}
	if err != nil {
		if os.Getenv("RIDEAU_CI") == "1" {
			t.Fatalf("%s is not installed", name)
		}
		t.Skipf("%s is not installed; the tests without it say what they can", name)
	}
	return path
}

// serveWith runs a name server in the foreground until the test ends, and waits
// until it answers at addr.
func serveWith(t *testing.T, addr, path string, args ...string) {
	t.Helper()
	cmd := exec.Command(path, args...)
	var log lockedBuffer
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.WaitDelay = 5 * time.Second
	endWithTests(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		cmd.Wait()
	}()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			cmd.Process.Kill()
			<-ended
		}
	})
	c := dns.Client{Timeout: 200 * time.Millisecond}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		m, _, err := c.Exchange(new(dns.Msg).SetQuestion("www.peer.example.", dns.TypeA), addr)
		if err == nil && len(m.Answer) == 2 {
			return
		}
		select {
		case <-ended:
			if strings.Contains(log.String(), "ermission denied") && os.Getenv("RIDEAU_CI") != "1" {
				t.Skipf("%s may not read the test's files here, perhaps by AppArmor: %s", path, log.String())
			}
			t.Fatalf("%s ended: %s", path, log.String())
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not answer: %v, %v\n%s", path, m, err, log.String())
		}
	}
}

// zone returns the zone of testdata/peer, signed, and the DS record of its key.
func zone(t *testing.T) (text, ds string) {
	t.Helper()
	const origin = "peer.example."
	raw, err := os.ReadFile("testdata/peer/peer.example.zone")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		raw = fmt.Appendf(raw, "large TXT \"%d %s\"\n", i, strings.Repeat("x", 150))
	}
	key := &dns.DNSKEY{Hdr: dns.RR_Header{Name: origin, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 300},
		Flags: dns.ZONE | dns.SEP, Protocol: 3, Algorithm: dns.ECDSAP256SHA256}
	private, err := key.Generate(256)
	if err != nil {
		t.Fatal(err)
	}
	sets := map[string]map[uint16][]dns.RR{}
	add := func(rr dns.RR) {
		h := rr.Header()
		if sets[h.Name] == nil {
			sets[h.Name] = map[uint16][]dns.RR{}
		}
		sets[h.Name][h.Rrtype] = append(sets[h.Name][h.Rrtype], rr)
	}
	parser := dns.NewZoneParser(strings.NewReader(string(raw)), origin, "peer.example.zone")
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		add(rr)
	}
	if err := parser.Err(); err != nil {
		t.Fatal(err)
	}
	add(key)
	for _, rr := range denials(sets) {
		add(rr)
	}
	var b strings.Builder
	for _, types := range sets {
		for _, set := range types {
			for _, rr := range append(slices.Clip(set), sign(t, key, private.(crypto.Signer), set)) {
				fmt.Fprintln(&b, rr)
			}
		}
	}
	return b.String(), key.ToDS(dns.SHA256).String()
}

// denials returns the chain of NSEC records (RFC 4034 section 4).
func denials(sets map[string]map[uint16][]dns.RR) []dns.RR {
	var names []string
	for name := range sets {
		names = append(names, name)
	}
	// In canonical order (RFC 4034 section 6.1), which for these names is that
	// of the labels from right to left.
	slices.SortFunc(names, func(a, b string) int {
		x, y := dns.SplitDomainName(a), dns.SplitDomainName(b)
		slices.Reverse(x)
		slices.Reverse(y)
		return slices.Compare(x, y)
	})
	var out []dns.RR
	for i, name := range names {
		bits := []uint16{dns.TypeRRSIG, dns.TypeNSEC}
		for qtype := range sets[name] {
			bits = append(bits, qtype)
		}
		slices.Sort(bits)
		out = append(out, &dns.NSEC{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: 120},
			NextDomain: names[(i+1)%len(names)], TypeBitMap: bits})
	}
	return out
}

func sign(t *testing.T, key *dns.DNSKEY, private crypto.Signer, set []dns.RR) dns.RR {
	t.Helper()
	sig := &dns.RRSIG{Hdr: dns.RR_Header{Ttl: set[0].Header().Ttl}, Algorithm: key.Algorithm, KeyTag: key.KeyTag(), SignerName: key.Hdr.Name,
		Inception: uint32(time.Now().Add(-time.Hour).Unix()), Expiration: uint32(time.Now().Add(24 * time.Hour).Unix())}
	if err := sig.Sign(private, set); err != nil {
		t.Fatal(err)
	}
	return sig
}

// startNSD serves the zone with authority, and returns the address and the DS record
// of the zone's key.
func startNSD(t *testing.T) (addr, ds string) {
	t.Helper()
	path := tool(t, "nsd")
	dir := t.TempDir()
	addr = freeAddress(t, "127.0.0.1")
	text, ds := zone(t)
	for name, text := range map[string]string{"peer.example.zone": text, "nsd.conf": fmt.Sprintf(`
server:
  ip-address: %s
  server-count: 1
  username: ""
  chroot: ""
  database: ""
  zonesdir: %[2]q
  zonelistfile: "%[2]s/zone.list"
  xfrdfile: "%[2]s/xfrd.state"
  xfrdir: %[2]q
  pidfile: ""
  rrl-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: peer.example
  zonefile: peer.example.zone
`, strings.Replace(addr, ":", "@", 1), dir)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	serveWith(t, addr, path, "-d", "-c", filepath.Join(dir, "nsd.conf"))
	return addr, ds
}

// startUnbound resolves the zone from the server at authority, and validates it with
// its DS record. It also has a zone of its own, and sends no other queries.
func startUnbound(t *testing.T, authority, ds string) (addr string) {
	t.Helper()
	path := tool(t, "unbound")
	dir := t.TempDir()
	addr = freeAddress(t, "127.0.0.1")
	_, port, _ := net.SplitHostPort(addr)
	conf := fmt.Sprintf(`
server:
  interface: 127.0.0.1
  port: %s
  do-ip6: no
  num-threads: 1
  username: ""
  chroot: ""
  directory: %q
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  do-not-query-localhost: no
  module-config: "validator iterator"
  trust-anchor: %q
  local-zone: "." static
  local-data: ". 300 IN NS localhost."
  local-data: ". 300 IN SOA localhost. nobody.invalid. 1 3600 600 86400 120"
  local-zone: "peer.example." transparent
  local-data: "local.example. 300 IN A 192.0.2.40"
  local-data: "local.example. 300 IN AAAA 2001:db8::40"
  local-data: "toy.example. 300 IN CNAME www.banned.example."
remote-control:
  control-enable: no
stub-zone:
  name: peer.example
  stub-addr: %s
`, port, dir, strings.ReplaceAll(ds, "\t", " "), strings.Replace(authority, ":", "@", 1))
	if err := os.WriteFile(filepath.Join(dir, "unbound.conf"), []byte(conf), 0o666); err != nil {
		t.Fatal(err)
	}
	serveWith(t, addr, path, "-d", "-c", filepath.Join(dir, "unbound.conf"))
	return addr
}

// answer is what dig and kdig print of a response.
type answer struct {
	status string
	flags  []string
	answer []string // records, without their TTLs, sorted
	soa    bool     // the authority section has one
	text   string   // all of it
}

// client queries addr with dig or kdig.
func client(t *testing.T, path, addr string, args ...string) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	host, port, _ := net.SplitHostPort(addr)
	out, err := exec.CommandContext(ctx, path, append([]string{"@" + host, "-p", port}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", path, args, err, out)
	}
	a := answer{text: string(out)}
	if m := regexp.MustCompile(`status: ([A-Z]+)`).FindStringSubmatch(a.text); m != nil {
		a.status = m[1]
	}
	if m := regexp.MustCompile(`(?im)^;; flags: ([a-z ]*);`).FindStringSubmatch(a.text); m != nil {
		a.flags = strings.Fields(m[1])
	}
	section := ""
	for line := range strings.Lines(a.text) {
		switch f := strings.Fields(line); {
		case strings.HasPrefix(line, ";; ") && strings.HasSuffix(strings.TrimSpace(line), "SECTION:"):
			section = f[1]
		case len(f) < 5 || strings.HasPrefix(line, ";"):
		case section == "ANSWER":
			f[1] = "TTL"
			a.answer = append(a.answer, strings.Join(f, " "))
		case section == "AUTHORITY" && f[3] == "SOA":
			a.soa = true
		}
	}
	slices.Sort(a.answer)
	return a
}

// without returns flags without some.
func without(flags []string, drop ...string) []string {
	return slices.DeleteFunc(slices.Clone(flags), func(f string) bool { return slices.Contains(drop, f) })
}

// compareAnswers queries rideau twice, so that the second answer can come from the
// cache, and its upstream once. Rideau never claims authority, and always offers
// recursion.
func compareAnswers(t *testing.T, path string, p *process, upstream string, args ...string) {
	t.Helper()
	want := client(t, path, upstream, args...)
	for _, round := range []string{"first", "then"} {
		got := client(t, path, p.dns[0], args...)
		what := fmt.Sprintf("%s %v, %s", filepath.Base(path), args, round)
		if got.status != want.status || got.soa != want.soa {
			t.Errorf("%s: status %s, SOA %v, want %s and %v\n%s\n%s", what, got.status, got.soa, want.status, want.soa, got.text, want.text)
		}
		if !slices.Equal(got.answer, want.answer) && !slices.Contains(want.flags, "tc") {
			t.Errorf("%s: %q, want %q", what, got.answer, want.answer)
		}
		if g, w := without(got.flags, "ra"), without(want.flags, "aa", "ra"); !slices.Equal(g, w) || !slices.Contains(got.flags, "ra") {
			t.Errorf("%s: flags %v, want %v with ra", what, got.flags, w)
		}
	}
}

// peerWorld starts a rideau in front of an upstream that others wrote.
func peerWorld(t *testing.T, upstream string) *process {
	t.Helper()
	w := newWorld(t)
	text := strings.Replace(w.configText(), `"`+w.upstream.Addr().String()+`"`, fmt.Sprintf("{server: %q, trust_ad: true}", upstream), 1)
	w.write("rideau.yaml", strings.Replace(text, "title: {en: The ban}", "title: {en: The ban}, ede: censored", 1))
	return start(t, w.dir)
}

// eachClient runs a test with dig and with kdig.
func eachClient(t *testing.T, f func(t *testing.T, path string)) {
	for _, name := range []string{"dig", "kdig"} {
		t.Run(name, func(t *testing.T) { f(t, tool(t, name)) })
	}
}

// blockedFor queries a name that must be blocked, in every way.
func blockedFor(t *testing.T, path string, p *process, name string) {
	t.Helper()
	for _, how := range []string{"+notcp", "+tcp", "+dnssec", "+norec", "+cd", "+bufsize=512"} {
		for _, qtype := range []string{"A", "AAAA", "HTTPS", "TXT", "TYPE65400"} {
			got := client(t, path, p.dns[0], name, "-t", qtype, "+edns", how)
			if got.status != "NXDOMAIN" || len(got.answer) > 0 || !got.soa || !regexp.MustCompile(`EDE: 16 \(Censored\).*ban: The ban`).MatchString(got.text) {
				t.Errorf("%s %s %s: %s", name, qtype, how, got.text)
			}
		}
	}
}

// blockedPlainly queries without EDNS: the response cannot say why.
func blockedPlainly(t *testing.T, path string, p *process, name string) {
	t.Helper()
	got := client(t, path, p.dns[0], name, "+noedns")
	if got.status != "NXDOMAIN" || !got.soa || strings.Contains(got.text, "EDNS") {
		t.Errorf("%s without EDNS: %s", name, got.text)
	}
}

// TestAuthoritativePeer: NSD's answers are forwarded unchanged.
func TestAuthoritativePeer(t *testing.T) {
	t.Parallel()
	upstream, _ := startNSD(t)
	p := peerWorld(t, upstream)
	eachClient(t, func(t *testing.T, path string) {
		for _, q := range []string{
			"www.peer.example A",
			"WwW.PeEr.ExAmPlE A",
			"www.peer.example AAAA",
			"www.peer.example HTTPS",
			"peer.example MX",
			"peer.example SOA",
			"peer.example NS",
			"peer.example DNSKEY +dnssec",
			"alias2.peer.example A",
			"alias2.peer.example CNAME",
			"a.old.peer.example A",
			"a.old.peer.example A +dnssec",
			"_dns._tcp.peer.example SRV",
			"text.peer.example TXT",
			"caa.peer.example CAA",
			"unknown.peer.example TYPE65400",
			"missing.peer.example A",
			"missing.peer.example A +dnssec",
			"www.peer.example MX",
			"_tcp.peer.example A",
			"www.peer.example A +tcp",
			"www.peer.example A +dnssec",
			"www.peer.example A +dnssec +tcp",
			"www.peer.example A +norec",
			"www.peer.example A +bufsize=4096",
			"large.peer.example TXT",
			"large.peer.example TXT +tcp",
			"large.peer.example TXT +dnssec",
			"large.peer.example TXT +bufsize=512 +ignore",
			"large.peer.example TXT +bufsize=1232 +ignore",
		} {
			f := strings.Fields(q)
			compareAnswers(t, path, p, upstream, append([]string{f[0], "-t", f[1]}, f[2:]...)...)
		}
		blockedFor(t, path, p, "www.banned.example")
		blockedPlainly(t, path, p, "www.banned.example")
		// The target of an answer is checked, too.
		for _, q := range [][]string{{"leads.peer.example", "+edns"}, {"svcleads.peer.example", "-t", "HTTPS", "+edns"}} {
			if got := client(t, path, p.dns[0], q...); got.status != "NXDOMAIN" || !strings.Contains(got.text, "EDE: 16") {
				t.Errorf("%v: %s", q, got.text)
			}
		}
	})
}

// TestRecursivePeer: so are Unbound's, with the AD bit of what it validated.
func TestRecursivePeer(t *testing.T) {
	t.Parallel()
	authority, ds := startNSD(t)
	upstream := startUnbound(t, authority, ds)
	p := peerWorld(t, upstream)
	eachClient(t, func(t *testing.T, path string) {
		for _, q := range []string{
			"local.example A",
			"local.example AAAA +tcp",
			"local.example A +norec",
			"local.example MX",
			"nothing.example A",
			"www.peer.example A",
			"www.peer.example A +dnssec",
			"www.peer.example A +dnssec +cd",
			"www.peer.example HTTPS +tcp",
			"alias2.peer.example AAAA +dnssec",
			"a.old.peer.example A +dnssec",
			"missing.peer.example A +dnssec",
			"www.peer.example MX +dnssec",
			"large.peer.example TXT",
		} {
			f := strings.Fields(q)
			compareAnswers(t, path, p, upstream, append([]string{f[0], "-t", f[1]}, f[2:]...)...)
		}
		got := client(t, path, p.dns[0], "www.peer.example", "+dnssec")
		if !slices.Contains(got.flags, "ad") || len(got.answer) != 3 {
			t.Errorf("validated by upstream, and the client is not told: %s", got.text)
		}
		blockedFor(t, path, p, "banned.example")
		if got := client(t, path, p.dns[0], "toy.example", "+edns"); got.status != "NXDOMAIN" || !strings.Contains(got.text, "EDE: 16") {
			t.Errorf("alias of a banned name: %s", got.text)
		}
	})
	if n := p.metric(`rideau_upstream_healthy{upstream="` + upstream + `"}`); n != 1 {
		t.Errorf("rideau_upstream_healthy is %v", n)
	}
}

// TestConnectionKeptOpen: a client may send several queries on one connection (RFC
// 7766 section 6.2.1).
func TestConnectionKeptOpen(t *testing.T) {
	t.Parallel()
	path := tool(t, "dig")
	w := newWorld(t)
	p := start(t, w.dir)
	host, port, _ := net.SplitHostPort(p.dns[0])
	out, err := exec.Command(path, "@"+host, "-p", port, "+tcp", "+keepopen", "+short", "plain.example", "second.example", "third.example").Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		t.Fatalf("%v: %s", err, exit.Stderr)
	}
	if got := strings.Fields(string(out)); !slices.Equal(got, []string{"192.0.2.1", "192.0.2.1", "192.0.2.1"}) {
		t.Errorf("%q", got)
	}
}
