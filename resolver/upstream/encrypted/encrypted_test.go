package encrypted_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver/upstream"
	"rideau/resolver/upstream/encrypted"
	"rideau/resolver/upstream/member"
	"rideau/resolver/wire"
)

// Many queries at a time, one after another, and again after the server has closed
// all connections: each gets its own answer, and few connections are opened.
func TestExchange(t *testing.T) {
	ca := newAuthority(t)
	cert, _ := ca.certificate(t, false, "dns.example")
	kinds(t, cert, echo, encrypted.Options{Name: "dns.example", Roots: ca.pool}, func(t *testing.T, s *server, u member.Server) {
		for i := range 3 {
			if err := ask(t, u, fmt.Sprintf("n%d.example", i), 5*time.Second); err != nil {
				t.Fatal(err)
			}
		}
		if n := s.conns.Load(); n > 1 {
			t.Errorf("%d connections for queries one after another", n)
		}
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				if err := ask(t, u, fmt.Sprintf("m%d.example", i), 10*time.Second); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := s.conns.Load(); n > 4 {
			t.Errorf("%d connections", n)
		}
		// On a busy machine a query may be sent over a second connection as well.
		if p, n := s.padded.Load(), s.queries.Load(); p != n || n < 203 {
			t.Errorf("%d of %d queries are padded", p, n)
		}
		if s.kill == nil {
			return
		}
		for range 3 {
			s.kill()
			if err := ask(t, u, "again.example", 5*time.Second); err != nil {
				t.Errorf("after the connection has gone: %v", err)
			}
		}
	})
}

// Responses arrive in any order.
func TestOutOfOrder(t *testing.T) {
	ca := newAuthority(t)
	cert, _ := ca.certificate(t, false, "dns.example")
	slow := func(q []byte, n int) [][]byte {
		if n%2 == 0 {
			time.Sleep(300 * time.Millisecond) // sleeps: every other answer is late
		}
		return echo(q, n)
	}
	kinds(t, cert, slow, encrypted.Options{Name: "dns.example", Roots: ca.pool}, func(t *testing.T, s *server, u member.Server) {
		ask(t, u, "first.example", 5*time.Second)
		start := time.Now()
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				if err := ask(t, u, fmt.Sprintf("n%d.example", i), 5*time.Second); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if d := time.Since(start); d > 2*time.Second { // in order it would be three
			t.Errorf("it took %v", d)
		}
	})
}

// A server that is not authenticated gets no query.
func TestStrict(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	good, pin := ca.certificate(t, false, "dns.example")
	byAddress, _ := ca.certificate(t, false, "127.0.0.1")
	expired, _ := ca.certificate(t, true, "dns.example")
	_, stranger := ca.certificate(t, false, "dns.example")
	for _, c := range []struct {
		name string
		o    encrypted.Options
		cert int
		ok   bool
	}{
		{"name", encrypted.Options{Name: "dns.example", Roots: ca.pool}, 0, true},
		{"another name", encrypted.Options{Name: "other.example", Roots: ca.pool}, 0, false},
		{"unknown authority", encrypted.Options{Name: "dns.example", Roots: other.pool}, 0, false},
		{"the system's authorities", encrypted.Options{Name: "dns.example"}, 0, false},
		{"expired", encrypted.Options{Name: "dns.example", Roots: ca.pool}, 2, false},
		{"pin", encrypted.Options{Pins: []encrypted.Pin{stranger, pin}}, 0, true},
		{"another pin", encrypted.Options{Pins: []encrypted.Pin{stranger}}, 0, false},
		{"name and pin", encrypted.Options{Name: "dns.example", Roots: ca.pool, Pins: []encrypted.Pin{pin}}, 0, true},
		{"name and another pin", encrypted.Options{Name: "dns.example", Roots: ca.pool, Pins: []encrypted.Pin{stranger}}, 0, false},
		{"another name and pin", encrypted.Options{Name: "other.example", Roots: ca.pool, Pins: []encrypted.Pin{pin}}, 0, false},
		{"pin, and not the authority", encrypted.Options{Name: "dns.example", Roots: other.pool, Pins: []encrypted.Pin{pin}}, 0, false},
		{"address", encrypted.Options{Roots: ca.pool}, 1, true},
		{"another address", encrypted.Options{Roots: ca.pool}, 0, false},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			cert := good
			switch c.cert {
			case 1:
				cert = byAddress
			case 2:
				cert = expired
			}
			kinds(t, cert, echo, c.o, func(t *testing.T, s *server, u member.Server) {
				if strings.HasPrefix(u.Addr(), "h") && c.o.Name == "" && len(c.o.Pins) == 0 {
					t.Skip("an HTTPS server has the name of its URL")
				}
				err := ask(t, u, "n.example", 5*time.Second)
				if (err == nil) != c.ok {
					t.Errorf("%v", err)
				}
				if !c.ok && (!errors.Is(err, upstream.ErrNetwork) || s.queries.Load() > 0) {
					t.Errorf("%v, and %d queries", err, s.queries.Load())
				}
				if err := ask(t, u, "again.example", 5*time.Second); (err == nil) != c.ok {
					t.Errorf("again: %v", err)
				}
			})
		})
	}
}

