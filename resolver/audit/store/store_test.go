package store_test

import (
	"bytes"
	"database/sql"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rideau/resolver"
	"rideau/resolver/audit"
	"rideau/resolver/audit/act"
	"rideau/resolver/audit/inforce"
	"rideau/resolver/audit/names"
	"rideau/resolver/audit/read"
	"rideau/resolver/audit/schema"
	"rideau/resolver/audit/store"
)

// node is a run of a program with a clock that the test sets.
type node struct {
	t      testing.TB
	o      store.Options
	w      *store.Writer
	e      *schema.Rideau
	now    time.Time
	up     time.Duration
	number uint64
	log    bytes.Buffer
}

var began = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// newNode begins a run with a store in dir.
func newNode(t testing.TB, dir, run string, at time.Time) *node {
	n := &node{t: t, now: at}
	n.o = store.Options{Path: filepath.Join(dir, "evidence.db"), Searchable: 180, Days: 400, MaxBytes: 1 << 30, Run: run, Node: "ottawa-1", Version: "1.0",
		Now: func() time.Time { return n.now }, Uptime: func() time.Duration { return n.up }, Logger: slog.New(slog.NewTextHandler(&n.log, nil))}
	n.w = store.NewWriter(n.o)
	n.e = schema.NewRideau(&schema.Node{Name: "ottawa-1", Run: run, Version: "1.0", TypeName: func(uint16) string { return "A" }, RcodeName: func(uint16) string { return "NXDOMAIN" }})
	t.Cleanup(func() { n.w.Close() })
	return n
}

func (n *node) pass(d time.Duration) { n.now, n.up = n.now.Add(d), n.up+d }

// write offers events until all are taken.
func (n *node) write(lines ...[]byte) {
	n.t.Helper()
	if taken, err := n.w.Write(n.t.Context(), lines); err != nil || taken != len(lines) {
		n.t.Fatalf("%d of %d events were taken: %v", taken, len(lines), err)
	}
}

func (n *node) settle(last bool) {
	n.t.Helper()
	if err := n.w.Settle(n.t.Context(), last); err != nil {
		n.t.Fatal(err)
	}
}

// query is the event of a query for a name in text, such as www.chat.example.
func (n *node) query(ban, client, name string, change ...func(*audit.Record)) []byte {
	n.number++
	r := audit.Record{Number: n.number, Time: n.now.Add(time.Duration(n.number%1000) * time.Microsecond), Client: netip.MustParseAddr(client), Group: "staff", Type: 1, Transport: resolver.UDP, Outcome: resolver.Blocked, Rcode: 3,
		Ban: ban, List: "list-" + ban, Policy: names.Policy{Generation: 1, Fingerprint: "fp"}}
	var wire []byte
	for label := range strings.SplitSeq(name, ".") {
		wire = append(append(wire, byte(len(label))), label...)
	}
	r.SetName(append(wire, 0))
	for _, c := range change {
		c(&r)
	}
	return n.e.Query(nil, &r)
}

// act is an act after which bans have these modes, as in "no-chat enforce".
func (n *node) act(kind act.Kind, modes ...string) []byte {
	n.number++
	a := act.Act{Number: n.number, Time: n.now, Kind: kind, Actor: act.Actor{Way: act.ByItself}, Config: "c0ffee", Uptime: n.up}
	for _, m := range modes {
		id, mode, _ := strings.Cut(m, " ")
		a.Bans = append(a.Bans, act.Ban{ID: id, Mode: mode, Enforced: mode == "enforce", Lists: []act.List{{ID: "list-" + id, Hash: "abc", Entries: 3}}})
	}
	return n.e.Act(nil, &a)
}

func (n *node) reader() *store.Reader {
	n.t.Helper()
	r, err := store.Open(n.t.Context(), n.o.Path, 10*time.Second)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { r.Close() })
	return r
}

func (n *node) events(f store.Filter) []store.Event {
	n.t.Helper()
	out, err := n.reader().Events(n.t.Context(), f)
	if err != nil {
		n.t.Fatal(err)
	}
	return out
}

