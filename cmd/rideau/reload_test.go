package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver/resolvertest"
)

// freeAddress returns an address with a free port, where the kernel cannot choose
// the port.
func freeAddress(t testing.TB, host string) string {
	t.Helper()
	port, err := resolvertest.FreePort(host)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

// TestWaysOfSaving: a list takes effect within a second, whatever way it is saved,
// and a newly banned name is blocked at once although it is in the cache.
func TestWaysOfSaving(t *testing.T) {
	const with, without = "banned.example\nplain.example\n", "banned.example\nother.example\n"
	const blockedPlain = blocked
	ways := map[string]func(w *world, text string){
		"in place":    func(w *world, text string) { w.write("list.txt", text) },
		"renamed":     func(w *world, text string) { w.replace("list.txt", text) },
		"vim's way":   saveWithBackup,
		"deleted":     saveDeleted,
		"same length": saveSameLength,
	}
	for name, save := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.write("list.txt", without)
			p := start(t, w.dir)
			for _, text := range []string{with, without, with} {
				want := passed
				if text == with {
					// In the cache, and yet gone.
					if got := outcome(p.ask("udp", "plain.example", dns.TypeA)); got != passed {
						t.Fatalf("before: %s", got)
					}
					want = blockedPlain
				}
				began := time.Now()
				save(w, text)
				p.becomes(began, "plain.example", want)
			}
		})
	}
}

// TestSlowWriter: a list that is written slowly, as over a network, is never used
// half written.
func TestSlowWriter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var lines []string
	for i := range 1000 {
		lines = append(lines, fmt.Sprintf("name-%d.example\n", i))
	}
	w.write("list.txt", strings.Join(lines, ""))
	p := start(t, w.dir)
	f, err := os.Create(w.path("list.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for len(lines) > 0 {
		if _, err := f.WriteString(strings.Join(lines[:50], "")); err != nil {
			t.Fatal(err)
		}
		lines = lines[50:]
		for _, name := range []string{"name-1.example", "name-999.example"} {
			if got := outcome(p.ask("udp", name, dns.TypeA)); got != blocked {
				t.Fatalf("%s, with %d lines to come: %s", name, len(lines), got)
			}
		}
		time.Sleep(40 * time.Millisecond)
	}
	began := time.Now()
	if _, err := f.WriteString("plain.example\n"); err != nil {
		t.Fatal(err)
	}
	p.becomes(began, "plain.example", blocked)
	if got := outcome(p.ask("udp", "name-999.example", dns.TypeA)); got != blocked {
		t.Error(got)
	}
}

// TestManyReloadsAtOnce: reloads at the same time run one after the other, each of
// them whole.
func TestManyReloadsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := start(t, w.dir)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for range 10 {
				if code, r := p.reload(""); code != http.StatusOK || !r.OK {
					t.Errorf("%d %+v", code, r)
				}
				if i == 0 {
					p.signal(syscall.SIGHUP)
					w.replace("list.txt", "banned.example\nb.example\n")
				}
				if got := outcome(p.ask("udp", "banned.example", dns.TypeA)); got != blocked {
					t.Error(got)
				}
			}
		})
	}
	all.Wait()
	if n := p.metric(`rideau_reloads_total{result="failure"}`); n != 0 {
		t.Errorf("%v reloads failed", n)
	}
}

// saveWithBackup saves as vim does with backupcopy=no: it renames the old file to a
// backup, writes the new file, and removes the backup.
func saveWithBackup(w *world, text string) {
	w.move("list.txt", "list.txt~")
	w.write("list.txt", text)
	if err := os.Remove(w.path("list.txt~")); err != nil {
		w.t.Fatal(err)
	}
}

// saveDeleted removes the file before it writes the new one.
func saveDeleted(w *world, text string) {
	if err := os.Remove(w.path("list.txt")); err != nil {
		w.t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond) // sleeps: there is no file for a moment
	w.write("list.txt", text)
}

