package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver/resolvertest"
)

// process is a running rideau.
type process struct {
	t      testing.TB
	dir    string // of its configuration
	cmd    *exec.Cmd
	stderr lockedBuffer
	banner []string
	dns    []string // where it listens
	ops    string   // http://...
	ended  chan struct{}
	err    error // of its end, once ended is closed
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

// rideau returns the program with arguments, to run in dir.
func rideau(ctx context.Context, dir string, args ...string) *exec.Cmd {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	cmd := exec.CommandContext(ctx, exe, args...)
	cmd.Args[0] = "rideau" // see TestMain
	cmd.Dir = dir
	cmd.WaitDelay = 5 * time.Second
	endWithTests(cmd)
	return cmd
}

// start runs rideau with the configuration rideau.yaml in dir, and waits until it
// serves. It is stopped when the test ends, and must end without an error.
func start(t testing.TB, dir string) *process {
	t.Helper()
	return startCommand(t, dir, rideau(context.Background(), dir, "serve", "--config", "rideau.yaml"))
}

// startCommand is start with the command that runs rideau.
func startCommand(t testing.TB, dir string, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, dir: dir, cmd: cmd, ended: make(chan struct{})}
	p.cmd.Stderr = &p.stderr
	stdout, w := io.Pipe()
	p.cmd.Stdout = w
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		w.Close()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("log of rideau:\n%s", p.stderr.String())
		}
	})
	s := bufio.NewScanner(stdout)
	for s.Scan() {
		p.banner = append(p.banner, s.Text())
		if strings.HasPrefix(s.Text(), "  try ") {
			go io.Copy(io.Discard, stdout)
			p.readBanner()
			return p
		}
	}
	t.Fatalf("it did not start: %q, %s", p.banner, p.stderr.String())
	return nil
}

func (p *process) readBanner() {
	p.t.Helper()
	m := regexp.MustCompile(`^rideau \S.* serves DNS on (.+) \(UDP and TCP\)$`).FindStringSubmatch(p.banner[0])
	if m == nil {
		p.t.Fatalf("banner: %q", p.banner)
	}
	p.dns = strings.Split(m[1], ", ")
	for _, l := range p.banner {
		if _, url, ok := strings.Cut(l, "ops HTTP "); ok {
			p.ops = strings.TrimSpace(url)
		}
	}
}

// signal sends a signal.
func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Errorf("signal %v: %v", s, err)
	}
}

// stop ends it, and fails the test if it ends with an error.
func (p *process) stop() {
	p.t.Helper()
	select {
	case <-p.ended:
	default:
		p.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.ended:
		case <-time.After(10 * time.Second):
			p.t.Error("it did not stop within 10 s of SIGTERM")
			p.cmd.Process.Kill()
			<-p.ended
		}
	}
	if p.err != nil {
		p.t.Errorf("it ended with %v", p.err)
	}
	for _, bad := range []string{"DATA RACE", "panic:"} {
		if strings.Contains(p.stderr.String(), bad) {
			p.t.Errorf("%s", p.stderr.String())
		}
	}
}

// ask sends a query and returns the response. Without one within five seconds
// the test fails.
func (p *process) ask(network, name string, qtype uint16) *dns.Msg {
	p.t.Helper()
	m, err := ask(network, p.dns[0], name, qtype)
	if err != nil {
		p.t.Fatalf("%s %s by %s: %v", name, dns.Type(qtype), network, err)
	}
	return m
}

func ask(network, addr, name string, qtype uint16) (*dns.Msg, error) {
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
	q.SetEdns0(1232, false)
	c := dns.Client{Net: network, Timeout: 5 * time.Second}
	m, _, err := c.Exchange(q, addr)
	return m, err
}

// outcome returns a response in few words: its code, its addresses, and its extended
// DNS error.
func outcome(m *dns.Msg) string {
	out := []string{dns.RcodeToString[m.Rcode]}
	for _, rr := range m.Answer {
		switch x := rr.(type) {
		case *dns.A:
			out = append(out, x.A.String())
		case *dns.AAAA:
			out = append(out, x.AAAA.String())
		default:
			out = append(out, dns.Type(rr.Header().Rrtype).String())
		}
	}
	if e := ede(m); e != "" {
		out = append(out, e)
	}
	return strings.Join(out, " ")
}

func ede(m *dns.Msg) string {
	if o := m.IsEdns0(); o != nil {
		for _, opt := range o.Option {
			if e, ok := opt.(*dns.EDNS0_EDE); ok {
				return fmt.Sprintf("%d %q", e.InfoCode, e.ExtraText)
			}
		}
	}
	return ""
}

// becomes waits until a name has this outcome, and logs how long after began that
// was. The promise is a second; here a busy machine may take longer.
func (p *process) becomes(began time.Time, name, want string) {
	p.t.Helper()
	p.becomesAt(p.dns[0], began, name, want)
}

func (p *process) becomesAt(addr string, began time.Time, name, want string) {
	p.t.Helper()
	p.within(began, name+" "+want, func() (string, bool) {
		m, err := ask("udp", addr, name, dns.TypeA)
		if err != nil {
			return err.Error(), false
		}
		got := outcome(m)
		return got, got == want
	})
}

