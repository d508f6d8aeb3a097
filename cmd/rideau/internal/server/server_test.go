package server_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/cmd/rideau/internal/server"
	"rideau/resolver/resolvertest"
)

// instance is a server that runs in the test's process.
type instance struct {
	*server.Server
	t      *testing.T
	folder string
	facts  server.Facts
	log    *syncBuffer
	stop   func() // ends it, and waits for its end
}

// syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *syncBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *syncBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start runs a server on free ports whose list bans one name, and returns when
// it answers.
func start(t *testing.T, upstream, banned string) *instance {
	t.Helper()
	i := &instance{t: t, folder: t.TempDir(), log: new(syncBuffer)}
	i.write("list.txt", banned+"\n")
	i.write("rideau.yaml", fmt.Sprintf(`listen: {addresses: ["127.0.0.1:0"]}
upstream: {servers: ["%s"], probe_interval: 200ms}
lists: [{id: list, file: list.txt}]
bans: [{id: ban, title: {en: The ban}, lists: [list]}]
cache: {snapshot: %s}
log: {queries: %s}
ops: {listen: "127.0.0.1:0"}
reload: {watch: false}
`, upstream, i.path("cache"), i.path("queries.log")))
	started := make(chan server.Facts, 1)
	i.Server = server.New(server.Options{Config: i.path("rideau.yaml"), Log: i.log, Workers: 1,
		Started: func(f server.Facts) { started <- f }})
	i.run(started)
	return i
}

// run runs the server until the test ends, and returns when it answers.
func (i *instance) run(started <-chan server.Facts) {
	i.t.Helper()
	ctx, cancel := context.WithCancel(i.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- i.Run(ctx) }()
	select {
	case i.facts = <-started:
	case err := <-ended:
		i.t.Fatalf("it did not start: %v\n%s", err, i.log)
	}
	i.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			i.t.Errorf("it ended with %v", err)
		}
	})
	i.t.Cleanup(i.stop)
}

func (i *instance) path(name string) string { return filepath.Join(i.folder, name) }

func (i *instance) write(name, text string) {
	i.t.Helper()
	if err := os.WriteFile(i.path(name), []byte(text), 0o666); err != nil {
		i.t.Fatal(err)
	}
}

// answers checks the response code for a name, over UDP and over TCP.
func (i *instance) answers(name string, rcode int) {
	i.t.Helper()
	for _, network := range []string{"udp", "tcp"} {
		c := dns.Client{Net: network, Timeout: 5 * time.Second}
		m, _, err := c.Exchange(new(dns.Msg).SetQuestion(name, dns.TypeA), i.facts.Addrs[0].String())
		if err != nil {
			i.t.Errorf("%s over %s: %v", name, network, err)
		} else if m.Rcode != rcode {
			i.t.Errorf("%s over %s: %s, want %s", name, network, dns.RcodeToString[m.Rcode], dns.RcodeToString[rcode])
		}
	}
}

// TestTwoServers runs two servers in one process. Each has its policy, its
// addresses and its files; a reload of one leaves the other alone; and when both
// have ended none of their goroutines is left.
func TestTwoServers(t *testing.T) {
	up := new(resolvertest.Upstream)
	up.Start(t)
	if err := up.Load(". SOA\n* A\n\tanswer any.example. 300 IN A 192.0.2.1\n"); err != nil {
		t.Fatal(err)
	}
	before := goroutines()
	a, b := start(t, up.Addr().String(), "a.example"), start(t, up.Addr().String(), "b.example")
	a.answers("a.example.", dns.RcodeNameError)
	a.answers("b.example.", dns.RcodeSuccess)
	b.answers("a.example.", dns.RcodeSuccess)
	b.answers("b.example.", dns.RcodeNameError)

	if len(goroutines()) <= len(before) {
		t.Error("the servers have no goroutines that this test could find")
	}

	a.write("list.txt", "c.example\n")
	result, err := a.Reload(t.Context(), "the test")
	if err != nil || !result.Changed {
		t.Errorf("reload: %v, %+v", err, result)
	}
	a.answers("a.example.", dns.RcodeSuccess)
	a.answers("c.example.", dns.RcodeNameError)
	b.answers("a.example.", dns.RcodeSuccess)
	b.answers("c.example.", dns.RcodeSuccess)

	a.write("list.txt", "http://c.example/\n")
	if _, err := a.Reload(t.Context(), "the test"); err == nil {
		t.Error("a list that cannot be used was accepted")
	}
	a.answers("c.example.", dns.RcodeNameError)

	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, i := range []*instance{a, b} {
		resp, err := client.Get("http://" + i.facts.Ops + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("/readyz: %s", resp.Status)
		}
	}

	a.stop()
	b.answers("b.example.", dns.RcodeNameError)
	b.stop()
	if _, err := b.Reload(t.Context(), "the test"); err == nil {
		t.Error("a reload after the end succeeded")
	}
	for _, i := range []*instance{a, b} {
		for _, name := range []string{"cache", "queries.log"} {
			if info, err := os.Stat(i.path(name)); err != nil || info.Size() == 0 {
				t.Errorf("%s: %v", name, err)
			}
		}
		if strings.Contains(i.log.String(), "panic") || !strings.Contains(i.log.String(), "msg=stopped") {
			t.Errorf("log: %s", i.log)
		}
	}
	noneLeft(t, before)
}

