package server

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"rideau/blocklists"
	"rideau/cmd/rideau/internal/setup"
	"rideau/config"
	"rideau/resolver/limit"
	"rideau/resolver/ops"
	"rideau/resolver/ops/metrics"
	"rideau/resolver/upstream/health"
)

// readyWithin is how long ago the last answer of an upstream may be while rideau
// is ready. Probes are sent far more often.
const readyWithin = time.Minute

// listenOps binds the operators' HTTP; nil without one.
func (s *Server) listenOps(cfg *config.Config) (*ops.Server, error) {
	socket, named := cfg.SocketPath()
	if _, err := os.Stat(filepath.Dir(socket)); err != nil && !named {
		socket = "" // there is no state folder yet
	}
	if cfg.Ops.Listen == "" && socket == "" {
		return nil, nil
	}
	routes, err := s.pages()
	if err != nil {
		return nil, err
	}
	web := ops.New(ops.Options{
		Routes:      append(routes, s.access.Routes()...),
		Home:        "/now",
		Sources:     s.metrics(),
		Ready:       s.notServing,
		ReadyWithin: readyWithin,
		Reload:      s.reloadAsked,
		DryRun:      s.dryRun,
		Flush:       s.flush,
		Denied:      s.evidence.Denied,
		Test:        s.selfTest,
		Guard:       s.access.Guard,
		Pprof:       cfg.Ops.Pprof,
		Logger:      s.log,
	})
	if cfg.Ops.Listen != "" {
		if err := web.Listen(cfg.Ops.Listen); err != nil {
			return nil, fmt.Errorf("%s: ops.listen: %w", setup.Name(cfg), err)
		}
	}
	if socket != "" {
		err := web.ListenSocket(socket)
		if err != nil && named {
			web.Close()
			return nil, err
		}
		if err != nil { // nobody has asked for it
			s.log.Info("there is no Unix socket for operators", "error", err)
		}
	}
	return web, nil
}

// metrics returns the functions that return the figures.
func (s *Server) metrics() metrics.Sources {
	return metrics.Sources{
		Bypass:        s.bypasses,
		Totals:        s.resolver.Stats().Totals,
		Policy:        func() *blocklists.Snapshot { return s.resolver.State().Policy() },
		Cache:         s.cacheFacts,
		Upstreams:     s.upstreamFacts,
		Listener:      s.listenerFacts,
		Encrypted:     s.secured.Metrics,
		Refreshes:     s.resolver.Exchanges().Refreshes,
		Unrelated:     s.resolver.Exchanges().Unrelated,
		Panics:        s.panics,
		EventsDropped: s.events.Lost,
		EventsCounted: s.events.Counted,
		QueriesLost:   s.queries.Lost,
		Sinks:         s.evidence.Metrics,
		Store:         s.evidence.StoreMetrics,
		Alerts:        s.evidence.Alerts,
		Reloads:       &s.reloads,
		Lists:         s.listFacts,
		Distrusted:    s.distrusted,
		SelfTest:      s.lastTest,
		Build:         metrics.Build{Version: s.o.Build.Version, Revision: s.o.Build.Revision},
	}
}

func (s *Server) listFacts() []metrics.ListSource {
	var out []metrics.ListSource
	for _, x := range s.sources.Status() {
		out = append(out, metrics.ListSource{List: x.List, URL: x.Remote, Fetches: x.Fetches, LastFetch: x.LastFetch, LastGood: x.LastGood})
	}
	return out
}

// notServing returns why the server is not ready: configured addresses that are not
// served, no answer of upstream.servers while servers of forwarded zones answer,
// upstream.servers that all forward to this Rideau, and bans that failed the self-test.
func (s *Server) notServing() []string {
	cfg, ups := s.current()
	out := append(s.sockets.Missing(cfg), s.secured.Missing(cfg)...)
	if len(ups.Groups) > 1 && len(ups.Groups[0].Stats()) > 0 && time.Since(ups.Groups[0].LastAnswer()) > readyWithin {
		out = append(out, fmt.Sprintf("none of upstream.servers has answered within %v", readyWithin))
	}
	if ups.AllLoop() {
		out = append(out, "upstream.servers: each forwards to this rideau; name another resolver")
	}
	return append(out, s.failedTest()...)
}

func (s *Server) cacheFacts() metrics.Cache {
	return metrics.Cache(s.cache.Stats())
}

func (s *Server) upstreamFacts() []metrics.Upstream {
	_, ups := s.current()
	var out []metrics.Upstream
	for _, g := range ups.Groups {
		for _, u := range g.Stats() {
			f := metrics.Upstream{Name: u.Addr, Requests: u.Requests, Mismatches: u.Mismatches, Healthy: u.Healthy, LastAnswer: u.LastAnswer,
				Trying: u.Health == health.Trying, Loop: ups.Loops.Found(u.Addr), RTT: u.RTT, P95: u.P95, InFlight: u.InFlight, Hedges: u.Hedges, HedgeWins: u.HedgeWins,
				ConnectionAnswers: u.ConnectionAnswers,
				Duration:          metrics.Histogram{Bounds: u.Latency.Bounds, Counts: u.Latency.Counts, Sum: u.Latency.Sum}}
			for _, x := range u.Failures {
				f.Failures = append(f.Failures, metrics.Failure(x))
			}
			for _, x := range u.Busy {
				f.Busy = append(f.Busy, metrics.Failure(x))
			}
			for _, x := range u.Uses {
				f.Uses = append(f.Uses, metrics.Use{What: x.What, Used: x.Used})
			}
			out = append(out, f)
		}
	}
	return out
}

func (s *Server) listenerFacts() metrics.Listener {
	t := s.sockets.Stats()
	return metrics.Listener{Pending: s.waits.Waiting(), Connections: t.Connections, Refused: t.Refused, UDPSendErrors: t.SendErrors,
		UDPLost: t.Lost, Flooded: s.gate.Flooded(), TurnedAway: []metrics.Failure{
			{Reason: limit.Full.String(), Count: s.waits.Refused(limit.Full)},
			{Reason: limit.ClientFull.String(), Count: s.waits.Refused(limit.ClientFull)},
			{Reason: limit.ZoneFull.String(), Count: s.waits.Refused(limit.ZoneFull)},
			{Reason: "rate", Count: s.gate.Refused(limit.ByClient)},
			{Reason: "flood", Count: s.gate.Refused(limit.ByFlood) + t.Shielded},
			{Reason: "error", Count: s.gate.Refused(limit.ByError)},
			{Reason: "octets", Count: s.gate.Refused(limit.ByOctets)},
		}}
}

func (s *Server) panics() uint64 {
	return s.resolver.Panics() + s.sockets.Stats().Panics + s.secured.Panics() + s.faults.Load()
}

// bypasses returns the groups whose devices tried to go around this resolver.
func (s *Server) bypasses() []metrics.Bypass {
	var out []metrics.Bypass
	for _, g := range s.devices.Groups(time.Now()) {
		out = append(out, metrics.Bypass(g))
	}
	return out
}
