package server

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/cmd/rideau/internal/setup"
	"rideau/config"
	"rideau/resolver"
	"rideau/resolver/limit"
	"rideau/resolver/resolvertest"
)

// reloadFixture is a server with a list in a file, a list with a URL, a cookie secret, and logs of queries. Nothing reloads it but the
// test.
type reloadFixture struct {
	*Server
	t        *testing.T
	dir      string
	addr     string
	log      lockedBuffer
	web      *httptest.Server
	upstream string
	limits   int // calls of MemoryLimit
}

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// settings are what a test changes in the configuration.
type settings struct {
	addresses, servers, more string
	level, queries           string
	lists, bans              string
}

// first is the configuration of the start.
func (f *reloadFixture) first() settings {
	return settings{addresses: `"127.0.0.1:0"`, servers: f.upstream, level: "info", queries: "queries.log", lists: "list, feed"}
}

// second differs from first in everything that a reload can change.
func (f *reloadFixture) second() settings {
	s := f.first()
	s.addresses += `, "127.0.0.1:0"`
	s.level, s.queries = "debug", "other.log"
	s.more = fmt.Sprintf("limits: {queries_per_second: 9000}\ncache: {max_entries: 1000, memory_limit: 900MiB}\nclients: {allow: [any]}\nforward: [{zones: [x.example], servers: [%s]}]\n", f.upstream)
	s.lists += ", new"
	s.bans = ", {id: second, title: {en: Second}, lists: [new]}"
	return s
}

func (f *reloadFixture) configure(s settings) {
	f.t.Helper()
	lists := map[string]string{"list": "{id: list, file: list.txt}", "feed": fmt.Sprintf("{id: feed, url: %q}", f.web.URL+"/feed"), "new": fmt.Sprintf("{id: new, url: %q}", f.web.URL+"/new")}
	var all []string
	for _, id := range strings.Split(s.lists, ", ") {
		all = append(all, lists[id])
	}
	f.write("rideau.yaml", fmt.Sprintf(`listen: {addresses: [%s], cookies: {secrets_file: secret}}
upstream: {servers: [%s], probe_interval: 30s}
lists: [%s]
bans: [{id: first, title: {en: First}, lists: [list, feed]}%s]
log: {level: %s, queries: %s}
ops: {listen: ""}
reload: {watch: false}
fetch: {start_timeout: 2s}
evidence: {store: {path: ""}}
%s`, s.addresses, s.servers, strings.Join(all, ", "), s.bans, s.level, s.queries, s.more))
}

func (f *reloadFixture) path(name string) string { return filepath.Join(f.dir, name) }

func (f *reloadFixture) write(name, text string) {
	f.t.Helper()
	if err := os.WriteFile(f.path(name), []byte(text), 0o666); err != nil {
		f.t.Fatal(err)
	}
}

const (
	listText   = "a.example\nb.example\nc.example\nd.example\n"
	secretText = "000102030405060708090a0b0c0d0e0f\n"
)

// mend puts all files right.
func (f *reloadFixture) mend() {
	f.t.Helper()
	f.write("list.txt", listText)
	f.write("secret", secretText)
	f.configure(f.first())
}

// newReloadFixture starts the server. web answers requests for lists.
func newReloadFixture(t *testing.T, web http.HandlerFunc) *reloadFixture {
	t.Helper()
	up := new(resolvertest.Upstream)
	up.Start(t)
	if err := up.Load(". SOA\n* A\n\tanswer any.example. 300 IN A 192.0.2.1\n"); err != nil {
		t.Fatal(err)
	}
	f := &reloadFixture{t: t, dir: t.TempDir(), web: httptest.NewServer(web), upstream: up.Addr().String()}
	t.Cleanup(f.web.Close)
	f.mend()
	started, ended := make(chan Facts, 1), make(chan error, 1)
	f.Server = New(Options{Config: f.path("rideau.yaml"), Log: &f.log, Workers: 1, MemoryLimit: func(int64) { f.limits++ },
		Started: func(x Facts) { started <- x }})
	ctx, cancel := context.WithCancel(context.Background())
	go func() { ended <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("it ended with %v", err)
		}
	})
	select {
	case x := <-started:
		f.addr = x.Addrs[0].String()
	case err := <-ended:
		ended <- err
		t.Fatalf("it did not start: %v\n%s", err, f.log.String())
	}
	return f
}

// memory is what a reload may change in memory.
type memory struct {
	state  *resolver.State
	cfg    *config.Config
	ups    *setup.Upstreams
	level  slog.Level
	limits int
	slots  string
	timer  *time.Timer
	order  uint64
	shield *limit.Shield
	listen string // the sockets
	lists  string // feeds and copies
}

