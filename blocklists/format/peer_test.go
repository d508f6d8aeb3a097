package format_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/blocklists/entry"
	"rideau/blocklists/format"
	"rideau/resolver/wire"
)

// What the reader of dnsmasq's options makes of a line covers the names that dnsmasq answers by itself.
func TestDnsmasqLikeDnsmasq(t *testing.T) {
	program, err := exec.LookPath("dnsmasq")
	if err != nil {
		if os.Getenv("RIDEAU_CI") != "" {
			t.Fatal(err)
		}
		t.Skip("dnsmasq is not installed")
	}
	// N is another name in each line. A line that Rideau skips is not compared.
	lines := []string{"address=/N/0.0.0.0", "address=/N/", "address=/N/#", "address=/.N/", "address=/*.N/", "local=/N/", "local=/*.N/", "local=/.N/",
		"server=/N/", "server=/*.N/", "server=/.N/", "address=/N/x.N.test/", "address=/other.N/*.N/", "address=/N/ # why", "local=/www.N/*.N/", "address=/*.www.N/N.test/0.0.0.0"}
	var conf strings.Builder
	for i, l := range lines {
		conf.WriteString(strings.ReplaceAll(l, "N", fmt.Sprintf("n%d.example", i)) + "\n")
	}
	ask := startDnsmasq(t, program, conf.String())
	for i, l := range lines {
		base := fmt.Sprintf("n%d.example", i)
		text := strings.ReplaceAll(l, "N", base) + "\n"
		var entries []entry.Entry
		if _, err := format.Read(strings.NewReader(text), format.Options{File: "list", Format: format.Dnsmasq}, func(e entry.Entry) error {
			e.Name = bytes.Clone(e.Name)
			entries = append(entries, e)
			return nil
		}); err != nil {
			t.Errorf("%s: %v", l, err)
		}
		for _, prefix := range []string{"", "a.", "b.a.", "x", "www.", "a.www.", "other.", "a.other."} {
			for _, suffix := range []string{"", ".test"} {
				q := prefix + base + suffix
				if want, got := ask(q), covered(t, entries, q); got != want {
					t.Errorf("%s: %s: dnsmasq answers by itself: %v, covered: %v", l, q, want, got)
				}
			}
		}
	}
}

// covered reports whether one of the entries covers a name.
func covered(t *testing.T, entries []entry.Entry, text string) bool {
	var name, e wire.Name
	if err := name.SetText(text); err != nil {
		t.Fatal(err)
	}
	for i := range entries {
		if err := e.Set(entries[i].Name); err != nil {
			t.Fatal(err)
		}
		self := bytes.Equal(name.Bytes(), e.Bytes())
		switch entries[i].Match {
		case entry.Exact:
			if self {
				return true
			}
		case entry.Below:
			if !self && name.IsSubdomain(e.Bytes()) {
				return true
			}
		case entry.Suffix:
			if name.IsSubdomain(e.Bytes()) {
				return true
			}
		}
	}
	return false
}

// startDnsmasq starts dnsmasq without servers to ask, and returns a function that tells whether it answers for a name. Without
// servers it refuses other names.
func startDnsmasq(t *testing.T, program, conf string) func(name string) bool {
	dir := t.TempDir()
	file := filepath.Join(dir, "conf")
	if err := os.WriteFile(file, []byte("listen-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\n"+conf), 0o666); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.LocalAddr().String())
	if _, err := strconv.Atoi(port); err != nil {
		t.Fatal(err)
	}
	l.Close()
	var output bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, "-k", "-C", file, "-p", port, "--pid-file=")
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { cmd.Process.Kill(); <-ended })
	client := &dns.Client{Timeout: 5 * time.Second}
	ask := func(name string) (*dns.Msg, error) {
		m, _, err := client.Exchange(new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA), "127.0.0.1:"+port)
		return m, err
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if _, err := ask("start.example"); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Skip("dnsmasq does not serve here")
		}
	}
	return func(name string) bool {
		m, err := ask(name)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return m.Rcode != dns.RcodeRefused
	}
}
