package main

import (
	"context"
	"fmt"
	"io"

	"rideau/blocklists"
	"rideau/blocklists/compare"
	"rideau/resolver/ops"
)

const diffHelp = `Says what changes from one configuration to another, or from one state of its lists to another: bans,
exceptions and groups; what lists gain and lose; and for which listed names the verdict becomes another, for
whom, with file and line. Nothing is asked, fetched or changed; lists with a url are read as they were
last fetched.

To compare a configuration with what a running rideau serves: POST /reload?dry-run=true.

Exit code 0: no difference. 3: differences. 1: a configuration or a list cannot be read. 2: wrong use.`

func diff(c *call) int {
	var sides [2]compare.Side
	for i, path := range c.args {
		cfg, err := loadConfig(path)
		if err != nil {
			return c.fail(err)
		}
		if sides[i].Snapshot, _, err = loadPolicy(c.ctx, cfg, nil, new(blocklists.Slots), false); err != nil {
			return c.fail(fmt.Errorf("%s: %w", configName(cfg), err))
		}
	}
	examples, _ := c.GetInt("examples")
	if c.bool("all") {
		examples = -1
	}
	r, err := compare.Compare(c.ctx, sides[0], sides[1], compare.Options{Examples: examples})
	if err != nil {
		return c.fail(err)
	}
	if c.bool("json") {
		printJSON(c, r)
	} else {
		r.Write(c.stdout)
	}
	if r.Different() {
		return exitBanned
	}
	return exitOK
}

// dryRun reads what a reload would, and says what it would change. It
// changes nothing, and does not wait for a reload to end.
func (s *server) dryRun(ctx context.Context, force bool) (ops.DryRun, error) {
	var out ops.DryRun
	cfg, err := loadConfig(s.path)
	if err != nil {
		out.Problems = problems(err, blocklists.Report{})
		return out, err
	}
	old := s.resolver.State().Policy()
	var snap *blocklists.Snapshot
	var report blocklists.Report
	var r *compare.Report
	background(func() {
		snap, report, err = newSources(s.log, false).load(ctx, cfg, old, new(blocklists.Slots), loadOptions{force: force})
		if err == nil {
			r, err = compare.Compare(ctx, compare.Side{Snapshot: old, Serving: true}, compare.Side{Snapshot: snap}, compare.Options{Examples: 10})
		}
	})
	out.Problems = problems(err, report)
	if err != nil {
		return out, err
	}
	out.Changed, out.Diff = r.Different(), r
	out.Write = func(w io.Writer) { r.Write(w) }
	return out, nil
}
