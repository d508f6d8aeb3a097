//go:build linux

package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver/resolvertest/odd"
)

// oddPeer is another forwarder, which the rows of TestOdd are played with.
type oddPeer struct {
	name    string
	program string
	over    []odd.Transport // by which it can ask
	// config returns its configuration and its arguments. The configuration is in the
	// file "conf" of dir.
	config func(u *oddUpstreams, dir, port string) (text string, args []string)
}

// oddPeers are the four, each set up as a forwarder with a cache, and to validate
// nothing, as Rideau does.
func oddPeers() []oddPeer {
	return []oddPeer{
		{"Unbound", "unbound", []odd.Transport{odd.UDP, odd.TCP, odd.TLS}, unboundForwarder},
		{"BIND", "named", []odd.Transport{odd.UDP}, bindForwarder},
		{"dnsmasq", "dnsmasq", []odd.Transport{odd.UDP}, dnsmasqForwarder},
		{"dnsdist", "dnsdist", []odd.Transport{odd.UDP, odd.TCP, odd.TLS, odd.HTTPS}, dnsdistForwarder},
	}
}

func unboundForwarder(u *oddUpstreams, dir, port string) (string, []string) {
	var b strings.Builder
	fmt.Fprintf(&b, `
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
  module-config: "iterator"
remote-control:
  control-enable: no
forward-zone:
  name: "."
`, port, dir)
	switch u.over {
	case odd.TLS:
		b.WriteString("  forward-tls-upstream: yes\n")
	case odd.TCP:
		b.WriteString("  forward-tcp-upstream: yes\n")
	}
	for _, s := range u.all {
		fmt.Fprintf(&b, "  forward-addr: 127.0.0.1@%d\n", s.Addr().Port())
	}
	if u.inside != nil {
		fmt.Fprintf(&b, "forward-zone:\n  name: %q\n  forward-addr: 127.0.0.1@%d\n", u.zone, u.inside.Addr().Port())
	}
	return b.String(), []string{"-d", "-c", filepath.Join(dir, "conf")}
}

func bindForwarder(u *oddUpstreams, dir, port string) (string, []string) {
	var to strings.Builder
	for _, s := range u.all {
		fmt.Fprintf(&to, "127.0.0.1 port %d; ", s.Addr().Port())
	}
	route := ""
	if u.inside != nil {
		route = fmt.Sprintf("zone %q { type forward; forward only; forwarders { 127.0.0.1 port %d; }; };", u.zone, u.inside.Addr().Port())
	}
	return fmt.Sprintf(`
options {
  directory %q;
  listen-on port %s { 127.0.0.1; };
  listen-on-v6 { none; };
  recursion yes;
  forward only;
  forwarders { %s};
  dnssec-validation no;
  empty-zones-enable no;
  pid-file none;
  session-keyfile "session.key";
  lock-file none;
};
controls { };
%s
`, dir, port, to.String(), route), []string{"-g", "-n", "1", "-c", filepath.Join(dir, "conf")}
}

func dnsmasqForwarder(u *oddUpstreams, dir, port string) (string, []string) {
	var b strings.Builder
	fmt.Fprintf(&b, "port=%s\nlisten-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\nno-dhcp-interface=lo\ncache-size=10000\ndns-forward-max=1000\nedns-packet-max=1232\nuser=root\n", port)
	for _, s := range u.all {
		fmt.Fprintf(&b, "server=127.0.0.1#%d\n", s.Addr().Port())
	}
	if u.inside != nil {
		fmt.Fprintf(&b, "server=/%s/127.0.0.1#%d\n", u.zone, u.inside.Addr().Port())
	}
	return b.String(), []string{"-k", "-x", filepath.Join(dir, "pid"), "-C", filepath.Join(dir, "conf")}
}

func dnsdistForwarder(u *oddUpstreams, dir, port string) (string, []string) {
	var b strings.Builder
	fmt.Fprintf(&b, `
setLocal("127.0.0.1:%s")
setSecurityPollSuffix("")
setACL({"127.0.0.0/8"})
addAction(QClassRule(3), RCodeAction(DNSRCode.REFUSED))
getPool(""):setCache(newPacketCache(10000))
`, port)
	how := map[odd.Transport]string{odd.TCP: `, tcpOnly=true`, odd.TLS: `, tls="openssl", validateCertificates=false`,
		odd.HTTPS: `, tls="openssl", dohPath="/dns-query", validateCertificates=false`}[u.over]
	for _, s := range u.all {
		fmt.Fprintf(&b, "newServer({address=%q%s})\n", s.Addr(), how)
	}
	if u.inside != nil {
		fmt.Fprintf(&b, "newServer({address=%q, pool=\"inside\"})\naddAction(%q, PoolAction(\"inside\"))\n", u.inside.Addr(), u.zone)
	}
	return b.String(), []string{"--supervised", "--disable-syslog", "-C", filepath.Join(dir, "conf")}
}

// start runs it until the test ends, and returns its address; "" if it is not installed,
// or cannot ask that way.
func (p *oddPeer) start(t *testing.T, u *oddUpstreams) string {
	t.Helper()
	able := false
	for _, o := range p.over {
		able = able || o == u.over
	}
	path, err := exec.LookPath(p.program)
	if err != nil {
		path = filepath.Join("/usr/sbin", p.program)
		_, err = os.Stat(path)
	}
	if err != nil || !able {
		return ""
	}
	dir := t.TempDir()
	addr := freeAddress(t, "127.0.0.1")
	_, port, _ := net.SplitHostPort(addr)
	text, args := p.config(u, dir, port)
	if err := os.WriteFile(filepath.Join(dir, "conf"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	var log lockedBuffer
	cmd.Stdout, cmd.Stderr = &log, &log
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
		cmd.Process.Kill()
		<-ended
	})
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if listening(addr) && answering(addr) {
			return addr
		}
		select {
		case <-ended:
			t.Logf("%s does not run here: %s", p.program, log.String())
			return ""
		default:
		}
	}
	t.Logf("%s does not answer: %s", p.program, log.String())
	return ""
}

// answering reports whether a resolver answers a query that needs no upstream; its code
// does not matter.
func answering(addr string) bool {
	q := new(dns.Msg).SetQuestion("version.bind.", dns.TypeTXT)
	q.Question[0].Qclass = dns.ClassCHAOS
	c := dns.Client{Net: "tcp", Timeout: 10 * time.Second}
	_, _, err := c.Exchange(q, addr)
	return err == nil
}