func (f *reloadFixture) memory() memory {
	f.mu.Lock()
	defer f.mu.Unlock()
	cfg, ups := f.current()
	due, _ := f.sources.Due(time.Now())
	return memory{state: f.resolver.State(), cfg: cfg, ups: ups, level: f.level.Level(), limits: f.limits, slots: fmt.Sprint(f.slots), timer: f.timer, order: f.order,
		shield: f.gate.Shield(), listen: f.sockets.String(),
		lists: fmt.Sprint(f.sources.Status(), due, f.sources.Pending())}
}

// files returns all files of the folder: of the state folder their contents and times, of the others that they exist.
func (f *reloadFixture) files() map[string]string {
	f.t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(f.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(path, "evidence.db") {
			return err // the store of evidence goes on
		}
		name, _ := filepath.Rel(f.dir, path)
		out[name] = ""
		if filepath.Dir(name) == "state" {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			info, err := d.Info()
			out[name] = fmt.Sprintf("%v %s", info.ModTime(), text)
			return err
		}
		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return out
}

// serves checks that a name is banned, or else answered.
func (f *reloadFixture) serves(addr, name string, banned bool) {
	f.t.Helper()
	c := dns.Client{Timeout: 5 * time.Second}
	m, _, err := c.Exchange(new(dns.Msg).SetQuestion(name, dns.TypeA), addr)
	if err != nil || (m.Rcode == dns.RcodeNameError) != banned {
		f.t.Errorf("%s: %v, %v, want banned %v", name, m, err, banned)
	}
}

// TestReloadFails: a reload that fails, at whatever step, says why and leaves files and memory as they were. What serves goes on, and the
// next reload works.
func TestReloadFails(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	var mu sync.Mutex // guards what the web server answers for the new list
	answer := func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "new.example\n") }
	f := newReloadFixture(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/feed" {
			io.WriteString(w, "feed.example\n")
			return
		}
		mu.Lock()
		a := answer
		mu.Unlock()
		a(w, r)
	})
	defer close(hang)
	web := func(h func(w http.ResponseWriter, r *http.Request)) func() {
		mu.Lock()
		defer mu.Unlock()
		was := answer
		answer = h
		return func() {
			mu.Lock()
			defer mu.Unlock()
			answer = was
		}
	}
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()

	// Each fault changes the second configuration, or the files around it. What it returns puts right what is not a file.
	faults := []struct {
		step, want string
		inject     func(s *settings) (undo func())
		ctx        func() context.Context
	}{
		{step: "read the configuration", want: `unknown level "loud"`, inject: func(s *settings) func() { s.level = "loud"; return nil }},
		{step: "plan the upstreams", want: "", inject: nil}, // see below
		{step: "download a new list", want: "the server answered 404", inject: func(*settings) func() { return web(http.NotFound) }},
		{step: "judge a new list", want: "a web page, not a list", inject: func(*settings) func() {
			return web(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>") })
		}},
		{step: "compile a new list", want: "no entries", inject: func(*settings) func() {
			return web(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "# nothing\n") })
		}},
		{step: "read a list", want: "list.txt: no such file", inject: func(*settings) func() { os.Remove(f.path("list.txt")); return nil }},
		{step: "pass a guard", want: "lost more of its entries", inject: func(*settings) func() { f.write("list.txt", "other.example\n"); return nil }},
		{step: "make the upstreams", want: "ca_file", inject: func(s *settings) func() {
			s.servers += `, {server: "tls://192.0.2.1#dns.example", ca_file: missing.pem}`
			return nil
		}},
		{step: "make the State", want: "no secret", inject: func(*settings) func() { f.write("secret", "\n"); return nil }},
		{step: "bind a socket", want: "listen.addresses", inject: func(s *settings) func() { s.addresses += fmt.Sprintf(", %q", taken.LocalAddr()); return nil }},
		{step: "open the query log", want: "log.queries", inject: func(s *settings) func() { s.queries = "missing/queries.log"; return nil }},
		{step: "before the end of the context", want: "context canceled", inject: func(*settings) func() { return nil }, ctx: func() context.Context {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			return ctx
		}},
		{step: "download before the end of the context", want: "context deadline exceeded", inject: func(*settings) func() {
			return web(func(w http.ResponseWriter, r *http.Request) {
				select {
				case <-r.Context().Done():
				case <-hang:
				}
			})
		}, ctx: func() context.Context {
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			t.Cleanup(cancel)
			return ctx
		}},
	}
	for _, fault := range faults {
		if fault.step == "plan the upstreams" {
			at := otherAddress()
			if at == "" {
				t.Log("this machine has no address but loopback: no plan of upstreams can fail")
				continue
			}
			fault.want = "is where this rideau listens"
			fault.inject = func(s *settings) func() {
				s.addresses, s.servers = `"0.0.0.0:5399"`, at+":5399"
				return nil
			}
		}
		t.Run(fault.step, func(t *testing.T) {
			f.t = t
			files, before := f.files(), f.memory()
			s := f.second()
			undo := fault.inject(&s)
			f.configure(s)
			ctx := t.Context()
			if fault.ctx != nil {
				ctx = fault.ctx()
			}
			result, err := f.Reload(ctx, "the test")
			text := fmt.Sprint(err, result.Problems)
			if err == nil || !strings.Contains(text, fault.want) {
				t.Errorf("error %s, want %q", text, fault.want)
			}
			if undo != nil {
				undo()
			}
			f.mend()
			if after := f.memory(); after != before {
				t.Errorf("memory\n%+v\nwas\n%+v", after, before)
			}
			if after := f.files(); !maps.Equal(after, files) {
				t.Errorf("files\n%q\nwere\n%q", after, files)
			}
			f.serves(f.addr, "a.example.", true)
			f.serves(f.addr, "feed.example.", true)
			f.serves(f.addr, "new.example.", false)
		})
	}
	f.t = t
	f.configure(f.second())
	before := f.memory()
	result, err := f.Reload(t.Context(), "the test")
	if err != nil || !result.Changed {
		t.Fatalf("%+v, %v", result, err)
	}
	after := f.memory()
	if after.state == before.state || after.cfg == before.cfg || after.ups == before.ups || after.level != slog.LevelDebug || after.slots == before.slots || after.limits == before.limits {
		t.Errorf("memory\n%+v\nwas\n%+v", after, before)
	}
	cfg, _ := f.current()
	for _, at := range f.sockets.Bound(cfg) {
		f.serves(at.String(), "new.example.", true)
	}
	if files := f.files(); files["state/new.json"] == "" {
		t.Errorf("files %q", files)
	}
	// The first query log ends with the queries of the failed reloads; the second one goes on.
	f.contains("queries.log", `"name":"a.example`)
	f.contains("other.log", `"name":"new.example`)
}

