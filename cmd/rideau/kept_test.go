package main

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestCutConfiguration: a configuration that lost its end is refused by the watch, by a reload and by check, and what serves goes on. What says
// itself that a ban ends is taken.
func TestCutConfiguration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	whole := w.configText()
	// The bans are last, as in the default configuration.
	cut, bans := "", ""
	for line := range strings.Lines(whole) {
		if strings.HasPrefix(line, "bans:") {
			bans = line
		} else {
			cut += line
		}
	}
	w.write("rideau.yaml", cut+bans)
	p := start(t, w.dir)
	is := func(want string) {
		t.Helper()
		if got := outcome(p.ask("udp", "banned.example", dns.TypeA)); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	is(blocked)
	refused := func(what, text, want string) {
		t.Helper()
		began := time.Now()
		w.write("rideau.yaml", text)
		p.logs(began, `level=ERROR msg="reload refused because of" problem="[^\n]*`+want)
		code, r := p.reload("")
		if code != http.StatusUnprocessableEntity || len(r.Problems) == 0 || !strings.Contains(r.Problems[0].Message, want) || r.Problems[0].File != "rideau.yaml" || r.Problems[0].Remedy == "" {
			t.Errorf("%s: %d %+v", what, code, r)
		}
		if code, text := p.request(http.MethodPost, "/reload?dry-run=true", ""); code != http.StatusUnprocessableEntity || !strings.Contains(text, want) {
			t.Errorf("%s: dry run: %d %s", what, code, text)
		}
		if n := p.metric("rideau_reload_last_failed"); n != 1 {
			t.Errorf("%s: rideau_reload_last_failed is %v", what, n)
		}
		is(blocked)
	}
	refused("cut before the bans", cut, "ban ban: the ban, which was enforced, is gone")
	const head, mark = `# A complete file ends with the line "# rideau: end of configuration".`, "# rideau: end of configuration"
	refused("cut before the mark", head+"\n"+cut+bans, "the file is cut off")
	if code, out := runRideau(t, w.dir, "check", "--config", "rideau.yaml"); code != exitFailure || !strings.Contains(out, "the file is cut off") {
		t.Errorf("check: %d %s", code, out)
	}
	if code, out := runRideau(t, w.dir, "serve", "--config", "rideau.yaml"); code != exitFailure || !strings.Contains(out, "the file is cut off") {
		t.Errorf("start: %d %s", code, out)
	}
	w.write("rideau.yaml", head+"\n"+cut+bans+mark+"\n")
	if code, r := p.reload(""); code != http.StatusOK {
		t.Errorf("whole: %d %+v", code, r)
	}
	w.write("rideau.yaml", strings.TrimSuffix(cut+bans, "\n"))
	if code, out := runRideau(t, w.dir, "check", "--config", "rideau.yaml"); code != exitOK || !strings.Contains(out, "warning: the file ends in the middle of a line") {
		t.Errorf("check: %d %s", code, out)
	}
	if code, text := p.get("/readyz"); code != http.StatusOK || strings.Contains(text, "no ban") {
		t.Errorf("readyz: %d %s", code, text)
	}

	// Said in the file.
	began := time.Now()
	w.write("rideau.yaml", cut+"removed: [ban]\n")
	p.becomes(began, "banned.example", passed)
	p.logs(began, `level=WARN msg="no ban is enforced: every name is resolved"`)
	if code, text := p.get("/readyz"); code != http.StatusOK || text != "ready\nno ban is enforced: every name is resolved\n" {
		t.Errorf("readyz: %d %s", code, text)
	}
	began = time.Now()
	w.write("rideau.yaml", cut+bans)
	p.becomes(began, "banned.example", blocked)
	p.logs(began, "bans are enforced again")
	// By force.
	w.write("rideau.yaml", cut)
	if code, r := p.reload("?force=ban"); code != http.StatusOK || len(r.Forced) != 1 || r.Forced[0].ID != "ban" || r.Forced[0].Kind != "ban" {
		t.Errorf("by force: %d %+v", code, r)
	}
	is(passed)
}

// TestNoBanEnforced: a server that enforces no ban says so, and so does check. A ban without entries blocks nothing.
func TestNoBanEnforced(t *testing.T) {
	t.Parallel()
	t.Run("a later date", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.config(func(s *settings) { s.extra = ", effective: 2999-01-01" })
		noBanEnforced(t, w)
	})
	t.Run("an empty list", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.write("rideau.yaml", strings.Replace(w.configText(), "{id: list, ", "{id: list, empty_ok: true, ", 1))
		w.write("list.txt", "# nothing\n")
		noBanEnforced(t, w)
	})
}

func noBanEnforced(t *testing.T, w *world) {
	t.Helper()
	const none = "no ban is enforced: every name is resolved"
	if code, out := runRideau(t, w.dir, "check", "--config", "rideau.yaml"); code != exitOK || !strings.Contains(out, "warning: "+none) {
		t.Errorf("check: %d %s", code, out)
	}
	if code, out := runRideau(t, w.dir, "check", "--config", "rideau.yaml", "--strict"); code != exitFailure {
		t.Errorf("check --strict: %d %s", code, out)
	}
	p := start(t, w.dir)
	if banner := strings.Join(p.banner, "\n"); !strings.Contains(banner, "  ban        "+none) {
		t.Errorf("banner:\n%s", banner)
	}
	p.within(time.Now(), "ready", func() (string, bool) {
		_, text := p.get("/readyz")
		return text, text == "ready\n"+none+"\n"
	})
	p.stop()
	os.Remove(w.path("rideau.yaml"))
	w.write("list.txt", "banned.example\n")
	w.config()
	p = start(t, w.dir)
	if banner := strings.Join(p.banner, "\n"); strings.Contains(banner, none) {
		t.Errorf("banner:\n%s", banner)
	}
}
