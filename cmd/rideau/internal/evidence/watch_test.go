package evidence

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rideau/resolver/audit"
	"rideau/resolver/audit/act"
	"rideau/resolver/audit/names"
	"rideau/resolver/ops"
	"rideau/resolver/ops/metrics"
)

// told collects acts.
type told struct {
	mu   sync.Mutex
	acts []act.Act
}

func (t *told) record(a act.Act) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.acts = append(t.acts, a)
}

// take returns the acts since the last call, a line each.
func (t *told) take() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var lines []string
	for _, a := range t.acts {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %s", a.Kind, a.Object, a.Reason)))
	}
	t.acts = nil
	return strings.Join(lines, "\n")
}

// watched is a Watch in a bubble of synctest, whose facts a test sets.
type watched struct {
	told
	e       *Evidence
	reasons []string             // guarded by told.mu
	doubt   string               // guarded by told.mu
	lists   []metrics.ListSource // guarded by told.mu
	end     func()
}

func newWatched(t *testing.T) *watched {
	w := &watched{e: New("node", t.TempDir(), Options{Records: audit.New()})}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.e.Watch(ctx, Watched{NotReady: func() []string { w.mu.Lock(); defer w.mu.Unlock(); return w.reasons },
			Distrusted: func() string { w.mu.Lock(); defer w.mu.Unlock(); return w.doubt }, Certificates: func() []act.Act { return nil },
			Lists: func() []metrics.ListSource { w.mu.Lock(); defer w.mu.Unlock(); return w.lists }, Record: w.record})
	}()
	w.end = func() { cancel(); <-done }
	return w
}

// after waits, and checks what was told meanwhile.
func (w *watched) after(t *testing.T, d time.Duration, want string) {
	t.Helper()
	time.Sleep(d) // sleeps: in a bubble of synctest
	synctest.Wait()
	if got := w.take(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func (w *watched) set(reasons []string, doubt string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reasons, w.doubt = reasons, doubt
}

// TestWatchState: readiness and the clock are told when they change, with the reasons, and not again.
func TestWatchState(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(t)
		w.after(t, time.Minute, "")
		w.set([]string{"no upstream has answered yet", "192.0.2.1:53 is not bound"}, "")
		w.after(t, time.Minute, "not_ready  no upstream has answered yet; 192.0.2.1:53 is not bound")
		w.set([]string{"192.0.2.1:53 is not bound"}, "it is 1970")
		w.after(t, time.Minute, "clock_distrusted  it is 1970")
		w.set(nil, "")
		w.after(t, 2*time.Second, "ready\nclock_trusted")
		w.end()
	})
}

// TestWatchUses: the first use of an exception is told at once, those of the following hour together, and the last ones at the end.
func TestWatchUses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(t)
		v := &watch{Watched: Watched{Record: w.record}, e: w.e, uses: map[string]*use{}}
		r := &audit.Record{Exception: &names.Exception{ID: "press", Ticket: "T1", Approver: "A"}}
		for range 3 {
			v.used(r)
		}
		v.used(&audit.Record{})
		if x := w.acts[0].Exception; x.Ticket != "T1" || x.Approver != "A" || x.Uses != 1 {
			t.Errorf("%+v", x)
		}
		w.after(t, 0, "exception_used press it let a query through")
		v.Watched.NotReady, v.Watched.Distrusted = func() []string { return nil }, func() string { return "" }
		v.look(time.Now().Add(59 * time.Minute))
		w.after(t, 0, "")
		v.look(time.Now().Add(time.Hour))
		w.after(t, 0, "exception_used press it let 2 queries through since the last act of this kind")
		w.end()
	})
}

// TestWatchDenials: however many requests are refused, there are few acts of that, and together they count all.
func TestWatchDenials(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(t)
		deny := func(n int) {
			for range n {
				w.e.Denied(ops.Denial{Caller: ops.Caller{Address: "192.0.2.1:4711"}, What: "reload", Reason: "no token"})
				synctest.Wait()
			}
		}
		deny(1)
		if a := w.acts[0]; a.Actor != (act.Actor{Way: act.ByHTTP, Address: "192.0.2.1:4711"}) || !a.Failed {
			t.Errorf("%+v", a)
		}
		w.after(t, 0, "access_denied reload no token")
		deny(1000)
		w.after(t, 0, strings.TrimSuffix(strings.Repeat("access_denied reload no token\n", denialBurst-1), "\n"))
		w.after(t, 2*denialInterval, "access_denied reload no token (996 requests were refused since the last act of this kind)")
		w.after(t, time.Hour, "")
		for range 1000 { // more at once than the queue has space for
			w.e.Denied(ops.Denial{What: "flush", Reason: "no token"})
		}
		w.end()
		n := 0
		for _, a := range w.acts {
			var more int
			if _, err := fmt.Sscanf(a.Reason, "no token (%d requests", &more); err != nil {
				more = 1
			}
			n += more
		}
		if n != 1000 || len(w.acts) > denialBurst+1 {
			t.Errorf("%d acts count %d requests", len(w.acts), n)
		}
	})
}