// goroutines returns the stacks of all goroutines that run code of this module,
// by their numbers.
func goroutines() map[string]string {
	buf := make([]byte, 4<<20)
	out := map[string]string{}
	for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		m := regexp.MustCompile(`^goroutine (\d+) `).FindStringSubmatch(stack)
		if m != nil && strings.Contains(stack, "rideau/") && !strings.Contains(stack, "testing.tRunner") {
			out[m[1]] = stack
		}
	}
	return out
}

// noneLeft waits until all goroutines that were not there before have ended.
func noneLeft(t *testing.T, before map[string]string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		left := goroutines()
		for g := range before {
			delete(left, g)
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			for _, stack := range left {
				t.Errorf("a goroutine is left:\n%s", stack)
			}
			return
		}
	}
}

// TestStartFails: a start that fails binds nothing, and leaves nothing behind.
func TestStartFails(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	path := filepath.Join(t.TempDir(), "rideau.yaml")
	for what, text := range map[string]string{
		"an address in use": `{listen: {addresses: ["127.0.0.1:0", "` + taken.Addr().String() + `"]}, upstream: {servers: [192.0.2.1]}}`,
		"HTTP in use":       `{listen: {addresses: ["127.0.0.1:0"]}, upstream: {servers: [192.0.2.1]}, ops: {listen: "` + taken.Addr().String() + `"}}`,
		"no such list":      `{listen: {addresses: ["127.0.0.1:0"]}, lists: [{id: l, file: missing.txt}], bans: [{id: b, title: {en: B}, lists: [l]}]}`,
		"no such folder":    `{listen: {addresses: ["127.0.0.1:0"]}, log: {queries: missing/queries.log}}`,
	} {
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		before := goroutines()
		s := server.New(server.Options{Config: path, Log: new(syncBuffer), Started: func(server.Facts) { t.Errorf("%s: it started", what) }})
		if err := s.Run(t.Context()); err == nil {
			t.Errorf("%s: no error", what)
		}
		noneLeft(t, before)
	}
}

// TestStopWhileStarting: a start that waits for a list ends with its context, and
// so does a reload that waits for the start.
func TestStopWhileStarting(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // it accepts connections, and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	folder := t.TempDir()
	path := filepath.Join(folder, "rideau.yaml")
	text := fmt.Sprintf(`
listen: {addresses: ["127.0.0.1:0"]}
upstream: {servers: [192.0.2.1]}
lists: [{id: l, url: "http://%s/list", insecure_http: true}]
bans: [{id: b, title: {en: B}, lists: [l]}]
state: {dir: %s}
`, silent.Addr(), filepath.Join(folder, "state"))
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	before := goroutines()
	s := server.New(server.Options{Config: path, Log: new(syncBuffer), Started: func(server.Facts) { t.Error("it started") }})
	ctx, cancel := context.WithCancel(t.Context())
	ended, reloaded := make(chan error, 1), make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	go func() {
		_, err := s.Reload(t.Context(), "the test")
		reloaded <- err
	}()
	conn, err := silent.Accept() // the start downloads the list
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cancel()
	if err := <-ended; err == nil {
		t.Error("the start was cancelled, and Run returned no error")
	}
	if err := <-reloaded; err == nil {
		t.Error("a reload of a server that never started succeeded")
	}
	noneLeft(t, before)
}
