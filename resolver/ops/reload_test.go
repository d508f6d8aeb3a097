package ops_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/compile"
	"rideau/blocklists/format"
	"rideau/resolver/ops"
)

const token = "correct horse"

// accessCase is a request to reload, and whether it is allowed.
type accessCase struct {
	name    string
	token   string
	change  func(*http.Request)
	headers []string
	refused string // words of the reason; empty if welcome
}

func accessCases() []accessCase {
	from := func(remote string) func(*http.Request) {
		return func(r *http.Request) { r.RemoteAddr = remote }
	}
	return []accessCase{
		{name: "this machine"},
		{name: "this machine, IPv6", change: from("[::1]:1024")},
		{name: "this machine, IPv4 as IPv6", change: from("[::ffff:127.0.0.2]:1024")},
		{name: "this machine, by name", change: func(r *http.Request) { r.Host = "localhost:5380" }},
		{name: "this machine, by IPv6 address", change: func(r *http.Request) { r.Host = "[::1]" }},
		{name: "this machine, without the token that is set", token: token, refused: "no token"},
		{name: "this machine, with the token", token: token, headers: []string{"Authorization", "Bearer correct horse"}},
		{name: "another machine", change: from("192.0.2.7:1024"), refused: "set ops.token_file"},
		{name: "another machine, no token set", change: from("192.0.2.7:1024"), headers: []string{"Authorization", "Bearer "}, refused: "only this machine"},
		{name: "another machine, without token", token: token, change: from("192.0.2.7:1024"), refused: "no token"},
		{name: "another machine, with token", token: token, change: from("192.0.2.7:1024"), headers: []string{"Authorization", "bearer correct horse"}},
		{name: "another machine, by name, with token", token: token, headers: []string{"Authorization", "Bearer correct horse"},
			change: func(r *http.Request) { r.RemoteAddr, r.Host = "[2001:db8::7]:1024", "rideau.example:5380" }},
		{name: "wrong token", token: token, change: from("192.0.2.7:1024"), headers: []string{"Authorization", "Bearer correct hors"}, refused: "wrong one"},
		{name: "empty token", token: token, change: from("192.0.2.7:1024"), headers: []string{"Authorization", "Bearer "}, refused: "wrong one"},
		{name: "wrong scheme", token: token, change: from("192.0.2.7:1024"), headers: []string{"Authorization", "Basic correct horse"}, refused: "wrong one"},
		{name: "no address", change: from("@"), refused: "only this machine"},
		{name: "another machine through a proxy here", headers: []string{"X-Forwarded-For", "192.0.2.7"}, refused: "proxy"},
		{name: "the same with a token set", token: token, headers: []string{"Forwarded", "for=192.0.2.7"}, refused: "send the token"},
		{name: "the same with the token", token: token, headers: []string{"Via", "1.1 x", "Authorization", "Bearer correct horse"}},
		{name: "a web page of another site", headers: []string{"Sec-Fetch-Site", "cross-site"}, refused: "another site"},
		{name: "a web page on another port here", headers: []string{"Sec-Fetch-Site", "same-site"}, refused: "another site"},
		{name: "a web page in an old browser", headers: []string{"Origin", "https://evil.example"}, refused: "another site"},
		{name: "a web page that knows the token", token: token, headers: []string{"Origin", "null", "Authorization", "Bearer correct horse"}, refused: "another site"},
		{name: "a web page whose name points here", headers: []string{"Origin", "http://evil.example"},
			change: func(r *http.Request) { r.Host = "evil.example" }, refused: "Host"},
	}
}

func TestReloadAccess(t *testing.T) {
	for _, tt := range accessCases() {
		t.Run(tt.name, func(t *testing.T) {
			o := healthy(t)
			calls := 0
			o.Guard = guard(tt.token)
			o.Reload = func(context.Context, ops.ReloadOptions) (ops.ReloadResult, error) {
				calls++
				return ops.ReloadResult{}, nil
			}
			s := ops.New(o)
			r := request("POST", "/reload", tt.headers...)
			if tt.change != nil {
				tt.change(r)
			}
			w := ask(s, r)
			if tt.refused == "" {
				if w.Code != 200 || calls != 1 {
					t.Fatalf("got %d %s, %d reloads", w.Code, w.Body, calls)
				}
				return
			}
			if w.Code != 403 || calls != 0 || !strings.Contains(w.Body.String(), tt.refused) || !strings.Contains(w.Body.String(), "; ") {
				t.Errorf("got %d %s, %d reloads", w.Code, w.Body, calls)
			}
			if strings.Contains(w.Body.String(), token) {
				t.Error("the answer tells the token")
			}
			r.Header.Set("Accept", "application/json")
			var got struct {
				OK    *bool
				Error string
			}
			if err := json.Unmarshal(ask(s, r).Body.Bytes(), &got); err != nil || got.OK == nil || *got.OK || got.Error+"\n" != w.Body.String() {
				t.Errorf("JSON: %v, %v", got, err)
			}
		})
	}
}

