package upstream_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver/upstream"
	"rideau/resolver/upstream/member"
	"rideau/resolver/wire"
)

// quick are short times for tests on real sockets.
var quick = upstream.Options{NoHedge: true, AttemptTimeout: 200 * time.Millisecond, Timeout: 3 * time.Second, ProbeInterval: 50 * time.Millisecond}

func group(t testing.TB, o upstream.Options, servers ...*server) *upstream.Group {
	var ups []member.Server
	for _, s := range servers {
		ups = append(ups, plainServer(s))
	}
	g := upstream.NewGroup("test", o, ups...)
	t.Cleanup(g.Close)
	return g
}

func mute(*server, netip.AddrPort, []byte) {}

// runs runs g until the test ends.
func runs(t testing.TB, g *upstream.Group) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { g.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
}

func count(s member.Stat, reason string) uint64 {
	for _, f := range s.Failures {
		if f.Reason == reason {
			return f.Count
		}
	}
	panic("no reason " + reason)
}

func TestGroupAsksTheFirst(t *testing.T) {
	noLeak(t)
	a, b := serve(t, saying("a"), nil), serve(t, saying("b"), nil)
	g := group(t, quick, a, b)
	if !g.LastAnswer().IsZero() {
		t.Error("an answer before anybody was asked")
	}
	start := time.Now()
	for range 10 {
		expect(t, g, "example.com", "a")
	}
	if n := b.datagrams.Load(); n != 0 {
		t.Errorf("the second was asked %d times", n)
	}
	if last := g.LastAnswer(); last.Before(start) || time.Since(last) > patience {
		t.Errorf("last answer %v", last)
	}
	s := g.Stats()
	if len(s) != 2 || s[0].Addr != a.addr.String() || s[0].Requests != 10 || !s[0].Healthy || s[1].Requests != 0 || !s[1].LastAnswer.IsZero() {
		t.Errorf("got %+v", s)
	}
	var n uint64
	for _, c := range s[0].Latency.Counts {
		n += c
	}
	if n != 10 || s[0].Latency.Sum <= 0 {
		t.Errorf("latency %+v", s[0].Latency)
	}
}

func TestGroupAppends(t *testing.T) {
	g := group(t, quick, serve(t, saying("a"), nil))
	q := query(t, "example.com")
	for _, dst := range [][]byte{nil, []byte("before"), append(make([]byte, 0, 1000), "before"...)} {
		msg, err := g.Exchange(within(t, patience), dst, q)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(msg, dst) || texts(t, q, msg[len(dst):]) != "a" {
			t.Errorf("got %q", msg)
		}
	}
}

func TestGroupDeadFirst(t *testing.T) {
	for name, dead := range map[string]func(t *testing.T) *server{
		"no answer":   func(t *testing.T) *server { return serve(t, mute, nil) },
		"closed port": func(t *testing.T) *server { s := serve(t, nil, nil); s.stop(); return s },
	} {
		t.Run(name, func(t *testing.T) {
			noLeak(t)
			first, second := dead(t), serve(t, saying("second"), nil)
			g := group(t, quick, first, second)
			for range 5 {
				expect(t, g, "example.com", "second")
			}
			s := g.Stats()
			if s[0].Healthy || !s[1].Healthy {
				t.Errorf("healthy: %v, %v", s[0].Healthy, s[1].Healthy)
			}
			// Two failures in a row, and then it is not asked any more.
			if s[0].Requests != 2 || s[1].Requests != 5 {
				t.Errorf("requests: %d, %d; want 2, 5", s[0].Requests, s[1].Requests)
			}
			if n := count(s[0], "timeout") + count(s[0], "network"); n != 2 {
				t.Errorf("%d failures, want 2: %+v", n, s[0].Failures)
			}
		})
	}
}

func TestGroupRecovery(t *testing.T) {
	noLeak(t)
	var log lines
	o := quick
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	first, second := serve(t, saying("first"), nil), serve(t, saying("second"), nil)
	g := group(t, o, first, second)
	first.stop()
	for range 4 {
		expect(t, g, "example.com", "second")
	}
	first.restart()
	t.Cleanup(first.stop)
	runs(t, g)
	eventually(t, "recovery", func() bool { return g.Stats()[0].Healthy })
	expect(t, g, "example.com", "first")
	if n := log.count("does not answer"); n != 1 {
		t.Errorf("%d lines that it is down, want 1:\n%s", n, &log)
	}
	if n := log.count("answers again"); n != 1 {
		t.Errorf("%d lines that it is back, want 1:\n%s", n, &log)
	}
	if s := g.Stats()[0]; s.Probes == 0 || s.Requests != 3 {
		t.Errorf("got %+v", s)
	}
}

