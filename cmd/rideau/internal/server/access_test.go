package server_test

import (
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"strings"
	"testing"

	"rideau/cmd/rideau/internal/access"
)

// TestSignIn: a user of the file signs in, also one who was added while Rideau runs; each sign-in is an act, with who and from where. A
// user whose line is removed is signed out.
func TestSignIn(t *testing.T) {
	s, text := startAnswering(t)
	s.stop()
	const secret = "correct horse battery"
	line, err := access.Line("ann", "analyst", secret)
	if err != nil {
		t.Fatal(err)
	}
	users := func(lines ...string) {
		if err := os.WriteFile(s.path("users"), []byte("# users\n"+strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	users()
	text = strings.Replace(text, `ops: {listen: "127.0.0.1:0"}`, fmt.Sprintf(`ops: {listen: "127.0.0.1:0", users_file: %s}`, s.path("users")), 1)
	text += "evidence: {sinks: [{id: own, kind: file, path: own.json}]}\n"
	s.write("rideau.yaml", text)
	s.again()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	base := "http://" + s.facts.Ops
	signIn := func(password string) int {
		t.Helper()
		resp, err := client.PostForm(base+"/signin", url.Values{"name": {"ann"}, "password": {password}})
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	get := func(path string) string {
		t.Helper()
		resp, err := client.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var b strings.Builder
		if _, err := resp.Header, resp.Write(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	page := func() string { t.Helper(); return get("/signin") }
	offered := func() bool { t.Helper(); return strings.Contains(get("/now"), `href="/signin?`) }
	if offered() {
		t.Error("people are asked to sign in, and nobody can")
	}
	if style, err := client.Get(base + "/assets/rideau.css"); err != nil || style.StatusCode != http.StatusOK || !strings.Contains(page(), `href="/assets/rideau.css"`) {
		t.Errorf("the page has no style sheet: %v, %v", style, err)
	} else {
		style.Body.Close()
	}
	if code := signIn(secret); code != http.StatusUnauthorized {
		t.Errorf("nobody signs in: %d", code)
	}
	reload := func() {
		t.Helper()
		result, err := s.Reload(t.Context(), "SIGHUP")
		if err != nil || !result.Changed {
			t.Fatal(result.Changed, err)
		}
	}
	users(line)
	reload()
	if !offered() {
		t.Error("nobody is asked to sign in")
	}
	if code := signIn("a wrong password"); code != http.StatusUnauthorized {
		t.Errorf("a wrong password: %d", code)
	}
	if code := signIn(secret); code != http.StatusSeeOther || !strings.Contains(page(), "<strong>ann</strong>") {
		t.Errorf("the right one: %d\n%s", code, page())
	}
	users()
	reload()
	if strings.Contains(page(), "<strong>ann</strong>") {
		t.Error("a user who is gone is signed in")
	}
	if err := os.WriteFile(s.path("users"), []byte("ann:analyst:secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Reload(t.Context(), "SIGHUP"); err == nil || !strings.Contains(err.Error(), "users:1: ann: this is no argon2id hash; make the line with rideau user") {
		t.Errorf("a wrong file: %v", err)
	}
	s.stop()
	acts := s.read("own.json")
	for _, want := range []string{`"event":"sign_in"`, `"event":"sign_out"`, `"user":"ann"`, `"reason":"a wrong password"`, `"reason":"with the role analyst"`, `"reason":"no user has the name"`, `"address":"127.0.0.1:`} {
		if !strings.Contains(acts, want) {
			t.Errorf("no %s in\n%s", want, acts)
		}
	}
	if strings.Contains(acts, secret) || strings.Contains(acts, "argon2id$") {
		t.Error("the acts have a secret")
	}
}