// TestReloadForce: force is for lists and bans that the request names.
func TestReloadForce(t *testing.T) {
	const needsID = "force needs the id of a list or a ban; send force=ID, once for each, or force=all for all"
	for query, want := range map[string]string{
		"":                         "force=[]",
		"?force=true":              needsID,
		"?force=TRUE":              needsID,
		"?force":                   needsID,
		"?force=false":             needsID,
		"?force=feed&force=":       needsID,
		"?force=feed":              "force=[feed]",
		"?force=feed&force=chat":   "force=[feed chat]",
		"?force=all":               "force=[all]",
		"?dry-run=true;force=true": "the parameters cannot be read (invalid semicolon separator in query); write them after a ?, with & between them",
		"?dry-run=%zz":             `the parameters cannot be read (invalid URL escape "%zz"); write them after a ?, with & between them`,
		"?fetch=yes":               `fetch="yes" is neither true nor false; use fetch=true or fetch=false`,
		"?forced=true":             `unknown parameter "forced"; the parameters are force=ID, fetch=true and dry-run=true`,
		"?force=true&dry_run=on":   `unknown parameter "dry_run"; the parameters are force=ID, fetch=true and dry-run=true`,
	} {
		o := healthy(t)
		got := ""
		o.Reload = func(_ context.Context, r ops.ReloadOptions) (ops.ReloadResult, error) {
			got = fmt.Sprintf("force=%v", r.Force)
			return ops.ReloadResult{}, nil
		}
		w := ask(ops.New(o), request("POST", "/reload"+query))
		status := 200
		if got == "" {
			got, status = strings.TrimSpace(w.Body.String()), 400
		}
		if got != want || w.Code != status {
			t.Errorf("%q: %d %s, want %s", query, w.Code, got, want)
		}
	}
}

// replyCase is the result of a reload, and the reply.
type replyCase struct {
	name   string
	result ops.ReloadResult
	err    error
	status int
	text   string
	json   string
}

func replyCases(t *testing.T) []replyCase {
	snapshot := load(t, policy(), nil, new(blocklists.Slots))
	passed := ops.Problem{File: "kaspersky.txt", Line: 2, Message: `"bad..name": empty label`, Remedy: "write a host name"}
	refused := ops.Problem{List: "wechat", File: "wechat.txt", Message: "no entries, and there were some before (2)", Remedy: "reload with force"}
	key := ops.Problem{File: "rideau.yaml", Line: 7, Key: "bans[0].action", Message: "unknown action", Remedy: "use nxdomain"}
	return []replyCase{
		{
			name:   "success",
			result: ops.ReloadResult{Policy: snapshot, Changed: true, Problems: []ops.Problem{passed}, Restart: []string{"listen.addresses"}},
			status: 200,
			text: `reloaded (generation 1)
ban WECHAT-2023: enforce, in force, 2 names
ban KASPERSKY-2023: monitor, in force, 1 name
ban TIKTOK-2023: off, not in force, 1 name
ban LATER: enforce, not in force, 3 names
list wechat: 2 entries, 0 lines skipped, from wechat.txt
list kaspersky: 1 entry, 1 line skipped, from kaspersky.txt
list tiktok: 1 entry, 0 lines skipped, from tiktok.txt
listen.addresses changed: restart rideau to apply it
kaspersky.txt:2: "bad..name": empty label; write a host name
`,
			json: `"ok":true,"generation":1,"changed":true,"bans":[{"id":"WECHAT-2023","mode":"enforce","active":true,"names":2}`,
		}, {
			name:   "nothing new",
			result: ops.ReloadResult{},
			status: 200,
			text:   "reloaded, and nothing changed\n",
			json:   `{"ok":true,"generation":0,"changed":false,"bans":[],"lists":[],"problems":[],"restart":[]}`,
		}, {
			name:   "refused",
			result: ops.ReloadResult{Policy: snapshot, Problems: []ops.Problem{refused, key}},
			err:    errors.New("list wechat: empty\nrideau.yaml:7"),
			status: 422,
			text: `not reloaded; the old policy goes on serving
list wechat: wechat.txt: no entries, and there were some before (2); reload with force
rideau.yaml:7: bans[0].action: unknown action; use nxdomain
`,
			json: `{"ok":false,"error":"list wechat: empty; rideau.yaml:7","generation":1,"changed":false,`,
		}, {
			name:   "refused without particulars",
			err:    errors.New("one\ntwo"),
			status: 422,
			text:   "not reloaded; the old policy goes on serving\none\ntwo\n",
			json:   `{"ok":false,"error":"one; two","generation":0,"changed":false,"bans":[],"lists":[],"problems":[],"restart":[]}`,
		}, {
			name:   "given up",
			err:    fmt.Errorf("load: %w", context.Canceled),
			status: 503,
			text:   "the reload was cancelled and nothing changed; try again\n",
			json:   `{"ok":false,"error":"the reload was cancelled and nothing changed; try again"}`,
		},
	}
}

