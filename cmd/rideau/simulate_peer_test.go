package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/blocklists/querylog"
	"rideau/cmd/rideau/internal/text"
	"rideau/resolver/resolvertest"
	"rideau/resolver/wire"
)

// logger is a name server that logs queries, with its configuration: %d is the
// port, %s a folder.
type logger struct {
	format  querylog.Format
	program string
	args    func(dir string, port int) []string
	config  string
}

func loggers() []logger {
	return []logger{
		{querylog.Dnsmasq, "dnsmasq", func(dir string, port int) []string {
			return []string{"-k", "-C", filepath.Join(dir, "conf"), "-p", strconv.Itoa(port), "--pid-file=", "--log-facility=" + filepath.Join(dir, "log")}
		}, "listen-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\nlog-queries=extra\nlog-async=0\n# %d %s\n"},
		{querylog.Unbound, "unbound", func(dir string, port int) []string { return []string{"-d", "-c", filepath.Join(dir, "conf")} },
			"server:\n interface: 127.0.0.1@%d\n directory: %q\n logfile: log\n username: \"\"\n chroot: \"\"\n pidfile: \"\"\n use-syslog: no\n" +
				" log-queries: yes\n log-replies: yes\n do-daemonize: no\n local-zone: \"example.\" static\nremote-control:\n control-enable: no\n"},
		{querylog.BIND, "named", func(dir string, port int) []string { return []string{"-f", "-c", filepath.Join(dir, "conf")} },
			"options { listen-on port %d { 127.0.0.1; }; listen-on-v6 { none; }; directory %q; pid-file none; session-keyfile none; recursion no; querylog yes; };\n" +
				"controls { };\nlogging { channel q { file \"log\"; print-time yes; print-category yes; print-severity yes; }; category queries { q; }; };\n"},
	}
}

// TestRealLogs: the logs that the programs write are read.
func TestRealLogs(t *testing.T) {
	for _, l := range loggers() {
		t.Run(string(l.format), func(t *testing.T) {
			program := tool(t, l.program)
			dir := t.TempDir()
			port, err := resolvertest.FreePort("127.0.0.1")
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "conf"), fmt.Appendf(nil, l.config, port, dir), 0o666); err != nil {
				t.Fatal(err)
			}
			var output lockedBuffer
			cmd := exec.Command(program, l.args(dir, port)...)
			cmd.Stdout, cmd.Stderr = &output, &output
			endWithTests(cmd)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			defer func() { cmd.Process.Kill(); <-ended }()
			addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
			for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
				if _, err := dns.Exchange(new(dns.Msg).SetQuestion("start.example.", dns.TypeA), addr); err == nil {
					break
				}
				if time.Now().After(deadline) {
					t.Skipf("%s does not serve here: %s", l.program, output.String())
				}
			}
			var want []string
			ask := func(name string, qtype uint16, network string) {
				c := &dns.Client{Net: network, Timeout: 5 * time.Second}
				if _, _, err := c.Exchange(new(dns.Msg).SetQuestion(name, qtype), addr); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				want = append(want, fmt.Sprintf("127.0.0.1 %s %s", strings.ToLower(name), dns.Type(qtype)))
			}
			ask("WWW.a.example.", dns.TypeA, "udp")
			ask("_ldap._tcp.a.example.", dns.TypeSRV, "udp")
			ask("b.example.", dns.TypeHTTPS, "tcp")
			ask("c.example.", 1234, "udp")
			if l.format != querylog.Unbound { // which writes question marks
				ask(`sp\032ace.example.`, dns.TypePTR, "udp")
				ask(`back\\slash.example.`, dns.TypeAAAA, "udp")
			}
			if l.format == querylog.BIND {
				ask(`do\.t\(s\).example.`, dns.TypeAAAA, "udp")
			}
			var got []string
			var stats querylog.Stats
			for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
				got, stats = readLogOf(t, filepath.Join(dir, "log"))
				if len(got) >= len(want) || time.Now().After(deadline) {
					break
				}
			}
			if !slices.Equal(got, want) || stats.Unread > 0 {
				text, _ := os.ReadFile(filepath.Join(dir, "log"))
				t.Errorf("read %q, want %q, %+v, of\n%s", got, want, stats, text)
			}
		})
	}
}

// readLogOf reads a log, without the queries that waited for the start.
func readLogOf(t *testing.T, file string) (out []string, stats querylog.Stats) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		return nil, stats
	}
	defer f.Close()
	o := querylog.Options{File: file, Type: func(n string) (wire.Type, bool) { x, ok := text.ParseType(n); return wire.Type(x), ok }}
	stats, err = querylog.Read(f, o, func(q *querylog.Query) error {
		if q.Name.String() != "start.example." {
			out = append(out, fmt.Sprintf("%s %s %s", q.Client, q.Name.String(), dns.Type(q.Type)))
		}
		return nil
	})
	if err != nil {
		t.Log(err)
	}
	return out, stats
}
