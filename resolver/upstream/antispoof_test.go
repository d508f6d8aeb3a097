package upstream_test

import (
	"encoding/hex"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"

	"rideau/resolver/upstream"
	"rideau/resolver/upstream/do53"
)

// choosy is a server that records the case and the cookies of queries.
type choosy struct {
	mu      sync.Mutex
	names   map[string]int // as they came by UDP
	cookies []string       // the same
	tcp     atomic.Int64
	// What it does.
	lowers  atomic.Bool // it gives names back in lower case
	cookie  atomic.Pointer[string]
	formerr atomic.Bool // it minds cookies
	bad     atomic.Bool // no cookie of before is good any more
	forged  atomic.Bool // somebody answers before it does
	strict  atomic.Bool // no cookie is good enough by UDP
}

// refuse is a BADCOOKIE response, with a new cookie if the query had one.
func (c *choosy) refuse(t testing.TB, q []byte) []byte {
	return reply(t, q, "", func(r *dns.Msg) {
		var m dns.Msg
		if err := m.Unpack(q); err != nil {
			t.Error(err)
		}
		r.Answer, r.Rcode = nil, dns.RcodeBadCookie
		r.SetEdns0(1232, false)
		if got := cookieOf(&m); got != "" {
			r.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: got[:16] + strings.Repeat("ef", 16)}}
		}
	})
}

func cookieOf(m *dns.Msg) string {
	if o := m.IsEdns0(); o != nil {
		for _, x := range o.Option {
			if c, ok := x.(*dns.EDNS0_COOKIE); ok {
				return c.Cookie
			}
		}
	}
	return ""
}

func (c *choosy) answer(t testing.TB, q []byte, forged bool) []byte {
	var m dns.Msg
	if err := m.Unpack(q); err != nil {
		t.Error(err)
		return nil
	}
	got := cookieOf(&m)
	text := "right"
	if forged {
		text = "forged"
	}
	return reply(t, q, text, func(r *dns.Msg) {
		if c.lowers.Load() {
			r.Question[0].Name = strings.ToLower(r.Question[0].Name)
		}
		ours := c.cookie.Load()
		switch {
		case forged:
			r.Question[0].Name = strings.ToLower(r.Question[0].Name)
			return
		case got != "" && c.formerr.Load():
			r.Rcode, r.Answer = dns.RcodeFormatError, nil
			return
		case got == "" || ours == nil:
			return
		}
		r.SetEdns0(1232, false)
		r.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: got[:16] + *ours}}
		if c.bad.Load() && got[16:] != *ours {
			r.Answer = nil
			r.Rcode = dns.RcodeBadCookie
		}
	})
}

func startChoosy(t testing.TB) (*choosy, *server) {
	c := &choosy{names: map[string]int{}}
	s := serve(t, func(s *server, from netip.AddrPort, q []byte) {
		var m dns.Msg
		if m.Unpack(q) == nil {
			c.mu.Lock()
			c.names[m.Question[0].Name]++
			c.cookies = append(c.cookies, cookieOf(&m))
			c.mu.Unlock()
		}
		if c.strict.Load() {
			s.send(from, c.refuse(t, q))
			return
		}
		if c.forged.Load() {
			s.send(from, c.answer(t, q, true))
		}
		s.send(from, c.answer(t, q, false))
	}, func(s *server, conn net.Conn) {
		for q := readFrame(conn); q != nil; q = readFrame(conn) {
			c.tcp.Add(1)
			conn.Write(frame(c.answer(t, q, false)))
		}
	})
	return c, s
}

// learn has u learn what its server understands.
func learn(t testing.TB, u *do53.Server) {
	t.Helper()
	if !u.LearnDue() {
		t.Error("there is nothing to learn")
	}
	u.Learn(within(t, patience), query(t, "probe.example"))
}

func (c *choosy) sent() (names int, cookies []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	names, cookies = len(c.names), c.cookies
	c.names, c.cookies = map[string]int{}, nil
	return names, cookies
}

// ways are the two ways of asking a server.
func ways(t *testing.T, o do53.Options, test func(t *testing.T, c *choosy, ask func(name string) string, u *do53.Server)) {
	t.Run("exchange", func(t *testing.T) {
		c, s := startChoosy(t)
		u := do53.New(s.addr, o)
		test(t, c, func(name string) string {
			q := query(t, name)
			out, err := u.Exchange(within(t, patience), nil, q)
			if err != nil {
				return err.Error()
			}
			return texts(t, q, out)
		}, u)
	})
	t.Run("group", func(t *testing.T) {
		c, s := startChoosy(t)
		u := do53.New(s.addr, o)
		g := upstream.NewGroup("test", upstream.Options{NoHedge: true}, u)
		test(t, c, func(name string) string {
			q := query(t, name)
			out, err := byMux(t, g, name)
			if err != nil {
				return err.Error()
			}
			return texts(t, q, out)
		}, u)
	})
}

const caseName = "a-name-with-many-letters-in-it.example"

func TestMixedCase(t *testing.T) {
	ways(t, do53.Options{MixCase: true}, func(t *testing.T, c *choosy, ask func(string) string, u *do53.Server) {
		for range 20 {
			if got := ask(caseName); got != "right" {
				t.Fatal(got)
			}
		}
		if n, _ := c.sent(); n < 20 || c.tcp.Load() != 0 {
			t.Errorf("20 queries went out in %d ways, and %d by TCP", n, c.tcp.Load())
		}
		// Somebody guesses, and does not know the letters.
		c.forged.Store(true)
		for range 5 {
			if got := ask(caseName); got != "right" {
				t.Fatal(got)
			}
		}
		c.forged.Store(false)
		if c.tcp.Load() != 5 {
			t.Errorf("%d of 5 queries that somebody forges answers to go by TCP", c.tcp.Load())
		}
		// A server that has letters of its own is found out, and left in peace.
		c.lowers.Store(true)
		c.tcp.Store(0)
		c.sent()
		for range 20 {
			if got := ask(caseName); got != "right" {
				t.Fatal(got)
			}
		}
		if n, _ := c.sent(); c.tcp.Load() != 1 || n > 3 {
			t.Errorf("%d queries by TCP, %d ways", c.tcp.Load(), n)
		}
	})
}

