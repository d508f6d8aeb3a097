package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver/resolvertest/odd"
)

// These tests have resolvers of operating systems, and other programs, ask Rideau. What
// knows no port gets a network of its own, in which Rideau has port 53 and the file
// /etc/resolv.conf says so.

// clientZone is what the upstreams of these tests say: of the public, or of a network
// with Active Directory (inside).
func clientZone(inside bool) func(q *dns.Msg) *dns.Msg {
	text := `
www.example. 300 IN A 192.0.2.1
www.example. 300 IN AAAA 2001:db8::1
v4.example. 300 IN A 192.0.2.4
v6.example. 300 IN AAAA 2001:db8::6
alias.example. 300 IN CNAME cdn.example.
cdn.example. 300 IN CNAME www.example.
banned.example. 300 IN A 192.0.2.9
toy.example. 300 IN CNAME banned.example.
portal.example. 300 IN CNAME dc1.corp.example.
web.example. 300 IN A 127.0.0.1
`
	origin := "example."
	if inside {
		origin = "corp.example."
		text = "corp.example. 300 IN SOA dc1.corp.example. hostmaster.corp.example. 1 900 600 86400 300\n"
		for i := range 12 {
			text += fmt.Sprintf("dc%d.corp.example. 300 IN A 10.1.0.%d\n", i, 10+i)
			for _, service := range []string{"_ldap._tcp.dc._msdcs:389", "_ldap._tcp:389", "_gc._tcp:3268", "_kerberos._tcp:88", "_kerberos._udp:88", "_kerberos._tcp.Paris._sites.dc._msdcs:88"} {
				name, port, _ := strings.Cut(service, ":")
				text += fmt.Sprintf("%s.corp.example. 300 IN SRV 0 100 %s dc%d.corp.example.\n", name, port, i)
			}
		}
	}
	records := map[string][]dns.RR{}
	for rr, err := range zoneRecords(text) {
		if err != nil {
			panic(err)
		}
		name := strings.ToLower(rr.Header().Name)
		records[name] = append(records[name], rr)
	}
	for i := range 100 { // more than a datagram has room for
		records["many.example."] = append(records["many.example."], &dns.A{Hdr: dns.RR_Header{Name: "many.example.", Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 300}, A: net.IPv4(198, 51, 100, byte(1+i))})
	}
	return func(q *dns.Msg) *dns.Msg { return zoneAnswer(q, origin, records) }
}

func zoneRecords(text string) func(yield func(dns.RR, error) bool) {
	return func(yield func(dns.RR, error) bool) {
		p := dns.NewZoneParser(strings.NewReader(text), ".", "")
		for rr, ok := p.Next(); ok; rr, ok = p.Next() {
			if !yield(rr, nil) {
				return
			}
		}
		if err := p.Err(); err != nil {
			yield(nil, err)
		}
	}
}

// zoneAnswer is the answer of a recursive resolver that knows these records.
func zoneAnswer(q *dns.Msg, origin string, records map[string][]dns.RR) *dns.Msg {
	m := odd.Plain(q)
	m.Answer, m.Ns = nil, nil
	name := strings.ToLower(q.Question[0].Name)
	for range 10 {
		alias := ""
		for _, rr := range records[name] {
			if c, ok := rr.(*dns.CNAME); ok {
				alias = c.Target
			}
			if rr.Header().Rrtype == q.Question[0].Qtype || rr.Header().Rrtype == dns.TypeCNAME {
				m.Answer = append(m.Answer, rr)
			}
		}
		if alias == "" {
			break
		}
		name = alias
	}
	if len(m.Answer) == 0 || m.Answer[len(m.Answer)-1].Header().Rrtype != q.Question[0].Qtype {
		m.Ns = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: origin, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 300}, Ns: "ns." + origin, Mbox: "nobody." + origin, Serial: 1, Minttl: 300}}
		below := func(n string) bool { return dns.IsSubDomain(name, n) }
		if !slices.ContainsFunc(keys(records), below) && name != "." {
			m.Rcode = dns.RcodeNameError
		}
	}
	return m
}

