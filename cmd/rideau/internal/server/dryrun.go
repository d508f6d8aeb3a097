package server

import (
	"context"

	"rideau/blocklists"
	"rideau/blocklists/compare"
	"rideau/blocklists/compile"
	"rideau/blocklists/input"
	"rideau/cmd/rideau/internal/changes"
	"rideau/cmd/rideau/internal/setup"
	"rideau/config"
	"rideau/resolver/ops"
)

// dryRun reads the configuration and the lists as a reload does, and returns what a
// reload would change. It changes nothing, and does not wait for a reload.
func (s *Server) dryRun(ctx context.Context, force input.Forced) (ops.DryRun, error) {
	var out ops.DryRun
	cfg, err := setup.Load(s.path)
	if err != nil {
		out.Problems = changes.Problems(err, compile.Report{})
		return out, err
	}
	serves, ups := s.current()
	plan, err := setup.PlanUpstreams(cfg, ups.System)
	if err != nil {
		out.Problems = changes.Problems(err, compile.Report{})
		return out, err
	}
	old := s.resolver.State().Policy()
	if out.Problems = changes.Unknown(force, cfg, old.Policy()); len(out.Problems) > 0 {
		return out, changes.ErrUnknown
	}
	var snap *blocklists.Snapshot
	var report compile.Report
	var r *compare.Report
	background(func() {
		snap, report, err = setup.LoadPolicy(ctx, cfg, old, force, s.clock.Read().Instants)
		if err == nil {
			r, err = compare.Compare(ctx, compare.Side{Snapshot: old, Serving: true}, compare.Side{Snapshot: snap}, compare.Options{Examples: 10})
		}
	})
	var kept config.Problems
	if err == nil {
		if kept, out.Forced = changes.Kept(changes.Side{Config: serves, Policy: old}, changes.Side{Config: cfg, Policy: snap}, force, s.now()); len(kept) > 0 {
			err = kept
		}
		out.Forced = changes.Forced(report.Forced, out.Forced)
	}
	out.Problems = changes.Problems(err, report)
	if err != nil && kept == nil {
		return out, err
	}
	all := &changes.Report{Report: r, Configuration: append(changes.Keys(serves, cfg), changes.System(ups.System, plan.System)...),
		Warnings: changes.Warnings(cfg, plan, snap)}
	out.Changed, out.Diff, out.Write = all.Different(), all, all.Write
	return out, err
}
