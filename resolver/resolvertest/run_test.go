package resolvertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"rideau/blocklists"
	"rideau/blocklists/compile"
	"rideau/resolver"
	"rideau/resolver/audit"
	"rideau/resolver/cache"
	"rideau/resolver/cookie"
	"rideau/resolver/limit"
	"rideau/resolver/upstream"
	"rideau/resolver/upstream/do53"
	"rideau/resolver/upstream/member"
)

// epoch is the time at which every scenario begins.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// run is a scenario that is being run.
type run struct {
	t    testing.TB
	path string

	files map[string]file
	clock clock

	policy    *policy
	model     *model
	slots     blocklists.Slots
	snapshot  *blocklists.Snapshot
	cache     *cache.Cache
	resolver  *resolver.Resolver
	counters  *resolver.Counters
	records   *audit.Log
	events    *audit.Reader
	unseen    []audit.Record // events that no expectation has named yet
	waits     chan struct{}  // a query began to wait
	resolve   resolveFunc
	front     func(*exchange) (wait func()) // used instead of answer, if not nil
	upstreams map[string]*Upstream
	groups    map[string]*upstream.Group // by the names of their members

	last    *exchange
	started map[string]*pending
	serial  uint16 // of the last query's id
	// background is set if queries may be sent upstream while no client waits.
	background bool
}

// file is the present content of a file of a scenario.
type file struct {
	text  string
	first int // the line of the scenario where it begins
}

// pending is a query between start and await.
type pending struct {
	*exchange
	done chan struct{}
}

// clock is a clock that stands still until it is set.
type clock struct {
	mu  sync.Mutex // guards now
	now time.Time
}

// Now returns the time.
func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	c.now = t
	c.mu.Unlock()
}

// runFile runs the scenario in a file. It fails the test with the file and
// line of each expectation that does not hold. resolve finishes
// the queries that are left pending.
func runFile(t testing.TB, path string, resolve resolveFunc, set ...func(*run)) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r := newRun(t, path, data)
	r.resolve = resolve
	for _, f := range set {
		f(r)
	}
	script, err := parseLines(r.files["script"].text, r.files["script"].first)
	if err != nil {
		r.fatal(0, err)
	}
	for i := 0; i < len(script); {
		i += r.step(script[i:])
	}
	r.finish()
}

// newRun prepares a scenario up to the start of its script.
func newRun(t testing.TB, path string, data []byte) *run {
	t.Helper()
	r := &run{t: t, path: path, files: readFiles(data), started: map[string]*pending{}, waits: make(chan struct{}, 1), resolve: plainResolve}
	r.clock.set(epoch)
	if err := r.setUp(); err != nil {
		r.fatal(0, err)
	}
	return r
}

// readFiles parses a txtar archive, and notes where each file begins.
func readFiles(data []byte) map[string]file {
	files := map[string]file{}
	a := txtar.Parse(data)
	at := 1 + strings.Count(string(a.Comment), "\n")
	for _, f := range a.Files {
		at++ // the line that names the file
		files[f.Name] = file{string(f.Data), at}
		at += strings.Count(string(f.Data), "\n")
	}
	return files
}

// failf reports a failure at a line.
func (r *run) failf(at int, format string, args ...any) {
	r.t.Helper()
	r.t.Errorf("%s:%d: %s", r.path, at, fmt.Sprintf(format, args...))
}

// fatal ends the scenario. The line of a lineError takes precedence over at.
func (r *run) fatal(at int, err error) {
	r.t.Helper()
	if le := (*lineError)(nil); errors.As(err, &le) {
		at, err = le.at, le.err
	}
	r.t.Fatalf("%s:%d: %v", r.path, at, err)
}

// setUp starts the upstreams and makes the resolver.
func (r *run) setUp() error {
	for _, name := range []string{"policy", "script"} {
		if _, ok := r.files[name]; !ok {
			return fmt.Errorf("no file %q", name)
		}
	}
	r.upstreams, r.groups = map[string]*Upstream{}, map[string]*upstream.Group{}
	for name, f := range r.files {
		id, ok := upstreamID(name)
		if !ok {
			continue
		}
		u := new(Upstream)
		if err := u.load(f.text, f.first); err != nil {
			return err
		}
		u.Start(r.t)
		r.upstreams[id] = u
	}
	p, err := r.readPolicy()
	if err != nil {
		return err
	}
	r.cache = cache.New(p.cache)
	// Of several servers, one that the answer did not wait for may still be asked.
	r.background = p.cache.PrefetchAfter > 0 || len(r.upstreams) > 1
	st, err := r.load(p, false)
	if err != nil {
		return err
	}
	gate := limit.NewGate()
	gate.LimitClients(p.rate, p.burst)
	gate.LimitOctets(p.octets)
	r.records = audit.New()
	r.events = r.records.NewReader(1000)
	r.events.Want(resolver.WouldBlock | resolver.Excepted | resolver.Bypass)
	r.resolver = resolver.New(resolver.Options{
		Audit: r.records, Gate: gate, Cache: r.cache, State: st, RefusedPerSecond: p.refusedPerSecond, StaleAfter: p.staleAfter, Clock: r.clock.Now,
	})
	r.counters = r.resolver.Stats().NewCounters()
	return nil
}

