package server

import (
	"context"
	"io"

	"rideau/blocklists"
	"rideau/blocklists/compare"
	"rideau/blocklists/compile"
	"rideau/cmd/rideau/internal/setup"
	"rideau/cmd/rideau/internal/text"
	"rideau/resolver/ops"
)

// dryRun reads the configuration and the lists as a reload does, and returns what a
// reload would change. It changes nothing, and does not wait for a reload.
func (s *Server) dryRun(ctx context.Context, force bool) (ops.DryRun, error) {
	var out ops.DryRun
	cfg, err := setup.Load(s.path)
	if err != nil {
		out.Problems = problems(err, compile.Report{})
		return out, err
	}
	old := s.resolver.State().Policy()
	var snap *blocklists.Snapshot
	var report compile.Report
	var r *compare.Report
	background(func() {
		snap, report, err = setup.LoadPolicy(ctx, cfg, old, force, s.clock.Read().Instants)
		if err == nil {
			r, err = compare.Compare(ctx, compare.Side{Snapshot: old, Serving: true}, compare.Side{Snapshot: snap}, compare.Options{Examples: 10})
		}
	})
	out.Problems = problems(err, report)
	if err != nil {
		return out, err
	}
	out.Changed, out.Diff = r.Different(), r
	out.Write = func(w io.Writer) { text.WriteComparison(w, r) }
	return out, nil
}
