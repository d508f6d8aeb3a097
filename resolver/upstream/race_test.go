package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver/upstream"
	"rideau/resolver/upstream/acceptance"
	"rideau/resolver/upstream/member"
)

// fake is a Server that follows a plan, under the fake clock of a synctest
// bubble.
type fake struct {
	t     *testing.T
	addr  string
	begun time.Time

	mu    sync.Mutex
	asked []time.Duration // since begun
	after time.Duration   // how long it takes
	text  string          // what it then says: a text, or a response code, or "refuse"; empty for nothing at all
	every int             // how many requests there are for one that is lost; 0 for none
	n     int             // requests, for that
}

func (f *fake) Addr() string { return f.addr }

func (f *fake) Endpoint() *acceptance.Endpoint { return nil }

func (f *fake) TrustsAD() bool { return false }

func (f *fake) Mismatches() uint64 { return 0 }

func (f *fake) Close() {}

func (f *fake) ExchangeStream(ctx context.Context, dst, query []byte) ([]byte, error) {
	return f.Exchange(ctx, dst, query)
}

func (f *fake) say(after time.Duration, text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.after, f.text = after, text
}

// times are when it was asked, since the last call.
func (f *fake) times() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := fmt.Sprint(f.asked)
	f.asked, f.begun = nil, time.Now()
	return s
}

func (f *fake) Exchange(ctx context.Context, dst, query []byte) ([]byte, error) {
	f.mu.Lock()
	f.asked = append(f.asked, time.Since(f.begun))
	after, text := f.after, f.text
	if f.n++; f.every > 0 && f.n%f.every == 0 {
		text = ""
	}
	f.mu.Unlock()
	var then <-chan time.Time
	if text != "" {
		then = time.After(after)
	}
	select {
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.Canceled) {
			return dst, ctx.Err()
		}
		return dst, upstream.ErrTimeout
	case <-then:
	}
	switch text {
	case "refuse":
		return dst, errors.New("connection refused")
	case "panic":
		panic("a fault")
	}
	if code, ok := dns.StringToRcode[text]; ok {
		return append(dst, reply(f.t, query, "", rcode(code))...), nil
	}
	return append(dst, reply(f.t, query, text)...), nil
}

// bubble runs a test under a fake clock with a group of n fakes and the
// default times.
func bubble(t *testing.T, n int, run func(t *testing.T, g *upstream.Group, f []*fake)) {
	bubbleWith(t, upstream.Options{}, n, run)
}

// patient has a server that has not answered yet waited for as long as one may be.
var patient = upstream.Options{LeastAttempt: 2 * time.Second}

func bubbleWith(t *testing.T, o upstream.Options, n int, run func(t *testing.T, g *upstream.Group, f []*fake)) {
	synctest.Test(t, func(t *testing.T) {
		var fakes []*fake
		var ups []member.Server
		for i := range n {
			f := &fake{t: t, addr: fmt.Sprint(i), begun: time.Now()}
			fakes, ups = append(fakes, f), append(ups, f)
		}
		run(t, upstream.NewGroup("fake", o, ups...), fakes)
	})
}

// ask exchanges a query, and fails the test unless it takes that long and ends so:
// with a text, with "SERVFAIL", or with an error that contains a text.
func ask(t *testing.T, g *upstream.Group, took time.Duration, end string) {
	t.Helper()
	askWith(t, context.Background(), g, took, end)
}

func askWith(t *testing.T, ctx context.Context, g *upstream.Group, took time.Duration, end string) {
	t.Helper()
	start, q := time.Now(), query(t, "example.com")
	msg, err := g.Exchange(ctx, nil, q)
	if d := time.Since(start); d != took {
		t.Errorf("took %v, want %v", d, took)
	}
	got := fmt.Sprint(err)
	if err == nil {
		if got = texts(t, q, msg); got == "" {
			got = dns.RcodeToString[int(msg[3]&0xF)]
		}
	}
	if !strings.Contains(got, end) {
		t.Errorf("got %q, want %q", got, end)
	}
}

func wantTimes(t *testing.T, f *fake, want string) {
	t.Helper()
	if got := f.times(); got != want {
		t.Errorf("upstream %s was asked at %s, want %s", f.addr, got, want)
	}
}

