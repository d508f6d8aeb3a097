package inforce_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rideau/resolver/audit/act"
	"rideau/resolver/audit/inforce"
	"rideau/resolver/audit/names"
)

var began = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// story tells a Tracker what happens, and what it makes of it.
type story struct {
	t    *inforce.Tracker
	wall time.Time
	up   time.Duration
	all  []inforce.Interval
}

func (s *story) pass(d time.Duration) {
	for ; d > 0; d -= time.Minute {
		step := min(d, time.Minute)
		s.wall, s.up = s.wall.Add(step), s.up+step
		s.t.Now(s.wall, s.up)
	}
	s.take()
}

func (s *story) take() { s.all = append(s.all, s.t.Ended()...); s.t.Done() }

// act is an act after which there are these bans, as in "a enforce".
func (s *story) act(kind act.Kind, bans ...string) {
	a := act.Act{Time: s.wall, Kind: kind, Uptime: s.up, Config: "c", Policy: names.Policy{Fingerprint: "f"}}
	for _, text := range bans {
		id, mode, _ := strings.Cut(text, " ")
		mode, how, _ := strings.Cut(mode, " ")
		b := act.Ban{ID: id, Mode: mode, Enforced: mode == "enforce", Lists: []act.List{{ID: "l", Hash: "h", Entries: 1}}}
		switch how {
		case "last good":
			b.Lists[0].LastGood = true
		case "empty":
			b.Lists[0].Entries = 0
		case "later":
			b.Enforced, b.Effective = false, s.wall.Add(time.Hour)
		case "over":
			b.Enforced, b.Expires = false, s.wall
		case "nobody":
			b.Enforced = false
		}
		a.Bans = append(a.Bans, b)
	}
	s.t.Act(&a, s.up)
	s.take()
}

func (s *story) String() string {
	var b strings.Builder
	all := append([]inforce.Interval{}, s.all...)
	for _, i := range s.t.Open() {
		all = append(all, *i)
	}
	for _, i := range all {
		fmt.Fprintf(&b, "%d %s %s %s %v", i.Number, i.Ban, i.State, i.From.Format("02 15:04"), i.Elapsed())
		if i.Jump != 0 {
			fmt.Fprintf(&b, " jump %v", i.Jump)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// TestStories: what a Tracker makes of what happens.
func TestStories(t *testing.T) {
	t.Parallel()
	stopped := inforce.Last{At: began.Add(-10 * time.Minute), Why: inforce.Stopped, Bans: []string{"a", "gone"}}
	for _, test := range []struct {
		name string
		last inforce.Last
		do   func(s *story)
		want string
	}{
		{"nothing before an act that says what is in force", inforce.Last{}, func(s *story) { s.pass(time.Hour); s.act(act.Flush) }, ""},
		{"modes and dates", inforce.Last{}, func(s *story) {
			s.act(act.Start, "a enforce", "b monitor", "c off", "d enforce later", "e enforce over", "f enforce empty", "g enforce nobody", "h enforce last good")
			s.pass(time.Hour)
		}, "1 a enforced 01 00:00 1h0m0s\n2 b monitor 01 00:00 1h0m0s\n3 c off 01 00:00 1h0m0s\n4 d not_yet 01 00:00 1h0m0s\n5 e expired 01 00:00 1h0m0s\n" +
			"6 f empty 01 00:00 1h0m0s\n7 g nobody 01 00:00 1h0m0s\n8 h last_good 01 00:00 1h0m0s\n"},
		{"a reload that changes one", inforce.Last{}, func(s *story) {
			s.act(act.Start, "a enforce", "b enforce")
			s.pass(30 * time.Minute)
			s.act(act.Reload, "a enforce", "b off")
			s.pass(15 * time.Minute)
			s.act(act.ListRefused, "a enforce last good")
			s.pass(time.Minute)
		}, "2 b enforced 01 00:00 30m0s\n1 a enforced 01 00:00 45m0s\n3 b off 01 00:30 15m0s\n4 a last_good 01 00:45 1m0s\n5 b absent 01 00:45 1m0s\n"},
		{"not ready, and ready again", inforce.Last{}, func(s *story) {
			s.act(act.Start, "a enforce", "b off")
			s.pass(time.Minute)
			s.act(act.NotReady)
			s.pass(2 * time.Minute)
			s.act(act.Ready)
			s.pass(3 * time.Minute)
		}, "1 a enforced 01 00:00 1m0s\n3 a not_ready 01 00:01 2m0s\n4 a enforced 01 00:03 3m0s\n2 b off 01 00:00 6m0s\n"},
		{"a stop", inforce.Last{}, func(s *story) {
			s.act(act.Start, "a enforce")
			s.pass(90 * time.Second)
			s.act(act.Stop)
			s.pass(time.Hour)
			s.act(act.Reload, "a off")
		}, "1 a enforced 01 00:00 1m30s\n"},
		{"after another run", stopped, func(s *story) { s.act(act.Start, "a enforce", "new enforce"); s.pass(time.Minute) },
			"1 a stopped 28 23:50 10m0s\n2 gone stopped 28 23:50 10m0s\n3 new absent 28 23:50 10m0s\n4 a enforced 01 00:00 1m0s\n5 new enforced 01 00:00 1m0s\n"},
		{"runs that meet", inforce.Last{At: began.Add(time.Minute), Why: inforce.Stopped, Bans: []string{"a"}}, func(s *story) { s.act(act.Start, "a enforce"); s.pass(5 * time.Minute) },
			"1 a enforced 01 00:01 4m0s\n"},
		{"the clock went back while stopped", inforce.Last{At: began.Add(time.Hour), Why: inforce.Stopped, Bans: []string{"a"}}, func(s *story) { s.act(act.Start, "a enforce"); s.pass(5 * time.Minute) },
			"1 a enforced 01 00:00 5m0s jump -1h0m0s\n"},
		{"the clock jumps", inforce.Last{}, func(s *story) {
			s.act(act.Start, "a enforce")
			s.pass(10 * time.Minute)
			s.wall = s.wall.Add(3 * time.Hour)
			s.pass(10 * time.Minute)
			s.wall = s.wall.Add(-3 * time.Hour)
			s.pass(10 * time.Minute)
			s.wall = s.wall.Add(time.Second) // no jump
			s.pass(10 * time.Minute)
		}, "1 a enforced 01 00:00 11m0s\n2 a enforced 01 03:11 10m0s jump 3h0m0s\n3 a enforced 01 00:21 19m0s jump -3h0m0s\n"},
		{"a machine that slept", inforce.Last{}, func(s *story) {
			s.act(act.Start, "a enforce")
			s.pass(10 * time.Minute)
			s.wall, s.up = s.wall.Add(3*time.Hour), s.up+3*time.Hour
			s.pass(time.Minute)
		}, "1 a enforced 01 00:00 10m0s\n2 a paused 01 00:10 3h1m0s\n3 a enforced 01 03:11 0s\n"},
	} {
		s := &story{t: inforce.New(test.last, 0, true), wall: began}
		test.do(s)
		if got := s.String(); got != test.want {
			t.Errorf("%s:\n%swant:\n%s", test.name, got, test.want)
		}
	}
}
