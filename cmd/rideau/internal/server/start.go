package server

import (
	"context"
	"time"

	"rideau/blocklists"
	"rideau/cmd/rideau/internal/auditlog"
	"rideau/cmd/rideau/internal/setup"
	"rideau/config"
	"rideau/resolver"
	"rideau/resolver/audit"
	"rideau/resolver/cache"
	"rideau/resolver/device"
	"rideau/resolver/limit"
)

// start makes and binds everything that serves, in order: nothing is bound
// before the policy is whole, and nothing is answered before everything is
// bound. If a step fails, all that was bound is closed.
func (s *Server) start(ctx context.Context) error {
	if err := s.readConfig(); err != nil {
		return err
	}
	cfg := s.cfg
	plan, err := setup.PlanUpstreams(cfg, nil)
	if err != nil {
		return err
	}
	snap, err := s.loadPolicy(ctx, cfg, plan)
	if err != nil {
		return err
	}
	if s.ups, err = setup.NewUpstreams(cfg, plan, nil, s.log); err != nil {
		return err
	}
	state, err := s.newState(cfg, snap, s.ups, plan)
	if err != nil {
		return err
	}
	s.makeCache(cfg)
	s.saved.restore(cfg.Cache.Snapshot, s.ups.Asked())
	s.makeResolver(cfg, state)
	queries, err := setup.OpenQueryLog(cfg)
	if err != nil {
		return err
	}
	s.queries = auditlog.NewQueryLog(s.records, s.log)
	s.queries.Use(queries)
	s.sockets = newSockets(s.log, s.o.Workers)
	fresh, err := s.sockets.bind(cfg, s.resolver, s.room)
	if err == nil {
		if s.web, err = s.listenOps(); err != nil {
			closeAll(fresh)
		}
	}
	if err != nil {
		s.queries.Use(nil)
		return err
	}
	s.ups.Start(s.ctx)
	s.sockets.open(fresh)
	s.arm(snap)
	giveBack(snap)
	return nil
}

// readConfig reads the configuration, and makes the log as it says. The watched
// files are compared with their state from before: a change after that is seen.
func (s *Server) readConfig() error {
	s.seen = look(s.files(nil))
	cfg, err := setup.Load(s.path)
	if err != nil {
		return err
	}
	s.cfg = cfg
	s.log = newLogger(s.o.Log, cfg, s.level)
	s.limitMemory(cfg)
	for path, state := range look(s.files(cfg)) {
		if _, known := s.seen[path]; !known {
			s.seen[path] = state
		}
	}
	return nil
}

// loadPolicy fetches the lists of which there is no copy, and loads them all.
func (s *Server) loadPolicy(ctx context.Context, cfg *config.Config, plan setup.UpstreamPlan) (*blocklists.Snapshot, error) {
	s.sources = NewSources(s.log, true, "rideau/"+s.o.Build.Version)
	if err := s.sources.ensure(ctx, cfg, nil, cfg.Fetch.StartTimeout); err != nil {
		return nil, err
	}
	snap, report, err := s.sources.Load(ctx, cfg, nil, &s.slots, LoadOptions{Start: true})
	s.report = report
	s.reloads.Record(time.Now(), err == nil, listResults(cfg, report))
	if err != nil {
		return nil, err
	}
	s.warn(cfg, plan, report)
	s.sources.warn(cfg)
	return snap, nil
}

func (s *Server) makeCache(cfg *config.Config) {
	prefetch := 0 // never
	if cfg.Cache.Prefetch {
		prefetch = cfg.Cache.PrefetchHits
	}
	s.cache = cache.New(cache.Options{
		Entries: cfg.Cache.MaxEntries, Bytes: cfg.Cache.MaxBytes, MinTTL: cfg.Cache.MinTTL, MaxTTL: cfg.Cache.MaxTTL,
		MaxNegativeTTL: cfg.Cache.MaxNegativeTTL, FailureTTL: cfg.Cache.FailureTTL, FailureMaxTTL: cfg.Cache.FailureMaxTTL,
		MaxStale: cfg.Cache.MaxStale, StaleTTL: cfg.Cache.StaleTTL, NoCut: !cfg.Cache.NXDomainCut, PrefetchAfter: prefetch,
	})
	s.saved = savedCache{s.cache, s.log}
}

func (s *Server) makeResolver(cfg *config.Config, state *resolver.State) {
	s.devices = device.New(device.Options{})
	s.gate = limit.NewGate()
	s.gate.LimitClients(cfg.Limits.QueriesPerSecond, cfg.Limits.Burst)
	s.room = limit.NewWaitLimit(cfg.Listen.MaxPending)
	s.records = audit.New()
	s.events = auditlog.NewEventLog(s.records, s.log)
	s.resolver = resolver.New(resolver.Options{
		Cache: s.cache, State: state, RefusedPerSecond: cfg.Clients.RefusedPerSecond,
		StaleAfter: cfg.Cache.StaleAfter, Gate: s.gate, Devices: s.devices, Audit: s.records, Logger: s.log,
	})
}

// newState makes the State of a configuration: at the start, and for a reload.
func (s *Server) newState(cfg *config.Config, snap *blocklists.Snapshot, ups *setup.Upstreams, plan setup.UpstreamPlan) (*resolver.State, error) {
	cookies, err := setup.Jar(cfg, s.secret)
	if err != nil {
		return nil, err
	}
	return resolver.NewState(resolver.StateOptions{Policy: snap, Clients: cfg.Clients.Allow,
		Upstream: ups.Fallback(plan), Routes: ups.Routes, UDPSize: uint16(cfg.Listen.UDPSize),
		Cookies: cookies, NSID: cfg.Listen.NSID, Amplification: cfg.Limits.Amplification})
}

// limitMemory passes a configuration's limit of memory on.
func (s *Server) limitMemory(cfg *config.Config) {
	if s.o.MemoryLimit != nil {
		s.o.MemoryLimit(cfg.Cache.MemoryLimit)
	}
}
