package ops_test

import (
	"context"
	"encoding/json"
	"runtime"
	"strings"
	"testing"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/fingerprint"
	"rideau/resolver/ops"
	"rideau/resolver/ops/metrics"
)

func TestHealthz(t *testing.T) {
	s := ops.New(ops.Options{}) // nothing is known, and yet it lives
	expect(t, ask(s, request("GET", "/healthz")), 200, "ok\n")
	expect(t, ask(s, request("GET", "/healthz", "Accept", "application/json")), 200, "{\n  \"ok\": true\n}\n")
	s.Drain()
	expect(t, ask(s, request("GET", "/healthz")), 200, "ok\n")
}

func TestReadyz(t *testing.T) {
	upstreams := func(all ...metrics.Upstream) func(*ops.Options) {
		return func(o *ops.Options) { o.Sources.Upstreams = func() []metrics.Upstream { return all } }
	}
	for name, tt := range map[string]struct {
		change func(*ops.Options)
		drain  bool
		want   []string
	}{
		"ready":       {},
		"no policy":   {change: func(o *ops.Options) { o.Sources.Policy = func() *blocklists.Snapshot { return nil } }, want: []string{"no policy is loaded"}},
		"no upstream": {change: upstreams(), want: []string{"no upstream is configured"}},
		"never answered": {change: upstreams(metrics.Upstream{Name: "a"}),
			want: []string{"no upstream has answered yet"}},
		"one of two answered": {change: upstreams(answered("a", time.Hour), answered("b", time.Minute))},
		"answered long ago": {change: upstreams(answered("a", time.Hour), answered("b", 61*time.Second), metrics.Upstream{Name: "c"}),
			want: []string{"no upstream has answered within 1m0s; the last was b, 1m1s ago"}},
		"longer patience": {change: func(o *ops.Options) {
			upstreams(answered("a", time.Hour))(o)
			o.ReadyWithin = 2 * time.Hour
		}},
		"every reason": {change: func(o *ops.Options) {
			o.Sources.Policy = nil
			upstreams()(o)
			o.Ready = func() []string { return []string{"socket 127.0.0.1:53 is not bound", "two\nlines"} }
		}, want: []string{"no policy is loaded", "no upstream is configured", "socket 127.0.0.1:53 is not bound", "two; lines"}},
		"draining": {drain: true, change: upstreams(), want: []string{"shutting down"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := healthy(t)
			if tt.change != nil {
				tt.change(&o)
			}
			s := ops.New(o)
			if tt.drain {
				s.Drain()
			}
			status, text := 200, "ready\n"
			if len(tt.want) > 0 {
				status, text = 503, strings.Join(tt.want, "\n")+"\n"
			}
			expect(t, ask(s, request("GET", "/readyz")), status, text)

			w := ask(s, request("GET", "/readyz", "Accept", "application/json"))
			var got struct {
				Ready   *bool
				Reasons *[]string
			}
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.Ready == nil || got.Reasons == nil {
				t.Fatalf("%v in %s", err, w.Body)
			}
			if w.Code != status || *got.Ready != (status == 200) || strings.Join(*got.Reasons, "\n") != strings.Join(tt.want, "\n") {
				t.Errorf("JSON: %d %s", w.Code, w.Body)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	o := healthy(t)
	w := ask(ops.New(o), request("GET", "/version"))
	var got struct {
		Version, Revision, GoVersion string
		Started                      time.Time
		Generation                   uint64
		Fingerprint                  string
		Bans                         []ops.Ban
		Lists                        []ops.List
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Version != "v1.2.3" || got.Revision != "0123abcd" || got.GoVersion != runtime.Version() || !got.Started.Equal(now) ||
		got.Generation != 1 || got.Fingerprint != fingerprint.Of(o.Sources.Policy()) {
		t.Errorf("got %s", w.Body)
	}
	want := []ops.Ban{{"WECHAT-2023", "enforce", true, 2}, {"KASPERSKY-2023", "monitor", true, 1},
		{"TIKTOK-2023", "off", false, 1}, {"LATER", "enforce", false, 3}}
	if len(got.Bans) != len(want) {
		t.Fatalf("got %d bans", len(got.Bans))
	}
	for i := range want {
		if got.Bans[i] != want[i] {
			t.Errorf("ban %d is %v, want %v", i, got.Bans[i], want[i])
		}
	}
	if len(got.Lists) != 3 {
		t.Fatalf("got %d lists", len(got.Lists))
	}
	l := got.Lists[1]
	// The digest of "kaspersky.com\nbad..name\n".
	const digest = "a511c3475a63fcfffaa53ca99a3409218c384f8cf2a24cbb77bd587105035d40"
	if l.ID != "kaspersky" || l.Source != "kaspersky.txt" || l.Entries != 1 || l.Skipped != 1 || l.SHA256 != digest || !l.LoadedAt.Equal(now) {
		t.Errorf("got list %+v", l)
	}
}

func TestVersionWithoutPolicy(t *testing.T) {
	w := ask(ops.New(ops.Options{}), request("GET", "/version"))
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"bans": []`) || !strings.Contains(w.Body.String(), `"lists": []`) {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

func TestRoutes(t *testing.T) {
	o := healthy(t)
	o.Reload = func(context.Context, ops.ReloadOptions) (ops.ReloadResult, error) { return ops.ReloadResult{}, nil }
	plain := ops.New(o)
	o.Pprof = true
	profiled := ops.New(o)
	bare := ops.New(ops.Options{})
	for _, tt := range []struct {
		server         *ops.Server
		method, target string
		status         int
		allow          string
	}{
		{plain, "GET", "/", 200, ""},
		{plain, "GET", "/healthz/", 404, ""},
		{plain, "GET", "/nothing", 404, ""},
		{plain, "POST", "/healthz", 405, "GET, HEAD"},
		{plain, "DELETE", "/metrics", 405, "GET, HEAD"},
		{plain, "HEAD", "/readyz", 200, ""},
		{plain, "GET", "/metrics", 200, ""},
		{plain, "GET", "/reload", 405, "POST"},
		{plain, "OPTIONS", "/reload", 405, "POST"},
		{plain, "POST", "/reload", 200, ""},
		{bare, "POST", "/reload", 404, ""},
		{bare, "GET", "/metrics", 200, ""},
		{plain, "GET", "/debug/pprof/", 404, ""},
		{plain, "GET", "/debug/pprof/cmdline", 404, ""},
		{plain, "GET", "/debug/pprof/heap", 404, ""},
		{profiled, "GET", "/debug/pprof/", 200, ""},
		{profiled, "GET", "/debug/pprof/cmdline", 200, ""},
		{profiled, "GET", "/debug/pprof/goroutine?debug=1", 200, ""},
	} {
		w := ask(tt.server, request(tt.method, tt.target))
		if w.Code != tt.status || w.Header().Get("Allow") != tt.allow {
			t.Errorf("%s %s: %d, Allow %q; want %d, %q", tt.method, tt.target, w.Code, w.Header().Get("Allow"), tt.status, tt.allow)
		}
		if h := w.Header(); h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s %s: headers %v", tt.method, tt.target, h)
		}
	}
}

func TestAccept(t *testing.T) {
	s := ops.New(ops.Options{})
	for accept, isJSON := range map[string]bool{
		"":                                  false,
		"*/*":                               false,
		"text/html, */*;q=0.8":              false,
		"application/json":                  true,
		"Application/JSON; q=0.5":           true,
		"application/json;q=0":              false,
		"text/plain, application/json":      true,
		"application/json;q=.4, text/plain": false,
		"application/json, */*":             true,
		"application/json;q=x":              false,
	} {
		got := ask(s, request("GET", "/healthz", "Accept", accept)).Header().Get("Content-Type")
		if (got == "application/json") != isJSON {
			t.Errorf("Accept %q brings %s", accept, got)
		}
	}
}
