// Package view computes what the pages and the read interface for operators show:
// what the server does now, its bans, lists, clients, exceptions and events. It
// returns plain values, which encode as JSON, and writes nothing, neither HTML nor
// the store of evidence.
//
// # Bounds
//
// Answering DNS comes first. What takes long (a search in the store, an explanation,
// a dry run) runs at most two at a time, each for at most [MaxTime], on threads of a
// lower priority, by a connection that only reads, and returns at most [MaxEvents]
// events; more of them wait, a few and not for long, and further ones get [ErrBusy].
// Everything else reads counters and what is kept in memory: the figures of the last
// hour, and sums of the evidence by the hour, which are read in the background.
package view

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"rideau/blocklists"
	"rideau/cmd/rideau/internal/selftest"
	"rideau/cmd/rideau/internal/view/past"
	"rideau/config"
	"rideau/resolver/ops"
	"rideau/resolver/ops/metrics"
)

// Bounds of what takes long.
const (
	// MaxTime is the longest time of one search.
	MaxTime = past.MaxTime
	// MaxEvents is the largest number of events of one search.
	MaxEvents = 500
	// maxRunning is how many run at a time, maxWaiting how many more wait, and
	// maxWait for how long.
	maxRunning, maxWaiting = 2, 8
	maxWait                = 3 * time.Second
)

// Errors.
var (
	// ErrBusy is the error if too much that takes long is asked for at a time.
	ErrBusy = errors.New("too many searches run; try again in a moment")
	// ErrNoStore is the error of a search if the node has no store of evidence.
	ErrNoStore = past.ErrNoStore
	// ErrTooLong is the error of a search that took longer than MaxTime.
	ErrTooLong = errors.New("the search took too long and was ended; choose a shorter time, or the exact name")
)

// Options are what a View needs of its server. Functions are safe for concurrent use.
type Options struct {
	// Sources are those of the metrics. Totals, Policy, Cache, Upstreams and Listener
	// are needed; of the others what is nil is left out.
	Sources metrics.Sources
	// Readiness returns why queries are not served, and what an operator should know.
	Readiness func() (reasons, notes []string)
	// Config returns the configuration in force.
	Config func() *config.Config
	// Now returns the time that decides which bans are in force; nil: the system's.
	Now func() time.Time
	// Certificates returns the certificates that clients see; nil: none.
	Certificates func() []Certificate
	// SelfTest returns the last test of the bans, which is not written; nil: there is
	// none.
	SelfTest func() *selftest.Report
	// DryRun is the server's; nil: there is none.
	DryRun func(context.Context) (ops.DryRun, error)
	// Addresses returns where DNS is served; nil: it is not told.
	Addresses func() []string
	// Background runs a function with a lower priority, and returns when it has
	// ended; nil: it calls it.
	Background func(func())
	// Node is the name of the node; empty for that of the configuration.
	Node string
}

// Certificate is a certificate that clients see.
type Certificate struct {
	File      string    `json:"file"`
	Use       string    `json:"use"` // the key of the configuration
	Names     []string  `json:"names"`
	NotBefore time.Time `json:"not_before"`
	Expires   time.Time `json:"expires"`
	Self      bool      `json:"self_signed"`
	Fault     string    `json:"fault,omitempty"` // why it has to be renewed
}

// View computes values. It is safe for concurrent use.
type View struct {
	o       Options
	started time.Time
	samples samples
	past    *past.Past
	running chan struct{} // holds a token for each task that runs
	waiting chan struct{}
	export  chan struct{} // holds a token while events are exported
	reload  reloads
	maxTime time.Duration // MaxTime, but in tests
}

// New makes a View. It starts nothing: Run does.
func New(o Options) *View {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Background == nil {
		o.Background = func(f func()) { f() }
	}
	v := &View{o: o, maxTime: MaxTime, started: time.Now(), running: make(chan struct{}, maxRunning), waiting: make(chan struct{}, maxWaiting), export: make(chan struct{}, 1)}
	v.past = past.New(v.storePath, o.Now, o.Background)
	v.samples.sample(&v.o.Sources, time.Now())
	return v
}

// Run takes samples until ctx ends; then it closes what is open.
func (v *View) Run(ctx context.Context) {
	defer v.past.Close()
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case at := <-tick.C:
			v.samples.sample(&v.o.Sources, at)
			v.reload.follow(v.policy(), v.o.Now())
		}
	}
}

// storePath is the file of the store of evidence; empty if there is none.
func (v *View) storePath() string {
	e := v.o.Config().Evidence
	return e.StorePath()
}

// policy returns the policy in force; nil if there is none.
func (v *View) policy() *blocklists.Snapshot { return v.o.Sources.Snapshot() }

