package upstream_test

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rideau/resolver/upstream"
	"rideau/resolver/upstream/health"
)

// fell makes the first of two go down.
func fell(t *testing.T, g *upstream.Group, f []*fake) {
	t.Helper()
	f[0].say(0, "refuse")
	f[1].say(0, "b")
	for range 2 {
		ask(t, g, 0, "b")
	}
	if s := g.Stats()[0]; s.Health != health.Down || s.Healthy {
		t.Fatalf("got %+v", s)
	}
	asked(f)
}

func running(t *testing.T, g *upstream.Group) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); g.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
}

// A server that is back gets one request at a time until it has answered a few.
func TestTrial(t *testing.T) {
	bubble(t, 2, func(t *testing.T, g *upstream.Group, f []*fake) {
		fell(t, g, f)
		f[0].say(10*time.Millisecond, "a")
		f[1].say(100*time.Millisecond, "b")
		running(t, g)
		time.Sleep(20 * time.Millisecond)
		if s := g.Stats()[0]; s.Health != health.Trying || !s.Healthy {
			t.Fatalf("after a probe: %+v", s)
		}
		for range 2 {
			asked(f)
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() { g.Exchange(t.Context(), nil, query(t, "example.com")) })
			}
			wg.Wait()
			if n := asked(f); n[0] != 1 || n[1] != 9 {
				t.Fatalf("asked %v, want one on trial", n)
			}
		}
		if s := g.Stats()[0]; s.Health != health.Up {
			t.Fatalf("after two more answers: %+v", s)
		}
		ask(t, g, 10*time.Millisecond, "a")
		ask(t, g, 10*time.Millisecond, "a")
		if n := asked(f); n[0] != 2 || n[1] != 0 {
			t.Errorf("asked %v", n)
		}
	})
}

// Without requests, probes are the trial.
func TestTrialByProbes(t *testing.T) {
	bubble(t, 2, func(t *testing.T, g *upstream.Group, f []*fake) {
		fell(t, g, f)
		f[0].say(0, "a")
		running(t, g)
		if s := g.Stats()[0]; s.Health != health.Trying {
			t.Fatalf("got %+v", s)
		}
		time.Sleep(7 * time.Second)
		if s := g.Stats()[0]; s.Health != health.Up {
			t.Errorf("got %+v", s)
		}
	})
}

// A request that is lost on trial costs the client little, and makes the server go
// down. One that does so repeatedly waits longer each time.
func TestFlapping(t *testing.T) {
	bubble(t, 2, func(t *testing.T, g *upstream.Group, f []*fake) {
		fell(t, g, f)
		f[0].say(0, "a")
		running(t, g)
		var held []time.Duration
		for range 6 {
			back := time.Now()
			for g.Stats()[0].Health != health.Trying {
				time.Sleep(100 * time.Millisecond)
				if time.Since(back) > 10*time.Minute {
					t.Fatal("it never comes back")
				}
			}
			held = append(held, time.Since(back))
			f[0].say(0, "refuse")
			ask(t, g, 0, "b")
			if s := g.Stats()[0]; s.Health != health.Down {
				t.Fatalf("after a failure on trial: %+v", s)
			}
			f[0].say(0, "a")
		}
		for i := 2; i < len(held); i++ {
			if least := min(10<<(i-2), 80); held[i] < time.Duration(least)*time.Second || held[i] < held[i-1] && i < 5 {
				t.Errorf("kept out for %v", held)
				break
			}
		}
		// And when it is needed, it is not kept waiting.
		f[1].say(0, "refuse")
		for range 4 { // the second has to go down before
			ask(t, g, 0, "a")
		}
		if s := g.Stats(); s[0].Health != health.Up {
			t.Errorf("the only one that answers: %+v", s[0])
		}
	})
}

// When all servers become slower, requests under way count as lost. No server
// stays down for that.
func TestSlowerIsNotDown(t *testing.T) {
	o := upstream.Options{NoHedge: true, AttemptTimeout: 10 * time.Second, Timeout: 20 * time.Second}
	bubbleWith(t, o, 2, func(t *testing.T, g *upstream.Group, f []*fake) {
		f[0].say(time.Millisecond, "a")
		f[1].say(time.Millisecond, "b")
		for range 20 {
			ask(t, g, time.Millisecond, "a")
		}
		f[0].say(4*time.Second, "a")
		f[1].say(4*time.Second, "b")
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() { ask(t, g, 4*time.Second, "a") })
			time.Sleep(150 * time.Millisecond)
		}
		if s := g.Stats()[0]; s.Health != health.Up {
			t.Errorf("when some have begun to take long: %+v", s)
		}
		time.Sleep(time.Second)
		if s := g.Stats()[0]; s.Health != health.Down {
			t.Errorf("while all looks lost: %+v", s)
		}
		wg.Wait()
		if s := g.Stats()[0]; s.Health != health.Up {
			t.Errorf("in the end: %+v", s)
		}
		asked(f)
		ask(t, g, 4*time.Second, "a") // it is known how long it takes now
		if n := asked(f); n[0] != 1 || n[1] != 0 {
			t.Errorf("asked %v", n)
		}
	})
}

