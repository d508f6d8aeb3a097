package upstream_test

import (
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver/upstream"
	"rideau/resolver/upstream/do53"
	"rideau/resolver/upstream/health"
	"rideau/resolver/wire"
)

// forgeries are datagrams that somebody sends who knows the question, and has
// guessed port and id, but knows neither the letters nor the cookie of the
// query.
var forgeries = map[string]func(*dns.Msg){
	"FORMERR":             func(m *dns.Msg) { m.Rcode, m.Question, m.Answer = dns.RcodeFormatError, nil, nil },
	"NOTIMP":              func(m *dns.Msg) { m.Rcode, m.Question, m.Answer = dns.RcodeNotImplemented, nil, nil },
	"SERVFAIL":            func(m *dns.Msg) { m.Rcode, m.Question, m.Answer = dns.RcodeServerFailure, nil, nil },
	"REFUSED":             func(m *dns.Msg) { m.Rcode, m.Question, m.Answer = dns.RcodeRefused, nil, nil },
	"TC":                  func(m *dns.Msg) { m.Truncated, m.Question, m.Answer = true, nil, nil },
	"FORMERR, question":   func(m *dns.Msg) { m.Rcode, m.Answer = dns.RcodeFormatError, nil },
	"NOTIMP, question":    func(m *dns.Msg) { m.Rcode, m.Answer = dns.RcodeNotImplemented, nil },
	"BADVERS, question":   func(m *dns.Msg) { m.Answer = nil; m.SetEdns0(1232, false); m.Rcode = dns.RcodeBadVers },
	"BADCOOKIE, question": func(m *dns.Msg) { m.Answer = nil; m.SetEdns0(1232, false); m.Rcode = dns.RcodeBadCookie },
	"answer":              func(*dns.Msg) {},
	"SERVFAIL, question":  func(m *dns.Msg) { m.Rcode, m.Answer = dns.RcodeServerFailure, nil },
	"REFUSED, question":   func(m *dns.Msg) { m.Rcode, m.Answer = dns.RcodeRefused, nil },
	"NXDOMAIN, question":  func(m *dns.Msg) { m.Rcode, m.Answer = dns.RcodeNameError, nil },
	"TC, question":        func(m *dns.Msg) { m.Truncated, m.Answer = true, nil },
}

// target is a server that repeats the case and gives cookies, and whose queries
// somebody answers before it does.
type target struct {
	*server
	forge    atomic.Pointer[func(*dns.Msg)]
	firewall atomic.Bool  // queries with EDNS are lost
	ids      atomic.Int64 // so many ids are tried before the right one
	lose     atomic.Int64 // so many datagrams are not answered
	mu       sync.Mutex
	plain    int // queries without EDNS
	cookies  int // queries with a cookie of the server's
	bare     int // queries with neither that nor a name in random case
	queries  int
}

func attacked(t testing.TB, stream func(*target, net.Conn)) *target {
	v := new(target)
	answer := func(q []byte) []byte {
		var m dns.Msg
		if m.Unpack(q) != nil {
			return nil
		}
		got := cookieOf(&m)
		v.mu.Lock()
		v.queries++
		if m.IsEdns0() == nil {
			v.plain++
		}
		if len(got) > 16 {
			v.cookies++
		} else if n := m.Question[0].Name; n == strings.ToLower(n) {
			v.bare++
		}
		v.mu.Unlock()
		return reply(t, q, "right", func(r *dns.Msg) {
			if m.IsEdns0() == nil {
				return
			}
			r.SetEdns0(1232, false)
			if got != "" {
				r.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: got[:16] + strings.Repeat("ab", 16)}}
			}
		})
	}
	v.server = serve(t, func(s *server, from netip.AddrPort, q []byte) {
		if v.lose.Add(-1) >= 0 || v.firewall.Load() && q[11] > 0 {
			return
		}
		if f := v.forge.Load(); f != nil {
			m := reply(t, q, "forged", func(r *dns.Msg) { r.Question[0].Name = strings.ToLower(r.Question[0].Name) }, *f)
			for id := range v.ids.Load() {
				wire.SetID(m, uint16(id))
				s.send(from, m)
			}
			wire.SetID(m, wire.ID(q))
			s.send(from, m)
		}
		s.send(from, answer(q))
	}, func(s *server, conn net.Conn) {
		if stream != nil {
			stream(v, conn)
			return
		}
		for q := readFrame(conn); q != nil; q = readFrame(conn) {
			conn.Write(frame(answer(q)))
		}
	})
	return v
}

func (v *target) counts() (queries, plain, cookies int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	queries, plain, cookies = v.queries, v.plain, v.cookies
	v.queries, v.plain, v.cookies, v.bare = 0, 0, 0, 0
	return
}