func TestRaceFailover(t *testing.T) {
	bubbleWith(t, patient, 2, func(t *testing.T, g *upstream.Group, f []*fake) {
		f[1].say(time.Millisecond, "b")
		ask(t, g, 2001*time.Millisecond, "b")
		ask(t, g, 2001*time.Millisecond, "b")
		ask(t, g, time.Millisecond, "b") // down by now
		wantTimes(t, f[0], "[0s 2.001s]")
		if s := g.Stats()[0]; s.Healthy || count(s, "timeout") != 2 {
			t.Errorf("got %+v", s)
		}
	})
}

// A server on connections that has not answered yet has half a second, where there are
// others, and is soon down: it does not take the first clients two seconds each.
func TestRaceFirstQueries(t *testing.T) {
	bubble(t, 3, func(t *testing.T, g *upstream.Group, f []*fake) {
		f[2].say(time.Millisecond, "c")
		ask(t, g, 1001*time.Millisecond, "c")
		wantTimes(t, f[1], "[500ms]")
		for range 3 {
			g.Exchange(t.Context(), nil, query(t, "example.com"))
		}
		ask(t, g, time.Millisecond, "c")
	})
	bubble(t, 1, func(t *testing.T, g *upstream.Group, f []*fake) {
		f[0].say(1900*time.Millisecond, "a")
		ask(t, g, 1900*time.Millisecond, "a")
		wantTimes(t, f[0], "[0s]")
	})
}

func TestRaceFirstMayStillAnswer(t *testing.T) {
	bubbleWith(t, patient, 2, func(t *testing.T, g *upstream.Group, f []*fake) {
		f[0].say(2500*time.Millisecond, "a")
		f[1].say(time.Second, "b")
		ask(t, g, 2500*time.Millisecond, "a")
		if s := g.Stats()[0]; s.LastAnswer.IsZero() || count(s, "timeout") != 1 {
			t.Errorf("got %+v", s)
		}
		ask(t, g, 2500*time.Millisecond, "a")
		// Twice too late: the faster one comes first now.
		ask(t, g, time.Second, "b")
	})
}

func TestRaceAsksTheOnlyOneAgain(t *testing.T) {
	bubble(t, 1, func(t *testing.T, g *upstream.Group, f []*fake) {
		time.AfterFunc(time.Second, func() { f[0].say(time.Millisecond, "a") })
		ask(t, g, 2001*time.Millisecond, "a") // the first query was lost
		wantTimes(t, f[0], "[0s 2s]")
		f[0].say(0, "")
		ask(t, g, 4500*time.Millisecond, upstream.ErrTimeout.Error())
		wantTimes(t, f[0], "[0s 1s 3s]") // it is known to take a millisecond
	})
}

func TestRaceNetworkErrors(t *testing.T) {
	bubble(t, 3, func(t *testing.T, g *upstream.Group, f []*fake) {
		for _, f := range f {
			f.say(time.Millisecond, "refuse")
		}
		ask(t, g, 3*time.Millisecond, "connection refused")
		f[2].say(time.Millisecond, "c")
		ask(t, g, 3*time.Millisecond, "c")
		ask(t, g, time.Millisecond, "c")
		if s := g.Stats(); s[0].Healthy || s[1].Healthy || !s[2].Healthy || count(s[0], "network") != 2 {
			t.Errorf("got %+v", s)
		}
	})
}

func TestRaceLongestFailedFirst(t *testing.T) {
	bubble(t, 3, func(t *testing.T, g *upstream.Group, f []*fake) {
		for _, f := range f {
			f.say(time.Millisecond, "refuse")
		}
		ask(t, g, 3*time.Millisecond, "refused")
		ask(t, g, 3*time.Millisecond, "refused")
		for _, f := range f {
			f.times()
		}
		ask(t, g, 3*time.Millisecond, "refused")
		wantTimes(t, f[0], "[0s]")
		wantTimes(t, f[1], "[1ms]")
		wantTimes(t, f[2], "[2ms]")
		f[1].say(time.Millisecond, "b")
		ask(t, g, 2*time.Millisecond, "b") // after a, which failed again
		for _, f := range f {
			f.times()
		}
		f[1].say(time.Millisecond, "refuse")
		f[2].say(time.Millisecond, "refuse")
		ask(t, g, 3*time.Millisecond, "refused")
		wantTimes(t, f[1], "[0s]")  // healthy until now
		wantTimes(t, f[2], "[1ms]") // longest failed
		wantTimes(t, f[0], "[2ms]")
	})
}

