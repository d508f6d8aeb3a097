package evidence

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	config "rideau/config/evidence"
	"rideau/resolver"
	"rideau/resolver/audit"
	"rideau/resolver/audit/act"
	"rideau/resolver/audit/sink"
	"rideau/resolver/audit/spool"
	"rideau/resolver/ops/metrics"
)

// place is a Writer that takes events, or does not.
type place struct{ down atomic.Bool }

func (p *place) Write(_ context.Context, events [][]byte) (int, error) {
	if p.down.Load() {
		return 0, errors.New("down")
	}
	return len(events), nil
}

func (p *place) Close() error { return nil }

// texts encodes acts as a text of a hundred octets.
type texts struct{}

func (texts) Act(dst []byte, a *act.Act) []byte        { return append(dst, strings.Repeat("x", 100)...) }
func (texts) Query(dst []byte, _ *audit.Record) []byte { return dst }

// alerting makes the sinks pager, which is for alerts, and siem, which writes to the place, and runs them until the test ends.
func (w *watched) alerting(t *testing.T, change func(*config.Alerts)) (siem *place) {
	t.Helper()
	siem = new(place)
	w.e.alerts = config.Default().Alerts
	change(&w.e.alerts)
	for id, p := range map[string]*place{"pager": new(place), "siem": siem} {
		r := &running{config: config.Sink{ID: id, Events: config.Acts, Spool: 4096}}
		if id == "pager" {
			r.config.Events, r.config.Spool = config.OnlyAlerts, 0
		}
		dir := t.TempDir()
		r.sink = sink.New(sink.Options{Name: id, Acts: w.e.acts, Encoder: texts{}, Writer: p, Spool: func() (*spool.Spool, int64, error) { return spool.Open(dir, 4096) }})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); r.sink.Run(ctx) }()
		end := w.end
		w.end = func() { end(); cancel(); <-done }
		w.e.mu.Lock()
		w.e.running = append(w.e.running, r)
		w.e.mu.Unlock()
	}
	return siem
}

// said waits, and checks the sentences of the alerts meanwhile, and that each has one in French.
func (w *watched) said(t *testing.T, d time.Duration, want ...string) {
	t.Helper()
	time.Sleep(d) // sleeps: in a bubble of synctest
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	var got []string
	for _, a := range w.acts {
		if a.Alert == nil {
			got = append(got, string(a.Kind)+" "+a.Object)
			continue
		}
		got = append(got, string(a.Kind)+": "+a.Alert.English)
		if a.Alert.French == "" || a.Alert.French == a.Alert.English || strings.Contains(a.Alert.French, "%!") || strings.Contains(a.Alert.English, "%!") {
			t.Errorf("%+v", a.Alert)
		}
	}
	w.acts = nil
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || !strings.HasPrefix(got[i], want[i]) {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
}

// TestAlertsOfActs: a ban that stops being enforced, and a configuration that is refused, are told, and their end, too.
func TestAlertsOfActs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(t)
		w.alerting(t, func(*config.Alerts) {})
		defer w.end()
		add := func(k act.Kind, bans ...act.Ban) { w.e.acts.Add(act.Act{Kind: k, Reason: "line 3", Bans: bans}) }
		on, other := act.Ban{ID: "chat", Enforced: true, Mode: "enforce"}, act.Ban{ID: "other", Mode: "off"}
		add(act.Start, on, other)
		w.said(t, time.Minute)
		add(act.ReloadRefused, on, other)
		w.said(t, time.Minute, "alert: A configuration was refused, and the one before stays in force: line 3")
		add(act.ReloadRefused, on, other)
		w.said(t, time.Minute)
		add(act.Reload, act.Ban{ID: "chat", Mode: "monitor"}, other)
		w.said(t, time.Minute, "alert_resolved: A configuration was accepted again.", "alert: The ban chat is not enforced any more: it is in mode monitor.")
		w.said(t, 4*time.Hour, "alert: The ban chat is not enforced any more: it is in mode monitor.")
		add(act.Reload, on, other)
		w.said(t, time.Minute, "alert_resolved: The ban chat is enforced again.")
		add(act.BanEnded, act.Ban{ID: "chat", Mode: "enforce"}, other)
		w.said(t, time.Minute, "alert: The ban chat is not enforced any more: its dates")
		w.said(t, time.Hour, "alert_resolved: It has not happened again for 1h0m0s")
		add(act.BanBegan, on, other)
		add(act.Reload, other)
		w.said(t, time.Minute, "alert: The ban chat is not enforced any more: it was removed.")
	})
}