func keys(m map[string][]dns.RR) []string {
	var all []string
	for k := range m {
		all = append(all, k)
	}
	return all
}

// clientConfig is a configuration with a public upstream and a route of corp.example.
// Both servers have to run already.
func clientConfig(t testing.TB, dir, listen string, public, inside *odd.Server) {
	w := &world{t: t, dir: dir}
	w.write("list.txt", "banned.example\n")
	w.write("rideau.yaml", fmt.Sprintf(`listen: {addresses: [%q]}
upstream: {servers: [%q]}
forward: [{zones: [corp.example], servers: [%q]}]
lists: [{id: list, file: list.txt}]
bans: [{id: ban, title: {en: The ban}, lists: [list]}]
ops: {listen: "127.0.0.1:0"}
log: {level: warn}
`, listen, public.Addr(), inside.Addr()))
}

// clientWorld runs Rideau at port 53 of a network of its own.
func clientWorld(t *testing.T, does func(q *odd.Query, r *odd.Reply)) *space {
	t.Helper()
	if _, err := exec.LookPath("unshare"); err != nil {
		t.Skip("the command unshare, of util-linux, is not installed")
	}
	s := newSpace(t, "clients")
	dir := t.TempDir()
	s.do(func() {
		public, inside := &odd.Server{Zone: clientZone(false), Does: does}, &odd.Server{Zone: clientZone(true)}
		public.Start(t)
		inside.Start(t)
		clientConfig(t, dir, "127.0.0.1:53", public, inside)
		start(t, dir)
	})
	return s
}

// inside runs a command in the network and with this text as /etc/resolv.conf.
func (s *space) inside(t *testing.T, resolvConf, path string, args ...string) string {
	t.Helper()
	out, err := s.try(t, resolvConf, path, args...)
	if err != nil {
		t.Fatalf("%s %v: %v: %s", path, args, err, out)
	}
	return out
}

// try is inside for a command that may fail.
func (s *space) try(t *testing.T, resolvConf, path string, args ...string) (string, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte(resolvConf), 0o644); err != nil {
		t.Fatal(err)
	}
	var out []byte
	var err error
	s.do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		script := `mount --bind "$0" /etc/resolv.conf && exec "$@"`
		out, err = exec.CommandContext(ctx, "unshare", append([]string{"-m", "sh", "-c", script, file, path}, args...)...).CombinedOutput()
	})
	return string(out), err
}

