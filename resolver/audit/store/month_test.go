package store_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"rideau/resolver/audit/act"
	"rideau/resolver/audit/inforce"
	"rideau/resolver/audit/store"
)

// month is a node's March under a clock that the test sets, and what is true of it.
type month struct {
	*node
	t     *testing.T
	dir   string
	runs  int
	state inforce.State
	true  map[inforce.State]time.Duration
	total time.Duration // that passed, by a clock that nobody sets
	// jumped says on which days, of UTC, the clock was set.
	jumped map[string]bool
}

// mode is what the acts say in a state.
func (m *month) tell(kind act.Kind) {
	a := act.Act{Kind: kind, Config: fmt.Sprint("config ", m.number), Uptime: m.up + 1, Time: m.now}
	m.number++
	a.Number = m.number
	b := act.Ban{ID: "no-chat", Mode: "enforce", Enforced: true, Lists: []act.List{{ID: "l", Hash: "h", Entries: 1}}}
	switch m.state {
	case inforce.Monitor:
		b.Mode, b.Enforced = "monitor", false
	case inforce.Off:
		b.Mode, b.Enforced = "off", false
	case inforce.LastGood:
		b.Lists[0].LastGood = true
	}
	a.Bans = []act.Ban{b}
	m.write(m.e.Act(nil, &a))
}

// goesOn lets time pass in which the program runs.
func (m *month) goesOn(d time.Duration) {
	m.true[m.state] += d
	m.total += d
	for ; d > 0; d -= 4 * time.Minute {
		m.pass(min(d, 4*time.Minute))
		m.settle(false)
	}
}

// away lets time pass in which it does not.
func (m *month) away(s inforce.State, d time.Duration) {
	m.true[s] += d
	m.total += d
	m.now = m.now.Add(d)
}

// begins starts a new run.
func (m *month) begins() {
	m.runs++
	m.node = newNode(m.t, m.dir, fmt.Sprint("run", m.runs), m.now)
	m.tell(act.Start)
	store.NoSync(m.w)
}

// happens is one of the things that happen to a server.
func (m *month) happens(what int) {
	switch what {
	case 0, 1, 2: // a reload with another mode, or with the same
		m.state = []inforce.State{inforce.Enforced, inforce.Monitor, inforce.Off}[what]
		m.tell(act.Reload)
	case 3: // a list is refused
		m.state = inforce.LastGood
		m.tell(act.ListRefused)
	case 4: // a refused reload changes nothing
		m.tell(act.ReloadRefused)
	case 5: // a stop
		m.tell(act.Stop)
		m.settle(true)
		m.w.Close()
		m.away(inforce.Stopped, 7*time.Minute)
		m.begins()
	case 6: // a kill, 30 seconds after the last beat
		m.pass(30 * time.Second)
		m.w.Close()
		m.true[inforce.Unclean] += 30 * time.Second
		m.total += 30 * time.Second
		m.away(inforce.Unclean, 90*time.Second)
		m.begins()
	case 7: // the clock is set forward, or back
		for _, d := range []time.Duration{5 * time.Hour, -5 * time.Hour} {
			m.jumped[m.now.Format(time.DateOnly)] = true
			m.now = m.now.Add(d)
			m.jumped[m.now.Format(time.DateOnly)] = true
			m.goesOn(20 * time.Minute)
		}
	case 8: // the machine sleeps
		m.true[inforce.Paused] += time.Hour
		m.total += time.Hour
		m.pass(time.Hour)
		m.settle(false)
	case 9: // a server that is not ready
		if m.state == inforce.Enforced || m.state == inforce.LastGood {
			was := m.state
			m.write(m.act(act.NotReady))
			m.state = inforce.NotReady
			m.goesOn(12 * time.Minute)
			m.state = was
			m.write(m.act(act.Ready))
		}
	}
}

// TestSimulatedMonth: over restarts, kills, reloads, refused lists, sleep, a clock that is set
// forward and back, and the begin of daylight saving, the minutes of every state are
// what they were, and their sum is the time that passed.
func TestSimulatedMonth(t *testing.T) {
	t.Parallel()
	if race {
		t.Skip("one goroutine with many events: it runs without the race detector")
	}
	m := &month{t: t, dir: t.TempDir(), state: inforce.Enforced, true: map[inforce.State]time.Duration{}, jumped: map[string]bool{}}
	m.node = &node{now: began}
	m.begins()
	seed := rand.New(rand.NewPCG(3, 2026))
	for i := 0; m.total < 31*24*time.Hour; i++ {
		m.goesOn(time.Duration(seed.IntN(600)) * time.Minute)
		if what := i % 10; what != 7 || i%40 == 7 {
			m.happens(what)
		}
	}
	m.settle(true)
	all, err := m.reader().Minutes(t.Context(), began.Add(-time.Hour), m.now.Add(24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	got, sum := map[inforce.State]time.Duration{}, time.Duration(0)
	for _, i := range all {
		got[i.State] += i.Elapsed()
		sum += i.Elapsed()
	}
	for _, s := range inforce.States() {
		if got[s] != m.true[s] {
			t.Errorf("%s: %v, want %v", s, got[s], m.true[s])
		}
	}
	if sum != m.total || len(got) < 8 {
		t.Errorf("%v in all, want %v; states %v", sum, m.total, got)
	}
	// The day on which the clocks of Toronto go forward has 23 hours, others 24.
	zone, err := time.LoadLocation("America/Toronto")
	if err != nil {
		t.Skip("this system has no time zones")
	}
	days := 0
	for day := 2; day < 30; day++ {
		from, to := time.Date(2026, 3, day, 0, 0, 0, 0, zone), time.Date(2026, 3, day+1, 0, 0, 0, 0, zone)
		if m.jumped[from.UTC().Format(time.DateOnly)] || m.jumped[to.UTC().Format(time.DateOnly)] {
			continue // by its clock, such a day had more, or less
		}
		sum := time.Duration(0)
		for _, i := range all {
			begin, end := i.From, i.To()
			if begin.Before(from) {
				begin = from
			}
			if end.After(to) {
				end = to
			}
			sum += max(end.Sub(begin), 0)
		}
		want := 24 * time.Hour
		if day == 8 {
			want = 23 * time.Hour
		}
		if days++; sum != want {
			t.Errorf("March %d has %v", day, sum)
		}
	}
	if days < 15 {
		t.Errorf("only %d days were compared", days)
	}
}
