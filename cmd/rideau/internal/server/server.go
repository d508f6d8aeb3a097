// Package server runs Rideau as a value: New makes a Server, and Run loads the
// policy, binds the sockets, and answers until its context ends. A process can
// run more than one at a time.
//
// What belongs to the process is the caller's: signals, exit codes, GOMAXPROCS
// and the limit of memory.
package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/source"
	"rideau/cmd/rideau/internal/access"
	"rideau/cmd/rideau/internal/auditlog"
	"rideau/cmd/rideau/internal/blockpage"
	"rideau/cmd/rideau/internal/changes"
	"rideau/cmd/rideau/internal/clock"
	"rideau/cmd/rideau/internal/endpoints"
	"rideau/cmd/rideau/internal/evidence"
	"rideau/cmd/rideau/internal/held"
	"rideau/cmd/rideau/internal/nat64"
	"rideau/cmd/rideau/internal/selftest"
	"rideau/cmd/rideau/internal/setup"
	"rideau/cmd/rideau/internal/snapshot"
	"rideau/cmd/rideau/internal/sockets"
	"rideau/cmd/rideau/internal/view"
	"rideau/cmd/rideau/internal/watch"
	"rideau/config"
	"rideau/resolver"
	"rideau/resolver/audit"
	"rideau/resolver/audit/act"
	"rideau/resolver/cache"
	"rideau/resolver/cookie"
	"rideau/resolver/device"
	"rideau/resolver/limit"
	"rideau/resolver/ops"
	"rideau/resolver/ops/metrics"
	"rideau/resolver/steady"
)

// Options say what to serve. They are fixed when a Server is made.
type Options struct {
	// Config is the path of the configuration; if it is empty, the one inside
	// the program is used.
	Config string
	Build  metrics.Build
	// Log receives the log, in the configured format, and Stdout the events of
	// sinks that write to the standard output.
	Log, Stdout io.Writer
	// Workers is how many workers each address has where the configuration
	// does not say; 0 is one for each processor.
	Workers int
	// MemoryLimit is called with cache.memory_limit at the start and after each
	// reload; 0 means that the configuration sets none. It may be nil.
	MemoryLimit func(bytes int64)
	// Clock is where the time comes from that decides which bans are in force; by default the system.
	Clock clock.Options
	// Inherited are sockets with which the process was started, which the Server owns,
	// and Keeper keeps those that it binds for the next process. Both may be nil.
	Inherited []*os.File
	Keeper    held.Keeper
	// Started is called once, when every address is bound and answers. It may
	// be nil.
	Started func(Facts)
}

// Facts are what a Server serves when it has started.
type Facts struct {
	Addrs     []netip.AddrPort // for DNS, in the order of the configuration
	Encrypted []endpoints.Bound
	Ops       string // address of the operators' HTTP; empty without one
	Policy    *blocklists.Snapshot
	Upstreams []config.Server
	Forward   []config.Forward
	Clock     clock.Reading
	Serves    func(client netip.Addr) bool // whether a client is answered
	Log       *slog.Logger
	JSON      bool   // Log is for machines
	Language  string // of people
}

// Server is one Rideau. Its exported methods are safe for concurrent use.
type Server struct {
	o    Options
	path string // o.Config

	// ctx ends when the server stops; from then on no reload begins.
	ctx     context.Context
	stop    context.CancelFunc
	started chan struct{} // closed when the server answers

	clock   *clock.Clock
	steady  *steady.Clock          // of the cache and the gate
	doubted atomic.Pointer[string] // why the clock is distrusted, as it was logged; nil if it was not

	log      *slog.Logger
	level    *slog.LevelVar
	seen     watch.Stamps // the watched files as they were before they were read
	sources  *source.Sources
	secret   cookie.Secret // for cookies, if the configuration has none
	cache    *cache.Cache
	saved    snapshot.Cache
	devices  *device.Table
	gate     *limit.Gate
	tester   *selftest.Tester
	waits    *limit.WaitLimit
	resolver *resolver.Resolver
	records  *audit.Log
	queries  *auditlog.QueryLog
	events   *auditlog.EventLog
	evidence *evidence.Evidence
	held     *held.Sockets // beside this process
	sockets  *sockets.Set
	secured  *endpoints.Set // encrypted listeners
	nat64    *nat64.Discovery
	web      *ops.Server       // the operators' HTTP; nil without one
	shown    *view.View        // what pages show; nil without web
	page     *blockpage.Server // nil without one
	access   *access.Access
	reloads  metrics.ReloadLog
	faults   atomic.Uint64 // panics in tasks beside answering
	told     changes.Log

	// reading is held while the configuration is read, and guards readings.
	reading  sync.Mutex
	readings uint64 // how often the configuration was read

	// mu lets one reload run at a time, and guards what only reloads use.
	mu    sync.Mutex
	order uint64 // the number of the reading that is in force
	slots blocklists.Slots
	timer *time.Timer // for the next ban that begins or ends

	// view guards what a reload changes and others read. It is held for a
	// moment only, so that a health check never waits for a list to be read.
	view sync.Mutex
	cfg  *config.Config
	ups  *setup.Upstreams
}

// New makes a Server. It reads nothing and starts nothing: Run does.
func New(o Options) *Server {
	s := &Server{o: o, path: o.Config, started: make(chan struct{}), level: new(slog.LevelVar), secret: setup.NewSecret(),
		clock: setup.NewClock(o.Clock)}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

// errStopping is the error of a reload after the server began to stop.
var errStopping = errors.New("rideau is stopping")

// current returns the configuration and the upstreams that serve.
func (s *Server) current() (*config.Config, *setup.Upstreams) {
	s.view.Lock()
	defer s.view.Unlock()
	return s.cfg, s.ups
}

// Reload reads the configuration and the lists again, puts them in force, and
// logs the result with why. It waits until the server has started. If anything
// cannot be used, nothing changes, and the error says why.
func (s *Server) Reload(ctx context.Context, why string) (ops.ReloadResult, error) {
	select {
	case <-s.started:
	case <-s.ctx.Done():
		return ops.ReloadResult{}, errStopping
	case <-ctx.Done():
		return ops.ReloadResult{}, ctx.Err()
	}
	result, err := s.reload(ctx, ops.ReloadOptions{})
	s.tell(act.Actor{Way: act.BySignal}, why, true, result, err)
	return result, err
}

// Status says in a few words what the server does.
func (s *Server) Status() string {
	cfg, _ := s.current()
	var addrs []string
	for _, a := range s.sockets.Bound(cfg) {
		addrs = append(addrs, a.String())
	}
	return "serves DNS on " + strings.Join(addrs, ", ")
}

// Works reports whether the server still does its work: no goroutine that serves an
// address has ended, and none keeps the locks that it needs.
func (s *Server) Works() bool {
	cfg, _ := s.current()
	return cfg != nil && len(s.sockets.Missing(cfg)) == 0
}

// facts returns what is served now.
func (s *Server) facts() Facts {
	cfg, ups := s.current()
	f := Facts{Addrs: s.sockets.Bound(cfg), Encrypted: s.secured.Bound(cfg), Policy: s.resolver.State().Policy(), Upstreams: ups.Servers, Forward: cfg.Forward, Clock: s.clock.Read(),
		Serves: s.resolver.State().Serves, Log: s.log, JSON: cfg.Log.Format == config.LogJSON, Language: string(cfg.Log.Language)}
	if s.web != nil {
		f.Ops = s.web.Addrs()[0].String()
	}
	return f
}