// compiled is testdata/clients/resolve.c, compiled.
func compiled(t *testing.T, compiler string, flags ...string) string {
	t.Helper()
	cc := tool(t, compiler)
	out := filepath.Join(t.TempDir(), "resolve")
	if text, err := exec.Command(cc, append(flags, "-o", out, "testdata/clients/resolve.c")...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return out
}

// TestSystemResolvers: the resolvers of the C libraries glibc and musl get what there is,
// with the options that change how they ask.
func TestSystemResolvers(t *testing.T) {
	t.Parallel()
	var many []string
	for i := range 100 {
		many = append(many, fmt.Sprintf("198.51.100.%d", 1+i))
	}
	slices.Sort(many)
	for _, library := range []struct {
		name, compiler string
		flags          []string
		options        []string
		tcp            bool // whether it asks over TCP what is truncated; musl does so from 1.2.4 on
	}{
		{"glibc", "gcc", nil, []string{"", "options edns0 trust-ad", "options single-request", "options use-vc", "options ndots:5 timeout:2"}, true},
		{"musl", "musl-gcc", []string{"-static"}, []string{"", "options ndots:5 timeout:2"}, false},
	} {
		t.Run(library.name, func(t *testing.T) {
			t.Parallel()
			program := compiled(t, library.compiler, library.flags...)
			s := clientWorld(t, nil)
			for _, options := range library.options {
				got := s.inside(t, "nameserver 127.0.0.1\nsearch corp.example\n"+options+"\n", program,
					"www.example", "v4.example", "v6.example", "alias.example", "dc1", "dc2.corp.example", "banned.example", "toy.example", "missing.example", "many.example")
				want := []string{"www.example 192.0.2.1 2001:db8::1", "v4.example 192.0.2.4", "v6.example 2001:db8::6", "alias.example 192.0.2.1 2001:db8::1",
					"dc1 10.1.0.11", "dc2.corp.example 10.1.0.12", "banned.example NONAME", "toy.example NONAME", "missing.example NONAME", "many.example " + strings.Join(many, " ")}
				lines := strings.Split(strings.TrimSpace(got), "\n")
				if !library.tcp { // it gets those that fit into a datagram
					want = want[:len(want)-1]
					if some := strings.Fields(lines[len(lines)-1]); len(some) < 20 || some[0] != "many.example" || !strings.HasPrefix(some[1], "198.51.100.") {
						t.Errorf("%q: %q, want some of 100 addresses", options, some)
					}
				}
				for i, w := range want {
					if i >= len(lines) || lines[i] != w {
						t.Errorf("%q: %q, want %q", options, lines[min(i, len(lines)-1)], w)
					}
				}
			}
		})
	}
}

// TestSystemResolversWithOddUpstream: they get what there is from a name server that does
// not answer queries for AAAA, after a while.
func TestSystemResolversWithOddUpstream(t *testing.T) {
	t.Parallel()
	program := compiled(t, "gcc")
	s := clientWorld(t, func(q *odd.Query, r *odd.Reply) { r.Drop = q.Msg.Question[0].Qtype == dns.TypeAAAA })
	got := s.inside(t, "nameserver 127.0.0.1\noptions timeout:1\n", program, "v4.example")
	if got != "v4.example 192.0.2.4\n" {
		t.Errorf("%q", got)
	}
}

// TestCurl: curl fetches by name, and not from a banned name. It asks by glibc: its own
// option --dns-servers takes a build with c-ares, which distributions do not have.
func TestCurl(t *testing.T) {
	t.Parallel()
	path := tool(t, "curl")
	s := clientWorld(t, nil)
	var l net.Listener
	s.do(func() {
		var err error
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	})
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host) })}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		web.Serve(l)
	}()
	t.Cleanup(func() { web.Close(); <-ended })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	conf := "nameserver 127.0.0.1\n"
	if got := s.inside(t, conf, path, "-sS", "--noproxy", "*", "http://web.example:"+port+"/"); got != "web.example:"+port {
		t.Errorf("%q", got)
	}
	if got, err := s.try(t, conf, path, "-sS", "--noproxy", "*", "http://banned.example:"+port+"/"); err == nil || !strings.Contains(got, "(6)") { // could not resolve host
		t.Errorf("banned: %v: %q", err, got)
	}
}

