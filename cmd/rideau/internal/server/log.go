package server

import (
	"context"
	"io"
	"log/slog"
	"time"

	"rideau/blocklists/compile"
	"rideau/cmd/rideau/internal/setup"
	"rideau/cmd/rideau/internal/text"
	"rideau/config"
	"rideau/resolver"
)

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

func newLogger(w io.Writer, cfg *config.Config, level *slog.LevelVar) *slog.Logger {
	level.Set(cfg.Log.Level)
	o := &slog.HandlerOptions{Level: level}
	if cfg.Log.Format == config.LogJSON {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// warn logs what an operator should correct: in the configuration, among the
// upstreams, and in the lists.
func (s *Server) warn(cfg *config.Config, plan setup.UpstreamPlan, report compile.Report) {
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
