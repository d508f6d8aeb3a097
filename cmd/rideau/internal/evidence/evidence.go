// Package evidence runs the sinks of a configuration: it makes them, replaces
// those that a reload changes, and ends them when the server ends.
package evidence

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"rideau/cmd/rideau/internal/text"
	config "rideau/config/evidence"
	"rideau/resolver"
	"rideau/resolver/audit"
	"rideau/resolver/audit/act"
	"rideau/resolver/audit/alert"
	"rideau/resolver/audit/dnstap"
	"rideau/resolver/audit/lines"
	"rideau/resolver/audit/schema"
	"rideau/resolver/audit/sink"
	"rideau/resolver/audit/spool"
	"rideau/resolver/audit/store"
	"rideau/resolver/ops"
	"rideau/resolver/ops/metrics"
)

// Options are what an Evidence needs of its server.
type Options struct {
	Records *audit.Log
	Version string
	Logger  *slog.Logger
	// Stdout is where sinks of kind stdout write.
	Stdout io.Writer
	// Uptime is how long the program has run, by a clock that nobody sets; nil: by
	// that of package time. Distrusted reports whether the system's clock is
	// distrusted; nil: it never is.
	Uptime     func() time.Duration
	Distrusted func() bool
}

// Evidence runs sinks. It is safe for concurrent use; at most one Change is open
// at a time.
type Evidence struct {
	o     Options
	acts  *act.Log
	node  schema.Node
	dir   string
	wake  chan struct{}
	renew *time.Timer // when keys of pseudonyms are to be renewed

	mu          sync.Mutex
	running     []*running    // guarded by mu: the sinks in force, in the order of the configuration
	queue       []step        // guarded by mu: what Run has to do
	shared      shared        // guarded by mu: what sinks of the configuration have in common
	last        act.Act       // guarded by mu: the last act that Add recorded
	followed    followed      // guarded by mu
	alerts      config.Alerts // guarded by mu: of the configuration in force
	alertTotals alert.Totals  // guarded by mu
	// following is held while two states are compared.
	following sync.Mutex

	denied   chan ops.Denial
	undenied atomic.Uint64 // refused requests for which denied had no space
}

// running is a sink, and what it was made from.
type running struct {
	config config.Sink
	shared shared // what it needs of that
	sink   *sink.Sink
	store  *store.Writer      // of the store; nil for others
	cancel context.CancelFunc // set by Run
	done   chan struct{}      // closed when it has ended
}

// step is a sink to start, after those that it replaces have ended.
type step struct {
	begin []*running
	end   []*running
}