// saveSameLength keeps the size and the time of modification.
func saveSameLength(w *world, text string) {
	info, err := os.Stat(w.path("list.txt"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.write("list.txt", text)
	if err := os.Chtimes(w.path("list.txt"), info.ModTime(), info.ModTime()); err != nil {
		w.t.Fatal(err)
	}
}

// TestKubernetesVolume: Kubernetes mounts a ConfigMap as links to a link to a
// directory, and replaces the link in the middle: configuration and lists change at
// the same moment.
func TestKubernetesVolume(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	volume := func(version, list, mode string) {
		t.Helper()
		if err := os.Mkdir(w.path(version), 0o777); err != nil {
			t.Fatal(err)
		}
		w.write(version+"/list.txt", list)
		w.write(version+"/rideau.yaml", w.configText(func(s *settings) { s.mode = mode }))
		if err := os.Symlink(version, w.path("..data_tmp")); err != nil {
			t.Fatal(err)
		}
		w.move("..data_tmp", "..data")
	}
	volume("..2026_01_01", "banned.example\n", "enforce")
	for _, f := range []string{"list.txt", "rideau.yaml"} {
		os.Remove(w.path(f))
		if err := os.Symlink("..data/"+f, w.path(f)); err != nil {
			t.Fatal(err)
		}
	}
	p := start(t, w.dir)
	if got := outcome(p.ask("udp", "plain.example", dns.TypeA)); got != passed {
		t.Fatal(got)
	}
	began := time.Now()
	volume("..2026_01_02", "plain.example\n", "enforce")
	p.becomes(began, "plain.example", blocked)
	p.becomes(began, "banned.example", passed)
	began = time.Now()
	volume("..2026_01_03", "plain.example\n", "off")
	p.becomes(began, "plain.example", passed)
	os.RemoveAll(w.path("..2026_01_01"))
}

// TestReloadOnDemand: without a watch, only SIGHUP and POST /reload reload.
func TestReloadOnDemand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.config(func(s *settings) { s.more = "reload: {watch: false}" })
	w.write("list.txt", "other.example\n")
	p := start(t, w.dir)
	if got := outcome(p.ask("udp", "alias.example", dns.TypeA)); got != "NOERROR CNAME 192.0.2.2" {
		t.Errorf("an alias of what is not banned yet: %s", got)
	}
	if got := outcome(p.ask("udp", "plain.example", dns.TypeA)); got != passed {
		t.Errorf("a name that is not banned yet: %s", got)
	}
	w.write("list.txt", "banned.example\nplain.example\n")
	time.Sleep(600 * time.Millisecond) // sleeps: nothing happens, in the time that a watch needs
	if got := outcome(p.ask("udp", "plain.example", dns.TypeA)); got != passed {
		t.Errorf("nobody asked for a reload: %s", got)
	}
	began := time.Now()
	p.signal(syscall.SIGHUP)
	p.becomes(began, "plain.example", blocked)
	p.logs(began, `level=INFO msg=reloaded why=SIGHUP .*entries=2`)
	if got := outcome(p.ask("udp", "alias.example", dns.TypeA)); got != blocked {
		t.Errorf("the alias in the cache leads to what is banned now: %s", got)
	}

	w.write("list.txt", "banned.example\nsecond.example\n")
	code, r := p.reload("")
	if code != http.StatusOK || !r.OK || !r.Changed || len(r.Lists) != 1 || r.Lists[0].Entries != 2 || len(r.Problems) != 0 {
		t.Errorf("reload: %d %+v", code, r)
	}
	// The policy is in force when the reply comes.
	if got := outcome(p.ask("udp", "second.example", dns.TypeA)); got != blocked {
		t.Errorf("after the reply: %s", got)
	}
	if got := outcome(p.ask("tcp", "plain.example", dns.TypeA)); got != passed {
		t.Errorf("after the reply: %s", got)
	}
	if code, r := p.reload(""); code != http.StatusOK || r.Changed {
		t.Errorf("nothing changed: %d %+v", code, r)
	}
	if code, body := p.get("/reload"); code != http.StatusMethodNotAllowed {
		t.Errorf("GET /reload: %d %s", code, body)
	}
}

// TestConfigurationChanges: a saved configuration takes effect as a saved list does.
func TestConfigurationChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	second := freeAddress(t, "127.0.0.1")
	p := start(t, w.dir)
	p.becomes(time.Now(), "banned.example", blocked)
	p.becomes(time.Now(), "plain.example", passed)

	change := func(what, name, want string, f ...func(*settings)) {
		t.Helper()
		began := time.Now()
		t.Log(what)
		w.config(f...)
		p.becomes(began, name, want)
	}
	change("off", "banned.example", passed, func(s *settings) { s.mode = "off" })
	change("enforced again, and it is in the cache now", "banned.example", blocked)
	change("monitored", "banned.example", passed, func(s *settings) { s.mode = "monitor" })
	p.logs(time.Now(), `msg="would have been blocked" ban=ban list=list rule=banned.example. name=banned.example. type=A client=127.0.0.1`)
	if n := p.metric(`rideau_would_block_total{ban="ban"}`); n < 1 {
		t.Errorf("rideau_would_block_total is %v", n)
	}
	change("another action", "banned.example", `NOERROR 192.0.2.80 15 "ban: The ban"`, func(s *settings) {
		s.extra = ", action: sinkhole, sinkhole: {ipv4: 192.0.2.80}"
	})
	change("another upstream, and nothing of the old one from the cache", "plain.example", "NOERROR 192.0.2.99", func(s *settings) {
		s.upstream = w.other.Addr()
	})
	change("and back", "plain.example", passed)
	change("a forward for a special name", "www.test", "NOERROR", func(s *settings) {
		s.more = fmt.Sprintf("forward: [{zones: [test], servers: [\"%v\"]}]", w.other.Addr())
	})
	change("without it", "www.test", "NXDOMAIN")
	change("clients that are served no longer", "plain.example", `REFUSED 18 ""`, func(s *settings) {
		s.more = "clients: {allow: [10.0.0.0/8]}"
	})
	change("and again", "plain.example", passed)

	t.Log("an address more, while the first goes on")
	began := time.Now()
	w.config(func(s *settings) { s.listen = append(s.listen, second) })
	p.becomesAt(second, began, "plain.example", passed)
	for _, network := range []string{"udp", "tcp"} {
		for _, addr := range []string{p.dns[0], second} {
			if m, err := ask(network, addr, "banned.example", dns.TypeA); err != nil || outcome(m) != blocked {
				t.Errorf("%s by %s: %v, %v", addr, network, m, err)
			}
		}
	}
	t.Log("and gone again")
	began = time.Now()
	w.config()
	p.within(began, "address given up", func() (string, bool) { return "listening", !listening(second) })
	p.becomes(began, "plain.example", passed)

	t.Log("log level")
	before := strings.Count(p.stderr.String(), "level=DEBUG")
	w.config(func(s *settings) { s.level = "debug" })
	p.within(time.Now(), "debug", func() (string, bool) {
		p.signal(syscall.SIGHUP)
		return "", strings.Count(p.stderr.String(), "level=DEBUG") > before
	})

	t.Log("what a running process cannot change is said")
	w.config(func(s *settings) { s.more = "cache: {stale_after: 500ms}" })
	code, r := p.reload("")
	if code == http.StatusOK && len(r.Restart) == 0 { // the watch was first
		p.logs(time.Now(), `msg="this change takes effect at the next start" key=cache.stale_after`)
	} else if code != http.StatusOK || len(r.Restart) != 1 || r.Restart[0] != "cache.stale_after" {
		t.Errorf("reload: %d %+v", code, r)
	}
}

