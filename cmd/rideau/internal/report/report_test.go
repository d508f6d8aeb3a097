package report_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"rideau/cmd/rideau/internal/report"
	"rideau/cmd/rideau/internal/report/reporttest"
	"rideau/resolver/audit"
	"rideau/resolver/audit/act"
	"rideau/resolver/audit/inforce"
)

var zone = func() *time.Location { z, _ := time.LoadLocation("America/Toronto"); return z }()

// november is a report on November 2026 in Toronto, where a day has 25 hours.
func november(t testing.TB, paths ...string) *report.Report {
	t.Helper()
	if zone == nil {
		t.Skip("this system has no time zones")
	}
	from := time.Date(2026, 11, 1, 0, 0, 0, 0, zone)
	r, err := report.Make(t.Context(), report.Options{Paths: paths, From: from, To: from.AddDate(0, 1, 0), By: "the test", Now: from.AddDate(0, 1, 2)})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func ban(t testing.TB, r *report.Report, id string) *report.Ban {
	t.Helper()
	for i := range r.Bans {
		if r.Bans[i].ID == id {
			return &r.Bans[i]
		}
	}
	t.Fatalf("the report has no ban %s", id)
	return nil
}

// month makes a node's November: enforced from the 3rd at noon UTC, stopped for two
// hours on the 10th, monitored for a day from the 20th.
func month(t testing.TB, n *reporttest.Node) {
	at := func(day, hour int) { n.Until(time.Date(2026, 11, day, hour, 0, 0, 0, time.UTC)) }
	n.Act(act.Start, reporttest.Ban("no-chat", "monitor"))
	at(3, 12)
	n.Act(act.Reload, reporttest.Ban("no-chat", "enforce"))
	for i := range 30 {
		n.Query("no-chat", fmt.Sprintf("192.0.2.%d", i%7), fmt.Sprintf("h%d.chat.example", i%4), nil)
	}
	at(10, 8)
	n.Act(act.Stop, reporttest.Ban("no-chat", "enforce"))
	n.Restart(2 * time.Hour)
	n.Act(act.Start, reporttest.Ban("no-chat", "enforce"))
	n.Query("no-chat", "192.0.2.9", "x.chat.example", func(r *audit.Record) { r.Exception = reporttest.Exception("x-7", "T-77", "The CIO") })
	at(20, 0)
	n.Act(act.Reload, reporttest.Ban("no-chat", "monitor"))
	n.Query("no-chat", "192.0.2.9", "y.chat.example", func(r *audit.Record) { r.Monitored = true })
	at(21, 0)
	n.Act(act.Reload, reporttest.Ban("no-chat", "enforce"))
	n.Until(time.Date(2026, 12, 2, 0, 0, 0, 0, time.UTC))
	n.Act(act.Stop, reporttest.Ban("no-chat", "enforce"))
}

// TestMonth: the report of a node has its minutes to the minute, its attempts by the
// day of the zone, its gaps with their reasons, and its exceptions.
func TestMonth(t *testing.T) {
	t.Parallel()
	n := reporttest.New(t, t.TempDir(), "ottawa-1", time.Date(2026, 10, 30, 0, 0, 0, 0, time.UTC))
	month(t, n)
	r := november(t, n.Close())
	b := ban(t, r, "no-chat")
	if len(b.Nodes) != 1 {
		t.Fatalf("%+v", b.Nodes)
	}
	x := b.Nodes[0]
	// November in Toronto is 30 days and an hour.
	all, out := 30*24*60.0+60, (2*24+8)*60.0+2*60+24*60 // until the 3rd at noon UTC it is 08:00 in Toronto, from midnight (04:00 UTC) on the 1st
	if x.Unknown != 0 || x.InForce+x.NotInForce != all || x.NotInForce != out {
		t.Errorf("%v minutes in force and %v not, %v unknown, want %v and %v", x.InForce, x.NotInForce, x.Unknown, all-out, out)
	}
	want := []report.Gap{
		{State: inforce.Monitor, Minutes: (2*24 + 8) * 60}, {State: inforce.Stopped, Minutes: 120}, {State: inforce.Monitor, Minutes: 24 * 60},
	}
	for i, g := range x.Gaps {
		if len(x.Gaps) != len(want) || g.State != want[i].State || g.Minutes != want[i].Minutes {
			t.Errorf("gaps: %+v", x.Gaps)
			break
		}
	}
	if !x.Since.Equal(time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)) || len(x.Lists) != 1 || x.Lists[0].Hash == "" {
		t.Errorf("%+v", x)
	}
	if b.Blocked != 30 || b.Excepted != 1 || b.Monitored != 1 || b.Devices != 8 || len(b.Days) != 30 || b.Days[2].Blocked != 30 || b.Days[18].Monitored != 1 {
		t.Errorf("%+v", b)
	}
	if len(b.Names) != 6 || b.Names[0].Attempts != 8 || len(b.Rules) != 1 || b.Rules[0].Count != 32 {
		t.Errorf("names %+v, rules %+v", b.Names, b.Rules)
	}
	if len(r.Exceptions) != 1 || r.Exceptions[0].Ticket != "T-77" || r.Exceptions[0].Approver != "The CIO" || r.Exceptions[0].Count != 1 {
		t.Errorf("%+v", r.Exceptions)
	}
	if b.TitleFR != "Interdiction no-chat" || b.Instrument == "" || len(r.Nodes) != 1 || r.Nodes[0].Runs != 2 || len(r.Coverage) != 1 || r.Coverage[0].Sink != "store" {
		t.Errorf("%+v %+v %+v", b, r.Nodes, r.Coverage)
	}
}

