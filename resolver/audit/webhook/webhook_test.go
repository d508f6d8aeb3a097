package webhook_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"rideau/resolver/audit/act"
	"rideau/resolver/audit/alert"
	"rideau/resolver/audit/dial"
	"rideau/resolver/audit/schema"
	"rideau/resolver/audit/sink"
	"rideau/resolver/audit/spool"
	"rideau/resolver/audit/webhook"
)

const secret = "a-secret-of-thirty-two-octets-ok"

// receiver is a program that takes webhooks, and checks them as their specification says.
type receiver struct {
	mu     sync.Mutex
	status int // of all responses; 0 is 204
	got    []string
	bad    []string
	ids    map[string]bool
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, _ := io.ReadAll(q.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.status != 0 {
		w.Header().Set("Location", "http://192.0.2.1/elsewhere")
		w.WriteHeader(r.status)
		return
	}
	id, stamp := q.Header.Get("webhook-id"), q.Header.Get("webhook-timestamp")
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(id + "." + stamp + "." + string(body)))
	signed := false
	for s := range strings.SplitSeq(q.Header.Get("webhook-signature"), " ") {
		signed = signed || s == "v1,"+base64.StdEncoding.EncodeToString(h.Sum(nil))
	}
	at, err := strconv.ParseInt(stamp, 10, 64)
	var e struct {
		ID    string `json:"id"`
		Alert struct {
			Condition string `json:"condition"`
			Text      struct{ En, Fr string }
		}
	}
	if json.Unmarshal(body, &e) != nil || !signed || err != nil || time.Since(time.Unix(at, 0)).Abs() > 5*time.Minute || e.ID != id || r.ids[id] ||
		q.Header.Get("Content-Type") != "application/json" || e.Alert.Text.Fr == "" {
		r.bad = append(r.bad, fmt.Sprintf("%v %s", q.Header, body))
	}
	r.ids[id] = true
	r.got = append(r.got, e.Alert.Condition)
	w.WriteHeader(http.StatusNoContent)
}

func (r *receiver) set(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

func (r *receiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.got)
}

func writeSecret(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func options(t *testing.T, server *httptest.Server, secrets string) webhook.Options {
	t.Helper()
	u, err := url.Parse(server.URL + "/hook")
	if err != nil {
		t.Fatal(err)
	}
	o := webhook.Options{URL: u, Secrets: writeSecret(t, secrets), Agent: "rideau/1", Server: dial.Options{Network: "tcp", Address: server.Listener.Addr().String()}}
	if server.TLS != nil {
		o.Server.Network, o.Server.CAFile = "tls", filepath.Join(t.TempDir(), "ca.pem")
		if err := os.WriteFile(o.Server.CAFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

func encoder() sink.Encoder {
	n := &schema.Node{Name: "ottawa-1", Run: "0123456789abcdef"}
	return webhook.Encoder{Encoder: schema.NewRideau(n), ID: n.AppendActID}
}

func event(number uint64) []byte {
	a := alert.Test("run", time.Unix(1700000000, 0))
	a.Number = number
	return encoder().Act(nil, &a)
}

// Over HTTP and TLS, each request is signed, has its time and the id of the event, and the body is one event.
func TestSigned(t *testing.T) {
	for _, start := range []func(http.Handler) *httptest.Server{httptest.NewServer, httptest.NewTLSServer} {
		r := &receiver{ids: map[string]bool{}}
		server := start(r)
		defer server.Close()
		for _, secrets := range []string{secret, "whsec_" + base64.StdEncoding.EncodeToString([]byte(secret)) + "\n", "# two\nanother-secret-of-thirty-two-oct\n" + secret + "\n"} {
			w, err := webhook.New(options(t, server, secrets))
			if err != nil {
				t.Fatal(err)
			}
			number := uint64(r.count())
			if n, err := w.Write(t.Context(), [][]byte{event(number), event(number + 1)}); n != 2 || err != nil {
				t.Error(n, err)
			}
			w.Close()
		}
		if len(r.got) != 6 || len(r.bad) > 0 || r.got[0] != "test" {
			t.Errorf("%q, bad: %q", r.got, r.bad)
		}
	}
	q := encoder().Query(nil, nil)
	if len(q) != 0 {
		t.Errorf("a query is %q", q)
	}
}

// The signature is that of the specification's example.
func TestVector(t *testing.T) {
	key, err := base64.StdEncoding.DecodeString("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	got := webhook.Sign([][]byte{key}, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// What a response says: taken, to be offered again, or never to be taken. A redirect is not followed.
func TestResponses(t *testing.T) {
	r := &receiver{ids: map[string]bool{}}
	server := httptest.NewServer(r)
	defer server.Close()
	w, err := webhook.New(options(t, server, secret))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for status, refused := range map[int]bool{301: false, 302: false, 307: false, 308: false, 400: true, 401: false, 403: false, 404: false, 413: true, 422: true, 429: false, 500: false, 503: false} {
		r.set(status)
		n, err := w.Write(t.Context(), [][]byte{event(1), event(2)})
		var never *sink.Refused
		if n != 0 || err == nil || errors.As(err, &never) != refused || !strings.Contains(err.Error(), fmt.Sprint(status)) {
			t.Errorf("%d: %d, %v", status, n, err)
		}
	}
	server.Close()
	if _, err := w.Write(t.Context(), [][]byte{event(1)}); err == nil || strings.Contains(err.Error(), "/hook") {
		t.Errorf("no server, or the URL is told: %v", err)
	}
}

// A certificate of another authority, and what is no secret, are refused.
func TestRefused(t *testing.T) {
	server := httptest.NewTLSServer(&receiver{ids: map[string]bool{}})
	defer server.Close()
	server.Config.ErrorLog = nil
	o := options(t, server, secret)
	o.Server.CAFile = ""
	w, err := webhook.New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := w.Write(t.Context(), [][]byte{event(1)}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("%v", err)
	}
	for _, bad := range []string{"", "short", "whsec_%%%%", strings.Repeat(secret+"\n", 3)} {
		if _, err := webhook.New(options(t, server, bad)); err == nil || !strings.Contains(err.Error(), "secret_file") || bad == "short" && !strings.Contains(err.Error(), "openssl rand") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// While the server takes nothing, or is not there, no alert is lost: each arrives once it is.
func TestOutage(t *testing.T) {
	r := &receiver{ids: map[string]bool{}, status: http.StatusServiceUnavailable}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: r}}
	server.Start()
	defer server.Close()
	w, err := webhook.New(options(t, server, secret))
	if err != nil {
		t.Fatal(err)
	}
	acts := act.New()
	s := sink.New(sink.Options{Name: "pager", Acts: acts, Encoder: encoder(), Writer: w,
		Spool: func() (*spool.Spool, int64, error) { return spool.Open(filepath.Join(t.TempDir(), "spool"), 1<<20) }})
	done := make(chan struct{})
	go func() { defer close(done); s.Run(t.Context()) }()
	for range 50 {
		acts.Add(alert.Test("run", time.Now()))
	}
	await(t, func() bool { return s.Stats().Waiting == 50 })
	r.set(0)
	await(t, func() bool { return r.count() == 50 })
	await(t, func() bool { return s.Stats().Kept >= 50 }) // a reply comes after the request is counted
	if st := s.Stats(); len(r.bad) > 0 || st.Kept != 50 {
		t.Errorf("%+v, bad: %q", st, r.bad)
	}
}

func await(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not come to pass")
		}
	}
}