func TestRaceServFailDoesNotWaitForDown(t *testing.T) {
	bubble(t, 4, func(t *testing.T, g *upstream.Group, f []*fake) {
		f[0].say(time.Millisecond, "x")
		f[1].say(0, "refuse")
		f[2].say(0, "refuse")
		f[3].say(0, "refuse")
		f[0].say(0, "refuse")
		ask(t, g, 0, "refused")
		ask(t, g, 0, "refused") // all down
		f[0].say(time.Millisecond, "x")
		ask(t, g, time.Millisecond, "x") // only the first is back

		f[0].say(time.Millisecond, "SERVFAIL")
		for _, f := range f[1:] {
			f.say(0, "")
			f.times()
		}
		ask(t, g, 2001*time.Millisecond, "SERVFAIL")
		for _, f := range f[1:] {
			wantTimes(t, f, "[1ms]")
		}
		f[3].say(5*time.Millisecond, "d")
		ask(t, g, 6*time.Millisecond, "d")
		if !g.Stats()[3].Healthy {
			t.Error("who has answered is not healthy")
		}
	})
}

func TestRaceOneServFailAmongMute(t *testing.T) {
	bubbleWith(t, patient, 2, func(t *testing.T, g *upstream.Group, f []*fake) {
		f[1].say(time.Millisecond, "SERVFAIL")
		ask(t, g, 2001*time.Millisecond, "SERVFAIL")
	})
}

func TestRaceContext(t *testing.T) {
	bubbleWith(t, patient, 2, func(t *testing.T, g *upstream.Group, f []*fake) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		askWith(t, ctx, g, time.Second, context.Canceled.Error())
		ctx, cancel = context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		askWith(t, ctx, g, 500*time.Millisecond, upstream.ErrTimeout.Error())
		if s := g.Stats(); !s[0].Healthy || count(s[0], "timeout") != 0 {
			t.Errorf("who had no time is to blame: %+v", s[0])
		}
		synctest.Wait() // and nothing is left, or the bubble would say so
	})
}

func TestRacePanic(t *testing.T) {
	bubble(t, 2, func(t *testing.T, g *upstream.Group, f []*fake) {
		f[0].say(0, "panic")
		f[1].say(0, "b")
		ask(t, g, 0, "b")
	})
}

// Queries that were under way when a server came back time out later. It must not
// go down again by that.
func TestRaceOldFailures(t *testing.T) {
	bubbleWith(t, patient, 2, func(t *testing.T, g *upstream.Group, f []*fake) {
		f[1].say(0, "b")
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() { ask(t, g, 2*time.Second, "b") })
		}
		time.Sleep(time.Second)
		f[0].say(0, "a")
		ask(t, g, 0, "a")
		wg.Wait()
		if s := g.Stats()[0]; !s.Healthy || count(s, "timeout") != 5 {
			t.Errorf("got %+v", s)
		}
	})
}

func TestProbes(t *testing.T) {
	bubbleWith(t, upstream.Options{NoHedge: true}, 2, func(t *testing.T, g *upstream.Group, f []*fake) {
		f[0].say(0, "a")
		f[1].say(0, "b")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go g.Run(ctx)
		synctest.Wait()
		wantTimes(t, f[0], "[0s]")
		wantTimes(t, f[1], "[0s]")
		for range 30 { // the first is busy, the second silent
			time.Sleep(1001 * time.Millisecond)
			ask(t, g, 0, "a")
		}
		if got := strings.Count(f[0].times(), " ") + 1; got != 30 {
			t.Errorf("the first got %d queries, want 30 and no probe", got)
		}
		wantTimes(t, f[1], "[10s 20s 30s]")

		f[0].say(0, "")
		// The others are asked after half a second, and two seconds of silence tell that it is down.
		for range 4 {
			ask(t, g, 500*time.Millisecond, "b")
		}
		if g.Stats()[0].Healthy {
			t.Fatal("still healthy")
		}
		time.Sleep(30 * time.Second)
		f[0].say(0, "a")
		time.Sleep(11 * time.Second)
		if !g.Stats()[0].Healthy {
			t.Error("not healthy again after the probe interval and the tick")
		}
		cancel()
		synctest.Wait()
	})
}