// A wrong response costs an attempt and nothing else.
func TestLies(t *testing.T) {
	ca := newAuthority(t)
	cert, _ := ca.certificate(t, false, "dns.example")
	other := func(q []byte) []byte {
		r := echo(q, 0)[0]
		r[13] ^= 1
		return r
	}
	for name, lie := range map[string]respond{
		"silence":        func([]byte, int) [][]byte { return nil },
		"garbage":        func([]byte, int) [][]byte { return [][]byte{[]byte("this is no message")} },
		"less":           func([]byte, int) [][]byte { return [][]byte{{1, 2, 3}} },
		"nothing":        func([]byte, int) [][]byte { return [][]byte{{}} },
		"other question": func(q []byte, _ int) [][]byte { return [][]byte{other(q)} },
		"the query":      func(q []byte, _ int) [][]byte { return [][]byte{q} },
		"64 KB":          func(q []byte, _ int) [][]byte { return [][]byte{append(echo(q, 0)[0], make([]byte, 65000)...)[:65000]} },
		"many others": func(q []byte, _ int) [][]byte {
			var all [][]byte
			for range 300 {
				all = append(all, other(q))
			}
			return all
		},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			f := func(q []byte, n int) [][]byte {
				if strings.Contains(string(q), "good") {
					return echo(q, n)
				}
				return lie(q, n)
			}
			kinds(t, cert, f, encrypted.Options{Name: "dns.example", Roots: ca.pool}, func(t *testing.T, _ *server, u member.Server) {
				start := time.Now()
				err := ask(t, u, "lied.example", 500*time.Millisecond)
				if err == nil && name != "64 KB" {
					t.Error("taken for an answer")
				}
				if d := time.Since(start); d > 3*time.Second {
					t.Errorf("it took %v", d)
				}
				if err := ask(t, u, "good.example", 5*time.Second); err != nil {
					t.Errorf("and then: %v", err)
				}
			})
		})
	}
}

// The response is accepted before and after a forged one.
func TestPipelineMismatch(t *testing.T) {
	ca := newAuthority(t)
	cert, _ := ca.certificate(t, false, "dns.example")
	s := startTLS(t, cert, func(q []byte, n int) [][]byte {
		r := echo(q, n)[0]
		forged := append([]byte(nil), r...)
		forged[13] ^= 1
		late := append([]byte(nil), r...)
		late[0] ^= 1
		return [][]byte{forged, late, r}
	})
	u := encrypted.NewDoT(encrypted.Options{Addrs: []netip.AddrPort{s.addr}, Name: "dns.example", Roots: ca.pool})
	defer u.Close()
	if err := ask(t, u, "n.example", 5*time.Second); err != nil || u.Mismatches() != 2 {
		t.Errorf("%v, %d mismatches", err, u.Mismatches())
	}
}

// There is no server at the first address, or one that does not answer.
func TestAddresses(t *testing.T) {
	ca := newAuthority(t)
	cert, _ := ca.certificate(t, false, "dns.example")
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	s := startTLS(t, cert, echo)
	for _, first := range []net.Listener{silent, closed} {
		u := encrypted.NewDoT(encrypted.Options{Name: "dns.example", Roots: ca.pool,
			Addrs: []netip.AddrPort{netip.MustParseAddrPort(first.Addr().String()), s.addr}})
		if err := ask(t, u, "n.example", 5*time.Second); err != nil {
			t.Error(err)
		}
		s.kill()
		start := time.Now()
		if err := ask(t, u, "n.example", 5*time.Second); err != nil || time.Since(start) > time.Second {
			t.Errorf("the second time: %v after %v", err, time.Since(start))
		}
		u.Close()
	}
}

func TestResumption(t *testing.T) {
	ca := newAuthority(t)
	cert, pin := ca.certificate(t, false, "dns.example")
	s := startTLS(t, cert, echo)
	u := encrypted.NewDoT(encrypted.Options{Addrs: []netip.AddrPort{s.addr}, Name: "dns.example", Roots: ca.pool, Pins: []encrypted.Pin{pin}})
	defer u.Close()
	for range 3 {
		if err := ask(t, u, "n.example", 5*time.Second); err != nil {
			t.Fatal(err)
		}
		s.kill()
	}
	if s.resumed.Load() != 2 {
		t.Errorf("%d of %d connections resume", s.resumed.Load(), s.conns.Load())
	}
}

