package server

import (
	"context"
	"io"
	"log/slog"
	"os"

	"rideau/blocklists"
	"rideau/blocklists/compile"
	"rideau/blocklists/enforced"
	"rideau/cmd/rideau/internal/auditlog"
	"rideau/cmd/rideau/internal/lang"
	"rideau/cmd/rideau/internal/setup"
	"rideau/config"
	"rideau/resolver"
	"rideau/resolver/audit/act"
	"rideau/resolver/ops"
	"rideau/resolver/ops/printable"
)

func newLogger(w io.Writer, cfg *config.Config, level *slog.LevelVar) *slog.Logger {
	level.Set(cfg.Log.Level)
	w = printable.NewWriter(w) // JSON has some control characters as they are
	o := &slog.HandlerOptions{Level: level}
	in := lang.New(lang.Language(cfg.Log.Language))
	if cfg.Log.Format == config.LogJSON {
		return slog.New(in.Handler(slog.NewJSONHandler(w, o)))
	}
	return slog.New(in.Handler(slog.NewTextHandler(w, o)))
}

// queryLogBounds returns how much of the queries a configuration has logged.
func queryLogBounds(cfg *config.Config) auditlog.Bounds {
	return auditlog.Bounds{Clients: logClients(cfg), Bytes: cfg.Log.QueriesMaxBytes, PerSecond: cfg.Log.QueriesMaxRate,
		Open: func() (*os.File, error) { return setup.OpenQueryLog(cfg) }}
}

// eventOptions returns which events a configuration has logged.
func eventOptions(cfg *config.Config) auditlog.EventOptions {
	return auditlog.EventOptions{Blocked: cfg.Log.Blocked, PerSecond: cfg.Log.BlockedMaxRate, Clients: logClients(cfg)}
}

// blockedQueries is the number of queries that bans have blocked.
func blockedQueries(t *resolver.Totals) (n uint64) {
	for _, slot := range t.Blocks {
		for _, by := range slot {
			n += by
		}
	}
	return n
}

func logClients(cfg *config.Config) auditlog.Clients {
	switch cfg.Log.Clients {
	case config.ClientNetwork:
		return auditlog.Network
	case config.ClientNone:
		return auditlog.Nobody
	}
	return auditlog.Address
}

// warn logs what an operator should correct: in the configuration, among the upstreams, and in the policy.
func (s *Server) warn(warnings []ops.Problem) {
	for _, w := range warnings {
		s.log.Warn(w.String())
	}
}

// warnSkipped logs what an operator should correct in the lists.
func (s *Server) warnSkipped(report compile.Report) {
	for _, p := range report.Problems {
		if p.Text == "" { // about the whole list
			s.log.Warn(p.Reason, "file", p.File, "line", p.Line, "remedy", p.Remedy)
			continue
		}
		s.log.Warn("line skipped", "file", p.File, "line", p.Line, "text", p.Text, "reason", p.Reason, "remedy", p.Remedy)
	}
}

// warnOpen logs that no ban is enforced any more, or that one is again. was says whether one was until now.
func (s *Server) warnOpen(was bool, now *blocklists.Snapshot) {
	switch is := enforced.Any(now); {
	case was && !is:
		s.log.Warn(enforced.None)
	case !was && is:
		s.log.Info("bans are enforced again")
	}
}

// reloadAndLog reloads because something changed by itself, and logs the result with why.
func (s *Server) reloadAndLog(ctx context.Context, way act.Way, why string) {
	result, err := s.reload(ctx, ops.ReloadOptions{})
	s.tell(act.Actor{Way: way}, why, false, result, err)
}