// streams are what a server may do with TCP. nil: it answers.
var streams = map[string]func(*target, net.Conn){
	"TCP":        nil,
	"TCP closed": func(*target, net.Conn) {},
	"TCP silent": func(v *target, c net.Conn) { readFrame(c); readFrame(c) },
}

// TestForgedErrors: forged errors cost no answer, do not turn off EDNS, cookies
// or 0x20, and are not held against the server.
func TestForgedErrors(t *testing.T) {
	for tcp, stream := range streams {
		for what, forge := range forgeries {
			for _, way := range []string{"exchange", "multiplexer"} {
				t.Run(tcp+"/"+what+"/"+way, func(t *testing.T) {
					t.Parallel()
					v := attacked(t, stream)
					u := do53.New(v.addr, do53.Options{MixCase: true, Cookies: true})
					g := upstream.NewGroup("test", upstream.Options{NoHedge: true, Timeout: patience}, u)
					ask := func() {
						t.Helper()
						q := query(t, caseName)
						var msg []byte
						var err error
						if way == "exchange" {
							msg, err = g.Exchange(within(t, patience), nil, q)
						} else {
							msg, err = byMux(t, g, caseName)
						}
						if err != nil {
							t.Fatal(err)
						}
						if got := texts(t, q, msg); got != "right" {
							t.Fatalf("got %q, %v", got, wire.HeaderRcode(msg))
						}
					}
					learn(t, u) // gets the cookie
					v.forge.Store(&forge)
					for range 3 {
						ask()
					}
					v.forge.Store(nil)
					v.counts()
					for range 3 {
						ask()
					}
					if n, plain, cookies := v.counts(); plain > 0 || cookies < n || n == 0 {
						t.Errorf("afterwards %d of %d queries have no EDNS and %d the cookie", plain, n, cookies)
					}
					if !u.Endpoint().MixesCase() {
						t.Error("0x20 is off")
					}
					st := g.Stats()[0]
					slow := false // a busy machine
					for _, f := range st.Failures {
						if f.Reason == "timeout" {
							slow = f.Count > 0
						} else if f.Count > 0 {
							t.Errorf("%d failures for %s", f.Count, f.Reason)
						}
					}
					if st.Health != health.Up && !slow {
						t.Error(st.Health)
					}
				})
			}
		}
	}
}

// TestForgedIDs: somebody knows the port of each query and sends errors with
// all ids before the server answers.
func TestForgedIDs(t *testing.T) {
	for _, what := range []string{"FORMERR", "SERVFAIL", "REFUSED", "TC"} {
		t.Run(what, func(t *testing.T) {
			v := attacked(t, nil)
			u := do53.New(v.addr, do53.Options{Cookies: true})
			g := upstream.NewGroup("test", upstream.Options{NoHedge: true, Timeout: patience}, u)
			learn(t, u)
			forge := forgeries[what]
			v.forge.Store(&forge)
			v.ids.Store(1 << 16)
			for range 3 {
				msg, err := byMux(t, g, caseName)
				if err != nil || texts(t, query(t, caseName), msg) != "right" {
					t.Fatal(err)
				}
			}
			v.forge.Store(nil)
			v.counts()
			if msg, err := byMux(t, g, caseName); err != nil || texts(t, query(t, caseName), msg) != "right" {
				t.Fatal(err)
			}
			// A busy machine may need a second query, and for that another way.
			if n, plain, cookies := v.counts(); n == 0 || plain != 0 && n == 1 || cookies == 0 {
				t.Errorf("%d queries, %d without EDNS, %d with the cookie", n, plain, cookies)
			}
		})
	}
}