func TestIdle(t *testing.T) {
	noLeak(t)
	ca := newAuthority(t)
	cert, _ := ca.certificate(t, false, "dns.example")
	s := startTLS(t, cert, echo)
	u := encrypted.NewDoT(encrypted.Options{Addrs: []netip.AddrPort{s.addr}, Name: "dns.example", Roots: ca.pool, IdleTimeout: 100 * time.Millisecond})
	for i := range 2 {
		if err := ask(t, u, "n.example", 5*time.Second); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(10 * time.Second); s.open.Load() > 0 && time.Now().Before(end); {
			time.Sleep(5 * time.Millisecond)
		}
		if n := s.open.Load(); n != 0 {
			t.Fatalf("%d connections are open long after the idle timeout", n)
		}
		if n := s.conns.Load(); int(n) != i+1 {
			t.Errorf("%d connections", n)
		}
	}
}

// HTTP responses that are no DNS responses.
func TestHTTPRefused(t *testing.T) {
	ca := newAuthority(t)
	cert, _ := ca.certificate(t, false, "dns.example")
	elsewhere := startHTTP(t, cert, func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") })
	for name, h := range map[string]http.HandlerFunc{
		"status": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusServiceUnavailable) },
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://"+elsewhere.addr.String()+"/", http.StatusTemporaryRedirect)
		},
		"type": func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>")) },
		"long": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/dns-message")
			w.Write(make([]byte, 70000))
		},
		"endless": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/dns-message")
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 1<<10)); err != nil {
					return
				}
			}
		},
		"slow": func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"headers": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Long", strings.Repeat("x", 1<<20))
			w.Header().Set("Content-Type", "application/dns-message")
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := startHTTP(t, cert, h)
			u := encrypted.NewDoH(&url.URL{Scheme: "https", Host: "dns.example", Path: "/q"}, false, encrypted.Options{Addrs: []netip.AddrPort{s.addr}, Roots: ca.pool})
			defer u.Close()
			start := time.Now()
			err := ask(t, u, "n.example", time.Second)
			if err == nil || time.Since(start) > 3*time.Second {
				t.Errorf("%v after %v", err, time.Since(start))
			}
		})
	}
}

// hang answers too late.
func hang([]byte, int) [][]byte {
	time.Sleep(time.Second) // sleeps: the server is slow
	return nil
}

// An exchange ends with its context, at once.
func TestCancelled(t *testing.T) {
	ca := newAuthority(t)
	cert, _ := ca.certificate(t, false, "dns.example")
	kinds(t, cert, hang, encrypted.Options{Name: "dns.example", Roots: ca.pool}, func(t *testing.T, s *server, u member.Server) {
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(200*time.Millisecond, cancel)
		start := time.Now()
		_, err := u.Exchange(ctx, nil, query(t, "n.example"))
		if !errors.Is(err, context.Canceled) || time.Since(start) > 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		ctx, cancel = context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		if _, err := u.Exchange(ctx, nil, query(t, "n.example")); !errors.Is(err, upstream.ErrTimeout) {
			t.Errorf("%v", err)
		}
		if _, err := u.Exchange(context.Background(), nil, []byte("no query")); !errors.Is(err, wire.ErrMessage) {
			t.Errorf("%v", err)
		}
	})
}

// A connection that brings nothing any more is replaced.
func TestDeadConnection(t *testing.T) {
	ca := newAuthority(t)
	cert, _ := ca.certificate(t, false, "dns.example")
	dead := func(q []byte, n int) [][]byte {
		if n >= 1 && n < 4 {
			return hang(q, n)
		}
		return echo(q, n)
	}
	kinds(t, cert, dead, encrypted.Options{Name: "dns.example", Roots: ca.pool}, func(t *testing.T, s *server, u member.Server) {
		if s.kill == nil || strings.HasPrefix(u.Addr(), "h") {
			t.Skip("HTTP asks by itself whether a connection lives")
		}
		for range 4 {
			ask(t, u, "n.example", 600*time.Millisecond)
		}
		if err := ask(t, u, "n.example", 5*time.Second); err != nil || s.conns.Load() != 2 {
			t.Errorf("%v, %d connections", err, s.conns.Load())
		}
	})
}

// AD of a server counts if it is trusted, and only then.
func TestTrust(t *testing.T) {
	ca := newAuthority(t)
	cert, _ := ca.certificate(t, false, "dns.example")
	for _, trusted := range []bool{false, true} {
		kinds(t, cert, echo, encrypted.Options{Name: "dns.example", Roots: ca.pool, TrustAD: trusted}, func(t *testing.T, _ *server, u member.Server) {
			g := upstream.NewGroup("test", upstream.Options{}, u)
			out, err := g.Exchange(context.Background(), nil, query(t, "n.example"))
			if err != nil {
				t.Fatal(err)
			}
			var m dns.Msg
			if err := m.Unpack(out); err != nil || m.AuthenticatedData != trusted || m.Id != 4711 {
				t.Errorf("%v, %v", &m, err)
			}
		})
	}
}