// TestDelv: delv validates through Rideau, from the zone's key down: answers, aliases,
// names that do not exist and types that do not exist.
func TestDelv(t *testing.T) {
	t.Parallel()
	path := tool(t, "delv")
	authority, ds := startNSD(t)
	p := peerWorld(t, authority)
	f := strings.Fields(ds) // name TTL IN DS tag algorithm digest-type digest
	anchors := filepath.Join(t.TempDir(), "anchors")
	text := fmt.Sprintf("trust-anchors { \"peer.example\" static-ds %s %s %s \"%s\"; };\n", f[4], f[5], f[6], strings.Join(f[7:], ""))
	if err := os.WriteFile(anchors, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	host, port, _ := net.SplitHostPort(p.dns[0])
	for _, q := range []struct{ name, qtype, want string }{
		{"www.peer.example", "A", "; fully validated"},
		{"www.peer.example", "HTTPS", "; fully validated"},
		{"alias2.peer.example", "AAAA", "; fully validated"},
		{"large.peer.example", "TXT", "; fully validated"},
		{"missing.peer.example", "A", "; negative response, fully validated"},
		{"www.peer.example", "MX", "; negative response, fully validated"},
	} {
		for range 2 { // the second time from the cache
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			out, err := exec.CommandContext(ctx, path, "@"+host, "-p", port, "-a", anchors, "+root=peer.example", q.name, q.qtype).CombinedOutput()
			cancel()
			if !strings.Contains(string(out), q.want) {
				t.Errorf("%s %s: %v: %s", q.name, q.qtype, err, out)
			}
		}
	}
}

// TestUpdateIsRefused: an update is answered at once, and not forwarded: Rideau has no
// zones (RFC 2136 section 3).
func TestUpdateIsRefused(t *testing.T) {
	t.Parallel()
	path := tool(t, "nsupdate")
	public, inside := &odd.Server{Zone: clientZone(false)}, &odd.Server{Zone: clientZone(true)}
	public.Start(t)
	inside.Start(t)
	dir := t.TempDir()
	clientConfig(t, dir, "127.0.0.1:0", public, inside)
	p := start(t, dir)
	host, port, _ := net.SplitHostPort(p.dns[0])
	for _, flag := range [][]string{nil, {"-v"}} { // over UDP, and over TCP
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		cmd := exec.CommandContext(ctx, path, flag...)
		cmd.Stdin = strings.NewReader(fmt.Sprintf("server %s %s\nzone corp.example\nupdate add pc1.corp.example 300 A 10.1.0.99\nsend\n", host, port))
		out, err := cmd.CombinedOutput()
		cancel()
		if err == nil || !strings.Contains(string(out), "update failed: NOTIMP") && !strings.Contains(string(out), "update failed: REFUSED") {
			t.Errorf("%v: %v: %s", flag, err, out)
		}
	}
}

// TestDirectory: what a member of an Active Directory domain asks for is answered by the
// domain's own servers, though the public knows nothing of it.
func TestDirectory(t *testing.T) {
	t.Parallel()
	public, inside := &odd.Server{Zone: clientZone(false)}, &odd.Server{Zone: clientZone(true)}
	public.Start(t)
	inside.Start(t)
	dir := t.TempDir()
	clientConfig(t, dir, "127.0.0.1:0", public, inside)
	p := start(t, dir)
	for range 2 { // the second time from the cache
		for _, name := range []string{"_ldap._tcp.dc._msdcs", "_ldap._tcp", "_gc._tcp", "_kerberos._tcp", "_kerberos._udp", "_kerberos._tcp.Paris._sites.dc._msdcs"} {
			name += ".corp.example"
			m := p.ask("udp", name, dns.TypeSRV)
			if m.Truncated {
				m = p.ask("tcp", name, dns.TypeSRV)
			}
			if m.Rcode != dns.RcodeSuccess || len(m.Answer) != 12 {
				t.Fatalf("%s: %v", name, m)
			}
			for _, rr := range m.Answer {
				target := rr.(*dns.SRV).Target
				if got := outcome(p.ask("udp", target, dns.TypeA)); !strings.HasPrefix(got, "NOERROR 10.1.0.") {
					t.Errorf("%s: %s", target, got)
				}
			}
		}
		for _, q := range []struct {
			name  string
			qtype uint16
			want  string
		}{
			{"corp.example", dns.TypeSOA, "NOERROR SOA"},
			{"_msdcs.corp.example", dns.TypeA, "NOERROR"},
			{"_ldap._tcp.Lyon._sites.dc._msdcs.corp.example", dns.TypeSRV, "NXDOMAIN"},
			{"wpad.corp.example", dns.TypeA, "NXDOMAIN"},
			{"dc1.corp.example", dns.TypeAAAA, "NOERROR"},
			{"DC1.CORP.EXAMPLE", dns.TypeA, "NOERROR 10.1.0.11"},
			{"www.example", dns.TypeA, "NOERROR 192.0.2.1"},
			{"corp.example.missing.example", dns.TypeA, "NXDOMAIN"},
		} {
			if got := outcome(p.ask("udp", q.name, q.qtype)); got != q.want {
				t.Errorf("%s %s: %s, want %s", q.name, dns.Type(q.qtype), got, q.want)
			}
		}
	}
}
