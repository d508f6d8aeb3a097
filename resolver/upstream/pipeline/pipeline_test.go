package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rideau/resolver/upstream/pipeline"
)

// answersUpTo answers k queries of a connection, one after another, and closes
// it; with a reset if rst.
func answersUpTo(k int, rst bool) behave {
	return func(s *server, c net.Conn, _ int) {
		for range k {
			q := s.read(c)
			if q == nil {
				return
			}
			c.Write(response(q))
		}
		if rst {
			c.(*net.TCPConn).SetLinger(0)
		}
	}
}

// always answers all queries.
func always(s *server, c net.Conn, _ int) {
	for q := s.read(c); q != nil; q = s.read(c) {
		c.Write(response(q))
	}
}

// Whatever a server makes of connections, all queries are answered: those of a
// moment, those of a second moment, and those that come alone.
func TestHabits(t *testing.T) {
	for what, b := range map[string]behave{
		"many":                                 always,
		"closes after each answer":             answersUpTo(1, false),
		"closes after every second answer":     answersUpTo(2, false),
		"closes after every third answer":      answersUpTo(3, false),
		"resets after each answer":             answersUpTo(1, true),
		"resets after every third answer":      answersUpTo(3, true),
		"closes after one, two, three answers": func(s *server, c net.Conn, n int) { answersUpTo(1+n%3, false)(s, c, n) },
		"closes when several come at a time": func(s *server, c net.Conn, n int) {
			for q := s.several(c); len(q) == 1; q = s.several(c) {
				c.Write(response(q[0]))
			}
		},
		"answers the first of those that come at a time": func(s *server, c net.Conn, n int) {
			for q := s.several(c); q != nil; q = s.several(c) {
				c.Write(response(q[0]))
			}
		},
		"ignores all but the first query": func(s *server, c net.Conn, n int) {
			if q := s.read(c); q != nil {
				c.Write(response(q))
			}
			for s.read(c) != nil {
			}
		},
		"ignores all but the first three queries": func(s *server, c net.Conn, n int) {
			for range 3 {
				if q := s.read(c); q != nil {
					c.Write(response(q))
				}
			}
			for s.read(c) != nil {
			}
		},
		"answers in reverse order": func(s *server, c net.Conn, n int) {
			for q := s.several(c); q != nil; q = s.several(c) {
				slices.Reverse(q)
				for _, q := range q {
					c.Write(response(q))
				}
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := serve(t, b)
			p, _ := newPool(t, s)
			for i, n := range []int{10, 30, 1, 1, 3, 100} {
				if got := askAll(t, p, n, patience); got != n {
					t.Errorf("%d of %d were answered, after %d rounds", got, n, i)
				}
			}
			if _, single := p.Connections(); what == "many" && single || what == "answers the first of those that come at a time" && !single {
				t.Errorf("it is known to answer only what comes alone: %v", single)
			}
			if n := s.most.Load(); n > 40 { // 16 of ours, and those that the server has not seen end
				t.Errorf("%d connections at a time", n)
			}
		})
	}
}

// A habit that is known costs nothing: what comes later is sent once, and no
// connection gets more than it answers.
func TestLearnt(t *testing.T) {
	for k := 1; k <= 3; k++ {
		s := serve(t, answersUpTo(k, false))
		p, _ := newPool(t, s)
		askAll(t, p, 30, patience)
		queries, conns := s.queries.Load(), s.conns.Load()
		if n := askAll(t, p, 30, patience); n != 30 {
			t.Errorf("%d were answered", n)
		}
		if answers, single := p.Connections(); answers != k || single {
			t.Errorf("%d a connection: %d are known of, single %v", k, answers, single)
		}
		if n := s.queries.Load() - queries; n > 33 {
			t.Errorf("%d a connection: 30 queries were sent %d times", k, n)
		}
		if n := s.conns.Load() - conns; n > int64(30/k+16) {
			t.Errorf("%d a connection: 30 queries took %d connections", k, n)
		}
	}
}

