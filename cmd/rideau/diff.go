package main

import (
	"fmt"
	"time"

	"rideau/blocklists/compare"
	"rideau/cmd/rideau/internal/changes"
	"rideau/cmd/rideau/internal/setup"
	"rideau/config"
)

const diffHelp = `Says what changes from one configuration to another: every key, with its values; bans, exceptions and groups;
the entries that lists gain and lose; and the listed names whose verdict changes, for which groups, with
file and line. Warnings about the new configuration follow. No query is sent, and nothing is fetched or
changed; lists with a url are read as they were last fetched.

To compare a configuration with the policy of a running rideau, send it POST /reload?dry-run=true.

Exit code 0: no difference. 3: differences. 1: a configuration or a list cannot be read. 2: the command
line is wrong.`

func diff(c *call) int {
	var sides [2]compare.Side
	var configs [2]*config.Config
	for i, path := range c.args {
		cfg, err := setup.Load(path)
		if err != nil {
			return c.fail(err)
		}
		configs[i] = cfg
		if sides[i].Snapshot, _, err = setup.LoadPolicy(c.ctx, cfg, nil, nil, setup.ReadClock(cfg).Instants); err != nil {
			return c.fail(fmt.Errorf("%s: %w", setup.Name(cfg), err))
		}
	}
	examples, _ := c.GetInt("examples")
	if c.bool("all") {
		examples = -1
	}
	policies, err := compare.Compare(c.ctx, sides[0], sides[1], compare.Options{Examples: examples})
	if err != nil {
		return c.fail(err)
	}
	r := &changes.Report{Report: policies, Configuration: changes.Keys(configs[0], configs[1])}
	plan, err := setup.PlanUpstreams(configs[1], nil)
	if err != nil {
		plan.Warnings = append(plan.Warnings, err.Error())
	}
	r.Warnings = changes.Warnings(configs[1], plan, sides[1].Snapshot)
	refused, _ := changes.Kept(changes.Side{Config: configs[0], Policy: sides[0].Snapshot}, changes.Side{Config: configs[1], Policy: sides[1].Snapshot}, nil, time.Now())
	r.WouldRefuse(refused)
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
