package session_test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"rideau/resolver/ops/access/session"
)

type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func start() (*session.Store, *clock) {
	c := &clock{time.Unix(1_700_000_000, 0)}
	return session.NewStore(c.now), c
}

// with returns a request with that cookie, which may be nil.
func with(c *http.Cookie) *http.Request {
	r := httptest.NewRequest("GET", "http://127.0.0.1/", nil)
	r.Header.Set("User-Agent", "browser")
	if c != nil {
		r.AddCookie(c)
	}
	return r
}

// begin begins a session, and returns its cookie.
func begin(t *testing.T, s *session.Store, r *http.Request, name string) (*session.Session, *http.Cookie) {
	t.Helper()
	w := httptest.NewRecorder()
	x := s.New(w, r, session.Subject{Name: name, Way: "password"})
	all := w.Result().Cookies()
	if len(all) != 1 {
		t.Fatalf("cookies %v", all)
	}
	return x, all[0]
}

// TestCookie: what the cookie of a session says, in plain text and over TLS.
func TestCookie(t *testing.T) {
	s, _ := start()
	_, c := begin(t, s, with(nil), "ann")
	if got, want := c.Raw, "rideau="+c.Value+"; Path=/; HttpOnly; SameSite=Strict"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	r := with(nil)
	r.TLS = new(tls.ConnectionState)
	_, c = begin(t, s, r, "ann")
	if got, want := c.Raw, "__Host-rideau="+c.Value+"; Path=/; HttpOnly; Secure; SameSite=Strict"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if len(c.Value) != 43 {
		t.Errorf("a key of %d letters", len(c.Value))
	}
}

// TestLifetime: a session ends when it was not used for Idle, and after Life in any case.
func TestLifetime(t *testing.T) {
	s, c := start()
	x, cookie := begin(t, s, with(nil), "ann")
	for used := time.Duration(0); used+session.Idle-1 < session.Life; used += session.Idle - 1 {
		if s.Find(with(cookie)) != x {
			t.Fatalf("over after %v", used)
		}
		c.t = c.t.Add(session.Idle - 1)
	}
	s.Find(with(cookie))
	c.t = x.Began.Add(session.Life)
	if s.Find(with(cookie)) != nil || x.Context.Err() == nil || s.Len() != 0 {
		t.Error("there after its life")
	}
	x, cookie = begin(t, s, with(nil), "ann")
	c.t = c.t.Add(session.Idle)
	if s.Find(with(cookie)) != nil || x.Context.Err() == nil {
		t.Error("there though nobody used it")
	}
}

// TestFixation: a cookie that somebody else has set is never the key of a session, and a sign-in ends the session that the browser had.
func TestFixation(t *testing.T) {
	s, _ := start()
	planted := &http.Cookie{Name: "rideau", Value: strings.Repeat("A", 43)}
	x, cookie := begin(t, s, with(planted), "ann")
	if s.Find(with(planted)) != nil || cookie.Value == planted.Value {
		t.Error("the planted cookie is a session")
	}
	_, second := begin(t, s, with(cookie), "ann")
	if s.Find(with(cookie)) != nil || x.Context.Err() == nil || s.Find(with(second)) == nil {
		t.Error("the session of before is there")
	}
}

// TestBound: a session is for one browser, and for TLS if it began so.
func TestBound(t *testing.T) {
	s, _ := start()
	x, cookie := begin(t, s, with(nil), "ann")
	other := with(cookie)
	other.Header.Set("User-Agent", "another")
	secure := with(&http.Cookie{Name: "__Host-rideau", Value: cookie.Value})
	secure.TLS = new(tls.ConnectionState)
	for name, r := range map[string]*http.Request{"another browser": other, "TLS": secure, "no cookie": with(nil),
		"a long one": with(&http.Cookie{Name: "rideau", Value: strings.Repeat("a", 10_000)}), "an empty one": with(&http.Cookie{Name: "rideau"})} {
		if s.Find(r) != nil {
			t.Errorf("%s: found", name)
		}
	}
	if s.Find(with(cookie)) != x {
		t.Error("gone")
	}
	s.End(x)
	s.End(x)
	s.End(nil)
	if s.Find(with(cookie)) != nil || x.Context.Err() == nil {
		t.Error("there after its end")
	}
}

// TestNumber: a user has eight sessions, and there are 512; what was used longest ago ends first.
func TestNumber(t *testing.T) {
	s, c := start()
	var cookies []*http.Cookie
	for range 9 {
		c.t = c.t.Add(time.Second)
		_, cookie := begin(t, s, with(nil), "ann")
		cookies = append(cookies, cookie)
		s.Find(with(cookies[0]))
	}
	if s.Len() != 8 || s.Find(with(cookies[0])) == nil || s.Find(with(cookies[1])) != nil {
		t.Errorf("%d sessions", s.Len())
	}
	for i := range 600 {
		c.t = c.t.Add(time.Millisecond)
		begin(t, s, with(nil), fmt.Sprint("user", i))
	}
	if s.Len() != 512 {
		t.Errorf("%d sessions", s.Len())
	}
	if n := len(s.EndIf(func(x *session.Session) bool { return x.Name != "user599" })); n != 511 || s.Len() != 1 {
		t.Errorf("%d ended, %d left", n, s.Len())
	}
}

// TestSecrets: the texts of forms are those of their session, and reveal nothing of the cookie.
func TestSecrets(t *testing.T) {
	s, _ := start()
	a, cookie := begin(t, s, with(nil), "ann")
	b, _ := begin(t, s, with(nil), "ann")
	if a.CSRF() == b.CSRF() || len(a.CSRF()) != 43 || a.CSRF() == cookie.Value {
		t.Errorf("%s, %s", a.CSRF(), b.CSRF())
	}
}
