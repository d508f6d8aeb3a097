// Package server runs Rideau: it acquires the lists, binds the sockets, answers,
// reloads, and drains.
package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"rideau/blocklists"
	"rideau/cmd/rideau/internal/setup"
	"rideau/cmd/rideau/internal/text"
	"rideau/config"
	"rideau/resolver"
	"rideau/resolver/cache"
	"rideau/resolver/cookie"
	"rideau/resolver/device"
	"rideau/resolver/limit"
	"rideau/resolver/ops"
)

// Options say what to serve, and with what.
type Options struct {
	Config string // path of the configuration; empty for the one inside the program
	Build  ops.Build
	// Stdout gets the banner, Stderr the log.
	Stdout, Stderr io.Writer
	// Reload asks for a reload with each value. It may be nil.
	Reload <-chan os.Signal
}

// Server is a running rideau.
type Server struct {
	path    string // of the configuration; empty for the embedded one
	build   ops.Build
	log     *slog.Logger
	level   *slog.LevelVar
	ctx     context.Context // ends when serving is to end
	reloads ops.ReloadLog
	sources *Sources
	room    *limit.Room
	gate    *limit.Gate
	faults  atomic.Uint64 // see keep
	secret  cookie.Secret // for cookies, if the configuration has none

	resolver *resolver.Resolver
	devices  *device.Table
	queries  *queryLog
	memory   int64 // the process's limit before any configuration
	cache    *cache.Cache
	sockets  *sockets

	// mu lets one reload run at a time, and guards what only reloads use.
	mu    sync.Mutex
	slots blocklists.Slots
	// report is what the lists that serve were said to hold.
	report blocklists.Report
	timer  *time.Timer // for the next ban that begins or ends

	// view guards what a reload changes and others read. It is held for a
	// moment only, so that a health check never waits for a list to be read.
	view sync.Mutex
	cfg  *config.Config
	ups  *setup.Upstreams
}

// now is the configuration and the upstreams that serve.
func (s *Server) now() (*config.Config, *setup.Upstreams) {
	s.view.Lock()
	defer s.view.Unlock()
	return s.cfg, s.ups
}

// Run serves until ctx ends. The steps stand in order: nothing is bound before the
// policy is whole, and nothing is answered before everything is bound.
func Run(ctx context.Context, o Options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &Server{path: o.Config, build: o.Build, level: new(slog.LevelVar), ctx: ctx, secret: setup.NewSecret()}

	seen := look(s.files(nil))
	cfg, err := setup.Load(s.path)
	if err != nil {
		return err
	}
	s.cfg = cfg
	s.memory = debug.SetMemoryLimit(-1)
	s.limitMemory(cfg)
	s.log = newLogger(o.Stderr, cfg, s.level)
	s.sources = NewSources(s.log, true, "rideau/"+o.Build.Version)
	s.sockets = newSockets(s.log, setProcs())
	for _, p := range s.files(cfg) {
		if _, ok := seen[p]; !ok {
			seen[p] = look([]string{p})[p]
		}
	}
	plan, err := s.begin()
	if err != nil {
		return err
	}
	web, err := s.listenOps()
	if err != nil {
		s.close()
		return err
	}
	banner(o.Stdout, s, plan, web)

	var side sync.WaitGroup
	side.Go(func() { s.hangups(ctx, o.Reload) })
	for what, f := range map[string]func(context.Context){
		"logging events": s.logEvents, "logging queries": s.queries.run, "fetching lists": s.refresh,
		"keeping the cache": s.snapshots, "looking out for floods": s.lookOut,
		"watching files": func(ctx context.Context) {
			watch(ctx, s.interval, func() []string { return s.watched() }, seen, func() { s.reloadAndLog(ctx, "a file changed") })
		},
	} {
		side.Go(func() { s.keep(ctx, what, f) })
	}
	webDone := make(chan struct{})
	webCtx, stopWeb := context.WithCancel(context.Background())
	go func() {
		defer close(webDone)
		if web == nil {
			<-webCtx.Done()
			return
		}
		if err := web.Serve(webCtx); err != nil {
			s.log.Error("ops HTTP ended", "error", err)
		}
	}()
	<-ctx.Done()
	s.log.Info("stopping: finishing what waits")
	if web != nil {
		web.Drain()
	}
	s.close()
	stopWeb()
	<-webDone
	side.Wait()
	s.saveCache()
	s.queries.use(nil)
	s.log.Info("stopped")
	return nil
}