// New makes an Evidence for a node of that name; "" is the name of the host. dir
// is the folder for spools.
func New(name, dir string, o Options) *Evidence {
	if name == "" {
		name, _ = os.Hostname()
	}
	if o.Stdout == nil {
		o.Stdout = io.Discard
	}
	if o.Uptime == nil {
		began := time.Now()
		o.Uptime = func() time.Duration { return time.Since(began) }
	}
	if o.Distrusted == nil {
		o.Distrusted = func() bool { return false }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	var run [8]byte
	rand.Read(run[:])
	renew := time.NewTimer(0)
	renew.Stop()
	return &Evidence{o: o, renew: renew, acts: act.New(), dir: dir, wake: make(chan struct{}, 1), denied: make(chan ops.Denial, 64), node: schema.Node{
		Name: name, Run: hex.EncodeToString(run[:]), Version: o.Version, TypeName: text.TypeName, RcodeName: text.RcodeName}}
}

// Acts is the log that acts are added to.
func (e *Evidence) Acts() *act.Log { return e.acts }

// Node is the name of the node in events.
func (e *Evidence) Node() string { return e.node.Name }

// Change is a set of sinks that is not in force yet. Commit or Close must be
// called.
type Change struct {
	e      *Evidence
	sinks  []*running
	alerts config.Alerts
	fresh  map[*running]sink.Writer
	shared shared
}

// Prepare makes what the sinks of a configuration need, which may fail: nothing
// that runs is changed. Sinks that did not change go on.
func (e *Evidence) Prepare(cfg config.Evidence) (*Change, error) {
	e.mu.Lock()
	old, before := e.running, e.shared
	e.mu.Unlock()
	c := &Change{e: e, alerts: cfg.Alerts, fresh: map[*running]sink.Writer{}}
	var err error
	if c.shared.keys, err = openKeys(cfg, before.keys); err != nil {
		return nil, err
	}
	if c.shared.seals, err = openSealKey(cfg, before.seals); err != nil {
		return nil, err
	}
	for _, s := range cfg.Places() {
		need := c.shared.of(s)
		if i := slices.IndexFunc(old, func(r *running) bool { return same(r.config, s) && r.shared == need }); i >= 0 {
			c.sinks = append(c.sinks, old[i])
			continue
		}
		w, err := e.writer(s, need)
		if err != nil {
			c.Close()
			return nil, fmt.Errorf("sink %s: %w", s.ID, err)
		}
		if s.Spool > 0 && s.Kind != config.InStore {
			if err := os.MkdirAll(e.spoolDir(s), 0o700); err != nil {
				w.Close()
				c.Close()
				return nil, fmt.Errorf("sink %s: its spool: %w; set evidence.dir to a folder that Rideau may write", s.ID, err)
			}
		}
		r := &running{config: s, shared: need, done: make(chan struct{})}
		c.sinks, c.fresh[r] = append(c.sinks, r), w
	}
	return c, nil
}

// same reports whether two sinks differ in nothing but their lines.
func same(a, b config.Sink) bool {
	a.Line, b.Line = 0, 0
	return reflect.DeepEqual(a, b)
}

func (e *Evidence) spoolDir(s config.Sink) string {
	if s.Kind == config.InStore {
		return s.Path + ".spool"
	}
	return filepath.Join(e.dir, s.ID)
}

// writer makes the Writer of a sink.
func (e *Evidence) writer(s config.Sink, need shared) (sink.Writer, error) {
	switch s.Kind {
	case config.File:
		o := fileOptions(s)
		if need.seals != nil {
			return e.sealed(s, o, need.seals)
		}
		w, err := lines.File(o)
		if err != nil {
			return nil, err // not a nil pointer in an interface
		}
		return w, nil
	case config.Stdout:
		return lines.To(e.o.Stdout), nil
	case config.Syslog:
		return syslogWriter(s)
	case config.Dnstap:
		return dnstapWriter(s)
	case config.InStore:
		return e.storeWriter(s), nil
	case config.Webhook:
		return webhookWriter(s, e.node.Version)
	}
	return nil, fmt.Errorf("unknown kind %s", s.Kind)
}

// fileOptions says where the file of a sink is and how it is kept.
func fileOptions(s config.Sink) lines.Options {
	return lines.Options{Path: s.Path, MaxBytes: s.MaxBytes, Every: s.MaxAge, Files: s.KeepFiles, Days: s.KeepDays, Compress: strings.TrimPrefix(s.Compress, "none")}
}

// Close gives up a Change that is not in force.
func (c *Change) Close() {
	if c == nil {
		return
	}
	for _, w := range c.fresh {
		w.Close()
	}
	c.fresh = nil
}

// Commit puts a Change in force. The new sinks get every event from now on; those
// that they replace are ended by Run, which delivers what they have.
func (c *Change) Commit() {
	e := c.e
	for r, w := range c.fresh {
		r.sink = e.sink(r, w)
		r.store, _ = w.(*store.Writer)
	}
	c.fresh = nil
	e.mu.Lock()
	defer e.mu.Unlock()
	var s step
	for _, r := range c.sinks {
		if !slices.Contains(e.running, r) {
			s.begin = append(s.begin, r)
		}
	}
	for _, r := range e.running {
		if !slices.Contains(c.sinks, r) {
			s.end = append(s.end, r)
		}
	}
	e.running, e.shared, e.alerts = c.sinks, c.shared, c.alerts
	if e.shared.keys != nil {
		e.renew.Reset(0)
	}
	e.queue = append(e.queue, s)
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// sink makes a sink.
func (e *Evidence) sink(r *running, w sink.Writer) *sink.Sink {
	s := r.config
	o := sink.Options{Name: s.ID, Acts: e.acts, Encoder: e.encoder(r), Writer: w, Logger: e.o.Logger, Keep: keep(s)}
	if s.Seal {
		o.Encoder = withoutSeals{o.Encoder}
	}
	if s.Events == config.Banned || s.Events == config.All {
		o.Records, o.Want = e.o.Records, resolver.Banned|resolver.WouldBlock|resolver.Excepted|resolver.Bypass
	}
	if s.Events == config.All {
		o.Want = resolver.Finished
	}
	if s.Spool > 0 {
		o.Spool = func() (*spool.Spool, int64, error) { return spool.Open(e.spoolDir(s), s.Spool) }
	}
	return sink.New(o)
}

// encoder makes the Encoder of a sink's format.
func (e *Evidence) encoder(r *running) sink.Encoder {
	n := e.node
	n.Client = r.tell()
	if r.config.Kind == config.Dnstap {
		return dnstap.NewEncoder(&n)
	}
	format := formatted(r.config.Format, &n)
	if r.config.Events == config.OnlyAlerts {
		format = onlyAlerts{format}
	}
	return wrap(r.config, &n, format)
}

// formatted makes the Encoder of a format.
func formatted(f config.Format, n *schema.Node) sink.Encoder {
	switch f {
	case config.OCSF:
		return schema.NewOCSF(n)
	case config.ECS:
		return schema.NewECS(n)
	}
	return schema.NewRideau(n)
}

// keep returns what chooses a sink's queries; nil if it gets all.
func keep(s config.Sink) func(*audit.Record) bool {
	if len(s.Bans) == 0 && len(s.Groups) == 0 && s.Sample == 1 {
		return nil
	}
	return func(r *audit.Record) bool {
		if len(s.Groups) > 0 && !slices.Contains(s.Groups, r.Group) && !slices.Contains(s.Groups, "all") {
			return false
		}
		if r.Ban != "" {
			return len(s.Bans) == 0 || slices.Contains(s.Bans, r.Ban)
		}
		return len(s.Bans) == 0 && (s.Sample == 1 || mathrand.Float64() < s.Sample)
	}
}

// Run runs the sinks that are in force, until ctx ends. Then it ends them, and
// returns when they have delivered what they can.
func (e *Evidence) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			e.steps()
			e.mu.Lock()
			last := e.running
			e.mu.Unlock()
			stop(last)
			return
		case <-e.wake:
			e.steps()
		case <-e.renew.C:
			e.renewKeys()
		}
	}
}

