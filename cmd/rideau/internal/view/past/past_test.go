package past_test

import (
	"testing"
	"time"

	"rideau/cmd/rideau/internal/report/reporttest"
	"rideau/cmd/rideau/internal/view/past"
	"rideau/resolver/audit"
	"rideau/resolver/audit/act"
)

// TestHistory: attempts count in the hour and on the day of a zone, also one of half
// hours, and a ban is in force since its last break.
func TestHistory(t *testing.T) {
	t.Parallel()
	zone, err := time.LoadLocation("America/St_Johns")
	if err != nil {
		t.Skip("this system has no time zones")
	}
	begin := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	n := reporttest.New(t, t.TempDir(), "a", begin)
	ban := reporttest.Ban("ban", "enforce")
	n.Act(act.Start, ban)
	ask := func(times int, change func(*audit.Record)) {
		for range times {
			n.Query("ban", "10.0.0.1", "a.example", change)
		}
	}
	ask(3, nil)
	n.Until(begin.Add(24 * time.Hour))
	n.Act(act.Reload, reporttest.Ban("ban", "off"))
	n.Until(begin.Add(25 * time.Hour))
	n.Act(act.Reload, ban)
	again := begin.Add(25 * time.Hour)
	n.Until(begin.Add(48 * time.Hour))
	ask(2, func(r *audit.Record) { r.Monitored = true })
	ask(4, func(r *audit.Record) { r.Exception = reporttest.Exception("x", "T-1", "me") })
	path := n.Close()

	now := begin.Add(48*time.Hour + time.Minute)
	p := past.New(func() string { return path }, func() time.Time { return now }, func(f func()) { f() })
	defer p.Close()
	h := p.History(t.Context())
	for h.Partial {
		if t.Context().Err() != nil {
			t.Fatal("the history is not read")
		}
		h = p.History(t.Context())
	}
	days := h.Days("ban", 4, zone)
	if days[1].Blocked != 3 || days[1].From.Day() != 1 || days[3].Monitored != 2 || days[2].Attempts() != 0 || days[3].Excepted == 0 {
		t.Errorf("days: %+v", days)
	}
	hours := h.Hours("ban", 49)
	if hours[0].Blocked != 3 || !hours[0].From.Equal(begin) || hours[48].Monitored != 2 {
		t.Errorf("hours: %+v and %+v", hours[0], hours[48])
	}
	if all, _ := h.Groups("staff"); all.Attempts() != 5 {
		t.Errorf("the group: %+v", all)
	}
	if h.Uses("x") != 4 || h.Uses("y") != 0 {
		t.Errorf("uses: %d", h.Uses("x"))
	}
	// It ended with the run.
	if since, share := h.InForce("ban"); !h.Known || !since.IsZero() && since.Before(again) || share < 0.9 || share >= 1 {
		t.Errorf("in force since %v, %v of the time", since, share)
	}
	if _, share := h.InForce("none"); share >= 0 {
		t.Errorf("a ban that there was not: %v", share)
	}
	if h := past.New(func() string { return "" }, time.Now, nil).History(t.Context()); h.Known {
		t.Error("something is known without a store")
	}
}