// TestAlertsOfSinks: a place that takes nothing is told after a while, a spool that fills before it is full, and both when it is over.
func TestAlertsOfSinks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(t)
		siem := w.alerting(t, func(*config.Alerts) {})
		defer w.end()
		siem.down.Store(true)
		w.e.acts.Add(act.Act{Kind: act.Flush})
		w.said(t, 4*time.Minute)
		w.said(t, 2*time.Minute, "alert: The sink siem takes no events.")
		for range 33 {
			w.e.acts.Add(act.Act{Kind: act.Flush})
		}
		w.said(t, time.Minute, "alert: The spool of the sink siem is filled to 9")
		siem.down.Store(false)
		w.said(t, time.Minute, "alert_resolved: The sink siem takes events again.", "alert_resolved: The spool of the sink siem has space again.")
	})
}

// TestAlertsOfLists: a list that was not confirmed for too long is an act and an alert.
func TestAlertsOfLists(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(t)
		w.alerting(t, func(a *config.Alerts) { a.ListStale = 3 * time.Hour })
		defer w.end()
		set := func(l ...metrics.ListSource) { w.mu.Lock(); defer w.mu.Unlock(); w.lists = l }
		set(metrics.ListSource{List: "feed", URL: true, LastFetch: time.Now()}, metrics.ListSource{List: "file"}, metrics.ListSource{List: "never", URL: true})
		w.said(t, 2*time.Hour)
		w.said(t, 2*time.Hour, "list_stale feed", "alert: The list feed was last found at its URL at 2000-01-01 00:00 UTC.")
		set(metrics.ListSource{List: "feed", URL: true, LastFetch: time.Now()})
		w.said(t, time.Minute, "alert_resolved: The list feed was found at its URL again")
	})
}

// TestAlertsOfQueries: the first attempt of a device, an attempt to go round Rideau, and a spike are told.
func TestAlertsOfQueries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(t)
		w.alerting(t, func(a *config.Alerts) { a.Bypass = 3 })
		defer w.end()
		a := newAlerts(w.e, w.record)
		defer a.close()
		a.use(time.Now())
		query := func(client string, f func(*audit.Record)) {
			r := &audit.Record{Client: netip.MustParseAddr(client), Group: "staff", Ban: "chat", Marks: resolver.Banned}
			f(r)
			a.query(r)
		}
		none := func(*audit.Record) {}
		query("192.0.2.1", none)
		if x := w.acts[0].Alert; x.Client != netip.MustParseAddr("192.0.2.1") || x.Severity != "low" {
			t.Errorf("%+v", x)
		}
		query("192.0.2.1", none)
		query("192.0.2.2", none)
		w.said(t, 0, "alert: A device asked for the first time for what the ban chat names")
		a.board.Look(time.Now().Add(time.Hour))
		if n := w.acts[0].Alert.Count; n != 2 {
			t.Errorf("%d devices", n)
		}
		w.said(t, 0, "alert_resolved: It has not happened again for 1h0m0s: A device asked")
		bypass := func(r *audit.Record) { r.Ban, r.Marks = "", resolver.Bypass }
		query("192.0.2.1", bypass)
		time.Sleep(2 * time.Hour) // sleeps: in a bubble of synctest
		query("192.0.2.1", bypass)
		query("192.0.2.1", bypass)
		w.said(t, 0)
		query("192.0.2.1", bypass)
		w.said(t, 0, "alert: A device of the group staff tried to go round Rideau.")
		a.minute = time.Now()
		minute := func(n int) {
			for range n {
				query("192.0.2.1", none)
			}
			time.Sleep(time.Minute) // sleeps: in a bubble of synctest
			a.endMinute(time.Now())
		}
		for range 20 {
			minute(30)
		}
		w.said(t, 0)
		minute(2000)
		w.said(t, 0, "alert: 2000 queries of the last minute were banned; 30 are usual.")
		minute(30)
		w.said(t, 0, "alert_resolved: No more queries than usual are banned: 30 in the last minute.")
	})
}

// TestAlertsOff: without a sink for alerts there are none.
func TestAlertsOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(t)
		defer w.end()
		w.e.acts.Add(act.Act{Kind: act.Start, Bans: []act.Ban{{ID: "chat", Enforced: true}}})
		w.e.acts.Add(act.Act{Kind: act.ReloadRefused})
		w.said(t, time.Minute)
	})
}