// keep has f run until ctx ends. A fault in it is logged and counted, and a
// moment later it runs again: nothing that is done beside answering may end
// that.
func (s *Server) keep(ctx context.Context, what string, f func(context.Context)) {
	for ctx.Err() == nil {
		func() {
			defer func() {
				if p := recover(); p != nil {
					s.faults.Add(1)
					s.log.Error("a fault in the program; it goes on", "while", what, "panic", p, "stack", string(debug.Stack()))
				}
			}()
			f(ctx)
		}()
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// begin loads the policy, and makes and binds everything that serves.
func (s *Server) begin() (setup.UpstreamPlan, error) {
	cfg := s.cfg
	plan, err := setup.PlanUpstreams(cfg, nil)
	if err != nil {
		return plan, err
	}
	if err := s.sources.ensure(s.ctx, cfg, nil, cfg.Fetch.StartTimeout); err != nil {
		return plan, err
	}
	snap, report, err := s.sources.Load(s.ctx, cfg, nil, &s.slots, LoadOptions{Start: true})
	s.report = report
	s.reloads.Record(time.Now(), err == nil, listResults(cfg, report))
	if err != nil {
		return plan, err
	}
	s.warn(cfg, plan, report)
	s.sources.warn(cfg)
	if s.ups, err = setup.NewUpstreams(cfg, plan, nil, s.log); err != nil {
		return plan, err
	}
	st, err := s.newState(cfg, snap, s.ups, plan)
	if err != nil {
		return plan, err
	}
	popular := 0 // never
	if cfg.Cache.Prefetch {
		popular = cfg.Cache.PrefetchHits
	}
	s.cache = cache.New(cache.Options{
		Entries: cfg.Cache.MaxEntries, Bytes: cfg.Cache.MaxBytes, MinTTL: cfg.Cache.MinTTL, MaxTTL: cfg.Cache.MaxTTL,
		MaxNegativeTTL: cfg.Cache.MaxNegativeTTL, FailureTTL: cfg.Cache.FailureTTL, FailureMaxTTL: cfg.Cache.FailureMaxTTL,
		MaxStale: cfg.Cache.MaxStale, StaleTTL: cfg.Cache.StaleTTL, NoCut: !cfg.Cache.NXDomainCut, PrefetchAfter: popular,
	})
	s.warm()
	s.devices = device.New(device.Options{})
	s.gate = limit.NewGate()
	s.gate.LimitClients(cfg.Limits.QueriesPerSecond, cfg.Limits.Burst)
	s.resolver = resolver.New(resolver.Options{
		Cache: s.cache, State: st, RefusedPerSecond: cfg.Clients.RefusedPerSecond,
		StaleAfter: cfg.Cache.StaleAfter, Gate: s.gate, Devices: s.devices, Logger: s.log,
	})
	queries, err := setup.OpenQueryLog(cfg)
	if err != nil {
		return plan, err
	}
	s.queries = newQueryLog(s.resolver.Stats(), s.log)
	s.queries.use(queries)
	s.room = limit.NewRoom(cfg.Listen.MaxPending)
	fresh, err := s.sockets.bind(cfg, s.resolver, s.room)
	if err != nil {
		return plan, err
	}
	s.ups.Start(s.ctx)
	s.sockets.open(fresh)
	s.arm(snap)
	giveBack(snap)
	return plan, nil
}

func (s *Server) newState(cfg *config.Config, snap *blocklists.Snapshot, ups *setup.Upstreams, plan setup.UpstreamPlan) (*resolver.State, error) {
	cookies, err := setup.Jar(cfg, s.secret)
	if err != nil {
		return nil, err
	}
	return resolver.NewState(resolver.StateOptions{Policy: snap, Clients: cfg.Clients.Allow,
		Upstream: ups.Fallback(plan), Routes: ups.Routes, UDPSize: uint16(cfg.Listen.UDPSize),
		Cookies: cookies, NSID: cfg.Listen.NSID, Amplification: cfg.Limits.Amplification})
}

// close drains and closes everything.
func (s *Server) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
	}
	s.sockets.close()
	if _, ups := s.now(); ups != nil {
		ups.End()
	}
}

// arm makes sure that the policy changes when a ban next begins or ends. mu
// is held, or nothing runs yet.
func (s *Server) arm(snap *blocklists.Snapshot) {
	if s.timer != nil {
		s.timer.Stop()
	}
	next := snap.NextChange()
	if next.IsZero() {
		return
	}
	// A long sleep would not follow a clock that is set, so that it is cut
	// into pieces.
	s.timer = time.AfterFunc(min(max(time.Until(next), 0), time.Minute), s.turn)
}

