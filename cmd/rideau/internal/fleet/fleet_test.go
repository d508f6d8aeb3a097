package fleet

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// server starts a DNS server that answers with f, and returns its address.
func server(t *testing.T, f func(q, r *dns.Msg)) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		r := new(dns.Msg).SetReply(q)
		f(q, r)
		_ = w.WriteMsg(r)
	})}
	go s.ActivateAndServe()
	t.Cleanup(func() { s.Shutdown() })
	return conn.LocalAddr().String()
}

// says is a server whose policy has a fingerprint.
func says(t *testing.T, fingerprint string, generation int) string {
	return server(t, func(q, r *dns.Msg) {
		for _, s := range []string{"fingerprint=" + fingerprint, fmt.Sprint("generation=", generation), "new=x"} {
			rr, err := dns.NewRR(q.Question[0].Name + ` 0 CH TXT "` + s + `"`)
			if err != nil {
				t.Error(err)
			}
			r.Answer = append(r.Answer, rr)
		}
	})
}

func web(t *testing.T, f http.HandlerFunc) string {
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return s.URL
}

func TestAgree(t *testing.T) {
	hosts := []string{says(t, "aa11", 1), says(t, "aa11", 7)}
	r := Compare(Ask(t.Context(), hosts, Options{}))
	if r.Drift() || r.Unknown != 0 || r.Nodes[1].Policy.Generation != 7 {
		t.Errorf("%+v", r)
	}
	var b strings.Builder
	r.Write(&b)
	if !strings.Contains(b.String(), "all 2 that answered have the same policy") {
		t.Errorf("%s", &b)
	}
}

// Servers that differ are grouped, and who tells its bans and lists is compared in
// those, too.
func TestDrift(t *testing.T) {
	version := func(mode, digest string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/version" || r.Header.Get("Authorization") != "Bearer secret" {
				http.Error(w, "no", http.StatusForbidden)
				return
			}
			fmt.Fprintf(w, `{"version":"1.2","fingerprint":"%s%s","generation":3,"bans":[{"id":"wechat","mode":%q}],"lists":[{"id":"l","sha256":%q},{"id":"same","sha256":"ff"}]}`, mode, digest, mode, digest)
		}
	}
	a, b, c := says(t, "enforce1", 1), web(t, version("enforce", "1")), web(t, version("monitor", "2"))+"/"
	r := Compare(Ask(t.Context(), []string{c, a, b}, Options{Token: "secret"}))
	if !r.Drift() || len(r.Policies) != 2 || r.Policies[0].Fingerprint != "enforce1" || len(r.Policies[0].Hosts) != 2 {
		t.Fatalf("%+v", r)
	}
	want := []string{"ban wechat: monitor on " + c + "; enforce on " + b, "list l: 2 on " + c + "; 1 on " + b}
	if fmt.Sprint(r.Differences) != fmt.Sprint(want) {
		t.Errorf("differences %q, want %q", r.Differences, want)
	}
	var text strings.Builder
	r.Write(&text)
	for _, s := range []string{"DRIFT: 2 different policies", "version 1.2", "generation 3", want[0]} {
		if !strings.Contains(text.String(), s) {
			t.Errorf("no %q in\n%s", s, &text)
		}
	}
}

// A server that does not say is unknown, with the reason, and in time.
func TestUnknown(t *testing.T) {
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	refuses := server(t, func(_, r *dns.Msg) { r.Rcode = dns.RcodeRefused })
	other := server(t, func(q, r *dns.Msg) {
		rr, _ := dns.NewRR(q.Question[0].Name + ` 0 CH TXT "generation=1"`)
		r.Answer = append(r.Answer, rr)
	})
	elsewhere := web(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
	})
	page := web(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") })
	hosts := []string{silent.LocalAddr().String(), refuses, other, elsewhere, page, "x:y", "127.0.0.1:0", ":53"}
	began := time.Now()
	r := Compare(Ask(t.Context(), hosts, Options{Timeout: 300 * time.Millisecond}))
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	if r.Drift() || r.Unknown != len(hosts) {
		t.Fatalf("%+v", r)
	}
	for i, want := range []string{"timeout", "REFUSED", "no fingerprint", "HTTP 302", "no fingerprint", "is no server", "is no server", "is no server"} {
		if got := r.Nodes[i].Error; !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", hosts[i], got, want)
		}
	}
}

func TestAddress(t *testing.T) {
	for host, want := range map[string]string{
		"192.0.2.1": "192.0.2.1:53", "192.0.2.1:5300": "192.0.2.1:5300", "2001:db8::1": "[2001:db8::1]:53", "[2001:db8::1]": "[2001:db8::1]:53",
		"[fe80::1%eth0]:5353": "[fe80::1%eth0]:5353", "dns.example": "dns.example:53", "dns.example:53": "dns.example:53",
	} {
		if got, err := address(host); got != want || err != nil {
			t.Errorf("%s: %s %v, want %s", host, got, err, want)
		}
	}
}
