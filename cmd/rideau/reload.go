package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/format"
	"rideau/config"
	"rideau/resolver/ops"
)

// restartKeys are the settings that a running process cannot change.
var restartKeys = []string{"listen.workers", "listen.max_pending", "listen.tcp.", "clients.refused_per_second",
	"cache.min_ttl", "cache.max_ttl", "cache.max_negative_ttl", "cache.failure_ttl", "cache.max_stale",
	"cache.stale_ttl", "cache.stale_after", "ops.", "log.format"}

// reload reads the configuration and all lists, and puts them to use whole,
// or changes nothing and says why. force accepts lists that became empty or
// shrank.
func (s *server) reload(ctx context.Context, force bool) (ops.ReloadResult, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	result, report, err := s.swap(ctx, force)
	result.Policy = s.resolver.State().Policy()
	var problems config.Problems
	if errors.As(err, &problems) {
		for _, p := range problems {
			result.Problems = append(result.Problems, ops.Problem{File: p.File, Line: p.Line, Key: p.Key, Message: p.Message, Remedy: p.Remedy})
		}
	}
	result.Problems = append(result.Problems, ops.ListProblems(report)...)
	if ctx.Err() == nil {
		s.reloads.Record(time.Now(), err == nil, listResults(s.cfg, report))
	}
	return result, err
}

// swap does the work of reload. Everything that can fail comes before the
// first change.
func (s *server) swap(ctx context.Context, force bool) (ops.ReloadResult, blocklists.Report, error) {
	var result ops.ReloadResult
	if s.ctx.Err() != nil {
		return result, blocklists.Report{}, errStopping
	}
	cfg, err := loadConfig(s.path)
	if err != nil {
		return result, blocklists.Report{}, err
	}
	plan, err := planUpstreams(cfg)
	if err != nil {
		return result, blocklists.Report{}, err
	}
	old := s.resolver.State().Policy()
	snap, report, err := loadPolicy(ctx, cfg, old, &s.slots, force)
	if err != nil {
		return result, report, err
	}
	ups, err := newUpstreams(cfg, plan, s.ups, s.log)
	if err != nil {
		return result, report, err
	}
	st, err := newState(cfg, snap, ups, plan)
	if err != nil {
		return result, report, err
	}
	fresh, err := s.bind(cfg)
	if err != nil {
		return result, report, err
	}

	changed := config.Changed(s.cfg, cfg)
	result.Changed = len(changed) > 0 || ups != s.ups || snap.Fingerprint() != old.Fingerprint()
	for _, k := range changed {
		if slices.ContainsFunc(restartKeys, func(p string) bool { return strings.HasPrefix(k, p) }) {
			result.Restart = append(result.Restart, k)
		}
	}
	s.warn(cfg, plan, report)
	s.resolver.SetState(st)
	s.level.Set(cfg.Log.Level)
	s.cfg = cfg
	if ups != s.ups {
		ups.start(s.ctx)
		s.ups.end()
		s.ups = ups
		s.cache.Flush() // other servers may say other things
	}
	s.cache.Resize(cfg.Cache.MaxEntries, cfg.Cache.MaxBytes)
	for a, k := range s.live {
		if !slices.Contains(cfg.Listen.Addresses, a) {
			s.retire(a, k)
		}
	}
	for a, k := range fresh {
		s.open(a, k)
	}
	s.arm(snap)
	giveBack(snap)
	return result, report, nil
}

// giveBack gives the memory that making a large policy took back to the
// system, where the runtime would keep it for a while. The serving goroutines
// go on meanwhile.
func giveBack(snap *blocklists.Snapshot) {
	const large = 1 << 20
	if snap.Memory() > large {
		go debug.FreeOSMemory()
	}
}

// retire lets a socket drain while others serve.
func (s *server) retire(a netip.AddrPort, k *socket) {
	delete(s.live, a)
	k.stop()
	go func() {
		<-k.done
		s.mu.Lock()
		defer s.mu.Unlock()
		addStats(&s.past, k.Stats())
	}()
}

// reloadAndLog reloads because of something that nobody waits for.
func (s *server) reloadAndLog(ctx context.Context, why string) {
	result, err := s.reload(ctx, false)
	s.logReload(why, result, err)
}

func (s *server) logReload(why string, result ops.ReloadResult, err error) {
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

// listResults says of each list whether it could be read.
func listResults(cfg *config.Config, report blocklists.Report) []ops.ListResult {
	var out []ops.ListResult
	for _, l := range cfg.Lists {
		failed := slices.ContainsFunc(report.Failed, func(e *blocklists.ListError) bool { return e.List == l.ID })
		out = append(out, ops.ListResult{List: l.ID, OK: !failed})
	}
	return out
}

// watched are the files whose change calls for a reload.
func (s *server) watched() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.cfg.Reload.Watch {
		return nil
	}
	return s.files(s.cfg)
}

func (s *server) files(cfg *config.Config) []string {
	var out []string
	if s.path != "" {
		out = append(out, s.path)
	}
	if cfg == nil {
		return out
	}
	for _, l := range cfg.Lists {
		if l.File != "" {
			out = append(out, l.File)
		}
	}
	for _, u := range cfg.Upstream.Servers {
		if u.System {
			out = append(out, resolvConf)
		}
	}
	return out
}

func (s *server) interval() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cfg.Reload.Interval
}

// lineOf finds the line of a list in an error.
func lineOf(err error) (format.Problem, bool) {
	var p format.Problem
	ok := errors.As(err, &p)
	return p, ok
}

// token reads the secret that lets other machines reload.
func token(cfg *config.Config) (string, error) {
	if cfg.Ops.TokenFile == "" {
		return "", nil
	}
	b, err := os.ReadFile(cfg.Ops.TokenFile)
	if err != nil {
		return "", fmt.Errorf("ops.token_file: %w", err)
	}
	t := strings.TrimSpace(string(b))
	if len(t) < 16 {
		return "", fmt.Errorf("ops.token_file: %s holds fewer than 16 characters; write a longer secret", cfg.Ops.TokenFile)
	}
	return t, nil
}