// lines is the output of a logger.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lines) count(s string) int { return strings.Count(l.String(), s) }

func TestGroupProbesAtOnce(t *testing.T) {
	noLeak(t)
	var asked sync.Map
	s := serve(t, func(s *server, from netip.AddrPort, q []byte) {
		var v wire.Query
		if f := v.Parse(q); f != wire.FaultNone {
			s.t.Errorf("the probe has fault %d", f)
		}
		asked.Store(v.Name.String(), true)
		s.send(from, reply(s.t, q, "", rcode(dns.RcodeRefused)))
	}, nil)
	o := quick
	o.ProbeInterval = time.Hour
	var zone wire.Name
	if err := zone.SetText("corp.example"); err != nil {
		t.Fatal(err)
	}
	runs(t, group(t, o, s))
	o.ProbeName = &zone
	g := group(t, o, s)
	runs(t, g)
	eventually(t, "probes", func() bool {
		_, root := asked.Load(".")
		_, corp := asked.Load("corp.example.")
		return root && corp && !g.LastAnswer().IsZero()
	})
}

func TestGroupServFail(t *testing.T) {
	noLeak(t)
	for _, code := range []int{dns.RcodeServerFailure, dns.RcodeRefused, dns.RcodeNotImplemented, dns.RcodeFormatError} {
		t.Run(dns.RcodeToString[code], func(t *testing.T) {
			bad := serve(t, saying("", rcode(code)), nil)
			g := group(t, quick, bad, serve(t, saying("good"), nil))
			for range 4 {
				expect(t, g, "example.com", "good")
			}
			s := g.Stats()[0]
			if !s.Healthy || s.Requests != 4 || count(s, strings.ToLower(map[int]string{1: "formerr", 2: "servfail", 4: "notimp", 5: "refused"}[code])) != 4 {
				t.Errorf("got %+v", s)
			}
		})
	}
	for name, codes := range map[string][]int{
		"all":          {dns.RcodeServerFailure, dns.RcodeServerFailure},
		"SERVFAIL 1st": {dns.RcodeServerFailure, dns.RcodeRefused},
		"SERVFAIL 2nd": {dns.RcodeFormatError, dns.RcodeServerFailure, dns.RcodeRefused},
	} {
		t.Run(name, func(t *testing.T) {
			var servers []*server
			for _, c := range codes {
				servers = append(servers, serve(t, saying("", rcode(c)), nil))
			}
			q := query(t, "example.com")
			msg, err := group(t, quick, servers...).Exchange(within(t, patience), nil, q)
			if err != nil {
				t.Fatal(err)
			}
			if texts(t, q, msg) != "" || wire.HeaderRcode(msg) != wire.ServFail {
				t.Errorf("got %x, want SERVFAIL", msg)
			}
		})
	}
}

func TestGroupNXDomainIsAnAnswer(t *testing.T) {
	second := serve(t, saying("second"), nil)
	g := group(t, quick, serve(t, saying("", rcode(dns.RcodeNameError)), nil), second)
	msg, err := g.Exchange(within(t, patience), nil, query(t, "example.com"))
	if err != nil || wire.HeaderRcode(msg) != wire.NXDomain || second.datagrams.Load() != 0 {
		t.Errorf("got %x, %v after %d queries to the second", msg, err, second.datagrams.Load())
	}
}

func TestGroupUnreadableAnswer(t *testing.T) {
	broken := func(s *server, from netip.AddrPort, q []byte) {
		m := reply(s.t, q, "text")
		s.send(from, m[:len(m)-3])
	}
	g := group(t, quick, serve(t, broken, nil), serve(t, saying("good"), nil))
	expect(t, g, "example.com", "good")
	if s := g.Stats()[0]; count(s, "malformed") != 1 {
		t.Errorf("got %+v", s)
	}
	g = group(t, quick, serve(t, broken, nil))
	if _, err := g.Exchange(within(t, patience), nil, query(t, "example.com")); !errors.Is(err, upstream.ErrNetwork) {
		t.Errorf("got %v", err)
	}
}

func TestGroupAllDead(t *testing.T) {
	noLeak(t)
	o := quick
	o.Timeout = 300 * time.Millisecond
	closed := func() *server { s := serve(t, nil, nil); s.stop(); return s }
	for name, c := range map[string]struct {
		servers []*server
		want    error
	}{
		"mute":            {[]*server{serve(t, mute, nil), serve(t, mute, nil)}, upstream.ErrTimeout},
		"closed":          {[]*server{closed(), closed()}, upstream.ErrNetwork},
		"mute and closed": {[]*server{serve(t, mute, nil), closed()}, upstream.ErrTimeout},
		"nobody":          {nil, upstream.ErrNoUpstream},
	} {
		t.Run(name, func(t *testing.T) {
			g := group(t, o, c.servers...)
			for range 3 {
				start := time.Now()
				dst, err := g.Exchange(context.Background(), []byte("dst"), query(t, "example.com"))
				if string(dst) != "dst" || !errors.Is(err, c.want) {
					t.Errorf("got %q, %v; want %v", dst, err, c.want)
				}
				if d := time.Since(start); d > patience/2 {
					t.Errorf("took %v", d)
				}
			}
		})
	}
}

