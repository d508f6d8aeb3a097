package server_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestAlerts: what a device and an operator do is told to a webhook, signed, and what is over, too. It tells of clients what the sink says.
func TestAlerts(t *testing.T) {
	const secret = "a-secret-of-thirty-two-octets-ok"
	got := make(chan string, 64)
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h := hmac.New(sha256.New, []byte(secret))
		h.Write([]byte(r.Header.Get("webhook-id") + "." + r.Header.Get("webhook-timestamp") + "." + string(body)))
		if r.Header.Get("webhook-signature") != "v1,"+base64.StdEncoding.EncodeToString(h.Sum(nil)) {
			body = []byte("a wrong signature")
		}
		got <- string(body)
	}))
	defer hook.Close()
	s, text := startAnswering(t)
	if err := os.WriteFile(s.path("secret"), []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	text += "evidence: {alerts: {off: [spike]}, sinks: [{id: pager, kind: webhook, url: '" + hook.URL + "/hook', secret_file: secret, clients: network, spool: 0}]}\n"
	reload := func(text string, fine bool) {
		t.Helper()
		s.write("rideau.yaml", text)
		if _, err := s.Reload(t.Context(), "the test"); (err == nil) != fine {
			t.Fatalf("%v", err)
		}
	}
	told := func(wants ...string) {
		t.Helper()
		select {
		case body := <-got:
			for _, want := range wants {
				if !strings.Contains(body, want) {
					t.Errorf("%s lacks %s", body, want)
				}
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("nobody is told %q\n%s", wants, s.log)
		}
	}
	reload(text, true)
	for end := time.Now().Add(20 * time.Second); len(got) == 0; { // the sink is watched from the next second on
		if time.Now().After(end) {
			t.Fatalf("nobody is told of a device\n%s", s.log)
		}
		s.answers("a.example.", dns.RcodeNameError)
	}
	told(`"event":"alert"`, `"condition":"first_attempt"`, `"object":"ban"`, `"client":"127.0.0.0/24"`, `"en":"A device asked for the first time`, `"fr":"Un appareil a demandé`)
	reload("nonsense: true\n", false)
	told(`"condition":"reload_refused"`, `"severity":"high"`)
	reload(strings.Replace(text, "lists: [list]}]", "lists: [list], mode: monitor}]", 1), true)
	told(`"event":"alert_resolved"`, `"condition":"reload_refused"`)
	told(`"condition":"ban_not_enforced"`, `"severity":"critical"`, "it is in mode monitor")
	reload(text, true)
	told(`"event":"alert_resolved"`, `"condition":"ban_not_enforced"`, `est de nouveau appliqué`)
	if n := strings.Count(s.log.String(), "msg=alert "); n != 3 {
		t.Errorf("%d alerts in the log\n%s", n, s.log)
	}
}