// task runs f in the background, within the bounds of the package.
func (v *View) task(ctx context.Context, f func(context.Context) error) error {
	select {
	case v.waiting <- struct{}{}:
	default:
		return ErrBusy
	}
	wait := time.NewTimer(maxWait)
	defer wait.Stop()
	select {
	case v.running <- struct{}{}:
		<-v.waiting
	case <-wait.C:
		<-v.waiting
		return ErrBusy
	case <-ctx.Done():
		<-v.waiting
		return ctx.Err()
	}
	defer func() { <-v.running }()
	limited, cancel := context.WithTimeout(ctx, v.maxTime)
	defer cancel()
	var err error
	v.o.Background(func() { err = f(limited) })
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return ErrTooLong
	}
	return err
}

// Node is the name of the node.
func (v *View) Node() string {
	if v.o.Node != "" {
		return v.o.Node
	}
	return v.o.Config().Evidence.Node
}

// Choices returns the ids and titles of the bans, in their order, for choices.
func (v *View) Choices() (bans []Named, groups []string) {
	p := v.policy()
	if p == nil {
		return nil, nil
	}
	for _, b := range p.Bans() {
		bans = append(bans, Named{b.Ban.ID, b.Ban.TitleEN, cmp.Or(b.Ban.TitleFR, b.Ban.TitleEN)})
	}
	for _, g := range p.Policy().Groups {
		groups = append(groups, g.ID)
	}
	slices.SortFunc(groups, strings.Compare)
	return bans, append([]string{blocklists.GroupAll}, groups...)
}

// Counts are numbers of queries by what the policy decided, a Bar those of an hour or
// a day, and History what is known of the past.
type (
	Counts  = past.Counts
	Bar     = past.Bar
	History = past.History
)

// Named is something with an id and a title in both languages.
type Named struct {
	ID      string `json:"id"`
	TitleEN string `json:"title_en"`
	TitleFR string `json:"title_fr"`
}

// reloads remembers what reloads changed. It is safe for concurrent use.
type reloads struct {
	mu      sync.Mutex
	seen    map[string]listVersion // by the list's id
	changes map[string]ListChange  // the last one of each list
	last    *Reload
}

type listVersion struct {
	hash    [32]byte
	entries int
}

// Reload is the result of a reload.
type Reload struct {
	At       time.Time     `json:"at"`
	Why      string        `json:"why"`
	OK       bool          `json:"ok"`
	Error    string        `json:"error,omitempty"`
	Changed  bool          `json:"changed"`
	Problems []ops.Problem `json:"problems"`
	Changes  []ops.Change  `json:"changes"`
	Restart  []string      `json:"restart"`
}

// maxTold bounds what a Reload remembers of each kind.
const maxTold = 200

// Reloaded tells the result of a reload.
func (v *View) Reloaded(why string, result ops.ReloadResult, err error) {
	r := &Reload{At: v.o.Now(), Why: why, OK: err == nil, Changed: result.Changed, Problems: first(append(slices.Clone(result.Unfetched), result.Problems...)),
		Changes: first(result.Changes), Restart: append([]string{}, result.Restart...)}
	if err != nil {
		r.Error = err.Error()
	}
	v.reload.follow(v.policy(), r.At)
	v.reload.mu.Lock()
	defer v.reload.mu.Unlock()
	if v.reload.last == nil || r.Changed || !r.OK || !v.reload.last.OK {
		v.reload.last = r
	}
}

func first[T any](all []T) []T { return append([]T{}, all[:min(len(all), maxTold)]...) }

// Last returns the last reload that changed something or was refused; nil if there
// was none. It is not written.
func (v *View) Last() *Reload {
	v.reload.mu.Lock()
	defer v.reload.mu.Unlock()
	return v.reload.last
}

// follow notes which lists are others than before.
func (r *reloads) follow(p *blocklists.Snapshot, now time.Time) {
	if p == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	seen, begin := map[string]listVersion{}, r.seen == nil
	changes := map[string]ListChange{}
	for _, l := range p.Lists() {
		is := listVersion{l.SHA256, l.Entries}
		was, known := r.seen[l.ID]
		switch {
		case begin:
		case !known:
			changes[l.ID] = ListChange{At: now, New: true, After: l.Entries}
		case was != is:
			changes[l.ID] = ListChange{At: now, Before: was.entries, After: l.Entries}
		default:
			if c, ok := r.changes[l.ID]; ok {
				changes[l.ID] = c
			}
		}
		seen[l.ID] = is
	}
	r.seen, r.changes = seen, changes
}

// ListChange says what a reload changed in a list.
type ListChange struct {
	At     time.Time `json:"at"`
	New    bool      `json:"new,omitempty"` // there was no such list before
	Before int       `json:"before"`        // entries
	After  int       `json:"after"`
}
