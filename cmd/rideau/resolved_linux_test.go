package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// resolvedScript runs systemd-resolved, $1, without D-Bus: with a directory /run, a user
// and a configuration of its own.
const resolvedScript = `
set -e
ip link add outside type veth peer name beyond # it answers nobody before there is a way out
ip address add 192.0.2.100/24 dev outside
ip link set beyond up
ip link set outside up
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/resolve
for f in passwd group; do
	{ grep -v ^systemd-resolve: /etc/$f; cat "$0/$f"; } > "$0/new-$f"
	mount --bind "$0/new-$f" /etc/$f
done
mkdir -p /etc/systemd
mount -t tmpfs tmpfs /etc/systemd
cp "$0/resolved.conf" /etc/systemd/
chown 994:994 /run/systemd/resolve
exec "$1"
`

// TestSystemdResolved: clients of systemd-resolved get what there is.
func TestSystemdResolved(t *testing.T) {
	t.Parallel()
	path := ""
	for _, p := range []string{"/lib/systemd/systemd-resolved", "/usr/local/lib/systemd/systemd-resolved"} {
		if _, err := os.Stat(p); err == nil {
			path = p
		}
	}
	if path == "" {
		t.Skip("systemd-resolved is not installed")
	}
	if os.Getuid() != 0 {
		t.Skip("not root: no user of its own for systemd-resolved")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"passwd":        "systemd-resolve:x:994:994::/:/usr/sbin/nologin\n",
		"group":         "systemd-resolve:x:994:\n",
		"resolved.conf": "[Resolve]\nDNS=127.0.0.1\nDNSSEC=no\nLLMNR=no\nMulticastDNS=no\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := clientWorld(t, nil)
	s.do(func() {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		cmd := exec.CommandContext(ctx, "unshare", "-m", "sh", "-c", resolvedScript, dir, path)
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
		defer func() {
			cancel()
			<-ended
		}()
		for end := time.Now().Add(10 * time.Second); !listening("127.0.0.53:53"); time.Sleep(20 * time.Millisecond) {
			select {
			case <-ended:
				t.Skipf("systemd-resolved does not run here: %s", log.String())
			default:
			}
			if time.Now().After(end) {
				t.Skipf("systemd-resolved does not listen: %s", log.String())
			}
		}
		for _, q := range []struct {
			name  string
			qtype uint16
			code  int
			want  []string
		}{
			{"www.example.", dns.TypeA, dns.RcodeSuccess, []string{"192.0.2.1"}},
			{"www.example.", dns.TypeAAAA, dns.RcodeSuccess, []string{"2001:db8::1"}},
			{"v4.example.", dns.TypeAAAA, dns.RcodeSuccess, nil},
			{"alias.example.", dns.TypeA, dns.RcodeSuccess, []string{"192.0.2.1"}},
			{"dc1.corp.example.", dns.TypeA, dns.RcodeSuccess, []string{"10.1.0.11"}},
			{"banned.example.", dns.TypeA, dns.RcodeNameError, nil},
			{"missing.example.", dns.TypeA, dns.RcodeNameError, nil},
		} {
			m := new(dns.Msg).SetQuestion(q.name, q.qtype)
			c := dns.Client{Timeout: 10 * time.Second}
			r, _, err := c.Exchange(m, "127.0.0.53:53")
			if err != nil {
				t.Errorf("%s: %v: %s", q.name, err, log.String())
				continue
			}
			if got := addressesOf(r); r.Rcode != q.code || !slices.Equal(got, q.want) {
				t.Errorf("%s, type %d: code %d, %v, want %d, %v", q.name, q.qtype, r.Rcode, got, q.code, q.want)
			}
		}
		m := new(dns.Msg).SetQuestion("many.example.", dns.TypeA)
		c := dns.Client{Net: "tcp", Timeout: 10 * time.Second}
		if r, _, err := c.Exchange(m, "127.0.0.53:53"); err != nil || len(addressesOf(r)) != 100 {
			t.Errorf("an answer that is too long for a datagram: %v, %v", r, err)
		}
	})
}

// addressesOf are the addresses in a response's answer section.
func addressesOf(m *dns.Msg) (all []string) {
	for _, rr := range m.Answer {
		switch a := rr.(type) {
		case *dns.A:
			all = append(all, a.A.String())
		case *dns.AAAA:
			all = append(all, a.AAAA.String())
		}
	}
	return all
}