// steps does what is queued.
func (e *Evidence) steps() {
	e.mu.Lock()
	queue := e.queue
	e.queue = nil
	e.mu.Unlock()
	for _, s := range queue {
		stop(s.end)
		for _, r := range s.begin {
			ctx, cancel := context.WithCancel(context.Background())
			r.cancel = cancel
			go func() { defer close(r.done); r.sink.Run(ctx) }()
		}
	}
}

// stop ends sinks and waits for them: first those that seal what they have written, so that the others are told of the last seals.
func stop(all []*running) {
	for _, sealed := range []bool{true, false} {
		for _, r := range all {
			if r.config.Seal == sealed {
				r.cancel()
			}
		}
		for _, r := range all {
			if r.config.Seal == sealed {
				<-r.done
			}
		}
	}
}

// Metrics returns the counts of the sinks in force, for metrics.
func (e *Evidence) Metrics() []metrics.Sink {
	var out []metrics.Sink
	for _, s := range e.Stats() {
		m := metrics.Sink{Name: s.Name, Offered: s.Offered, Delivered: s.Kept, Repeated: s.Repeated, Waiting: s.Waiting, SpoolBytes: s.SpoolBytes, Failing: !s.FailingSince.IsZero()}
		for _, r := range sink.Reasons() {
			m.Dropped = append(m.Dropped, metrics.Failure{Reason: r.String(), Count: s.Dropped[r]})
		}
		out = append(out, m)
	}
	return out
}

// Stats returns the counts of the sinks in force.
func (e *Evidence) Stats() []sink.Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []sink.Stats
	for _, r := range e.running {
		out = append(out, r.sink.Stats())
	}
	return out
}