// turn puts the policy of this instant in force.
func (s *Server) turn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.resolver.State()
	snap, now := st.Policy(), time.Now()
	if s.ctx.Err() != nil {
		return
	}
	if !now.Before(snap.NextChange()) {
		snap = snap.At(now)
		s.resolver.SetState(st.WithPolicy(snap))
		for _, b := range snap.Bans() {
			s.log.Info("bans changed by date", "ban", b.Ban.ID, "in_force", b.Active)
		}
	}
	s.arm(snap)
}

// logEvents logs what happened to single queries, some a second, and how many
// more there were.
func (s *Server) logEvents(ctx context.Context) {
	const perSecond = 20
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var logged, left [resolver.Bypass + 1]int
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			for k, n := range left {
				if n > 0 {
					s.log.Info("more "+eventText(resolver.EventKind(k)), "queries", n)
				}
			}
			clear(logged[:])
			clear(left[:])
		case e := <-s.resolver.Events():
			if logged[e.Kind]++; logged[e.Kind] > perSecond {
				left[e.Kind]++
				continue
			}
			s.logEvent(&e)
		}
	}
}

func eventText(k resolver.EventKind) string {
	switch k {
	case resolver.Excepted:
		return "let through by an exception"
	case resolver.Bypass:
		return "tried to go round this resolver"
	}
	return "would have been blocked"
}

func (s *Server) logEvent(e *resolver.Event) {
	facts := []any{"ban", e.Ban, "list", e.List, "name", e.Name(), "type", text.TypeName(uint16(e.Type)), "client", e.Client, "group", e.Group}
	switch e.Kind {
	case resolver.Excepted:
		x := e.Exception
		facts = append(facts, "exception", x.ID, "ticket", x.Ticket, "approver", x.Approver)
	case resolver.Bypass:
		facts = append(facts, "stopped", e.Enforced)
	}
	s.log.Info(eventText(e.Kind), facts...)
}

func (s *Server) hangups(ctx context.Context, hup <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			s.reloadAndLog(ctx, "SIGHUP")
		}
	}
}

func newLogger(w io.Writer, cfg *config.Config, level *slog.LevelVar) *slog.Logger {
	level.Set(cfg.Log.Level)
	o := &slog.HandlerOptions{Level: level}
	if cfg.Log.Format == config.LogJSON {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// warn logs what an operator should look at.
func (s *Server) warn(cfg *config.Config, plan setup.UpstreamPlan, report blocklists.Report) {
	for _, w := range cfg.Warnings {
		s.log.Warn(w.String())
	}
	for _, w := range plan.Warnings {
		s.log.Warn(w)
	}
	for _, p := range report.Problems {
		s.log.Warn("line skipped", "file", p.File, "line", p.Line, "text", p.Text, "reason", p.Reason, "remedy", p.Remedy)
	}
}

// banner tells in a few lines what is served.
func banner(w io.Writer, s *Server, plan setup.UpstreamPlan, web *ops.Server) {
	var addrs []string
	bound := s.sockets.bound(s.cfg)
	for _, a := range bound {
		addrs = append(addrs, a.String())
	}
	first := bound[0]
	fmt.Fprintf(w, "rideau %s serves DNS on %s (UDP and TCP)\n", s.build.Version, strings.Join(addrs, ", "))
	if web != nil {
		fmt.Fprintf(w, "  ops HTTP   http://%s\n", web.Addrs()[0])
	}
	host := first.Addr()
	if host.IsUnspecified() {
		host = netip.MustParseAddr("127.0.0.1")
	}
	for _, b := range s.resolver.State().Policy().Bans() {
		state := b.Ban.Stages()
		switch {
		case state == blocklists.Off.String():
		case !b.Active && time.Now().Before(b.Ban.Effective):
			state += ", from " + text.Date(b.Ban.Effective)
		case !b.Active:
			state += ", expired " + text.Date(b.Ban.Expires)
		default:
			state += ", " + b.Ban.Action.String()
		}
		fmt.Fprintf(w, "  ban        %s: %d names, %s\n", b.Ban.ID, b.Names, state)
	}
	ups := "none"
	if len(plan.Servers) > 0 {
		ups = setup.ServerList(plan.Servers)
	}
	fmt.Fprintf(w, "  upstreams  %s\n", ups)
	for _, f := range s.cfg.Forward {
		fmt.Fprintf(w, "  forward    %s to %s\n", strings.Join(f.Zones, ", "), setup.ServerList(f.Servers))
	}
	fmt.Fprintf(w, "  try        dig @%s -p %d web.wechat.com\n", host, first.Port())
}

// errStopping is what a reload gets that comes too late.
var errStopping = errors.New("rideau is stopping")