// What was not answered is asked again in the order in which it came.
func TestOrder(t *testing.T) {
	s := serve(t, func(s *server, c net.Conn, n int) {
		if n == 0 {
			for range 10 {
				s.read(c)
			}
			return
		}
		always(s, c, n)
	})
	p, _ := newPool(t, s)
	var wg sync.WaitGroup
	var want []string
	for i := range 10 {
		name := fmt.Sprintf("n%d", i)
		want = append(want, name)
		wg.Go(func() {
			if err := ask(p, name, patience); err != nil {
				t.Error(err)
			}
		})
		eventually(t, "it is not sent", func() bool { return int(s.queries.Load()) > i })
	}
	wg.Wait()
	if got := s.came(); !slices.Equal(got, append(slices.Clone(want), want...)) {
		t.Errorf("they came as %v", got)
	}
}

// A server that closes all connections at once is asked over four, and not for
// ever.
func TestClosesAll(t *testing.T) {
	s := serve(t, func(s *server, c net.Conn, _ int) { s.read(c) })
	p, _ := newPool(t, s)
	if err := ask(p, "a", patience); err == nil || s.conns.Load() != 4 {
		t.Errorf("%v after %d connections", err, s.conns.Load())
	}
	if askAll(t, p, 10, patience) != 0 || s.conns.Load() > 44 {
		t.Errorf("%d connections", s.conns.Load())
	}
}

// A server that restarts costs no query, however many connections it had.
func TestRestart(t *testing.T) {
	const queries = 300
	var silent atomic.Bool
	s := serve(t, func(s *server, c net.Conn, n int) {
		for q := s.read(c); q != nil; q = s.read(c) {
			if !silent.Load() {
				c.Write(response(q))
			}
		}
	})
	p, _ := newPool(t, s)
	if err := ask(p, "a", patience); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		silent.Store(true)
		was := s.queries.Load()
		done := make(chan int)
		go func() { done <- askAll(t, p, queries, patience) }()
		eventually(t, "they do not come", func() bool { return s.queries.Load()-was >= queries })
		silent.Store(false)
		s.kill()
		if n := <-done; n != queries {
			t.Errorf("%d were answered", n)
		}
	}
}

// dying passes octets on to a server until it is told to stop: then it accepts
// and keeps connections as before, and those that it had bring nothing any more.
type dying struct {
	addr  string
	dead  atomic.Int64 // connections below this number bring nothing
	conns atomic.Int64
}

func (d *dying) die() { d.dead.Store(d.conns.Load()) }

func between(t testing.TB, s *server) *dying {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &dying{addr: l.Addr().String()}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			o, err := net.Dial("tcp", s.addr)
			if err != nil {
				c.Close()
				return
			}
			n := d.conns.Add(1)
			t.Cleanup(func() { c.Close(); o.Close() })
			pass := func(to, from net.Conn) {
				b := make([]byte, 64<<10)
				for {
					k, err := from.Read(b)
					if n <= d.dead.Load() {
						continue // also of the end
					}
					if err != nil {
						to.Close()
						return
					}
					to.Write(b[:k])
				}
			}
			go pass(o, c)
			go pass(c, o)
		}
	}()
	return d
}

// A path that has forgotten its connections costs the first queries a moment, and
// the others nothing.
func TestSilentDeath(t *testing.T) {
	s := serve(t, always)
	d := between(t, s)
	p, _ := newPool(t, s, func(o *pipeline.Options) {
		o.Dial = func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", d.addr) }
	})
	for round, n := range []int{1, 1, 200, 10} {
		if got := askAll(t, p, n, patience); got != n {
			t.Fatalf("round %d: %d of %d", round, got, n)
		}
		d.die()
		conns := d.conns.Load()
		start := time.Now()
		if err := ask(p, "first", patience); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("round %d: it took %v", round, took)
		}
		if n := d.conns.Load() - conns; n > 2 {
			t.Errorf("round %d: %d connections for one query", round, n)
		}
	}
}

