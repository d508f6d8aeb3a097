package server_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver/audit/inforce"
	"rideau/resolver/audit/store"
)

// stored reads the store of a server.
func stored(t *testing.T, path string) (events []store.Event, minutes []store.Minutes, sinks []store.Counts) {
	t.Helper()
	r, err := store.Open(t.Context(), path, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if events, err = r.Events(t.Context(), store.Filter{}); err != nil {
		t.Fatal(err)
	}
	if minutes, err = r.Minutes(t.Context(), time.Unix(0, 0), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if sinks, err = r.Sinks(t.Context(), time.Unix(0, 0), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	return events, minutes, sinks
}

// TestStore: the store has the queries that a ban decided, for how long it was in
// force over a stop and a reload, and what it was offered; and sqlite3 reads it.
func TestStore(t *testing.T) {
	s, text := startAnswering(t)
	with := text + "evidence: {store: {path: kept/evidence.db, clients: address}}\n"
	s.write("rideau.yaml", with)
	if _, err := s.Reload(t.Context(), "the test"); err != nil {
		t.Fatal(err)
	}
	s.answers("a.example.", dns.RcodeNameError)
	s.answers("b.example.", dns.RcodeSuccess)
	s.write("rideau.yaml", strings.Replace(with, "lists: [list]}", "lists: [list], mode: monitor}", 1))
	if _, err := s.Reload(t.Context(), "the test"); err != nil {
		t.Fatal(err)
	}
	s.answers("a.example.", dns.RcodeSuccess)
	s.stop()
	host, _ := os.Hostname()
	path := s.path("kept/evidence.db")
	events, minutes, sinks := stored(t, path)
	if len(events) < 2 || events[0].Verdict != "monitored" || events[len(events)-1].Verdict != "blocked" || events[0].Name != "a.example." || !strings.HasPrefix(events[0].Client, "127.") {
		t.Errorf("events: %+v", events)
	}
	var states []inforce.State
	for _, m := range minutes {
		if states = append(states, m.State); m.Open || m.Node != host || len(m.Lists) != 1 || len(m.Lists[0].Hash) != 64 || m.Config == "" {
			t.Errorf("%+v", m)
		}
	}
	if len(states) != 2 || states[0] != inforce.Enforced || states[1] != inforce.Monitor || !minutes[0].To().Equal(minutes[1].From) {
		t.Errorf("minutes: %+v", minutes)
	}
	if len(sinks) != 1 || sinks[0].Name != "store" || sinks[0].Offered < uint64(len(events)) || len(sinks[0].Dropped) > 0 {
		t.Errorf("sinks: %+v", sinks)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	sqlite, err := exec.LookPath("sqlite3")
	if err != nil {
		t.Skip("sqlite3 is not installed")
	}
	out, err := exec.CommandContext(t.Context(), sqlite, "-readonly", path,
		"SELECT verdict, name FROM event_list ORDER BY time LIMIT 1; SELECT state, node FROM in_force ORDER BY since LIMIT 1; PRAGMA integrity_check").CombinedOutput()
	if want := "blocked|a.example.\nenforced|" + host + "\nok\n"; err != nil || string(out) != want {
		t.Errorf("sqlite3 says %q, want %q, %v", out, want, err)
	}
}

// TestStoreFull: a full disk delays no answer; what the store cannot take is counted,
// and it goes on when there is space.
func TestStoreFull(t *testing.T) {
	s, text := startAnswering(t)
	if err := os.Mkdir(s.path("kept"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", s.path("kept"), "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("a small disk cannot be had here: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(s.path("kept"), syscall.MNT_DETACH) })
	s.write("rideau.yaml", text+"evidence: {store: {path: kept/evidence.db, clients: address}}\n")
	if _, err := s.Reload(t.Context(), "the test"); err != nil {
		t.Fatal(err)
	}
	s.answers("a.example.", dns.RcodeNameError)
	is := func(what string, ok func() bool) {
		t.Helper()
		for range 500 {
			if ok() {
				return
			}
			s.answers("a.example.", dns.RcodeNameError)
			time.Sleep(10 * time.Millisecond)
		}
		t.Error(what)
	}
	path := s.path("kept/evidence.db")
	is("the store does not begin", func() bool { _, err := os.Stat(path + "-wal"); return err == nil })
	fill := filepath.Join(s.path("kept"), "fill")
	f, err := os.Create(fill)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	f.Close()
	lost := func() bool {
		for line := range strings.Lines(s.get("/metrics")) {
			if strings.HasPrefix(line, "rideau_sink_dropped_total{") && strings.Contains(line, `sink="store"`) && !strings.HasSuffix(line, " 0\n") {
				return true
			}
		}
		return false
	}
	is("nothing is counted as lost on a full disk", lost)
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	freed := time.Now()
	is("the store does not go on", func() bool {
		r, err := store.Open(t.Context(), path, 0)
		if err != nil {
			return false
		}
		defer r.Close()
		e, err := r.Events(t.Context(), store.Filter{From: freed})
		return err == nil && len(e) > 0
	})
	s.stop()
	if _, minutes, _ := stored(t, path); len(minutes) != 1 || minutes[0].State != inforce.Enforced {
		t.Errorf("minutes: %+v", minutes)
	}
}