func TestPlainCase(t *testing.T) {
	ways(t, do53.Options{}, func(t *testing.T, c *choosy, ask func(string) string, _ *do53.Server) {
		for range 5 {
			if got := ask(caseName); got != "right" {
				t.Fatal(got)
			}
		}
		if n, cookies := c.sent(); n != 1 || strings.Join(cookies, "") != "" {
			t.Errorf("%d ways, cookies %q", n, cookies)
		}
	})
}

func TestCookiesOfUpstream(t *testing.T) {
	first, second := strings.Repeat("ab", 16), strings.Repeat("cd", 8)
	ways(t, do53.Options{Cookies: true}, func(t *testing.T, c *choosy, ask func(string) string, u *do53.Server) {
		c.cookie.Store(&first)
		// No client's query is the first that has a cookie.
		if got := ask("n.example"); got != "right" {
			t.Fatal(got)
		}
		if _, cookies := c.sent(); strings.Join(cookies, "") != "" {
			t.Fatalf("cookies %q before any is known", cookies)
		}
		learn(t, u)
		_, cookies := c.sent()
		if len(cookies) != 1 || len(cookies[0]) != 16 {
			t.Fatalf("the first query has the cookie %q", cookies)
		}
		client := cookies[0]
		for range 5 {
			if got := ask("n.example"); got != "right" {
				t.Fatal(got)
			}
		}
		if _, cookies := c.sent(); strings.Join(cookies, " ") != strings.TrimSpace(strings.Repeat(client+first+" ", 5)) {
			t.Errorf("cookies %q", cookies)
		}
		// Who does not see the cookie is not believed.
		c.forged.Store(true)
		if got := ask("n.example"); got != "right" {
			t.Error(got)
		}
		if c.tcp.Load() == 0 {
			t.Error("a forged answer without the cookie is believed")
		}
		c.forged.Store(false)
		// The server has a new secret, and insists on it.
		c.cookie.Store(&second)
		c.bad.Store(true)
		for range 3 {
			if got := ask("n.example"); got != "right" {
				t.Error(got)
			}
		}
		c.sent()
		ask("n.example")
		if _, cookies := c.sent(); len(cookies) != 1 || cookies[0] != client+second {
			t.Errorf("after a new secret: %q, want %s", cookies, client+second)
		}
		// It has none any more: that is found out, and no cookie is sent.
		c.cookie.Store(nil)
		for range 4 {
			if got := ask("n.example"); got != "right" {
				t.Error(got)
			}
		}
		c.sent()
		ask("n.example")
		if _, cookies := c.sent(); strings.Join(cookies, "") != "" {
			t.Errorf("after it has none: %q", cookies)
		}
		if _, err := hex.DecodeString(client); err != nil {
			t.Error(err)
		}
	})
}

// A server that answers a cookie with an error is still asked with EDNS.
func TestCookieMinded(t *testing.T) {
	ways(t, do53.Options{Cookies: true}, func(t *testing.T, c *choosy, ask func(string) string, u *do53.Server) {
		c.formerr.Store(true)
		learn(t, u)
		c.sent()
		for range 3 {
			if got := ask("n.example"); got != "right" {
				t.Fatal(got)
			}
		}
		if _, cookies := c.sent(); len(cookies) != 3 || strings.Join(cookies, "") != "" {
			t.Errorf("cookies %q", cookies)
		}
	})
}

// A server that accepts no cookie, since several with a secret each share the
// address, is asked over TCP, where it needs none (RFC 7873 section 5.3).
func TestCookieNeverGoodEnough(t *testing.T) {
	ways(t, do53.Options{Cookies: true}, func(t *testing.T, c *choosy, ask func(string) string, u *do53.Server) {
		ours := strings.Repeat("ab", 16)
		c.cookie.Store(&ours)
		learn(t, u)
		if got := ask("n.example"); got != "right" {
			t.Fatal(got)
		}
		c.strict.Store(true)
		for i := range 3 {
			if got := ask("n.example"); got != "right" {
				t.Fatal(got)
			}
			if n := c.tcp.Load(); n != int64(i+1) {
				t.Fatalf("%d queries by TCP", n)
			}
		}
		// One that gave none before, and insists on them now, gets one again.
		c.strict.Store(false)
		c.cookie.Store(nil)
		for range 4 {
			if got := ask("n.example"); got != "right" {
				t.Fatal(got)
			}
		}
		if _, cookies := c.sent(); cookies[len(cookies)-1] != "" {
			t.Fatalf("cookies %q", cookies)
		}
		c.strict.Store(true)
		if got := ask("n.example"); got != "right" {
			t.Fatal(got)
		}
		c.strict.Store(false)
		c.cookie.Store(&ours)
		c.tcp.Store(0)
		c.sent()
		if out, err := u.Exchange(within(t, patience), nil, query(t, "probe.example")); err != nil || texts(t, query(t, "probe.example"), out) != "right" {
			t.Fatal(err)
		}
		if _, cookies := c.sent(); c.tcp.Load() != 0 || len(cookies) != 1 || len(cookies[0]) != 16 {
			t.Errorf("%d queries by TCP, cookies %q", c.tcp.Load(), cookies)
		}
	})
}
