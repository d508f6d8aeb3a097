package main

import (
	"context"
	"fmt"
	"time"

	"rideau/cmd/rideau/internal/evidence"
	"rideau/cmd/rideau/internal/setup"
)

const alertTestHelp = `Sends an alert, which says that it is a test, to each SINK of kind webhook or syslog of the
configuration; without SINKs, to those with events: alerts. It needs no running rideau, and uses no
spool: what is wrong with the address, the certificate or the secret is said at once.

Prints a line for each sink: its id, and ok or what went wrong.

Exit code 0: each took the alert. 1: some did not, or an error.`

// alertTestTimeout is for one sink.
const alertTestTimeout = 20 * time.Second

func alertTest(c *call) int {
	cfg, err := setup.Load(c.string("config"))
	if err != nil {
		return c.fail(err)
	}
	ctx, cancel := context.WithTimeout(c.ctx, alertTestTimeout*time.Duration(1+len(cfg.Evidence.Sinks)))
	defer cancel()
	tried, err := evidence.TryAlerts(ctx, cfg.Evidence, c.args, evidence.Options{Version: buildInfo().Version})
	if err != nil {
		return c.fail(err)
	}
	if len(tried) == 0 {
		return c.fail(fmt.Errorf("no sink has events: alerts; add one of kind webhook or syslog to evidence.sinks"))
	}
	code := exitOK
	for _, t := range tried {
		if t.Err != nil {
			fmt.Fprintf(c.stdout, "%s: %v\n", t.Sink, t.Err)
			code = exitFailure
			continue
		}
		fmt.Fprintf(c.stdout, "%s: ok\n", t.Sink)
	}
	return code
}
