package server_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"rideau/config/encrypted"
)

// runPeer runs a program that may be absent: then the test is skipped. It returns what the program says,
// and its exit code.
func runPeer(t *testing.T, name string, args ...string) (string, int) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed; step peers of .ci/run installs it", name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return string(out), exit.ExitCode()
	case err != nil:
		t.Fatalf("%s %v: %v", name, args, err)
	}
	return string(out), 0
}

// endpoint returns where a protocol is served.
func (i *instance) endpoint(p encrypted.Protocol) netip.AddrPort {
	i.t.Helper()
	for _, b := range i.facts.Encrypted {
		if b.Protocol == p {
			return b.Addr
		}
	}
	i.t.Fatalf("%s is not served", p)
	return netip.AddrPort{}
}

// TestKdig: kdig verifies the certificate, and gets padded answers by each transport.
func TestKdig(t *testing.T) {
	i, ca := startEncrypted(t, 0)
	root := ca.WriteRoot(i.folder)
	for option, p := range map[string]encrypted.Protocol{"+tls": encrypted.DoT, "+https": encrypted.DoH, "+https-get": encrypted.DoH, "+quic": encrypted.DoQ} {
		for name, want := range map[string]string{"allowed.example": "NOERROR", "www.banned.example": "NXDOMAIN"} {
			at := i.endpoint(p)
			out, code := runPeer(t, "kdig", "@"+at.Addr().String(), "-p", fmt.Sprint(at.Port()), "+tls-ca="+root, "+tls-hostname=dns.example", option, "+padding", name, "A")
			if code != 0 || !strings.Contains(out, "status: "+want) {
				t.Errorf("%s %s: exit code %d: %s", option, name, code, out)
			}
			m := regexp.MustCompile(`Received (\d+) B`).FindStringSubmatch(out)
			if m == nil || m[1] != "468" {
				t.Errorf("%s %s: not padded to 468 octets: %s", option, name, out)
			}
		}
	}
}

// TestCurl: curl finds addresses by DoH, and none of what is banned.
func TestCurl(t *testing.T) {
	i, ca := startEncrypted(t, 0)
	root := ca.WriteRoot(i.folder)
	get := func(host string) (string, int) {
		t.Helper()
		return runPeer(t, "curl", "--silent", "--verbose", "--ipv4", "--connect-timeout", "2", "--max-time", "2", "--cacert", root,
			"--doh-url", "https://"+i.endpoint(encrypted.DoH).String()+"/dns-query", "http://"+host+":1/")
	}
	// Version 7.88 says that it has no memory where it means that it cannot resolve the host.
	if out, code := get("www.banned.example"); code != 6 && code != 27 {
		t.Errorf("the banned name: exit code %d: %s", code, out)
	}
	if out, code := get("allowed.example"); code == 6 || !strings.Contains(out, "127.9.9.9") {
		t.Errorf("the name that is allowed: exit code %d: %s", code, out)
	}
}

// TestDnsperf: dnsperf sends many queries at once, and gets an answer to each.
func TestDnsperf(t *testing.T) {
	i, _ := startEncrypted(t, 0)
	i.write("queries", "allowed.example A\nwww.banned.example A\n")
	for mode, p := range map[string]encrypted.Protocol{"dot": encrypted.DoT, "doh": encrypted.DoH} {
		at := i.endpoint(p)
		outstanding, runs, each := "50", 500, "NOERROR 500 (50.00%), NXDOMAIN 500 (50.00%)"
		if mode == "doh" { // it loses what comes with other responses, though it counts them as 200; and it is slow then
			outstanding, runs, each = "1", 20, "NOERROR 20 (50.00%), NXDOMAIN 20 (50.00%)"
		}
		out, code := runPeer(t, "dnsperf", "-m", mode, "-s", at.Addr().String(), "-p", fmt.Sprint(at.Port()), "-d", i.path("queries"), "-n", fmt.Sprint(runs), "-c", "2", "-q", outstanding,
			"-O", "doh-uri=https://"+at.String()+"/dns-query")
		if code != 0 || !strings.Contains(out, fmt.Sprintf("Queries completed:    %d (100.00%%)", 2*runs)) || !strings.Contains(out, each) {
			t.Errorf("%s: exit code %d: %s", mode, code, out)
		}
	}
}

// TestChromium: a browser with secure DNS set to Rideau loads a page through it, and that page gets nothing of a banned name.
func TestChromium(t *testing.T) {
	if os.Getenv("RIDEAU_CI") != "1" {
		t.Skip("a browser takes seconds to start; RIDEAU_CI=1 runs it")
	}
	i, ca := startEncrypted(t, 0)
	l, err := net.Listen("tcp", "127.9.9.9:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	page := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `<p>the page</p><script>
fetch("http://www.banned.example:%d/", {mode: "no-cors"}).then(() => document.write("banned: loaded"), () => document.write("banned: refused"))
</script>`, port)
	})}}
	page.Start()
	defer page.Close()
	key := sha256.Sum256(ca.Last().RawSubjectPublicKeyInfo)
	state := fmt.Sprintf(`{"dns_over_https": {"mode": "secure", "templates": "https://%s/dns-query{?dns}"}}`, i.endpoint(encrypted.DoH))
	i.write("Local State", state)
	out, _ := runPeer(t, "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--user-data-dir="+i.folder,
		"--ignore-certificate-errors-spki-list="+base64.StdEncoding.EncodeToString(key[:]), "--virtual-time-budget=5000", "--dump-dom", fmt.Sprintf("http://allowed.example:%d/", port))
	if !strings.Contains(out, "<body>banned: refused</body>") { // which the page writes in its own place
		t.Errorf("%s", out[max(0, len(out)-2000):])
	}
	if !strings.Contains(i.metrics(), `outcome="blocked",qtype="a",transport="doh"`) {
		t.Error("the browser did not ask for the banned name by DoH")
	}
}