// The first server answers the queries for each name only when one for the next
// comes, by when the second has answered.
func TestGroupLateAnswers(t *testing.T) {
	noLeak(t)
	var mu sync.Mutex
	held := map[string][]func(){}
	late := serve(t, func(s *server, from netip.AddrPort, q []byte) {
		mu.Lock()
		defer mu.Unlock()
		asked := string(q[wire.HeaderLen:][:2])
		for name, all := range held {
			for _, f := range all {
				if name != asked {
					f()
				}
			}
		}
		held = map[string][]func(){asked: append(held[asked], func() { s.send(from, reply(s.t, q, "late")) })}
	}, nil)
	g := group(t, quick, late, serve(t, saying("second"), nil))
	for i := range 4 {
		q := query(t, string(rune('a'+i))+".example.com")
		dst := make([]byte, 0, 512)
		msg, err := g.Exchange(within(t, patience), dst, q)
		if err != nil {
			t.Fatal(err)
		}
		if got := texts(t, q, msg); got != "second" {
			t.Errorf("got %q", got)
		}
		clear(dst[:cap(dst)]) // the race detector would see whoever still writes here
	}
}

func TestGroupInherit(t *testing.T) {
	gone, good := serve(t, nil, nil), serve(t, saying("good"), nil)
	gone.stop()
	old := group(t, quick, gone, good)
	for range 3 {
		expect(t, old, "example.com", "good")
	}
	next := upstream.NewGroup("test", quick, plainServer(good), plainServer(gone), plainServer(serve(t, saying("new"), nil)))
	next.Inherit(nil)
	next.Inherit(old)
	was, is := old.Stats(), next.Stats()
	if is[0].Requests != was[1].Requests || is[1].Requests != was[0].Requests || is[2].Requests != 0 {
		t.Errorf("requests %d, %d, %d, and before %d, %d", is[0].Requests, is[1].Requests, is[2].Requests, was[1].Requests, was[0].Requests)
	}
	if !is[0].Healthy || is[1].Healthy || !is[2].Healthy {
		t.Errorf("healthy %v, %v, %v", is[0].Healthy, is[1].Healthy, is[2].Healthy)
	}
	if !next.LastAnswer().Equal(old.LastAnswer()) {
		t.Errorf("last answer %v, before %v", next.LastAnswer(), old.LastAnswer())
	}
	expect(t, next, "example.com", "good")
	if n := next.Stats()[0].Requests; n != was[1].Requests+1 {
		t.Errorf("%d requests, want %d", n, was[1].Requests+1)
	}

	other := upstream.NewGroup("other", quick, plainServer(gone), plainServer(good))
	other.Inherit(old)
	is = other.Stats()
	if is[0].Healthy || is[0].Requests != 0 || is[1].Requests != 0 || other.LastAnswer().IsZero() {
		t.Errorf("in a group of another name: %+v", is)
	}
	expect(t, other, "example.com", "good")
	if n := other.Stats()[0].Requests; n != 0 {
		t.Error("who was known to be down was asked first")
	}
}

func TestGroupConcurrent(t *testing.T) {
	noLeak(t)
	flaky := serve(t, func(s *server, from netip.AddrPort, q []byte) {
		switch q[1] % 4 {
		case 0:
		case 1:
			s.send(from, reply(s.t, q, "", rcode(dns.RcodeServerFailure)))
		default:
			s.send(from, reply(s.t, q, "text"))
		}
	}, nil)
	o := quick
	o.AttemptTimeout, o.Timeout = 20*time.Millisecond, patience
	g := group(t, o, flaky, serve(t, saying("text"), nil))
	runs(t, g)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			dst := make([]byte, 0, 512)
			for range 25 {
				q := query(t, "example.com")
				msg, err := g.Exchange(within(t, patience), dst, q)
				if err != nil {
					t.Error(err)
					return
				}
				// On a busy machine the second may be too late, too.
				if got := texts(t, q, msg); got != "text" && wire.HeaderRcode(msg) != wire.ServFail {
					t.Errorf("got %q", got)
				}
				clear(dst[:cap(dst)])
				g.Stats()
			}
		})
	}
	wg.Wait()
}
