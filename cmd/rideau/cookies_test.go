package main

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// cookieOf sends a query with a cookie, and returns the one in the response.
func cookieOf(t *testing.T, addr, cookie string) string {
	t.Helper()
	m := new(dns.Msg).SetQuestion("plain.example.", dns.TypeA)
	m.SetEdns0(1232, false)
	m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookie})
	r, _, err := (&dns.Client{Timeout: 5 * time.Second}).Exchange(m, addr)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range r.IsEdns0().Option {
		if c, ok := o.(*dns.EDNS0_COOKIE); ok {
			return c.Cookie
		}
	}
	return ""
}

// TestCookies: two servers with the same secrets accept each other's cookies, a
// secret that was replaced is valid for a while, and a broken file changes nothing.
func TestCookies(t *testing.T) {
	const client = "0102030405060708"
	one, two := newWorld(t), newWorld(t)
	secrets := filepath.Join(t.TempDir(), "secrets")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(secrets, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# of the site\n000102030405060708090a0b0c0d0e0f\n")
	for _, w := range []*world{one, two} {
		w.config(func(s *settings) { s.moreListen = ", cookies: {secrets_file: " + secrets + "}" })
	}
	p, q := start(t, one.dir), start(t, two.dir)
	got := cookieOf(t, p.dns[0], client)
	if len(got) != 48 || cookieOf(t, q.dns[0], got) != got {
		t.Fatalf("%q is not good at the other server", got)
	}
	write("101112131415161718191a1b1c1d1e1f\n000102030405060708090a0b0c0d0e0f\n")
	if code, r := p.reload(""); code != http.StatusOK {
		t.Fatalf("%d %+v", code, r)
	}
	if again := cookieOf(t, p.dns[0], got); again == got || len(again) != 48 {
		t.Errorf("by a new secret: %q", again)
	}
	write("nonsense\n")
	if code, r := p.reload(""); code == http.StatusOK {
		t.Errorf("a file of nonsense is taken: %+v", r)
	}
	if c := cookieOf(t, p.dns[0], client); len(c) != 48 {
		t.Errorf("after a broken file: %q", c)
	}
}
