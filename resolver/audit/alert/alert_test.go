package alert_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"rideau/resolver/audit/act"
	"rideau/resolver/audit/alert"
)

// board is a Board whose acts a test reads.
type board struct {
	*alert.Board
	t    *testing.T
	now  time.Time
	acts []act.Act
}

func newBoard(t *testing.T, o alert.Options) *board {
	b := &board{t: t, now: time.Date(2026, 11, 30, 9, 0, 0, 0, time.UTC)}
	b.Board = alert.New("run", func(a act.Act) { b.acts = append(b.acts, a) })
	b.Use(o)
	return b
}

func (b *board) raise(c alert.Condition, object string, hold time.Duration) {
	b.Raise(b.now, alert.Event{Condition: c, Object: object, Text: alert.Sentence("It is %s.", "C’est %s.", "so"), Count: 1, Hold: hold})
}

func (b *board) clear(c alert.Condition, object string) {
	b.Clear(b.now, c, object, alert.Text{English: "It is over.", French: "C’est fini."})
}

// after looks once a second for a time, and checks what was told meanwhile, and before.
func (b *board) after(d time.Duration, want string) {
	b.t.Helper()
	for end := b.now.Add(d); b.now.Before(end); {
		b.now = b.now.Add(time.Second)
		b.Look(b.now)
	}
	var got []string
	for _, a := range b.acts {
		s := fmt.Sprintf("%s %s %s x%d", a.Kind, a.Object, a.Alert.ID, a.Alert.Count)
		if a.Alert.Again {
			s += " again"
		}
		if a.Alert.Suppressed > 0 {
			s += fmt.Sprintf(" suppressed %d", a.Alert.Suppressed)
		}
		got = append(got, s)
	}
	if s := strings.Join(got, "\n"); s != want {
		b.t.Errorf("got\n%s\nwant\n%s", s, want)
	}
	b.acts = nil
}

// An alert is told once however often it is raised, again while it lasts, and when it is resolved.
func TestOnce(t *testing.T) {
	b := newBoard(t, alert.Options{Repeat: 4 * time.Hour, PerHour: 30})
	for range 10 {
		b.raise(alert.SinkDown, "siem", 0)
	}
	a := b.acts[0].Alert
	if a.Severity != "high" || a.English != "It is so." || a.French != "C’est so." || !a.Since.Equal(b.now) || a.Condition != "sink_down" {
		t.Errorf("%+v", a)
	}
	b.after(0, "alert siem run-1 x1")
	b.after(9*time.Hour, "alert siem run-1 x10 again\nalert siem run-1 x10 again")
	b.clear(alert.SinkDown, "siem")
	if a := b.acts[0].Alert; a.English != "It is over." || a.French != "C’est fini." {
		t.Errorf("%+v", a)
	}
	b.after(9*time.Hour, "alert_resolved siem run-1 x10")
	b.clear(alert.SinkDown, "siem") // is no alert
	b.raise(alert.SinkDown, "siem", 0)
	b.after(time.Second, "alert siem run-2 x1")
}

// What happens once is resolved when it has not happened again for a time.
func TestHold(t *testing.T) {
	b := newBoard(t, alert.Options{PerHour: 30})
	b.raise(alert.BypassAttempt, "staff", time.Hour)
	b.after(50*time.Minute, "alert staff run-1 x1")
	b.raise(alert.BypassAttempt, "staff", time.Hour)
	b.after(59*time.Minute, "")
	b.after(time.Minute, "alert_resolved staff run-1 x2")
}

// In a quiet time only what is urgent is told; what is still open at its end is told then, and what is over by then is not.
func TestQuiet(t *testing.T) {
	quiet := func(t time.Time) bool { return t.Hour() >= 22 || t.Hour() < 6 }
	b := newBoard(t, alert.Options{Repeat: 4 * time.Hour, PerHour: 30, Quiet: quiet, Urgent: []alert.Condition{alert.BanNotEnforced}})
	b.now = time.Date(2026, 11, 30, 23, 0, 0, 0, time.UTC)
	b.raise(alert.SinkDown, "a", 0)
	b.raise(alert.SinkDown, "b", 0)
	b.raise(alert.BanNotEnforced, "chat", 0)
	b.after(time.Hour, "alert chat run-3 x1")
	b.clear(alert.SinkDown, "a")
	b.after(5*time.Hour+59*time.Minute, "alert chat run-3 x1 again")
	b.after(time.Minute, "alert b run-2 x1")
}

