package encrypted_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rideau/resolver/upstream/encrypted"
	"rideau/resolver/upstream/member"
)

// When a server closes its connections, all queries that wait are sent again: over
// a few connections, not over one for each query.
func TestNoStorm(t *testing.T) {
	const queries, few = 200, 8
	noLeak(t)
	ca := newAuthority(t)
	cert, _ := ca.certificate(t, false, "dns.example")
	var silent atomic.Bool
	answer := func(q []byte, n int) [][]byte {
		if silent.Load() {
			return nil
		}
		return echo(q, n)
	}
	s := startTLS(t, cert, answer)
	u := encrypted.NewDoT(options(ca, s))
	defer u.Close()
	if err := ask(t, u, "first.example", 5*time.Second); err != nil {
		t.Fatal(err)
	}
	silent.Store(true)
	wait := askMany(t, u, queries, 4) // but for those that connections were made for
	for s.queries.Load() < queries+1 {
		time.Sleep(time.Millisecond)
	}
	silent.Store(false)
	was := s.conns.Load()
	s.kill()
	wait()
	if n := s.conns.Load() - was; n == 0 || n > few {
		t.Errorf("%d queries are asked again over %d connections", queries, n)
	}
}

// Many queries at once to a server without connections share those that are
// opened.
func TestNoStormAtFirst(t *testing.T) {
	const queries, few = 200, 8
	ca := newAuthority(t)
	cert, _ := ca.certificate(t, false, "dns.example")
	kinds(t, cert, echo, encrypted.Options{Name: "dns.example", Roots: ca.pool}, func(t *testing.T, s *server, u member.Server) {
		askMany(t, u, queries, 0)()
		if n := s.conns.Load(); n > few {
			t.Errorf("%d queries are asked over %d connections", queries, n)
		}
	})
}

// A server that allows few queries on a connection gets all of them, twice, and
// again after its connections were closed.
func TestFewStreams(t *testing.T) {
	noLeak(t)
	ca := newAuthority(t)
	cert, _ := ca.certificate(t, false, "dns.example")
	s := new(server)
	srv := httptest.NewUnstartedServer(s.handler(func(q []byte, n int) [][]byte {
		time.Sleep(10 * time.Millisecond) // sleeps: streams are busy for so long
		return echo(q, n)
	}))
	srv.EnableHTTP2 = true
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	srv.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 5}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	s.addr = netip.MustParseAddrPort(srv.Listener.Addr().String())
	u := encrypted.NewDoH(&url.URL{Scheme: "https", Host: "dns.example", Path: "/dns-query"}, false, options(ca, s))
	defer u.Close()
	for range 2 {
		askMany(t, u, 40, 0)()
		askMany(t, u, 40, 0)()
		srv.CloseClientConnections()
	}
}

func options(ca *authority, s *server) encrypted.Options {
	o := encrypted.Options{Name: "dns.example", Roots: ca.pool}
	o.Addrs = append(o.Addrs, s.addr)
	return o
}

// askMany asks many queries at a time, of which few may fail. It returns a function
// that waits for the responses.
func askMany(t *testing.T, u member.Server, n int, few int64) (wait func()) {
	t.Helper()
	var all sync.WaitGroup
	var failed atomic.Int64
	for range n {
		all.Go(func() {
			if err := ask(t, u, "n.example", 10*time.Second); err != nil && failed.Add(1) > few {
				t.Error(err)
			}
		})
	}
	return all.Wait
}
