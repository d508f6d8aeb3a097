package view

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rideau/blocklists"
	"rideau/cmd/rideau/internal/setup"
	"rideau/config"
	"rideau/resolver"
	"rideau/resolver/audit/store"
	"rideau/resolver/ops"
	"rideau/resolver/ops/metrics"
)

// newView makes a View of a configuration, without a server.
func newView(t *testing.T, text string, o Options) *View {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rideau.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	snap, _, err := setup.LoadPolicy(t.Context(), cfg, nil, nil, []time.Time{time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	o.Config = func() *config.Config { return cfg }
	o.Readiness = func() (reasons, notes []string) { return nil, nil }
	if o.Sources.Totals == nil {
		o.Sources.Totals = func() *resolver.Totals { return new(resolver.Totals) }
	}
	o.Sources.Policy = func() *blocklists.Snapshot { return snap }
	return New(o)
}

const small = "lists: [{id: a, names: [a.example]}]\nbans: [{id: ban, title: {en: The ban}, lists: [a]}]\n"

// TestBounds: two tasks run at a time and some wait; further ones are refused at once.
// One that takes too long is ended, and so is one whose caller has gone.
func TestBounds(t *testing.T) {
	t.Parallel()
	v := newView(t, small, Options{})
	var running, most atomic.Int32
	enough, wait := make(chan struct{}), make(chan struct{})
	var tasks sync.WaitGroup
	var done, busy atomic.Int32
	for range 100 {
		tasks.Go(func() {
			err := v.task(t.Context(), func(context.Context) error {
				if n := running.Add(1); n > most.Load() {
					most.Store(n)
				}
				<-wait
				running.Add(-1)
				return nil
			})
			switch {
			case err == nil:
				done.Add(1)
			case errors.Is(err, ErrBusy):
				if busy.Add(1) == 100-maxRunning-maxWaiting {
					close(enough)
				}
			default:
				t.Error(err)
			}
		})
	}
	<-enough
	close(wait)
	tasks.Wait()
	if done.Load() != maxRunning+maxWaiting || most.Load() > maxRunning {
		t.Errorf("%d ran, %d of them at a time", done.Load(), most.Load())
	}
	waits := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	v.maxTime = time.Millisecond
	if err := v.task(t.Context(), waits); !errors.Is(err, ErrTooLong) {
		t.Errorf("a task that takes too long: %v", err)
	}
	v.maxTime = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() { gone <- v.task(ctx, waits) }()
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("a task whose caller has gone: %v", err)
	}
	if _, err := v.Events(t.Context(), store.Filter{}); !errors.Is(err, ErrNoStore) {
		t.Errorf("a search without a store: %v", err)
	}
	v.export <- struct{}{}
	if err := v.Export(t.Context(), store.Filter{}, nil); !errors.Is(err, ErrBusy) {
		t.Errorf("a second export: %v", err)
	}
}

// TestSamples: rates and times are those between two samples, and a chart has a point
// for each minute of the last hour.
func TestSamples(t *testing.T) {
	t.Parallel()
	totals := new(resolver.Totals)
	src := &metrics.Sources{Totals: func() *resolver.Totals { c := *totals; return &c }}
	var s samples
	at := time.Unix(1_800_000_000, 0)
	s.sample(src, at)
	for range maxSamples + 20 {
		at = at.Add(sampleEvery)
		totals.Queries[0][0][resolver.Blocked] += 10
		totals.Queries[0][0][resolver.Cached] += 30
		totals.Queries[0][0][resolver.Forwarded] += 10
		totals.Latency[resolver.Cached].Counts[2] += 50 // 25 to 50 µs
		s.sample(src, at)
	}
	lately, hour := s.now(src, at.Add(time.Second))
	if len(hour) < 59 || len(hour) > 60 || len(s.ring) != maxSamples+1 {
		t.Fatalf("%d points of %d samples", len(hour), len(s.ring))
	}
	p := hour[len(hour)-1]
	if p.Rate != 10 || p.Blocked != 2 || p.Failed != 0 || p.Median != 0.0375 || p.P99 < 0.049 || p.P99 > 0.05 || p.At.Sub(p.From) != time.Minute {
		t.Errorf("a point: %+v", p)
	}
	if lately.hits != 150 || lately.misses != 50 || hour[0].At.After(hour[1].At) {
		t.Errorf("lately: %+v", lately)
	}
	var none [len(resolver.Bounds) + 1]uint64
	if quantile(&none, 0.5) != -1 {
		t.Error("there is a median of nothing")
	}
	none[len(none)-1] = 1
	if quantile(&none, 0.5) != 5000 {
		t.Errorf("beyond the last bucket: %v", quantile(&none, 0.5))
	}
}

// TestSettings: settings tell no secret.
func TestSettings(t *testing.T) {
	t.Parallel()
	cfg, err := config.Parse("rideau.yaml", []byte(strings.Replace(small, "lists: [", "lists: [{id: b, url: \"https://user:pass@lists.example/q?key=secret\"}, ", 1)+"ops: {token_file: token}\n"))
	if err != nil {
		t.Fatal(err)
	}
	all := ""
	for _, s := range Settings(cfg) {
		all += s.Key + "=" + s.Value + "\n"
	}
	if strings.Contains(all, "pass") || strings.Contains(all, "secret") || !strings.Contains(all, "bans[ban]=") || !strings.Contains(all, "ops.token_file=") {
		t.Errorf("settings:\n%s", all)
	}
	for key, want := range map[string]bool{"ops.users[a].password": true, "x.client_secret": true, "x.client_secret_file": false, "ops.token_file": false, "bans[a].title": false, "ops.users[a].password_hash": true} {
		if secret(key) != want {
			t.Errorf("%s is a secret: %v", key, !want)
		}
	}
	if len(newView(t, small, Options{}).System(false).Differences) != 0 {
		t.Error("settings are told though nobody asked")
	}
}

// TestReloaded: the last reload that did something is remembered, and what it changed
// in lists.
func TestReloaded(t *testing.T) {
	t.Parallel()
	v := newView(t, small, Options{})
	if l := v.Lists(); len(l.Lists) != 1 || l.Lists[0].Change != nil || l.Last != nil || l.Lists[0].Bans[0] != "ban" {
		t.Errorf("at the start: %+v", l)
	}
	next := newView(t, strings.Replace(small, "a.example", "a.example, b.example", 1), Options{})
	v.o.Sources.Policy = next.o.Sources.Policy
	v.Reloaded("the test", ops.ReloadResult{Changed: true}, nil)
	v.Reloaded("again", ops.ReloadResult{}, nil)
	l := v.Lists()
	if c := l.Lists[0].Change; c == nil || c.Before != 1 || c.After != 2 || l.Last.Why != "the test" || !l.Last.OK {
		t.Errorf("after a reload: %+v %+v", c, l.Last)
	}
	many := make([]ops.Problem, 1000)
	for i := range many {
		many[i] = ops.Problem{List: "a", Message: fmt.Sprint(i)}
	}
	v.Reloaded("refused", ops.ReloadResult{Problems: many}, errors.New("no"))
	if l := v.Lists(); l.Last.OK || l.Last.Error != "no" || len(l.Last.Problems) != maxTold || len(l.Lists[0].Problems) != maxTold {
		t.Errorf("after a refused reload: %+v", l.Last)
	}
}
