package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/blocklists"
	"rideau/config"
	"rideau/resolver"
	"rideau/resolver/cache"
)

// TestQueryLog: every query that ended is in the log with what became of it,
// a rotated log is written anew after SIGHUP, a reload can turn it off and on,
// and simulate reads it.
func TestQueryLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.config(func(s *settings) { s.level = "info, queries: queries.log" })
	p := start(t, w.dir)
	file := filepath.Join(w.dir, "queries.log")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the log: %v, %v", info, err)
	}
	holds := func(began time.Time, file string, want ...string) {
		t.Helper()
		p.within(began, strings.Join(want, ", "), func() (string, bool) {
			text, _ := os.ReadFile(file)
			var got []string
			for line := range strings.Lines(string(text)) {
				var q struct{ Time, Client, Group, Name, Type, Transport, Outcome, Ban string }
				if err := json.Unmarshal([]byte(line), &q); err != nil {
					return err.Error(), false
				}
				if _, err := time.Parse(time.RFC3339Nano, q.Time); err != nil || q.Client != "127.0.0.1" || q.Group != "all" {
					return line, false
				}
				got = append(got, strings.TrimSpace(fmt.Sprintln(q.Name, q.Type, q.Transport, q.Outcome, q.Ban)))
			}
			slices.Sort(got) // those of different workers stand in any order
			return strings.Join(got, ", "), slices.Equal(got, want)
		})
	}
	began := time.Now()
	p.ask("udp", "Banned.example", dns.TypeA)
	p.ask("udp", "plain.example", dns.TypeA)
	p.ask("tcp", "plain.example", dns.TypeA)
	want := []string{"banned.example. A udp blocked ban", "plain.example. A tcp cached", "plain.example. A udp forwarded"}
	holds(began, file, want...)

	old := file + ".1"
	if err := os.Rename(file, old); err != nil {
		t.Fatal(err)
	}
	began = time.Now()
	p.signal(syscall.SIGHUP)
	p.within(began, "a new log", func() (string, bool) { _, err := os.Stat(file); return fmt.Sprint(err), err == nil })
	p.ask("udp", "localhost", dns.TypeAAAA)
	holds(time.Now(), file, "localhost. AAAA udp special")
	holds(time.Now(), old, want...)

	w.config(func(s *settings) { s.level = "info, queries: absent/queries.log" })
	p.logs(time.Now(), `log\.queries: open .*absent.*make its folder`)
	w.config(func(s *settings) { s.level = "info" })
	p.logs(time.Now(), `level=INFO msg=reloaded`)
	if _, r := p.reload(""); !r.OK {
		t.Fatalf("%+v", r)
	}
	p.ask("udp", "plain.example", dns.TypeA)
	time.Sleep(100 * time.Millisecond) // sleeps: nothing is written, in several times what the writer takes
	holds(time.Now(), file, "localhost. AAAA udp special")
	if _, text := p.get("/metrics"); !strings.Contains(text, "\nrideau_query_log_lost_total 0\n") {
		t.Error("the metrics lack the lost queries, or there are some")
	}

	out, err := rideau(t.Context(), w.dir, "simulate", "--config", "rideau.yaml", "--json", "--log", old, file).Output()
	if err != nil {
		t.Fatal(err)
	}
	var sim simulation
	if err := json.Unmarshal(out, &sim); err != nil {
		t.Fatal(err)
	}
	if sim.Queries != 4 || sim.Changes[0].Queries != 1 || sim.Same.Special != 1 || sim.Logs[0].Unread+sim.Logs[1].Unread != 0 {
		t.Errorf("%s", out)
	}
}

// TestQueryLine: whatever a name, a group and a ban are called, the line is JSON.
func TestQueryLine(t *testing.T) {
	q := resolver.LoggedQuery{Received: time.Unix(0, 0), Client: netip.MustParseAddr("fd00::1"), Group: []byte(`la"b`),
		Name: []byte("\x03a.\"\x01\xff\x00"), Type: 65, Kind: resolver.Blocked, Ban: []byte("é"), Monitored: true, Excepted: true}
	line := appendQuery(nil, &q)
	var got map[string]any
	if err := json.Unmarshal(line, &got); err != nil || bytes.Count(line, []byte("\n")) != 1 {
		t.Fatalf("%s: %v", line, err)
	}
	want := map[string]any{"time": "1970-01-01T00:00:00.000000Z", "client": "fd00::1", "group": `la"b`, "name": `a\.\".\255.`, "type": "HTTPS",
		"transport": "udp", "outcome": "blocked", "ban": "é", "monitored": true, "excepted": true}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s", line)
	}
}

// TestQueryLogCannotBeWritten: what is not written is counted as lost.
func TestQueryLogCannotBeWritten(t *testing.T) {
	f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("this system has no /dev/full")
	}
	snap, _, err := loadPolicy(t.Context(), config.Default(), nil, new(blocklists.Slots), false)
	if err != nil {
		t.Fatal(err)
	}
	st, err := simulatedState(config.Default(), snap)
	if err != nil {
		t.Fatal(err)
	}
	r := resolver.New(resolver.Options{State: st, Cache: cache.New(cache.Options{})})
	counters := r.Stats().NewCounters()
	l := newQueryLog(r.Stats(), slog.New(slog.DiscardHandler))
	l.use(f)
	msg, err := new(dns.Msg).SetQuestion("web.wechat.com.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		q := resolver.Query{Msg: msg, Client: netip.MustParseAddr("127.0.0.1"), Received: time.Now()}
		_, o := r.Answer(nil, &q)
		counters.Observe(&q, o, 0)
	}
	l.use(nil)
	if l.lost() != 3 {
		t.Errorf("%d lost of 3", l.lost())
	}
}