// upstreamID is the upstream that a file is for: "main" for the file
// upstream, NAME for upstream/NAME.
func upstreamID(file string) (id string, ok bool) {
	if file == "upstream" {
		return "main", true
	}
	return strings.CutPrefix(file, "upstream/")
}

func (r *run) readPolicy() (*policy, error) {
	p, err := parsePolicy(r.files["policy"].text, r.files["policy"].first)
	if err != nil {
		return nil, err
	}
	for i := range p.Lists {
		l := &p.Lists[i]
		source := l.Source
		l.Open = func() (io.ReadCloser, error) {
			f, ok := r.files[source]
			if !ok {
				return nil, &fs.PathError{Op: "open", Path: source, Err: fs.ErrNotExist}
			}
			return io.NopCloser(strings.NewReader(f.text)), nil
		}
	}
	return p, nil
}

// exchanger returns the group of the named upstreams. As in the server, a reload
// that changes nothing about them keeps the group.
func (r *run) exchanger(p *policy, names []string) (upstream.Upstream, error) {
	key := fmt.Sprint(names, p.attempt, p.total)
	if g := r.groups[key]; g != nil {
		return g, nil
	}
	var members []member.Server
	for _, name := range names {
		u := r.upstreams[name]
		if u == nil {
			return nil, fmt.Errorf("policy: no file upstream/%s", name)
		}
		members = append(members, do53.New(u.Addr(), do53.Options{TrustAD: p.trustAD, MixCase: !p.sameCase}))
	}
	g := upstream.NewGroup(key, upstream.Options{AttemptTimeout: p.attempt, LeastAttempt: p.attempt, Timeout: p.total}, members...)
	r.t.Cleanup(g.Close)
	r.groups[key] = g
	return g, nil
}

// load makes the State of a policy, as the server does at the start and on reload.
// On error nothing has changed.
func (r *run) load(p *policy, force bool) (*resolver.State, error) {
	opt := compile.Options{Now: r.clock.Now(), Slots: &r.slots}
	if force {
		opt.Force = []string{"all"}
	}
	snapshot, _, err := compile.Load(context.Background(), p.Policy, r.snapshot, opt)
	if err != nil {
		return nil, err
	}
	o := resolver.StateOptions{Policy: snapshot, Clients: p.clients, UDPSize: p.udpSize, NSID: p.nsid, Amplification: p.amplification}
	if len(p.cookies) > 0 {
		o.Cookies = cookie.New(p.cookies...)
	}
	if o.Upstream, err = r.exchanger(p, p.upstreams); err != nil {
		return nil, err
	}
	for _, f := range p.forwards {
		up, err := r.exchanger(p, f.upstreams)
		if err != nil {
			return nil, err
		}
		o.Routes = append(o.Routes, resolver.Route{Zones: f.zones, Upstream: up})
	}
	st, err := resolver.NewState(o)
	if err != nil {
		return nil, err
	}
	text := map[string]string{}
	for name, f := range r.files {
		text[name] = f.text
	}
	m, err := newModel(p, text)
	if err != nil {
		return nil, err
	}
	r.policy, r.snapshot, r.model = p, snapshot, m
	return st, nil
}

// finish checks the rules for a whole scenario.
func (r *run) finish() {
	r.unchecked()
	for name, p := range r.started {
		r.failf(p.at, "query %s was started and never awaited", name)
	}
	for name, u := range r.upstreams {
		for _, a := range u.Unexpected() {
			r.failf(0, "upstream %s was asked for %s type %d, which its file does not answer", name, a.Name, a.Type)
		}
	}
}

// unchecked fails a query whose response no expectation checked.
func (r *run) unchecked() {
	if r.last != nil && !r.last.checked {
		r.failf(r.last.at, "nothing is expected of this query; it got: %v", r.last)
	}
	r.last = nil
}
