package main

import (
	"fmt"

	"rideau/blocklists/compare"
	"rideau/cmd/rideau/internal/setup"
	"rideau/cmd/rideau/internal/text"
)

const diffHelp = `Says what changes from one configuration to another: bans, exceptions and groups; the entries that lists
gain and lose; and the listed names whose verdict changes, for which groups, with file and line. No query
is sent, and nothing is fetched or changed; lists with a url are read as they were last fetched.

To compare a configuration with the policy of a running rideau, send it POST /reload?dry-run=true.

Exit code 0: no difference. 3: differences. 1: a configuration or a list cannot be read. 2: the command
line is wrong.`

func diff(c *call) int {
	var sides [2]compare.Side
	for i, path := range c.args {
		cfg, err := setup.Load(path)
		if err != nil {
			return c.fail(err)
		}
		if sides[i].Snapshot, _, err = setup.LoadPolicy(c.ctx, cfg, nil, nil, setup.ReadClock(cfg).Instants); err != nil {
			return c.fail(fmt.Errorf("%s: %w", setup.Name(cfg), err))
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
		text.WriteComparison(c.stdout, r)
	}
	if r.Different() {
		return exitBanned
	}
	return exitOK
}