// scan reads one value with a connection of the test's own.
func (n *node) scan(query string, args ...any) (out int64) {
	n.t.Helper()
	db, err := sql.Open("sqlite", n.o.Path)
	if err != nil {
		n.t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow(query, args...).Scan(&out); err != nil {
		n.t.Fatalf("%s: %v", query, err)
	}
	return out
}

// TestEvents: what was written is found by ban, client, name, rule and time, page
// by page, and an event that arrives twice is there once.
func TestEvents(t *testing.T) {
	t.Parallel()
	n := newNode(t, filepath.Join(t.TempDir(), "state #1?"), "r1", began)
	var lines [][]byte
	for i := range 50 {
		ban, x := "no-chat", (*names.Exception)(nil)
		if i%10 == 0 {
			ban, x = "no-av", &names.Exception{ID: "x-1", Ticket: "T-1", Approver: "CIO"}
		}
		lines = append(lines, n.query(ban, fmt.Sprintf("192.0.2.%d", i%5), fmt.Sprintf("h%d.%s.example", i%7, ban), func(r *audit.Record) { r.Exception = x }))
		if i%3 == 0 {
			n.pass(time.Hour)
		}
	}
	n.write(lines...)
	n.write(lines[10:20]...) // once more
	for _, test := range []struct {
		name string
		f    store.Filter
		want int
	}{
		{"all", store.Filter{}, 50},
		{"a ban", store.Filter{Ban: "no-av"}, 5},
		{"a client", store.Filter{Client: "192.0.2.3"}, 10},
		{"a name", store.Filter{Name: "h3.no-chat.example."}, 6},
		{"names below", store.Filter{Name: "no-chat.example.", Below: true}, 45},
		{"no name below", store.Filter{Name: "chat.example.", Below: true}, 0},
		{"excepted", store.Filter{Verdict: read.Excepted}, 5},
		{"a group", store.Filter{Group: "guests"}, 0},
		{"an hour", store.Filter{From: began, To: began.Add(time.Hour)}, 1},
		{"two hours", store.Filter{From: began, To: began.Add(2 * time.Hour)}, 4},
		{"a limit", store.Filter{Limit: 7}, 7},
		{"hostile", store.Filter{Ban: "' OR 1=1 --"}, 0},
	} {
		if got := n.events(test.f); len(got) != test.want {
			t.Errorf("%s: %d events, want %d", test.name, len(got), test.want)
		}
	}
	// Pages, in both orders.
	for _, oldest := range []bool{false, true} {
		seen, after := map[uint64]bool{}, int64(0)
		for {
			page := n.events(store.Filter{Limit: 8, After: after, Oldest: oldest})
			for i, e := range page {
				if seen[e.Number] || i > 0 && page[i-1].Time.After(e.Time) == oldest && !page[i-1].Time.Equal(e.Time) {
					t.Errorf("oldest %v: %v", oldest, e)
				}
				seen[e.Number], after = true, e.Cursor
			}
			if len(page) == 0 {
				break
			}
		}
		if len(seen) != 50 {
			t.Errorf("%d events on all pages", len(seen))
		}
	}
	e := n.events(store.Filter{Ban: "no-av", Oldest: true})[0]
	if e.Run != "r1" || e.Node != "ottawa-1" || e.Client != "192.0.2.0" || e.Ticket != "T-1" || e.Approver != "CIO" || e.Name != "h0.no-av.example." || e.Fingerprint != "fp" {
		t.Errorf("%+v", e)
	}
	// The counts of hours are those of the events.
	var total int64
	if err := n.reader().Hours(t.Context(), began, n.now.Add(time.Hour), func(h *store.Hour) { total += h.Events }); err != nil || total != 50 {
		t.Errorf("hours have %d events, %v", total, err)
	}
	for _, path := range []string{n.o.Path, n.o.Path + "-wal", n.o.Path + ".lock"} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
}

// TestIndex: events of a ban, a client, a name or a rule are found by an index, and
// in the order of time without sorting.
func TestIndex(t *testing.T) {
	t.Parallel()
	n := newNode(t, t.TempDir(), "r1", began)
	n.write(n.query("no-chat", "192.0.2.1", "chat.example"))
	db, err := sql.Open("sqlite", n.o.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for index, f := range map[string]store.Filter{
		"events_ban": {Ban: "b", From: began, To: n.now}, "events_client": {Client: "c", From: began}, "events_name": {Name: "n."}, "events_rule": {Rule: "r."},
		"PRIMARY KEY": {From: began, After: 7},
	} {
		query, args := store.FilterQuery(&f)
		rows, err := db.Query("EXPLAIN QUERY PLAN "+query, args...)
		if err != nil {
			t.Fatal(err)
		}
		var plan strings.Builder
		for rows.Next() {
			var a, b, c int
			var detail string
			if err := rows.Scan(&a, &b, &c, &detail); err != nil {
				t.Fatal(err)
			}
			plan.WriteString(detail + "\n")
		}
		rows.Close()
		if text := plan.String(); !strings.Contains(text, "SEARCH e USING") || !strings.Contains(text, index) || strings.Contains(text, "TEMP B-TREE") {
			t.Errorf("%s:\n%s", index, text)
		}
	}
}

// TestRetention: an event loses its client and its name after the days in which it
// can be searched, in the events and in the counts, and is removed later. The file
// shrinks.
func TestRetention(t *testing.T) {
	t.Parallel()
	if race {
		t.Skip("one goroutine with many events: it runs without the race detector")
	}
	n := newNode(t, t.TempDir(), "r1", began)
	n.write(n.act(act.Start, "no-chat enforce"), n.act(act.PageShown))
	for range 20 {
		var lines [][]byte
		for i := range 100 {
			lines = append(lines, n.query("no-chat", fmt.Sprintf("192.0.2.%d", i%200), fmt.Sprintf("a-name-of-some-length-%d.chat.example", i)))
		}
		n.write(lines...)
		n.pass(time.Hour)
	}
	at := func(d time.Duration) {
		n.now = began.Add(d)
		n.up += 25 * time.Hour
		for range 30 {
			n.settle(false)
		}
	}
	count := func(what string, want int64, query string) {
		t.Helper()
		if got := n.scan(query); got != want {
			t.Errorf("%s: %d, want %d", what, got, want)
		}
	}
	at(180 * 24 * time.Hour)
	count("searchable on the last day", 2_000, "SELECT count(*) FROM events WHERE client IS NOT NULL AND name IS NOT NULL")
	count("visits on the last day", 1, "SELECT count(*) FROM acts WHERE kind = 'page_shown'")
	at(180*24*time.Hour + 10*time.Hour)
	count("reduced in part", 1_000, "SELECT count(*) FROM events WHERE client IS NULL AND name IS NULL")
	at(182 * 24 * time.Hour)
	count("visits of the block page", 0, "SELECT count(*) FROM acts WHERE kind = 'page_shown'")
	count("reduced", 0, "SELECT count(*) FROM events WHERE client IS NOT NULL OR name IS NOT NULL")
	count("counts of reduced", 0, "SELECT count(*) FROM hours WHERE client <> '' OR name <> ''")
	count("rows of reduced counts", 20, "SELECT count(*) FROM hours")
	count("events in the counts", 2_000, "SELECT sum(events) FROM hours")
	full := n.w.Stats().Bytes
	for _, path := range []string{n.o.Path, n.o.Path + "-wal"} {
		text, err := os.ReadFile(path)
		if i := bytes.Index(text, []byte("a-name-of-some-length")); err != nil || i >= 0 {
			t.Errorf("%s still has a name that was removed: %q at %d of %d (%v)", path, text[i-50:i+50], i, len(text), err)
		}
	}
	at(402 * 24 * time.Hour)
	count("removed", 0, "SELECT (SELECT count(*) FROM events) + (SELECT count(*) FROM hours) + (SELECT count(*) FROM acts)")
	if s := n.w.Stats(); s.Bytes > full/4 || s.Removed != 2_000 || s.Reduced != 2_000 || s.Early != 0 || !s.Oldest.IsZero() {
		t.Errorf("%+v, and the file had %d octets before", s, full)
	}
	n.settle(true)
	n.w.Close()
	if info, err := os.Stat(n.o.Path); err != nil || info.Size() > full/4 {
		t.Errorf("the file has %d octets, and had %d (%v)", info.Size(), full, err)
	}
}

// TestCrowded: a file that would be too large loses its oldest events, and says so.
func TestCrowded(t *testing.T) {
	t.Parallel()
	if race {
		t.Skip("one goroutine with many events: it runs without the race detector")
	}
	n := newNode(t, t.TempDir(), "r1", began)
	n.o.MaxBytes = 300 << 10
	n.w = store.NewWriter(n.o)
	for range 10 {
		var lines [][]byte
		for i := range 200 {
			lines = append(lines, n.query("no-chat", fmt.Sprintf("192.0.2.%d", i%200), fmt.Sprintf("n%d.chat.example", i)))
		}
		n.write(lines...)
		n.pass(2 * time.Hour)
		n.settle(false)
	}
	for range 30 {
		n.settle(false)
	}
	left := n.scan("SELECT count(*) FROM events")
	if s := n.w.Stats(); s.Bytes > 300<<10 || s.Early == 0 || left < 200 || !strings.Contains(n.log.String(), "largest size") {
		t.Errorf("%+v, %d events, log %s", s, left, n.log.String())
	}
	if last := n.events(store.Filter{Limit: 1}); len(last) != 1 || last[0].Number <= n.number-200 {
		t.Errorf("the last event is gone: %+v", last)
	}
}

// TestWrongClock: a clock that is distrusted, or that is months ahead after a
// restart, removes nothing.
func TestWrongClock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := newNode(t, dir, "r1", began)
	n.write(n.act(act.Start, "no-chat enforce"), n.query("no-chat", "192.0.2.1", "chat.example"))
	n.settle(true)
	n.w.Close()
	n = newNode(t, dir, "r2", began.AddDate(9, 0, 0))
	n.write(n.act(act.Start, "no-chat enforce"))
	n.settle(false)
	if len(n.events(store.Filter{Client: "192.0.2.1"})) != 1 {
		t.Error("a clock that is ahead removed an event at the start")
	}
	n.up += 25 * time.Hour
	distrusted := true
	n.o.Distrusted = func() bool { return distrusted }
	n.w.Close()
	n.w = store.NewWriter(n.o)
	n.settle(false)
	if len(n.events(store.Filter{Client: "192.0.2.1"})) != 1 {
		t.Error("a clock that is distrusted removed an event")
	}
	distrusted = false
	n.settle(false)
	if len(n.events(store.Filter{})) != 0 {
		t.Error("nothing was removed")
	}
}

// TestDamage: a damaged file, or another program's, is never written to; a damaged
// one is moved aside, and a new one begins.
func TestDamage(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(text []byte) []byte{
		"no database": func([]byte) []byte {
			return []byte("this is no database, but a text of more than a hundred octets " + strings.Repeat("x", 100))
		},
		"zeros":  func(b []byte) []byte { clear(b[100:]); return b },
		"cut":    func(b []byte) []byte { return b[:len(b)/3] },
		"a page": func(b []byte) []byte { copy(b[4096*3:], bytes.Repeat([]byte{0xa5}, 4096*20)); return b },
	} {
		dir := t.TempDir()
		n := newNode(t, dir, "r1", began)
		n.write(n.act(act.Start, "no-chat enforce"))
		var lines [][]byte
		for i := range 300 {
			lines = append(lines, n.query("no-chat", "192.0.2.1", fmt.Sprintf("n%d.chat.example", i)))
		}
		n.write(lines...)
		n.settle(true)
		n.w.Close()
		text, err := os.ReadFile(n.o.Path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(n.o.Path, damage(text), 0o600); err != nil {
			t.Fatal(err)
		}
		n = newNode(t, dir, "r2", began.Add(time.Hour))
		// The damage may be found at once or by a later write; what is offered again is taken then.
		line, taken := n.query("no-chat", "192.0.2.7", "chat.example"), false
		start := n.act(act.Start, "no-chat enforce")
		for range 3 {
			if k, err := n.w.Write(t.Context(), [][]byte{start, line}); err == nil && k == 2 {
				taken = true
				break
			}
		}
		if !taken || len(n.events(store.Filter{Client: "192.0.2.7"})) != 1 {
			t.Errorf("%s: the event is not in the store", name)
		}
		aside, _ := filepath.Glob(n.o.Path + ".damaged-*Z")
		if len(aside) != 1 || !strings.Contains(n.log.String(), "moved aside") {
			t.Errorf("%s: aside are %v; the log says %s", name, aside, n.log.String())
		}
	}
}

// TestForeign: a database of another program, or of a later version, is left alone.
func TestForeign(t *testing.T) {
	t.Parallel()
	for want, statement := range map[string]string{
		"another program": "CREATE TABLE t(x); PRAGMA user_version=1",
		"newer rideau":    "CREATE TABLE t(x); PRAGMA application_id=0x52696478; PRAGMA user_version=1000",
	} {
		n := newNode(t, t.TempDir(), "r1", began)
		db, err := sql.Open("sqlite", n.o.Path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
		db.Close()
		before, _ := os.ReadFile(n.o.Path)
		if _, err := n.w.Write(t.Context(), [][]byte{n.query("b", "192.0.2.1", "x")}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
		if _, err := store.Open(t.Context(), n.o.Path, 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: reading: %v", want, err)
		}
		if after, _ := os.ReadFile(n.o.Path); !bytes.Equal(before, after) {
			t.Errorf("%s: the file was written to", want)
		}
	}
}

// TestGone: if somebody removes the file, a new one begins, and has what is in force.
func TestGone(t *testing.T) {
	t.Parallel()
	n := newNode(t, t.TempDir(), "r1", began)
	n.write(n.act(act.Start, "no-chat enforce"))
	n.pass(2 * time.Minute)
	if err := os.Remove(n.o.Path); err != nil {
		t.Fatal(err)
	}
	n.settle(false)
	m, err := n.reader().Minutes(t.Context(), began, n.now)
	if err != nil || len(m) != 1 || m[0].State != inforce.Enforced || m[0].Elapsed() < time.Minute {
		t.Errorf("%+v, %v", m, err)
	}
}

// TestLocked: two servers never write to one store.
func TestLocked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b := newNode(t, dir, "r1", began), newNode(t, dir, "r2", began)
	a.write(a.query("b", "192.0.2.1", "x"))
	if _, err := b.w.Write(t.Context(), [][]byte{b.query("b", "192.0.2.1", "x")}); err == nil || !strings.Contains(err.Error(), "another rideau") {
		t.Error(err)
	}
	a.w.Close()
	b.write(b.query("b", "192.0.2.1", "y"))
}

// TestFull: a full disk is an error for each batch, of which nothing stays, and
// when there is space, the store goes on.
func TestFull(t *testing.T) {
	t.Parallel()
	n := newNode(t, t.TempDir(), "r1", began)
	n.write(n.act(act.Start, "no-chat enforce"), n.query("no-chat", "192.0.2.1", "x"))
	store.MaxPages(n.w, 40)
	var lines [][]byte
	for i := range 500 {
		lines = append(lines, n.query("no-chat", "192.0.2.9", fmt.Sprintf("name-%d.chat.example", i)))
	}
	if k, err := n.w.Write(t.Context(), lines); err == nil || k != 0 || !strings.Contains(err.Error(), "full") {
		t.Fatalf("%d, %v", k, err)
	}
	if got := len(n.events(store.Filter{})); got != 1 {
		t.Errorf("%d events", got)
	}
	store.MaxPages(n.w, 1<<30)
	n.write(lines...)
	if got := n.scan("SELECT count(*) FROM events"); got != 501 {
		t.Errorf("%d events", got)
	}
	if got := n.scan("SELECT sum(events) FROM hours"); got != 501 {
		t.Errorf("hours have %d events", got)
	}
}

// TestBound: a reader's time is bounded.
func TestBound(t *testing.T) {
	t.Parallel()
	n := newNode(t, t.TempDir(), "r1", began)
	n.write(n.query("no-chat", "192.0.2.1", "x"))
	r, err := store.Open(t.Context(), n.o.Path, 50*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	begun := time.Now()
	if err := store.Spin(t.Context(), r); err == nil || time.Since(begun) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(begun))
	}
	if len(n.events(store.Filter{})) != 1 {
		t.Error("nothing can be read afterwards")
	}
}