// within waits until ok returns true, for three seconds; the promise is one.
func (p *process) within(began time.Time, what string, ok func() (string, bool)) {
	p.t.Helper()
	for {
		got, done := ok()
		if done {
			p.t.Logf("%s after %v", what, time.Since(began).Round(time.Millisecond))
			return
		}
		if time.Since(began) > 3*time.Second {
			p.t.Fatalf("not %s after %v, but %s\n%s", what, time.Since(began).Round(time.Millisecond), got, p.stderr.String())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// logs waits for a line of the log that matches.
func (p *process) logs(began time.Time, pattern string) {
	p.t.Helper()
	re := regexp.MustCompile("(?m)" + pattern)
	p.within(began, fmt.Sprintf("log line %q", pattern), func() (string, bool) { return "", re.MatchString(p.stderr.String()) })
}

// get fetches a path of the operators' HTTP.
func (p *process) get(path string) (int, string) {
	p.t.Helper()
	return p.request(http.MethodGet, path, "")
}

func (p *process) request(method, path, accept string) (int, string) {
	p.t.Helper()
	req, err := http.NewRequest(method, p.ops+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// reply is what POST /reload says.
type reply struct {
	OK         bool
	Error      string
	Generation uint64
	Changed    bool
	Lists      []struct {
		ID      string
		Entries int
	}
	Problems []struct {
		List, File, Message, Remedy string
		Line                        int
	}
	Forced []struct {
		ID, Kind      string
		Before, After int
	}
	Restart []string
}

func (p *process) reload(query string) (int, reply) {
	p.t.Helper()
	status, body := p.request(http.MethodPost, "/reload"+query, "application/json")
	var r reply
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		p.t.Fatalf("%v in %s", err, body)
	}
	return status, r
}

// metric returns the value of a metric with exactly these labels, in their order; -1
// if there is none.
func (p *process) metric(series string) float64 {
	p.t.Helper()
	_, text := p.get("/metrics")
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				p.t.Fatal(err)
			}
			return v
		}
	}
	return -1
}

// world is a directory with a configuration, and the two upstreams that it can name.
type world struct {
	t        testing.TB
	dir      string
	upstream *resolvertest.Upstream
	other    *resolvertest.Upstream
}

// answers are those of the upstream of a world; the other one has the same with
// another address.
const answers = `
. SOA
plain.example A
    answer plain.example. 300 IN A 192.0.2.1
alias.example A
    answer alias.example. 300 IN CNAME www.banned.example.
    answer www.banned.example. 300 IN A 192.0.2.2
second.example A
    answer second.example. 300 IN A 192.0.2.1
third.example A
    answer third.example. 300 IN A 192.0.2.1
banned.example A
    answer banned.example. 300 IN A 192.0.2.1
slow.example A delay=700ms
    answer slow.example. 300 IN A 192.0.2.1
* *
`

// newWorld makes a world with the list list.txt, which the ban "ban" uses.
func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), upstream: new(resolvertest.Upstream), other: new(resolvertest.Upstream)}
	w.upstream.Start(t)
	w.other.Start(t)
	if err := w.upstream.Load(answers); err != nil {
		t.Fatal(err)
	}
	if err := w.other.Load(strings.ReplaceAll(answers, "A 192.0.2.1", "A 192.0.2.99")); err != nil {
		t.Fatal(err)
	}
	w.write("list.txt", "banned.example\n")
	w.config()
	return w
}

// The outcomes of a name that is not banned and of one that is.
const (
	passed  = "NOERROR 192.0.2.1"
	blocked = `NXDOMAIN 15 "ban: The ban"`
)

// settings are the parts of a world's configuration that tests change.
type settings struct {
	moreListen string // keys under listen, each with a comma before it
	listen     []string
	upstream   netip.AddrPort
	probe      string // more of upstream
	mode       string
	extra      string // more of the ban
	level      string
	more       string // sections

	extraLists string // more lists
	bans       string // the ban's lists besides the first
}

// config writes the configuration with changed settings.
func (w *world) config(change ...func(*settings)) {
	w.t.Helper()
	w.write("rideau.yaml", w.configText(change...))
}

func (w *world) configText(change ...func(*settings)) string {
	s := settings{listen: []string{"127.0.0.1:0"}, upstream: w.upstream.Addr(), mode: "enforce", level: "info"}
	for _, f := range change {
		f(&s)
	}
	return fmt.Sprintf(`listen: {addresses: ["%s"]%s}
upstream: {servers: ["%v"]%s}
lists: [{id: list, file: list.txt}%s]
bans: [{id: ban, title: {en: The ban}, mode: %s, lists: [%s]%s}]
ops: {listen: "127.0.0.1:0", pprof: true}
log: {level: %s}
%s`, strings.Join(s.listen, `", "`), s.moreListen, s.upstream, s.probe, s.extraLists, s.mode, strings.TrimSuffix("list, "+s.bans, ", "), s.extra, s.level, s.more)
}

// asked returns an ok function for within: whether the upstream was asked for a name.
func (w *world) asked(name string) func() (string, bool) {
	return func() (string, bool) {
		for _, q := range w.upstream.Queries() {
			if strings.EqualFold(q.Name, name) {
				return "asked", true
			}
		}
		return "not asked", false
	}
}

// path returns the path of a file in the world's directory.
func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

// write writes a file in place.
func (w *world) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(w.path(name), []byte(text), 0o666); err != nil {
		w.t.Fatal(err)
	}
}

// move renames a file over another.
func (w *world) move(from, to string) {
	w.t.Helper()
	if err := os.Rename(w.path(from), w.path(to)); err != nil {
		w.t.Fatal(err)
	}
}

// replace writes a new file and renames it into place, so that a complete file is
// always there.
func (w *world) replace(name, text string) {
	w.t.Helper()
	w.write(name+".new", text)
	w.move(name+".new", name)
}

// listening reports whether an address answers DNS.
func listening(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	c.Close()
	return true
}