// A server that is slow with one name is not taken for dead: it answers on the
// connection that was doubted, which is used again.
func TestSlow(t *testing.T) {
	var slow atomic.Bool
	release := make(chan struct{})
	s := serve(t, func(s *server, c net.Conn, _ int) {
		for q := s.read(c); q != nil; q = s.read(c) {
			go func() {
				if slow.Load() && name(q) == "slow" {
					<-release
				}
				c.Write(response(q))
			}()
		}
	})
	p, mismatches := newPool(t, s)
	if err := ask(p, "a", patience); err != nil {
		t.Fatal(err)
	}
	slow.Store(true)
	done := make(chan error)
	go func() { done <- ask(p, "slow", patience) }()
	eventually(t, "no other connection is tried", func() bool { return s.queries.Load() >= 3 })
	for i := range 20 {
		if err := ask(p, fmt.Sprintf("n%d", i), patience); err != nil {
			t.Error(err)
		}
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := s.conns.Load(); n > 4 {
		t.Errorf("%d connections", n)
	}
	eventually(t, "the late response", func() bool { return s.queries.Load() >= 23 })
	if n := mismatches.Load(); n != 0 {
		t.Errorf("%d mismatches: what comes late is none", n)
	}
}

// A server that answers in order, and is slow with the first of several, has the
// others wait a moment.
func TestInOrder(t *testing.T) {
	release := make(chan struct{})
	s := serve(t, func(s *server, c net.Conn, _ int) {
		for q := s.read(c); q != nil; q = s.read(c) {
			if name(q) == "slow" {
				<-release
			}
			c.Write(response(q))
		}
	})
	defer close(release)
	p, _ := newPool(t, s)
	if err := ask(p, "a", patience); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { p.Ask(ctx, framedQuery("slow")) }()
	eventually(t, "it does not come", func() bool { return s.queries.Load() >= 2 })
	if n := askAll(t, p, 10, patience); n != 10 {
		t.Errorf("%d of 10", n)
	}
}

// Queries that are given up leave nothing behind.
func TestGivenUp(t *testing.T) {
	var mute atomic.Bool
	mute.Store(true)
	s := serve(t, func(s *server, c net.Conn, _ int) {
		for q := s.read(c); q != nil; q = s.read(c) {
			if !mute.Load() {
				c.Write(response(q))
			}
		}
	})
	p, _ := newPool(t, s)
	for range 3 {
		if n := askAll(t, p, 50, 50*time.Millisecond); n != 0 {
			t.Errorf("%d were answered", n)
		}
	}
	if err := ask(p, "a", 10*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	mute.Store(false)
	if n := askAll(t, p, 50, patience); n != 50 {
		t.Errorf("%d were answered", n)
	}
	p.Close()
	eventually(t, "connections are left", func() bool { return s.open.Load() == 0 })
}

// Idle connections are closed; a closed pool keeps none.
func TestIdle(t *testing.T) {
	s := serve(t, always)
	p, _ := newPool(t, s, func(o *pipeline.Options) { o.IdleTimeout = 30 * time.Millisecond })
	for range 2 {
		askAll(t, p, 10, patience)
		eventually(t, "an idle connection is left", func() bool { return s.open.Load() == 0 })
		p.Close()
	}
}

// A panic in what judges messages fails the queries of its connection, and no
// other.
func TestPanic(t *testing.T) {
	s := serve(t, always)
	var seen atomic.Int64
	p, _ := newPool(t, s, func(o *pipeline.Options) {
		judge := o.Judge
		o.Judge = func(sent, msg []byte) (r acceptanceResult, _ []byte) {
			if name(sent) == "bad" {
				panic("bad")
			}
			return judge(sent, msg)
		}
		o.Panicked = func(any) { seen.Add(1) }
	})
	if err := ask(p, "bad", patience); err == nil || seen.Load() != 1 {
		t.Errorf("%v, %d panics", err, seen.Load())
	}
	if err := ask(p, "good", patience); err != nil {
		t.Error(err)
	}
}

// TestClosesAtRandom: three connections in a row that a server closes instead of an
// answer cost no query its answer.
func TestClosesAtRandom(t *testing.T) {
	s := serve(t, func(s *server, c net.Conn, n int) {
		for q := s.read(c); q != nil && n%4 == 3; q = s.read(c) {
			c.Write(response(q))
		}
	})
	p, _ := newPool(t, s)
	for range 3 {
		if err := ask(p, "n", patience); err != nil {
			t.Error(err)
		}
		s.kill()
	}
}
