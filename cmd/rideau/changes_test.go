package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestChangesAreTold: a dry run, the log of a reload and its reply tell every key that differs, with file, line and both values, and what check
// warns of. A reload that works again after one that was refused says so, and so does SIGHUP if nothing changed.
func TestChangesAreTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.config(func(s *settings) { s.more = "reload: {watch: false}\n" })
	p := start(t, w.dir)
	began := time.Now()
	p.signal(syscall.SIGHUP)
	p.logs(began, `level=INFO msg="reloaded, and nothing changed" why=SIGHUP`)

	second := w.other.Addr().String()
	w.config(func(s *settings) {
		s.upstream = w.other.Addr()
		s.more = "reload: {watch: false}\nclients: {allow: [any]}\nfetch: {proxy: \"http://user:secret@127.0.0.1:3128\"}\ncache: {stale_after: 500ms}\n"
	})
	w.write("list.txt", "banned.example\nother.example\n")
	code, text := p.request(http.MethodPost, "/reload?dry-run=true", "text/plain")
	for _, want := range []string{"rideau.yaml:8: clients.allow: [0.0.0.0/0, ::/0], was [127.0.0.0/8,", ": upstream.servers: [" + second + "], was [" + w.upstream.Addr().String() + "]",
		"rideau.yaml:9: fetch.proxy: http://127.0.0.1:3128, was \"\"", "rideau.yaml:10: cache.stale_after: 500ms, was 1.8s (at the next start)", "list list: 2 entries, was 1", `warning: rideau.yaml:8: clients.allow[0]: "any" answers the whole Internet`} {
		if code != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("dry run: %d, without %q: %s", code, want, text)
		}
	}
	code, text = p.request(http.MethodPost, "/reload?dry-run=true", "application/json")
	var r struct {
		Changed bool
		Diff    struct {
			Configuration []struct{ File, Key, Before, After, Applies string }
			Warnings      []struct{ Key string }
		}
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil || !r.Changed || len(r.Diff.Configuration) != 4 || r.Diff.Configuration[0].Key != "clients.allow" || len(r.Diff.Warnings) != 1 {
		t.Errorf("dry run: %d %v %s", code, err, text)
	}

	// Refused first, then accepted.
	good := w.configText(func(s *settings) {
		s.upstream = w.other.Addr()
		s.more = "reload: {watch: false}\nclients: {allow: [any]}\nfetch: {proxy: \"http://user:secret@127.0.0.1:3128\"}\n"
	})
	w.write("rideau.yaml", good+"nonsense: true\n")
	if code, _ := p.reload(""); code != http.StatusUnprocessableEntity {
		t.Errorf("refused: %d", code)
	}
	w.write("rideau.yaml", good)
	began = time.Now()
	code, text = p.request(http.MethodPost, "/reload", "application/json")
	if code != http.StatusOK || !strings.Contains(text, `"key":"clients.allow"`) && !strings.Contains(text, `"key": "clients.allow"`) {
		t.Errorf("reload: %d %s", code, text)
	}
	for _, pattern := range []string{
		`level=INFO msg="the reload is accepted again" why="POST /reload" refused_since=`,
		`level=INFO msg=changed file=rideau.yaml line=8 key=clients.allow before="\[127.0.0.0/8,[^\n]*" after="\[0.0.0.0/0, ::/0\]" applies=live`,
		`level=INFO msg=changed file=rideau.yaml line=\d+ key=upstream.servers before=[^\n]* after="?\[` + second + `\]"? applies=live`,
		`level=INFO msg=changed file=rideau.yaml line=9 key=fetch.proxy [^\n]*after=http://127.0.0.1:3128`,
		`level=INFO msg=changed file=list.txt key="lists\[list\] \(content\)" before="1 entry" after="2 entries"`,
		`level=WARN msg="rideau.yaml:8: clients.allow\[0\]: `,
		`level=INFO msg=reloaded why="POST /reload"`,
	} {
		p.logs(began, pattern)
	}
	if strings.Contains(p.stderr.String()+text, "secret") {
		t.Error("the password of the proxy is told")
	}
	began = time.Now()
	p.signal(syscall.SIGHUP)
	p.logs(began, `(?s)why="POST /reload" generation.*level=INFO msg="reloaded, and nothing changed" why=SIGHUP`)
	if n := strings.Count(p.stderr.String(), "accepted again"); n != 1 {
		t.Errorf("%d times accepted again", n)
	}
}