// TestRefusedReloads: a refused reload changes nothing, and the log, the reply and
// the metrics say why.
func TestRefusedReloads(t *testing.T) {
	w := newWorld(t)
	w.config(func(s *settings) { s.more = "reload: {watch: false}" })
	good := "banned.example\nb.example\nc.example\nd.example\n"
	w.write("list.txt", good)
	goodConfig, err := os.ReadFile(w.path("rideau.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, w.dir)
	holds := func(what string) {
		t.Helper()
		if got := outcome(p.ask("udp", "www.banned.example", dns.TypeA)); got != blocked {
			t.Errorf("%s: the old policy does not serve: %s", what, got)
		}
		if got := outcome(p.ask("udp", "plain.example", dns.TypeA)); got != passed {
			t.Errorf("%s: the old policy does not serve: %s", what, got)
		}
	}
	cases := []struct {
		what    string
		change  func()
		file    string
		line    int
		message string
		remedy  string
	}{
		{"a list with a line that is no name", func() { w.write("list.txt", good+"plain.example/path\n") },
			"list.txt", 5, "unusable", "write the host name alone"},
		{"an emptied list", func() { w.write("list.txt", "# nothing\n") },
			"list.txt", 0, "no entries", "reload with force=list"},
		{"a list cut off", func() { w.write("list.txt", "banned.example\n") },
			"list.txt", 0, "1 entry, 4 before", "reload with force=list"},
		{"a list that is gone", func() { os.Remove(w.path("list.txt")) },
			"list.txt", 0, "no such file", "put the list there"},
		{"a list that is a directory", func() { os.Mkdir(w.path("list.txt"), 0o777) },
			"list.txt", 0, "not a regular file", "put the list there"},
		{"a web page", func() { os.Remove(w.path("list.txt")); w.write("list.txt", "<html>\n") },
			"list.txt", 1, "web page", "check the list's address"},
		{"a configuration with a key that nobody knows", func() {
			w.write("list.txt", good)
			w.write("rideau.yaml", string(goodConfig)+"\nlogs: {}\n")
		}, "rideau.yaml", 8, "unknown key", `did you mean "log"?`},
		{"half a configuration", func() { w.write("rideau.yaml", string(goodConfig[:len(goodConfig)/2])) },
			"rideau.yaml", 4, "not YAML", "check"},
		{"an empty configuration", func() { w.write("rideau.yaml", "") },
			"rideau.yaml", 1, "empty", "write at least"},
	}
	for i, c := range cases {
		c.change()
		logged := len(p.stderr.String())
		code, r := p.reload("")
		if code != http.StatusUnprocessableEntity || r.OK || r.Error == "" || len(r.Problems) == 0 {
			t.Errorf("%s: %d %+v", c.what, code, r)
			continue
		}
		problem := r.Problems[0]
		if problem.File != c.file || problem.Line != c.line || !strings.Contains(problem.Message, c.message) || !strings.Contains(problem.Message+problem.Remedy, c.remedy) {
			t.Errorf("%s: %+v", c.what, problem)
		}
		holds(c.what)
		if code, body := p.get("/readyz"); code != http.StatusOK {
			t.Errorf("%s: a server with a good policy is not ready: %d %s", c.what, code, body)
		}
		log := p.stderr.String()[logged:]
		where := c.file + ": "
		if c.line > 0 {
			where = fmt.Sprintf("%s:%d: ", c.file, c.line)
		}
		if !strings.Contains(log, `level=ERROR msg="reload refused; the old policy goes on serving"`) || !strings.Contains(log, where) || !strings.Contains(log, "POST /reload") {
			t.Errorf("%s: log: %s", c.what, log)
		}
		if n := p.metric("rideau_reload_last_failed"); n != 1 {
			t.Errorf("%s: rideau_reload_last_failed is %v", c.what, n)
		}
		if n := p.metric(`rideau_reloads_total{result="failure"}`); n != float64(i+1) {
			t.Errorf("%s: %v failures, want %d", c.what, n, i+1)
		}
	}
	if n := p.metric(`rideau_list_reloads_total{list="list",result="failure"}`); n != 6 {
		t.Errorf("rideau_list_reloads_total counts %v failures, want 6", n)
	}
	// As text, the same in lines.
	if code, body := p.request(http.MethodPost, "/reload", ""); code != http.StatusUnprocessableEntity || !strings.HasPrefix(body, "not reloaded; the old policy goes on serving\nrideau.yaml:1: ") {
		t.Errorf("text: %d %q", code, body)
	}
	// By signal, too.
	logged := len(p.stderr.String())
	p.signal(syscall.SIGHUP)
	p.within(time.Now(), "SIGHUP refused", func() (string, bool) {
		log := p.stderr.String()[logged:]
		return log, strings.Contains(log, "why=SIGHUP") && strings.Contains(log, "rideau.yaml:1: ")
	})

	// After a repair the list is accepted.
	w.write("rideau.yaml", string(goodConfig))
	if code, r := p.reload(""); code != http.StatusOK || !r.OK {
		t.Errorf("good again: %d %+v", code, r)
	}
	if n := p.metric("rideau_reload_last_failed"); n != 0 {
		t.Errorf("good again: rideau_reload_last_failed is %v", n)
	}
	holds("good again")

	// Force accepts what the guards refuse, but not what cannot be read.
	w.write("list.txt", "# nothing\n")
	failures := p.metric(`rideau_reloads_total{result="failure"}`)
	for _, q := range []string{"?force=other", "?force=ban"} {
		if code, r := p.reload(q); code != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d %+v", q, code, r)
		}
	}
	// An id that nothing has is a mistake of the request, and not of a file.
	if n := p.metric(`rideau_reloads_total{result="failure"}`); n != failures+1 {
		t.Errorf("%v failures, %v before", n, failures)
	}
	if code, r := p.reload("?force=list"); code != http.StatusOK || !r.Changed || fmt.Sprint(r.Forced) != "[{list list 4 0}]" {
		t.Errorf("force: %d %+v", code, r)
	}
	if got := outcome(p.ask("udp", "banned.example", dns.TypeA)); got != passed {
		t.Errorf("after force: %s", got)
	}
	w.write("list.txt", "<html>\n")
	if code, r := p.reload("?force=all"); code != http.StatusUnprocessableEntity {
		t.Errorf("force with a web page: %d %+v", code, r)
	}
}

// TestWatchedFileComesBack: a broken file is read once, not again and again; and a
// list that is restored takes effect.
func TestWatchedFileComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := start(t, w.dir)
	began := time.Now()
	os.Remove(w.path("list.txt"))
	p.logs(began, `level=ERROR msg="reload refused because of" problem="list list: list\.txt: `)
	time.Sleep(time.Second) // sleeps: there is no second reload, in the time of several looks
	if n := strings.Count(p.stderr.String(), "reload refused;"); n != 1 {
		t.Errorf("%d reloads were refused for one change", n)
	}
	if got := outcome(p.ask("udp", "banned.example", dns.TypeA)); got != blocked {
		t.Errorf("without the list: %s", got)
	}
	began = time.Now()
	w.write("list.txt", "banned.example\nplain.example\n")
	p.becomes(began, "plain.example", blocked)

	// The same for the configuration itself.
	began = time.Now()
	w.move("rideau.yaml", "away")
	p.logs(began, `level=ERROR msg="reload refused; the old policy goes on serving" .*rideau\.yaml`)
	began = time.Now()
	w.config(func(s *settings) { s.mode = "off" })
	p.becomes(began, "plain.example", passed)
}
