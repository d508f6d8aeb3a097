package server

import (
	"context"
	"crypto/rand"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/source"
	"rideau/cmd/rideau/internal/auditlog"
	"rideau/cmd/rideau/internal/blockpage"
	"rideau/cmd/rideau/internal/changes"
	"rideau/cmd/rideau/internal/endpoints"
	"rideau/cmd/rideau/internal/evidence"
	"rideau/cmd/rideau/internal/held"
	"rideau/cmd/rideau/internal/nat64"
	"rideau/cmd/rideau/internal/setup"
	"rideau/cmd/rideau/internal/snapshot"
	"rideau/cmd/rideau/internal/sockets"
	"rideau/cmd/rideau/internal/watch"
	"rideau/config"
	"rideau/resolver"
	"rideau/resolver/audit"
	"rideau/resolver/cache"
	"rideau/resolver/device"
	"rideau/resolver/limit"
	"rideau/resolver/steady"
)

// start puts the configuration in force for the first time, by the steps of a reload. If one fails, all that was bound is closed.
func (s *Server) start(ctx context.Context) error {
	cfg, err := s.readConfig()
	if err != nil {
		return err
	}
	s.clock.Recorded(setup.Records(cfg))
	s.nat64 = nat64.New(s.log)
	s.sources = source.New(source.Options{Logger: s.log})
	s.waits = limit.NewWaitLimit(cfg.Listen.MaxPending)
	s.held = held.New(s.log, s.o.Inherited, s.o.Keeper)
	s.sockets = sockets.New(s.log, s.o.Workers, s.held)
	c := &change{s: s, cfg: cfg, options: source.PrepareOptions{Start: true}}
	defer c.close()
	if err := c.planLists(); err != nil {
		return err
	}
	if err := c.lists.Ensure(ctx, cfg.Fetch.StartTimeout); err != nil {
		return err
	}
	servers := len(c.plan.Servers)
	for _, f := range cfg.Forward {
		servers += len(f.Servers)
	}
	s.sockets.LimitConnections(cfg, servers)
	connections, most := s.sockets.Connections()
	s.secured = endpoints.New(endpoints.Options{Log: s.log, Waits: s.waits, Connections: connections, Most: most, Held: s.held, Clock: time.Now})
	if err := c.bindSockets(ctx); err != nil {
		return err
	}
	err = c.prepare(ctx)
	s.reloads.Record(s.now(), err == nil, c.listResults())
	if err != nil {
		if c.policy != nil {
			s.warn(changes.Warnings(c.cfg, c.plan, c.policy))
			s.warnSkipped(c.report)
		}
		return err
	}
	if s.web, err = s.listenOps(cfg); err != nil {
		return err
	}
	if s.page, err = blockpage.Open(cfg, s.pageOptions()); err != nil {
		if s.web != nil {
			s.web.Close()
		}
		return err
	}
	s.commit(c)
	s.sources.Warn()
	return nil
}

func (s *Server) pageOptions() blockpage.Options {
	return blockpage.Options{Config: func() *config.Config { cfg, _ := s.current(); return cfg }, Policy: func() *blocklists.Snapshot { return s.resolver.State().Policy() },
		Record: s.record, Log: s.log, Now: time.Now}
}

// readConfig reads the configuration, and makes the log as it says. The watched
// files are compared with their state from before: a change after that is seen.
func (s *Server) readConfig() (*config.Config, error) {
	s.seen = watch.StampFiles(s.files(nil))
	cfg, err := setup.Load(s.path)
	if err != nil {
		return nil, err
	}
	s.log = newLogger(s.o.Log, cfg, s.level)
	s.limitMemory(cfg)
	for path, stamp := range watch.StampFiles(s.files(cfg)) {
		if _, known := s.seen[path]; !known {
			s.seen[path] = stamp
		}
	}
	return cfg, nil
}

// assemble makes what the server has once: the cache, the limits, and the resolver with the first State.
func (s *Server) assemble(c *change) {
	s.makeCache(c.cfg)
	s.saved.Restore(c.cfg.Cache.Snapshot, c.ups.Fingerprint())
	s.makeResolver(c.cfg, c.state)
	s.queries = auditlog.NewQueryLog(s.records, s.log)
	began := s.steady.At(time.Now())
	s.evidence = evidence.New(c.cfg.Evidence.Node, c.cfg.Evidence.Dir, evidence.Options{Records: s.records, Version: s.o.Build.Version, Logger: s.log, Stdout: s.o.Stdout,
		Uptime: func() time.Duration { return time.Duration(s.steady.At(time.Now()) - began) }, Distrusted: func() bool { return s.distrusted() != "" }})
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
	s.steady = steady.New(time.Now())
	s.saved = snapshot.Cache{Cache: s.cache, Steady: s.steady, Log: s.log}
}

func (s *Server) makeResolver(cfg *config.Config, state *resolver.State) {
	s.devices = device.New(device.Options{})
	s.gate = limit.NewGate()
	s.gate.LimitClients(cfg.Limits.QueriesPerSecond, cfg.Limits.Burst)
	s.gate.LimitOctets(cfg.Limits.UnverifiedBytesPerSecond)
	s.records = audit.New()
	s.events = auditlog.NewEventLog(s.records, s.log, func() uint64 { return blockedQueries(s.resolver.Stats().Totals()) })
	key := make([]byte, 16)
	rand.Read(key) // it does not fail
	s.resolver = resolver.New(resolver.Options{
		Cache: s.cache, Steady: s.steady, State: state, TestKey: key, RefusedPerSecond: cfg.Clients.RefusedPerSecond,
		StaleAfter: cfg.Cache.StaleAfter, Gate: s.gate, Devices: s.devices, Audit: s.records, Logger: s.log,
	})
	s.tester = s.newTester(key)
}

// limitMemory passes a configuration's limit of memory on.
func (s *Server) limitMemory(cfg *config.Config) {
	if s.o.MemoryLimit != nil {
		s.o.MemoryLimit(cfg.Cache.MemoryLimit)
	}
}