// No more alerts are told in an hour than are allowed. The others are counted, and told later if they are open still.
func TestBound(t *testing.T) {
	b := newBoard(t, alert.Options{PerHour: 2})
	for i := range 5 {
		b.raise(alert.ListStale, fmt.Sprint("list", i), 0)
	}
	b.after(59*time.Minute, "alert list0 run-1 x1\nalert list1 run-2 x1")
	b.clear(alert.ListStale, "list2")
	b.after(time.Minute, "alert list3 run-4 x1 suppressed 3\nalert list4 run-5 x1")
	if s := b.Totals(); s.Suppressed != 3 || s.Told[alert.ListStale] != 4 || s.Open[alert.ListStale] != 4 {
		t.Errorf("%+v", s)
	}
	for i := range 10_000 { // memory is bounded
		b.raise(alert.ListStale, fmt.Sprint("more", i), 0)
	}
	if n := b.Totals().Open[alert.ListStale]; n > 300 {
		t.Errorf("%d are open", n)
	}
}

// A condition that is off is not watched, and what was open is forgotten.
func TestOff(t *testing.T) {
	b := newBoard(t, alert.Options{PerHour: 30})
	b.raise(alert.Spike, "", 0)
	b.after(0, "alert  run-1 x1")
	b.Use(alert.Options{PerHour: 30, Off: []alert.Condition{alert.Spike}})
	b.raise(alert.Spike, "", 0)
	b.clear(alert.Spike, "")
	b.after(time.Hour, "")
}

// A spike is far above what is usual, and ends; one that stays becomes usual.
func TestLevel(t *testing.T) {
	run := func(numbers ...uint64) (spikes []int) {
		var l alert.Level
		for i, n := range numbers {
			if l.Minute(n, 5, 100) {
				spikes = append(spikes, i)
			}
		}
		return spikes
	}
	usual := slices.Repeat([]uint64{40, 60}, 30)
	for name, c := range map[string]struct {
		numbers []uint64
		want    string
	}{
		"usual":           {usual, "[]"},
		"at the start":    {[]uint64{5000, 1, 1}, "[]"},
		"few":             {append(slices.Repeat([]uint64{1}, 60), 99), "[]"},
		"enough":          {append(slices.Repeat([]uint64{1}, 60), 100, 1), "[60]"},
		"less than five":  {append(slices.Clone(usual), 240, 50), "[]"},
		"five times":      {append(slices.Clone(usual), 260, 200, 50), "[60 61]"},
		"nothing, so far": {append(slices.Repeat([]uint64{0}, 60), 1000, 0), "[60]"},
	} {
		if got := fmt.Sprint(run(c.numbers...)); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	var l alert.Level
	for range 60 {
		l.Minute(50, 5, 100)
	}
	last := 0
	for i := range 600 {
		if l.Minute(1000, 5, 100) {
			last = i
		}
	}
	if last < 5 || last > 300 {
		t.Errorf("a new level was a spike for %d minutes", last)
	}
}

// What was seen lately is remembered, within the bound.
func TestSeen(t *testing.T) {
	s := alert.NewSeen[netip.Addr](1000)
	addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}) }
	for i := range 500 {
		if !s.First(addr(i)) || s.First(addr(i)) {
			t.Fatalf("%d", i)
		}
	}
	for i := range 500 {
		if s.First(addr(i)) {
			t.Fatalf("%d was forgotten", i)
		}
	}
	for i := 500; i < 100_000; i++ {
		s.First(addr(i % 60_000))
	}
	if !s.First(addr(0)) {
		t.Error("everything is remembered")
	}
}