// contains waits for a text in a file.
func (f *reloadFixture) contains(name, text string) {
	f.t.Helper()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		got, err := os.ReadFile(f.path(name))
		if strings.Contains(string(got), text) {
			return
		}
		if time.Now().After(end) {
			f.t.Errorf("%s lacks %q: %s, %v", name, text, got, err)
			return
		}
	}
}

// otherAddress returns an IPv4 address of this machine other than loopback; empty if there is none.
func otherAddress() string {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return ""
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			return n.IP.String()
		}
	}
	return ""
}

// TestReloadKeepsPolicy: a change of a key on which no list depends, such as a limit, keeps the policy that was made of the lists.
func TestReloadKeepsPolicy(t *testing.T) {
	t.Parallel()
	f := newReloadFixture(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "feed.example\n") })
	before := f.resolver.State().Policy()
	s := f.first()
	s.more = "limits: {queries_per_second: 9000}\n"
	f.configure(s)
	result, err := f.Reload(t.Context(), "the test")
	if err != nil || !result.Changed {
		t.Fatalf("%+v, %v", result, err)
	}
	if after := f.resolver.State().Policy(); after.Generation() != before.Generation() {
		t.Errorf("generation %d became %d", before.Generation(), after.Generation())
	}
	s.more += "protected: {defaults: false}\n"
	f.configure(s)
	if _, err := f.Reload(t.Context(), "the test"); err != nil || f.resolver.State().Policy().Generation() == before.Generation() {
		t.Errorf("the lists were not read: %v", err)
	}
}

// TestReloadOrder: a configuration that was read before another is not put in force after it, however long its lists take.
func TestReloadOrder(t *testing.T) {
	t.Parallel()
	asked, release := make(chan struct{}, 9), make(chan struct{})
	f := newReloadFixture(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/new" {
			asked <- struct{}{}
			<-release
		}
		io.WriteString(w, "feed.example\n")
	})
	s := f.second()
	f.configure(s)
	done := make(chan error, 1)
	go func() {
		_, err := f.Reload(context.Background(), "the older one")
		done <- err
	}()
	<-asked
	s = f.first()
	s.level = "error"
	f.configure(s)
	if _, err := f.Reload(t.Context(), "the newer one"); err != nil {
		t.Fatal(err)
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if f.level.Level() != slog.LevelError {
		t.Errorf("the older configuration is in force: level %v", f.level.Level())
	}
	if cfg, _ := f.current(); len(cfg.Lists) != 2 {
		t.Errorf("lists %v", cfg.Lists)
	}
}