// TestSourcesAgree: files of events give what the store gives; and what a store, its
// copy, files, and compressed files have in common counts once.
func TestSourcesAgree(t *testing.T) {
	t.Parallel()
	n := reporttest.New(t, t.TempDir(), "ottawa-1", time.Date(2026, 10, 30, 0, 0, 0, 0, time.UTC))
	month(t, n)
	path := n.Close()
	dir := t.TempDir()
	lines := filepath.Join(dir, "events.json")
	zipped := filepath.Join(dir, "events.json.gz")
	copied := filepath.Join(dir, "copy.db")
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(n.Lines.Bytes())
	z.Close()
	store, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{lines: n.Lines.Bytes(), zipped: b.Bytes(), copied: store} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	is := november(t, path)
	for what, paths := range map[string][]string{"a file": {lines}, "all": {lines, path, zipped, copied}, "a file twice": {zipped, lines}, "a store with its file": {path, lines}} {
		got := november(t, paths...)
		a, c := ban(t, is, "no-chat"), ban(t, got, "no-chat")
		if a.Counts != c.Counts || a.Devices != c.Devices || fmt.Sprint(a.Days) != fmt.Sprint(c.Days) || fmt.Sprint(a.Names) != fmt.Sprint(c.Names) || fmt.Sprint(a.Rules) != fmt.Sprint(c.Rules) {
			t.Errorf("%s: %+v\nwant %+v", what, c, a)
		}
		if len(c.Nodes) != 1 || c.Nodes[0].InForce != a.Nodes[0].InForce || fmt.Sprint(c.Nodes[0].Gaps) != fmt.Sprint(a.Nodes[0].Gaps) {
			t.Errorf("%s: %+v\nwant %+v", what, c.Nodes, a.Nodes)
		}
	}
}

// TestNodes: nodes are told apart, and counted together.
func TestNodes(t *testing.T) {
	t.Parallel()
	a := reporttest.New(t, t.TempDir(), "ottawa-1", time.Date(2026, 10, 30, 0, 0, 0, 0, time.UTC))
	b := reporttest.New(t, t.TempDir(), "ottawa-2", time.Date(2026, 11, 15, 0, 0, 0, 0, time.UTC))
	month(t, a)
	b.Act(act.Start, reporttest.Ban("no-chat", "enforce"))
	b.Query("no-chat", "192.0.2.1", "h1.chat.example", nil)
	b.Until(time.Date(2026, 12, 2, 0, 0, 0, 0, time.UTC))
	r := november(t, a.Close(), b.Close())
	x := ban(t, r, "no-chat")
	if len(x.Nodes) != 2 || x.Blocked != 31 || x.Nodes[1].Node != "ottawa-2" || x.Nodes[1].NotInForce != 0 || x.Nodes[1].Unknown != (13*24+20)*60 {
		t.Errorf("%+v", x.Nodes)
	}
}

// TestPeriod: days are whole days of the zone.
func TestPeriod(t *testing.T) {
	t.Parallel()
	if zone == nil {
		t.Skip("this system has no time zones")
	}
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct{ from, to, want string }{
		{"2026-11-01", "2026-11-30", "2026-11-01T00:00:00-04:00 2026-12-01T00:00:00-05:00"},
		{"", "", "2026-10-31T00:00:00-04:00 2026-11-30T07:00:00-05:00"},
		{"2026-11-01T00:00:00Z", "2026-11-01T01:00:00Z", "2026-10-31T20:00:00-04:00 2026-10-31T21:00:00-04:00"},
		{"2026-11-30", "2026-11-01", "is not before"}, {"yesterday", "", "neither a day"}, {"1900-01-01", "", "more than 20 years"},
	} {
		from, to, err := report.Period(test.from, test.to, zone, now)
		got := from.Format(time.RFC3339) + " " + to.Format(time.RFC3339)
		if err != nil {
			got = err.Error()
		}
		if !bytes.Contains([]byte(got), []byte(test.want)) {
			t.Errorf("%s to %s: %s, want %s", test.from, test.to, got, test.want)
		}
	}
}