// A server that loses much is asked after one that does not, until it does better;
// but not if all lose much.
func TestLossy(t *testing.T) {
	o := upstream.Options{NoHedge: true, AttemptTimeout: 100 * time.Millisecond}
	for name, both := range map[string]bool{"one of two": false, "both": true} {
		t.Run(name, func(t *testing.T) {
			bubbleWith(t, o, 2, func(t *testing.T, g *upstream.Group, f []*fake) {
				lose := func(i, every int) {
					f[i].mu.Lock()
					defer f[i].mu.Unlock()
					f[i].every = every
				}
				f[0].say(time.Millisecond, "x")
				f[1].say(time.Millisecond, "x")
				running(t, g)
				lose(0, 2)
				if both {
					lose(1, 2)
				}
				asked(f)
				for range 400 {
					if _, err := g.Exchange(t.Context(), nil, query(t, "example.com")); err != nil {
						t.Fatal(err)
					}
				}
				switch n, s := asked(f), g.Stats(); {
				case both && (n[0] < 350 || s[0].Health != health.Up):
					t.Errorf("asked %v, %v: there is nobody better", n, s[0].Health)
				case !both && (n[0] > 60 || s[0].Health == health.Up || s[1].Health != health.Up):
					t.Errorf("asked %v, %v", n, s[0].Health)
				}
				lose(0, 0)
				lose(1, 0)
				time.Sleep(30 * time.Second)
				ask(t, g, time.Millisecond, "x")
				if n := asked(f); g.Stats()[0].Health != health.Up || n[0] == 0 {
					t.Errorf("when it is better: %+v", g.Stats()[0])
				}
			})
		})
	}
}

// A datagram to the only server that is lost is sent again soon.
func TestLostDatagram(t *testing.T) {
	noLeak(t)
	var n atomic.Int64
	s := serve(t, func(s *server, from netip.AddrPort, q []byte) {
		if n.Add(1)%3 == 0 { // two of three are lost
			s.send(from, reply(s.t, q, "a"))
		}
	}, nil)
	g := group(t, upstream.Options{}, s)
	start := time.Now()
	expect(t, g, "example.com", "a")
	if d := time.Since(start); d > 4*time.Second || n.Load() != 3 {
		t.Errorf("%d datagrams in %v", n.Load(), d)
	}
}

// A query that is lost three times is sent over TCP, once (RFC 9520 section 3.1).
func TestLostDatagrams(t *testing.T) {
	noLeak(t)
	s := serve(t, mute, answeringTCP("a"))
	g := group(t, upstream.Options{AttemptTimeout: 50 * time.Millisecond, Timeout: patience}, s)
	expect(t, g, "example.com", "a")
	if d, c := s.datagrams.Load(), s.connections.Load(); d != 3 || c != 1 {
		t.Errorf("%d datagrams and %d connections", d, c)
	}
}

// Servers that UDP does not reach are all asked over TCP together: there is little
// time left.
func TestLostDatagramsOfAll(t *testing.T) {
	noLeak(t)
	silent := func(s *server, conn net.Conn) { readFrame(conn); readFrame(conn) }
	first := serve(t, mute, silent)
	second := serve(t, mute, func(s *server, conn net.Conn) {
		for end := time.Now().Add(patience); first.connections.Load() == 0 && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		answeringTCP("b")(s, conn)
	})
	g := group(t, upstream.Options{AttemptTimeout: 50 * time.Millisecond, Timeout: patience}, first, second)
	expect(t, g, "example.com", "b")
	for i, s := range []*server{first, second} {
		if d, c := s.datagrams.Load(), s.connections.Load(); d != 3 || c != 1 {
			t.Errorf("server %d: %d datagrams and %d connections", i, d, c)
		}
	}
}

// answeringTCP answers each query that comes over TCP.
func answeringTCP(text string) func(*server, net.Conn) {
	return func(s *server, conn net.Conn) {
		for q := readFrame(conn); q != nil; q = readFrame(conn) {
			conn.Write(frame(reply(s.t, q, text)))
		}
	}
}
