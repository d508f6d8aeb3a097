package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// TestDryRun: the reply says what a reload would change, and nothing changes.
func TestDryRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.config(func(s *settings) { s.more = "reload: {watch: false}\n" })
	p := start(t, w.dir)
	before := p.metric("rideau_policy_generation")
	reloads := p.metric(`rideau_reloads_total{result="success"}`)
	if code, text := p.request(http.MethodPost, "/reload?dry-run=true", "text/plain"); code != 200 || !strings.Contains(text, "no difference") {
		t.Errorf("%d %s", code, text)
	}
	w.write("list.txt", "other.example\nsecond.example\n")
	w.write("late.txt", "late.example\n")
	w.config(func(s *settings) {
		s.more = "reload: {watch: false}\n"
		s.extraLists, s.bans = ", {id: late, file: late.txt}", "late"
	})
	code, text := p.request(http.MethodPost, "/reload?dry-run=true", "text/plain")
	for _, want := range []string{"nothing was changed; a reload would change this:", "ban ban changed", "lists: list, late, was list",
		"list list: 2 entries, was 1: 1 added, 0 removed (by number", "+ late.example", "blocked by ban (nxdomain), was passed", "other.example (", "are counted above, not told"} {
		if code != 200 || !strings.Contains(text, want) {
			t.Errorf("%d, without %q: %s", code, want, text)
		}
	}
	code, text = p.request(http.MethodPost, "/reload?dry-run", "application/json")
	var r struct {
		OK      bool `json:"ok"`
		DryRun  bool `json:"dry_run"`
		Changed bool
		Diff    struct{ Names []struct{ Count int } }
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil || code != 200 || !r.OK || !r.DryRun || !r.Changed || len(r.Diff.Names) != 1 || r.Diff.Names[0].Count != 3 {
		t.Errorf("%d %v %s", code, err, text)
	}
	w.write("late.txt", "<!doctype html>\n")
	if code, text := p.request(http.MethodPost, "/reload?dry-run=true", "text/plain"); code != 422 || !strings.Contains(text, "a reload would be refused") || !strings.Contains(text, "web page") {
		t.Errorf("%d %s", code, text)
	}
	if code, _ := p.request(http.MethodPost, "/reload?dry-run=true&fetch=true", "text/plain"); code != 400 {
		t.Errorf("both: %d", code)
	}
	if got := outcome(p.ask("udp", "banned.example", dns.TypeA)); got != blocked {
		t.Errorf("a dry run has changed what serves: %s", got)
	}
	if after := p.metric("rideau_policy_generation"); after != before || p.metric(`rideau_reloads_total{result="success"}`) != reloads || p.metric(`rideau_reloads_total{result="failure"}`) > 0 {
		t.Errorf("generation %v, before %v; a dry run counts as a reload", after, before)
	}
}