// TestForgedHabits: somebody knows the port of each query, and answers with
// thousands of ids, the right one among them, without case and cookie: more than
// 100,000 datagrams a second on an idle machine. That goes on
// for longer than it takes to learn that servers do so.
func TestForgedHabits(t *testing.T) {
	v := attacked(t, streams["TCP closed"])
	u := do53.New(v.addr, do53.Options{MixCase: true, Cookies: true})
	g := upstream.NewGroup("test", upstream.Options{NoHedge: true, Timeout: patience}, u)
	learn(t, u)
	v.counts()
	for what, lasts := range map[string]time.Duration{"answer": 3500 * time.Millisecond, "SERVFAIL, question": time.Second} {
		forge := forgeries[what]
		v.forge.Store(&forge)
		v.ids.Store(1 << 13)
		for began, asked := time.Now(), 0; time.Since(began) < lasts || asked < 3; asked++ {
			if msg, err := byMux(t, g, caseName); err == nil && texts(t, query(t, caseName), msg) != "right" {
				t.Fatal("a forged response is believed")
			}
		}
	}
	v.forge.Store(nil)
	eventually(t, "an answer", func() bool {
		msg, err := byMux(t, g, caseName)
		return err == nil && texts(t, query(t, caseName), msg) == "right"
	})
	for _, use := range g.Stats()[0].Uses {
		if !use.Used {
			t.Errorf("%s is not used any more", use.What)
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.bare > 0 {
		t.Errorf("%d queries were protected by their ids and ports alone", v.bare)
	}
}

// TestTrueErrors: a server that does send such errors is answered for at once,
// whatever it does with TCP.
func TestTrueErrors(t *testing.T) {
	for tcp, stream := range streams {
		for _, code := range []int{dns.RcodeServerFailure, dns.RcodeRefused} {
			t.Run(tcp+"/"+dns.RcodeToString[code], func(t *testing.T) {
				t.Parallel()
				bare := func(m *dns.Msg) { m.Rcode, m.Question, m.Extra = code, nil, nil }
				bad := serve(t, saying("", bare), func(s *server, c net.Conn) {
					if stream != nil {
						stream(nil, c)
						return
					}
					for q := readFrame(c); q != nil; q = readFrame(c) {
						c.Write(frame(reply(t, q, "", bare)))
					}
				})
				u := plainServer(bad)
				g := upstream.NewGroup("test", upstream.Options{NoHedge: true}, u)
				for range 2 {
					began := time.Now()
					msg, err := g.Exchange(within(t, patience), nil, query(t, "a.example"))
					if err != nil || wire.HeaderRcode(msg) != wire.Rcode(code) {
						t.Fatal(err)
					}
					if took := time.Since(began); took > 1500*time.Millisecond {
						t.Errorf("after %v", took)
					}
				}
				both := upstream.NewGroup("test", upstream.Options{NoHedge: true}, u, plainServer(serve(t, saying("good"), nil)))
				began := time.Now()
				expect(t, both, "a.example", "good")
				if took := time.Since(began); took > time.Second {
					t.Errorf("after %v by the next server", took)
				}
			})
		}
	}
}

// TestLowersWithoutTCP: a server that gives names back in lower case costs no
// answer, though TCP does not tell, and is asked as usual afterwards.
func TestLowersWithoutTCP(t *testing.T) {
	for tcp, stream := range streams {
		if stream == nil {
			continue
		}
		for _, way := range []string{"exchange", "multiplexer"} {
			t.Run(tcp+"/"+way, func(t *testing.T) {
				t.Parallel()
				s := serve(t, saying("right", func(m *dns.Msg) { m.Question[0].Name = strings.ToLower(m.Question[0].Name) }),
					func(_ *server, c net.Conn) { stream(nil, c) })
				u := do53.New(s.addr, do53.Options{MixCase: true})
				g := upstream.NewGroup("test", upstream.Options{NoHedge: true}, u)
				for range 10 {
					var msg []byte
					var err error
					if way == "exchange" {
						msg, err = g.Exchange(within(t, patience), nil, query(t, caseName))
					} else {
						msg, err = byMux(t, g, caseName)
					}
					if err != nil || texts(t, query(t, caseName), msg) != "right" {
						t.Fatal(err)
					}
				}
				if n := s.datagrams.Load(); n > 18 {
					t.Errorf("%d datagrams for 10 queries", n)
				}
				if u.Endpoint().MixesCase() {
					t.Error("it is not noticed")
				}
			})
		}
	}
}

// TestCookieKept: a query that was lost is sent again with the cookie, where nothing
// else protects it; without it once the server is silent.
func TestCookieKept(t *testing.T) {
	v := attacked(t, streams["TCP closed"])
	u := do53.New(v.addr, do53.Options{Cookies: true})
	g := upstream.NewGroup("test", upstream.Options{NoHedge: true, Timeout: patience, LeastAttempt: 50 * time.Millisecond, AttemptTimeout: 100 * time.Millisecond}, u)
	learn(t, u)
	v.counts()
	for range 2 {
		v.lose.Store(1)
		expect(t, g, caseName, "right")
	}
	if n, plain, cookies := v.counts(); n != 2 || plain > 0 || cookies != n {
		t.Errorf("%d answered queries, %d without EDNS, %d with the cookie", n, plain, cookies)
	}
	v.firewall.Store(true)
	answered := func() bool {
		msg, err := g.Exchange(within(t, 500*time.Millisecond), nil, query(t, caseName))
		return err == nil && texts(t, query(t, caseName), msg) == "right"
	}
	if first, second := answered(), answered(); first || !second {
		t.Errorf("with a firewall that drops EDNS now, the first query is answered: %v, the second: %v", first, second)
	}
}
