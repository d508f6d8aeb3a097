package server

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/compile"
	"rideau/blocklists/format"
	"rideau/cmd/rideau/internal/setup"
	"rideau/config"
	"rideau/resolver/ops"
	"rideau/resolver/ops/metrics"
)

// reload reads the configuration and all lists, and puts them to use whole,
// or changes nothing and says why. force accepts lists that became empty or
// shrank.
func (s *Server) reload(ctx context.Context, force bool) (ops.ReloadResult, error) {
	if cfg, err := setup.Load(s.path); err == nil {
		// New lists are fetched before anything waits for this reload. What fails is said again below.
		_, ups := s.now()
		_ = s.sources.ensure(ctx, cfg, ups.System, 0)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	result, report, read, err := s.swap(ctx, force)
	for _, e := range report.Failed {
		if err == nil {
			result.Refused = append(result.Refused, e.List)
		}
	}
	result.Policy = s.resolver.State().Policy()
	result.Problems = append(result.Problems, problems(err, report)...)
	if ctx.Err() == nil {
		s.reloads.Record(time.Now(), err == nil, listResults(read, report))
	}
	return result, err
}

// problems takes apart what went wrong, or else what was passed over. Lines that were passed over in lists with which nothing is wrong
// are no reason for an error, and do not stand in the place of one.
func problems(err error, report compile.Report) []ops.Problem {
	var out []ops.Problem
	var wrong config.Problems
	if errors.As(err, &wrong) {
		for _, p := range wrong {
			out = append(out, ops.Problem{File: p.File, Line: p.Line, Key: p.Key, Message: p.Message, Remedy: p.Remedy})
		}
	}
	if err != nil {
		report.Problems = slices.DeleteFunc(slices.Clone(report.Problems), func(p format.Problem) bool {
			return !slices.ContainsFunc(report.Failed, func(e *compile.ListError) bool { return isOf(p.File, e.Source) })
		})
	}
	return append(out, ops.ListProblems(report)...)
}

// isOf reports whether a file is one of a list's: the list itself, or one of its folder, whose source ends in a pattern.
func isOf(file, source string) bool {
	fits, err := filepath.Match(source, file)
	return file == source || fits && err == nil
}

// swap does the work of reload. Everything that can fail comes before the
// first change. read is the configuration whose lists were read; nil if it did
// not come to that.
func (s *Server) swap(ctx context.Context, force bool) (result ops.ReloadResult, report compile.Report, read *config.Config, err error) {
	if s.ctx.Err() != nil {
		return result, report, nil, errStopping
	}
	before, ups := s.now()
	cfg, err := setup.Load(s.path)
	if err != nil {
		return result, report, nil, err
	}
	plan, err := setup.PlanUpstreams(cfg, ups.System)
	if err != nil {
		return result, report, nil, err
	}
	old := s.resolver.State().Policy()
	var snap *blocklists.Snapshot
	o := LoadOptions{Force: force, Same: samePolicy(before, cfg), Report: s.report}
	background(func() { snap, report, err = s.sources.Load(ctx, cfg, old, &s.slots, o) })
	if err != nil {
		return result, report, cfg, err
	}
	rebuilt := snap.Generation() != old.Generation()
	next, err := setup.NewUpstreams(cfg, plan, ups, s.log)
	if err != nil {
		return result, report, cfg, err
	}
	st, err := s.newState(cfg, snap, next, plan)
	if err != nil {
		return result, report, cfg, err
	}
	queries, err := setup.OpenQueryLog(cfg)
	if err != nil {
		return result, report, cfg, err
	}
	fresh, err := s.sockets.bind(cfg, s.resolver, s.room)
	if err != nil {
		if queries != nil {
			queries.Close()
		}
		return result, report, cfg, err
	}

	changed := config.Changed(before, cfg)
	result.Changed = len(changed) > 0 || next != ups || snap.Fingerprint() != old.Fingerprint()
	for _, k := range changed {
		if config.Applies(k) == config.Restart {
			result.Restart = append(result.Restart, k)
		}
	}
	if rebuilt {
		s.warn(cfg, plan, report)
	}
	s.report = compile.Report{Problems: report.Problems}
	s.resolver.SetState(st)
	s.level.Set(cfg.Log.Level)
	s.queries.Use(queries)
	s.view.Lock()
	s.cfg, s.ups = cfg, next
	s.view.Unlock()
	if next != ups {
		next.Start(s.ctx)
		ups.End()
		s.cache.Flush() // other servers may say other things
	}
	s.gate.LimitClients(cfg.Limits.QueriesPerSecond, cfg.Limits.Burst)
	s.limitMemory(cfg)
	s.cache.Resize(cfg.Cache.MaxEntries, cfg.Cache.MaxBytes)
	s.sockets.open(fresh)
	s.sockets.retain(cfg)
	s.arm(snap)
	if rebuilt {
		giveBack(snap)
	}
	s.sources.nudge()
	return result, report, cfg, nil
}

// giveBack gives the memory that making a large policy took back to the
// system, where the runtime would keep it for a while. The serving goroutines
// go on meanwhile.
func giveBack(snap *blocklists.Snapshot) {
	const large = 1 << 20
	if snap.Memory() > large {
		go background(debug.FreeOSMemory)
	}
}

// reloadAndLog reloads because of something that nobody waits for.
func (s *Server) reloadAndLog(ctx context.Context, why string) {
	result, err := s.reload(ctx, false)
	s.logReload(why, result, err)
}

func (s *Server) logReload(why string, result ops.ReloadResult, err error) {
	if err != nil {
		headline := []any{"why", why}
		if len(result.Problems) == 0 {
			headline = append(headline, "error", err)
		}
		s.log.Error("reload refused; the old policy goes on serving", headline...)
		for _, p := range result.Problems {
			s.log.Error("reload refused because of", "problem", p.String())
		}
		return
	}
	bans := 0
	entries := 0
	for _, b := range result.Policy.Bans() {
		if b.Active {
			bans++
		}
	}
	for _, l := range result.Policy.Lists() {
		entries += l.Entries
	}
	level := slog.LevelInfo
	if !result.Changed {
		level = slog.LevelDebug
	}
	s.log.Log(context.Background(), level, "reloaded", "why", why, "generation", result.Policy.Generation(), "bans_in_force", bans,
		"entries", entries, "fingerprint", result.Policy.Fingerprint()[:12])
	for _, k := range result.Restart {
		s.log.Warn("this change takes effect at the next start", "key", k)
	}
}

// listResults says of each list whether it could be read; of none if cfg is
// nil.
func listResults(cfg *config.Config, report compile.Report) []metrics.ListResult {
	if cfg == nil {
		return nil
	}
	var out []metrics.ListResult
	for _, l := range cfg.Lists {
		failed := slices.ContainsFunc(report.Failed, func(e *compile.ListError) bool { return e.List == l.ID })
		out = append(out, metrics.ListResult{List: l.ID, OK: !failed})
	}
	return out
}

// watched are the files whose change calls for a reload.
func (s *Server) watched() []string {
	cfg, _ := s.now()
	if !cfg.Reload.Watch {
		return nil
	}
	out := s.files(cfg)
	snap := s.resolver.State().Policy()
	for i := range snap.Lists() {
		l := &snap.Policy().Lists[i]
		files, _ := l.AllFiles(snap.Lists()[i].Included)
		for _, f := range files[max(len(files)-len(snap.Lists()[i].Included), 0):] {
			out = append(out, f.Name)
		}
	}
	return out
}

func (s *Server) files(cfg *config.Config) []string {
	var out []string
	if s.path != "" {
		out = append(out, s.path)
	}
	if cfg == nil {
		return out
	}
	for i := range cfg.Lists {
		out = append(out, watchedFiles(&cfg.Lists[i])...)
	}
	if f := cfg.Listen.Cookies.SecretsFile; f != "" {
		out = append(out, f)
	}
	for _, u := range cfg.Upstream.Servers {
		if u.Transport == config.System {
			out = append(out, setup.ResolvConf)
		}
		if u.CAFile != "" {
			out = append(out, u.CAFile)
		}
	}
	return out
}

func (s *Server) interval() time.Duration {
	cfg, _ := s.now()
	return cfg.Reload.Interval
}
