package access_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"rideau/resolver/ops/access"
)

// from returns a request from that address.
func from(remote, method, target string, headers ...string) *http.Request {
	r := httptest.NewRequest(method, "http://127.0.0.1:5380"+target, nil)
	r.RemoteAddr = remote
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

const (
	here = "127.0.0.1:40000"
	away = "192.0.2.7:40000"
)

// TestAdmit: who a viewer is, by where the request comes from and by its token.
func TestAdmit(t *testing.T) {
	g := access.NewGuard(&access.Settings{Hosts: []string{"rideau.example"}, Tokens: []access.Token{
		access.NewToken("reader", access.Analyst, "analyst's secret"), access.NewToken("ops.token_file", access.Operator, "operator's secret"),
	}})
	for name, tt := range map[string]struct {
		r       *http.Request
		host    string
		socket  bool
		want    access.Who
		refused bool
	}{
		"this machine":            {r: from(here, "GET", "/"), want: access.Who{Role: access.Viewer, Loopback: true}},
		"this machine, IPv6":      {r: from("[::1]:1", "GET", "/"), want: access.Who{Role: access.Viewer, Loopback: true}},
		"this machine, a name":    {r: from(here, "GET", "/"), host: "rideau.example"},
		"through a proxy here":    {r: from(here, "GET", "/", "X-Forwarded-For", "192.0.2.7")},
		"another machine":         {r: from(away, "GET", "/")},
		"a name that is not ours": {r: from(here, "GET", "/"), host: "evil.example", refused: true},
		"a token":                 {r: from(away, "GET", "/", "Authorization", "bearer analyst's secret"), want: access.Who{Role: access.Analyst, Way: access.ByToken, Name: "reader"}},
		"the last token, a name":  {r: from(away, "GET", "/", "Authorization", "Bearer operator's secret"), host: "evil.example", want: access.Who{Role: access.Operator, Way: access.ByToken, Name: "ops.token_file"}},
		"a wrong token":           {r: from(away, "GET", "/", "Authorization", "Bearer analyst's secre")},
		"an empty token":          {r: from(away, "GET", "/", "Authorization", "Bearer ")},
		"another scheme":          {r: from(away, "GET", "/", "Authorization", "Basic analyst's secret")},
		"the socket":              {r: from("@", "GET", "/"), host: "any.example", socket: true, want: access.Who{Role: access.Operator, Way: access.BySocket}},
	} {
		if tt.host != "" {
			tt.r.Host = tt.host
		}
		tt.want.Lang = "en"
		r, reason := g.Admit(tt.r, tt.socket)
		if got := access.From(r.Context()); got != tt.want || (reason != "") != tt.refused {
			t.Errorf("%s: %+v, refused: %q", name, got, reason)
		}
	}
	g.Use(new(access.Settings))
	if r, _ := g.Admit(from(away, "GET", "/", "Authorization", "Bearer analyst's secret"), false); access.From(r.Context()).Role != access.None {
		t.Error("a token that was taken out is good")
	}
	if g.Demands() {
		t.Error("credentials are demanded, and there are none")
	}
}

// TestLanguage: the cookie decides, and then the browser.
func TestLanguage(t *testing.T) {
	g := access.NewGuard(new(access.Settings))
	for headers, want := range map[[2]string]string{
		{"", ""}: "en", {"", "fr-CA,fr;q=0.9,en;q=0.8"}: "fr", {"", "en-CA,fr;q=0.9"}: "en", {"", "de, fr;q=0.3"}: "fr", {"", "fr;q=x,;;,"}: "en",
		{"rideau-lang=en", "fr"}: "en", {"rideau-lang=fr", "en"}: "fr", {"rideau-lang=<b>", "fr"}: "fr",
	} {
		r, _ := g.Admit(from(here, "GET", "/", "Cookie", headers[0], "Accept-Language", headers[1]), false)
		if got := access.From(r.Context()).Lang; got != want {
			t.Errorf("%q: %s", headers, got)
		}
	}
}

// TestRouteNeedsRole: a route that says nothing about who may send it, or two things, is an error.
func TestRouteNeedsRole(t *testing.T) {
	h := http.NotFoundHandler()
	for want, r := range map[string]access.Route{
		"":                      {Method: "GET", Path: "/a", Needs: access.Viewer, Handler: h},
		"says nothing":          {Method: "GET", Path: "/a", Handler: h},
		"only one of them":      {Method: "GET", Path: "/a", Needs: access.Analyst, Open: true, Handler: h},
		"no method, no path":    {Path: "/a", Open: true, Handler: h},
		"no path or no handler": {Method: "GET", Path: "/a", Open: true},
	} {
		err := r.Check()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}

// TestGuarded: each role by what a route needs.
func TestGuarded(t *testing.T) {
	for needs := access.None; needs <= access.Operator; needs++ {
		for has := access.None; has <= access.Operator; has++ {
			for _, page := range []bool{false, true} {
				refused := 0
				route := access.Route{Method: "GET", Path: "/x", Needs: needs, Open: needs == access.None, Page: page,
					Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })}
				h := route.Guarded(func(*http.Request, access.Role) { refused++ })
				who := access.Who{Role: has}
				if has > access.None {
					who.Way = access.ByToken
				}
				w := httptest.NewRecorder()
				h.ServeHTTP(w, from(away, "GET", "/x?a=b").WithContext(access.With(context.Background(), who)))
				want := 204
				switch {
				case has >= needs:
				case has > access.None:
					want = 403
				case page:
					want = 303
				default:
					want = 401
				}
				if w.Code != want || (refused == 1) != (want != 204) {
					t.Errorf("%v of a route for %v, page %v: %d, want %d", has, needs, page, w.Code, want)
				}
				if want == 303 && w.Header().Get("Location") != "/signin?next=%2Fx%3Fa%3Db" {
					t.Errorf("redirects to %q", w.Header().Get("Location"))
				}
				var p struct{ Status int }
				if (want == 401 || want == 403 && !page) && (w.Header().Get("Content-Type") != "application/problem+json" || json.Unmarshal(w.Body.Bytes(), &p) != nil || p.Status != want) {
					t.Errorf("%d without problem details: %s", want, w.Body)
				}
			}
		}
	}
}

// TestLocal: where a browser is sent after a sign-in is a page of this server.
func TestLocal(t *testing.T) {
	for s, want := range map[string]string{
		"/bans?id=a&b=%2F": "/bans?id=a&b=%2F", "/": "/", "": "/", "//evil.example": "/", "///evil.example": "/", `/\evil.example`: "/", "https://evil.example/": "/",
		"javascript:alert(1)": "/", "/a\r\nSet-Cookie: b": "/", "/\t/evil.example": "/", "evil.example": "/", "/%": "/", "/" + strings.Repeat("a", 2000): "/",
		"/%2F/evil.example": "/",
	} {
		if got := access.Local(s); got != want {
			t.Errorf("%q: %q", s, got)
		}
	}
}

// TestRoleNames: String and ParseRole are inverse.
func TestRoleNames(t *testing.T) {
	for r := access.Viewer; r <= access.Operator; r++ {
		if got, ok := access.ParseRole(r.String()); !ok || got != r {
			t.Errorf("%v: %v", r, got)
		}
	}
	for _, s := range []string{"none", "", "Operator", "admin"} {
		if r, ok := access.ParseRole(s); ok || r != access.None {
			t.Errorf("%q is %v", s, r)
		}
	}
}