func TestReloadReplies(t *testing.T) {
	for _, tt := range replyCases(t) {
		t.Run(tt.name, func(t *testing.T) {
			o := healthy(t)
			o.Reload = func(context.Context, ops.ReloadOptions) (ops.ReloadResult, error) { return tt.result, tt.err }
			s := ops.New(o)
			expect(t, ask(s, request("POST", "/reload")), tt.status, tt.text)
			w := ask(s, request("POST", "/reload", "Accept", "application/json"))
			if got := compact(t, w); w.Code != tt.status || !strings.Contains(got, tt.json) {
				t.Errorf("JSON: %d %s", w.Code, got)
			}
			for _, p := range tt.result.Problems {
				b, err := json.Marshal(p)
				if err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(compact(t, w), string(b)) {
					t.Errorf("JSON lacks %s", b)
				}
			}
		})
	}
}

// compact returns JSON without white space.
func compact(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var v json.RawMessage
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%v in %s", err, w.Body)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The problems of real loads have their place and their remedy in fields of
// their own.
func TestListProblems(t *testing.T) {
	slots := new(blocklists.Slots)
	p := policy()
	prev := load(t, p, nil, slots)
	p.Lists[0] = list("wechat", "")
	p.Lists[0].Unguarded = false
	p.Lists[1].MaxSkipped = 0
	p.Lists[2] = list("tiktok", "<!DOCTYPE html>\n")
	_, report, err := compile.Load(context.Background(), p, prev, compile.Options{Now: now, Slots: slots})
	if err == nil {
		t.Fatal("no error")
	}
	report.Failed = append(report.Failed,
		&compile.ListError{List: "gone", Source: "/gone.txt", Err: &fs.PathError{Op: "open", Path: "/gone.txt", Err: fs.ErrNotExist}},
		&compile.ListError{List: "odd", Source: "odd.txt", Err: errors.New("odd.txt: odd")})
	got := ops.ListProblems(report)
	want := []struct{ list, place, message string }{
		{"wechat", "wechat.txt:0", "no entries, and there were some before (2)"},
		{"kaspersky", "kaspersky.txt:2", "1 of 2 lines (50.0 %) are unusable"},
		{"tiktok", "tiktok.txt:1", "web page"},
		{"gone", "/gone.txt:0", "open /gone.txt: file does not exist"},
		{"odd", "odd.txt:0", "odd"},
		{"", "kaspersky.txt:2", `"bad..name": empty label`},
	}
	if len(got) != len(want) {
		t.Fatalf("got %d problems: %v", len(got), got)
	}
	for i, w := range want {
		g := got[i]
		if g.List != w.list || fmt.Sprintf("%s:%d", g.File, g.Line) != w.place || !strings.Contains(g.Message, w.message) ||
			(g.Remedy == "") != (g.List == "odd") || g.Remedy != "" && strings.Contains(g.Message, g.Remedy) || strings.HasPrefix(g.Message, g.File) {
			t.Errorf("problem %d is %+v, want %v", i, g, w)
		}
	}
	direct := ops.ListProblems(compile.Report{Failed: []*compile.ListError{{List: "a", Source: "b",
		Err: format.Problem{File: "c", Line: 3, Text: "d", Reason: "e", Remedy: "f"}}}})
	if len(direct) != 1 || direct[0] != (ops.Problem{List: "a", File: "c", Line: 3, Message: `"d": e`, Remedy: "f"}) {
		t.Errorf("got %+v", direct)
	}
}

// Requests for a reload wait for each other, and a reload may take longer than
// other requests.
func TestReloadOneAtATime(t *testing.T) {
	o := healthy(t)
	o.Timeout = 200 * time.Millisecond
	var running, calls atomic.Int32
	o.Reload = func(ctx context.Context, _ ops.ReloadOptions) (ops.ReloadResult, error) {
		if running.Add(1) > 1 {
			t.Error("two at a time")
		}
		defer running.Add(-1)
		if calls.Add(1) == 1 {
			select {
			case <-time.After(2 * o.Timeout):
			case <-ctx.Done():
				return ops.ReloadResult{}, ctx.Err()
			}
		}
		return ops.ReloadResult{}, nil
	}
	base, _, end := serve(t, o)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if status, body := get(t, "POST", base+"/reload"); status != 200 {
				t.Errorf("got %d %s", status, body)
			}
		})
	}
	wg.Wait()
	if calls.Load() != 4 {
		t.Errorf("%d reloads", calls.Load())
	}
	if err := end(); err != nil {
		t.Error(err)
	}
}

// If a client goes away while it waits, there is no reload for it.
func TestReloadAbandoned(t *testing.T) {
	o := healthy(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	var calls atomic.Int32
	o.Reload = func(context.Context, ops.ReloadOptions) (ops.ReloadResult, error) {
		calls.Add(1)
		close(entered)
		<-leave
		return ops.ReloadResult{}, nil
	}
	s := ops.New(o)
	h := s.Handler()
	first := make(chan struct{})
	go func() {
		defer close(first)
		h.ServeHTTP(httptest.NewRecorder(), request("POST", "/reload"))
	}()
	<-entered
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, request("POST", "/reload").WithContext(ctx))
	if w.Code != 503 {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	close(leave)
	<-first
	if calls.Load() != 1 {
		t.Errorf("%d reloads", calls.Load())
	}
}
