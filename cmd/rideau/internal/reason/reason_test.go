package reason_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"rideau/cmd/rideau/internal/reason"
	"rideau/cmd/rideau/internal/setup"
	"rideau/config"
	"rideau/resolver/wire"
)

// load parses a configuration and reads its lists.
func load(t *testing.T, text string) reason.Policy {
	t.Helper()
	cfg, err := config.Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	snap, _, err := setup.LoadPolicy(t.Context(), cfg, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return reason.Policy{Config: cfg, Snapshot: snap}
}

// policyText has a ban for everybody, one in monitor mode, and an exception.
const policyText = `
upstream: {servers: [192.0.2.1]}
groups: [{id: kids, clients: [10.1.0.0/16]}]
lists:
  - {id: l, names: [bad.example, www.bad.example]}
  - {id: m, names: [watched.example]}
bans:
  - {id: b, title: {en: B}, lists: [l]}
  - {id: m, title: {en: M}, mode: monitor, lists: [m]}
exceptions: [{id: e, title: {en: E}, reason: r, approver: A, groups: [kids], names: [free.bad.example], expires: 2099-01-01}]
`

// explain explains a name of type A for a client.
func explain(t *testing.T, p reason.Policy, name, client string) *reason.Explanation {
	t.Helper()
	n := new(wire.Name)
	if err := n.SetText(name); err != nil {
		t.Fatal(err)
	}
	e, err := reason.Explain(p.Config, p.Snapshot, reason.Question{Name: n, Type: wire.TypeA, Client: netip.MustParseAddr(client)})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestExplain: the verdict, the ban and the rule are values, and the same policy can
// be asked from many goroutines at once.
func TestExplain(t *testing.T) {
	p := load(t, policyText)
	var all sync.WaitGroup
	for _, c := range []struct{ name, client, verdict, ban, entry string }{
		{"x.bad.example", "127.0.0.1", "banned", "b", "bad.example"},
		{"watched.example", "127.0.0.1", "monitored", "m", "watched.example"},
		{"free.bad.example", "10.1.2.3", "excepted", "b", "free.bad.example"},
		{"free.bad.example", "10.2.2.3", "banned", "b", "bad.example"},
		{"good.example", "::ffff:10.1.2.3", "forwarded", "", ""},
		{"bad.example", "203.0.113.1", "not served", "", ""},
		{"localhost", "127.0.0.1", "special", "", ""},
	} {
		all.Go(func() {
			e := explain(t, p, c.name, c.client)
			ban, entry := "", ""
			if e.Ban != nil {
				ban = e.Ban.ID
			}
			if e.Rule != nil {
				entry = e.Rule.Entry
			}
			if e.Verdict != c.verdict || ban != c.ban || entry != c.entry || e.Client != c.client {
				t.Errorf("%s for %s: %s by %q, %q; %+v", c.name, c.client, e.Verdict, ban, entry, e)
			}
		})
	}
	all.Wait()
	text, err := json.Marshal(explain(t, p, "bad.example", "10.1.2.3"))
	if err != nil || !strings.HasPrefix(string(text), `{"name":"bad.example.","type":"A","client":"10.1.2.3","group":"kids","verdict":"banned"`) {
		t.Errorf("%s, %v", text, err)
	}
}

// TestCheck: findings are values; warnings fail only a strict check.
func TestCheck(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "rideau.yaml")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write("rideau.yaml", "listen: {addresses: [\"127.0.0.1:0\"]}\nops: {listen: \"127.0.0.1:0\"}\nupstream: {servers: [192.0.2.1]}\nlists: [{id: l, file: list.txt}]\nbans: [{id: b, title: {en: B}, lists: [l]}]\n")
	write("list.txt", strings.Repeat("good.example\n", 200)+"http://bad.example/\n")
	r := reason.Check(t.Context(), path, reason.CheckOptions{})
	if !r.OK || len(r.Findings) != 1 || r.Findings[0].Line != 201 || r.Findings[0].Severity != "warning" || r.Lists[0].Skipped != 1 || !r.Bans[0].Active {
		t.Errorf("%+v", r)
	}
	if reason.Check(t.Context(), path, reason.CheckOptions{Strict: true}).OK {
		t.Error("a strict check accepts a skipped line")
	}
	write("list.txt", "http://bad.example/\n")
	if r := reason.Check(t.Context(), path, reason.CheckOptions{}); r.OK || r.Findings[len(r.Findings)-1].Severity != "error" || len(r.Lists) != 0 {
		t.Errorf("a list that cannot be used: %+v", r)
	}
	write("rideau.yaml", "upsteam: {}\n")
	if r := reason.Check(t.Context(), path, reason.CheckOptions{}); r.OK || r.Findings[0].Line != 1 || r.Findings[0].File != path {
		t.Errorf("an unknown key: %+v", r)
	}
}

// inMemory is a log that is no file.
func inMemory(text string) reason.Log {
	return reason.Log{Name: "memory", Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }}
}

// TestSimulateAndRules: both read logs that need not be files.
func TestSimulateAndRules(t *testing.T) {
	const line = "Nov 23 08:04:12 dnsmasq[864]: query[A] %s from 10.0.0.1\n"
	log := inMemory(strings.ReplaceAll(line, "%s", "x.bad.example") + strings.ReplaceAll(line, "%s", "good.example"))
	candidate := load(t, policyText)
	at := time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)
	s, err := reason.Simulate(reason.SimulateOptions{Candidate: candidate, At: at, Logs: []reason.Log{log}})
	if err != nil || s.Queries != 2 || s.Names != 2 || s.Changes[0].Queries != 1 || s.Logs[0].File != "memory" || s.At != "2026-11-30T00:00:00Z" {
		t.Errorf("%+v, %v", s, err)
	}
	_, err = reason.Simulate(reason.SimulateOptions{Candidate: candidate, At: at, Logs: []reason.Log{log}, LeaveOut: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	if !errors.Is(err, reason.ErrNoQuery) {
		t.Errorf("no query counts: %v", err)
	}
	r, err := reason.Rules(t.Context(), candidate, reason.RuleOptions{Examples: -1, Logs: []reason.Log{log}})
	if err != nil || r.Shadowed.Count != 1 || r.Asked != 2 || r.Logs[0].Queries != 2 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestEgress: the addresses come from the configuration, or else from the options.
func TestEgress(t *testing.T) {
	p := load(t, policyText)
	plan, warnings, err := reason.Egress(p.Config, reason.EgressOptions{Source: "test"})
	if err != nil || len(plan.Rideau) != 0 || len(warnings) == 0 || plan.Upstreams[0] != netip.MustParseAddrPort("192.0.2.1:53") {
		t.Errorf("%+v, %q, %v", plan, warnings, err)
	}
	own := netip.MustParseAddr("10.0.0.53")
	if plan, _, err := reason.Egress(p.Config, reason.EgressOptions{Source: "test", Rideau: []netip.Addr{own}}); err != nil || plan.Rideau[0] != own {
		t.Errorf("%+v, %v", plan, err)
	}
	if nets, err := reason.BannedNetworks(p.Snapshot); err != nil || len(nets) != 0 {
		t.Errorf("%v, %v", nets, err)
	}
}
