package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/cmd/rideau/internal/reason"
	"rideau/resolver/resolvertest"
)

// TestQueryLog: every finished query is in the log with its outcome, SIGHUP begins a
// new file after a rotation, a reload turns the log off and on, and simulate reads
// it.
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
	reloads := p.metric(`rideau_reloads_total{result="success"}`)
	began = time.Now()
	p.signal(syscall.SIGHUP)
	p.within(began, "a new log", func() (string, bool) { _, err := os.Stat(file); return fmt.Sprint(err), err == nil })
	// The file is made first, and written to only when nothing can fail any more.
	p.within(began, "the reload", func() (string, bool) {
		n := p.metric(`rideau_reloads_total{result="success"}`)
		return fmt.Sprint(n), n > reloads
	})
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
	var sim reason.Simulation
	if err := json.Unmarshal(out, &sim); err != nil {
		t.Fatal(err)
	}
	if sim.Queries != 4 || sim.Changes[0].Queries != 1 || sim.Same.Special != 1 || sim.Logs[0].Unread+sim.Logs[1].Unread != 0 {
		t.Errorf("%s", out)
	}
}

// TestQueryLogAtStop: the log has every query that was answered, those included
// that ended while the server stopped.
func TestQueryLogAtStop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.config(func(s *settings) { s.level = "info, queries: queries.log" })
	p := start(t, w.dir)
	w.upstream.Hold()
	pending := make(chan *dns.Msg, 1)
	go func() {
		m := new(dns.Msg).SetQuestion("plain.example.", dns.TypeA)
		c := dns.Client{Timeout: 10 * time.Second}
		resp, _, _ := c.Exchange(m, p.dns[0])
		pending <- resp
	}()
	p.within(time.Now(), "a query upstream", func() (string, bool) {
		got := w.upstream.Queries()
		return fmt.Sprint(got), slices.ContainsFunc(got, func(a resolvertest.Asked) bool { return strings.EqualFold(a.Name, "plain.example.") })
	})
	const blocked = 40
	for range blocked {
		p.ask("udp", "banned.example", dns.TypeA)
	}
	began := time.Now()
	p.signal(syscall.SIGTERM)
	p.logs(began, `msg="stopping`)
	w.upstream.Release()
	if resp := <-pending; resp == nil || resp.Rcode != dns.RcodeSuccess {
		t.Errorf("the pending query got %v", resp)
	}
	select {
	case <-p.ended:
	case <-time.After(10 * time.Second):
		t.Error("it did not stop")
	}
	text, err := os.ReadFile(filepath.Join(w.dir, "queries.log"))
	if err != nil {
		t.Fatal(err)
	}
	log := string(text)
	if n := strings.Count(log, `"outcome":"blocked"`); n != blocked {
		t.Errorf("%d of %d blocked queries are in the log", n, blocked)
	}
	if n := strings.Count(log, `"name":"plain.example."`); n != 1 {
		t.Errorf("the pending query is in the log %d times:\n%s", n, log)
	}
}
