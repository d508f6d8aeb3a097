package ops_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/compile"
	"rideau/blocklists/input"
	"rideau/resolver"
	"rideau/resolver/ops"
	"rideau/resolver/ops/access"
	"rideau/resolver/ops/metrics"
)

// now is the time in all fixtures.
var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// list returns an unguarded list with that content.
func list(id, content string) input.List {
	return input.List{ID: id, Source: id + ".txt", MaxSkipped: 1, Unguarded: true,
		Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }}
}

// policy returns a policy with a ban in each mode, one that begins later, and a
// line that cannot be used.
func policy() blocklists.Policy {
	begun := now.Add(-time.Hour)
	wechat := list("wechat", "wechat.com\nweixin.qq.com\n")
	wechat.Guards.Serial = input.Serial{Kind: "serial", Value: 2026112201}
	return blocklists.Policy{
		Lists: []input.List{wechat, list("kaspersky", "kaspersky.com\nbad..name\n"), list("tiktok", "tiktok.com\n")},
		Bans: []blocklists.Ban{
			{ID: "WECHAT-2023", Effective: begun, Action: blocklists.NXDomain, EDE: 15, Groups: []string{"all"}, Lists: []string{"wechat"}},
			{ID: "KASPERSKY-2023", Effective: begun, Mode: blocklists.Monitor, EDE: 15, Groups: []string{"all"}, Lists: []string{"kaspersky"}},
			{ID: "TIKTOK-2023", Effective: begun, Mode: blocklists.Off, EDE: 15, Groups: []string{"all"}, Lists: []string{"tiktok"}},
			{ID: "LATER", Effective: now.Add(time.Hour), Action: blocklists.Sinkhole, EDE: 16, Groups: []string{"all"}, Lists: []string{"wechat", "tiktok"}},
		},
	}
}

// load returns a Snapshot of the policy.
func load(t testing.TB, p blocklists.Policy, prev *blocklists.Snapshot, slots *blocklists.Slots) *blocklists.Snapshot {
	t.Helper()
	s, _, err := compile.Load(context.Background(), p, prev, compile.Options{Now: now, Slots: slots})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// healthy returns the Options of a process that is ready.
func healthy(t testing.TB) ops.Options {
	s := load(t, policy(), nil, new(blocklists.Slots))
	return ops.Options{
		Clock: func() time.Time { return now },
		Sources: metrics.Sources{
			Totals:    new(resolver.Stats).Totals,
			Policy:    func() *blocklists.Snapshot { return s },
			Upstreams: func() []metrics.Upstream { return []metrics.Upstream{answered("192.0.2.53:53", time.Second)} },
			Build:     metrics.Build{Version: "v1.2.3", Revision: "0123abcd"},
		},
	}
}

// answered returns an upstream that answered that long ago.
func answered(name string, ago time.Duration) metrics.Upstream {
	return metrics.Upstream{Name: name, Healthy: true, LastAnswer: now.Add(-ago), Duration: metrics.Histogram{Counts: make([]uint64, 1)}}
}

// guard returns a Guard that knows a token, unless it is empty, and these names of the server.
func guard(token string, hosts ...string) *access.Guard {
	s := &access.Settings{Hosts: hosts}
	if token != "" {
		s.Tokens = []access.Token{access.NewToken("ops.token_file", access.Operator, token)}
	}
	return access.NewGuard(s)
}

// request returns a request from this machine; headers are pairs of key and
// value.
func request(method, target string, headers ...string) *http.Request {
	r := httptest.NewRequest(method, "http://127.0.0.1:5380"+target, nil)
	r.RemoteAddr = "127.0.0.1:40000"
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

// ask returns the reply of a Server, without a socket.
func ask(s *ops.Server, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

// expect checks status and body.
func expect(t *testing.T, w *httptest.ResponseRecorder, status int, body string) {
	t.Helper()
	if w.Code != status || w.Body.String() != body {
		t.Errorf("got %d:\n%s\nwant %d:\n%s", w.Code, w.Body, status, body)
	}
}
