package evidence

import (
	"context"
	"fmt"
	"strings"
	"time"

	"rideau/resolver"
	"rideau/resolver/audit"
	"rideau/resolver/audit/act"
	"rideau/resolver/audit/names"
	"rideau/resolver/ops"
	"rideau/resolver/ops/metrics"
)

const (
	// lookInterval is how often Watch looks at what tells nobody of its changes.
	lookInterval = time.Second
	// useInterval is the shortest time between two acts about the use of one exception.
	useInterval = time.Hour
	// certificateInterval is how often the files of certificates are read.
	certificateInterval = time.Minute
	// After denialBurst refused requests at once, there is an act each denialInterval. It counts the others.
	denialBurst    = 5
	denialInterval = 10 * time.Second
)

// Watched is what Watch makes acts of.
type Watched struct {
	// NotReady returns why the server is not ready, and Distrusted why its clock is distrusted; empty if they are.
	NotReady   func() []string
	Distrusted func() string
	// Lists returns the state of lists.
	Lists func() []metrics.ListSource
	// Certificates returns the acts of certificates that changed without a reload: FollowCertificates of the configuration in force.
	Certificates func() []act.Act
	// Record records an act.
	Record func(act.Act)
}

// Denied notes a request that was refused because of who sent it. Watch makes acts of some, and counts all. It does not wait.
func (e *Evidence) Denied(d ops.Denial) {
	select {
	case e.denied <- d:
	default:
		e.undenied.Add(1)
	}
}

// Watch records what happens by itself, until ctx ends: that the server is not ready, and ready again, that the clock is distrusted, and trusted
// again, that exceptions are used, that requests are refused, that lists are stale, and alerts. It is called once at a time.
func (e *Evidence) Watch(ctx context.Context, w Watched) {
	v := &watch{Watched: w, e: e, uses: map[string]*use{}, tokens: denialBurst, refilled: time.Now()}
	v.reader = e.o.Records.NewReader(1 << 12)
	v.reader.Want(resolver.Excepted)
	defer v.reader.Close()
	v.alerts = newAlerts(e, w.Record)
	defer v.alerts.close()
	tick, certificates := time.NewTicker(lookInterval), time.NewTicker(certificateInterval)
	defer tick.Stop()
	defer certificates.Stop()
	for {
		select {
		case <-ctx.Done():
			v.lastUses()
			for len(e.denied) > 0 {
				v.denial(<-e.denied)
			}
			v.tellDenials(true)
			return
		case <-tick.C:
			v.look(time.Now())
			v.alerts.look(time.Now(), v.Lists())
		case <-v.alerts.acts.Ready(): // a ban that is not enforced any more is told at once
			v.alerts.look(time.Now(), v.Lists())
		case <-v.alerts.reader.Ready():
			v.alerts.reader.Read(v.alerts.query)
		case <-certificates.C:
			for _, a := range v.Certificates() {
				v.Record(a)
			}
		case <-v.reader.Ready():
			v.reader.Read(v.used)
		case d := <-e.denied:
			v.denial(d)
			v.tellDenials(false)
		}
	}
}

// watch is what Watch remembers. It is for one goroutine.
type watch struct {
	Watched
	e        *Evidence
	reader   *audit.Reader
	alerts   *alerts
	unready  bool
	doubted  bool
	uses     map[string]*use // by the id of the exception
	tokens   int             // how many acts of refused requests there may be at once
	refilled time.Time
	refused  uint64      // refused requests without an act
	last     *ops.Denial // the last of them
}

// use is how an exception was used.
type use struct {
	exception names.Exception
	n         uint64    // without an act
	told      time.Time // when there was an act last; zero if there was none
}

func (v *watch) look(now time.Time) {
	reasons := v.NotReady()
	switch {
	case len(reasons) > 0 && !v.unready:
		v.unready = true
		v.Record(act.Act{Kind: act.NotReady, Actor: act.Actor{Way: act.ByItself}, Reason: strings.Join(reasons, "; ")})
	case len(reasons) == 0 && v.unready:
		v.unready = false
		v.Record(act.Act{Kind: act.Ready, Actor: act.Actor{Way: act.ByItself}})
	}
	switch why := v.Distrusted(); {
	case why != "" && !v.doubted:
		v.doubted = true
		v.Record(act.Act{Kind: act.ClockDistrusted, Actor: act.Actor{Way: act.ByItself}, Reason: why})
	case why == "" && v.doubted:
		v.doubted = false
		v.Record(act.Act{Kind: act.ClockTrusted, Actor: act.Actor{Way: act.ByItself}})
	}
	for _, u := range v.uses {
		if u.n > 0 && now.Sub(u.told) >= useInterval {
			v.tellUse(u, now)
		}
	}
	for v.tokens < denialBurst && now.Sub(v.refilled) >= denialInterval {
		v.tokens, v.refilled = v.tokens+1, v.refilled.Add(denialInterval)
	}
	v.tellDenials(false)
}

// used notes a query that an exception let through.
func (v *watch) used(r *audit.Record) {
	if r.Exception == nil {
		return
	}
	u := v.uses[r.Exception.ID]
	if u == nil {
		u = new(use)
		v.uses[r.Exception.ID] = u // at most as many as configurations had
	}
	u.exception = *r.Exception
	u.n++
	if now := time.Now(); u.told.IsZero() || now.Sub(u.told) >= useInterval {
		v.tellUse(u, now)
	}
}

func (v *watch) tellUse(u *use, now time.Time) {
	x := act.Exception{ID: u.exception.ID, Ticket: u.exception.Ticket, Approver: u.exception.Approver}
	v.e.mu.Lock()
	if known, ok := v.e.followed.exceptions[x.ID]; ok {
		x = known
	}
	v.e.mu.Unlock()
	x.Uses = u.n
	reason := fmt.Sprintf("it let %d queries through since the last act of this kind", u.n)
	if u.n == 1 {
		reason = "it let a query through"
	}
	v.Record(act.Act{Kind: act.ExceptionUsed, Actor: act.Actor{Way: act.ByItself}, Object: x.ID, Exception: &x, Reason: reason})
	u.n, u.told = 0, now
}

// lastUses tells of all uses that were not told.
func (v *watch) lastUses() {
	v.e.o.Records.Drain()
	v.reader.Read(v.used)
	for _, u := range v.uses {
		if u.n > 0 {
			v.tellUse(u, time.Now())
		}
	}
}

func (v *watch) denial(d ops.Denial) { v.last, v.refused = &d, v.refused+1 }

// tellDenials records an act of refused requests, if there are any and there may be one now. The act is about the last of them, and counts the
// others.
func (v *watch) tellDenials(always bool) {
	n := v.refused + v.e.undenied.Load()
	if v.last == nil || n == 0 || v.tokens == 0 && !always {
		return
	}
	v.e.undenied.Add(v.refused - n) // what was counted is taken out
	if v.tokens == denialBurst {
		v.refilled = time.Now()
	}
	v.tokens, v.refused = max(v.tokens-1, 0), 0
	reason := v.last.Reason
	if n > 1 {
		reason += fmt.Sprintf(" (%d requests were refused since the last act of this kind)", n)
	}
	v.Record(act.Act{Kind: act.AccessDenied, Actor: Actor(&v.last.Caller), Object: v.last.What, Failed: true, Reason: reason})
}
