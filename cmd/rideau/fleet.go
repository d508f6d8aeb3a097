package main

import (
	"fmt"
	"os"
	"strings"

	"rideau/cmd/rideau/internal/fleet"
)

const fleetHelp = `Asks servers which policy they enforce, and says whether they agree. A HOST is an address
or a name, with or without a port: it is asked by DNS, as its clients ask it. Or it is the
URL of its operators' HTTP, such as http://192.0.2.1:5380; that also tells which bans and
lists differ.

Servers of the same version with the same policy have the same fingerprint, wherever their
files are. The generation counts the changes on one server since its start.

Exit code 0: all have the same policy. 3: they differ. 1: one did not answer. 2: the command
line is wrong.`

const defaultFleetTimeout = fleet.DefaultTimeout

func fleetCheck(c *call) int {
	o := fleet.Options{}
	if o.Timeout, _ = c.GetDuration("timeout"); o.Timeout <= 0 {
		fmt.Fprintln(c.stderr, "rideau fleet-check: --timeout must be longer than 0")
		return exitUsage
	}
	if path := c.string("token-file"); path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return c.fail(err)
		}
		if o.Token = strings.TrimSpace(string(text)); o.Token == "" {
			return c.fail(fmt.Errorf("%s: there is no token in it", path))
		}
	}
	r := fleet.Compare(fleet.Ask(c.ctx, c.args, o))
	if c.bool("json") {
		printJSON(c, r)
	} else {
		r.Write(c.stdout)
	}
	switch {
	case r.Drift():
		return exitBanned
	case r.Unknown > 0:
		return exitFailure
	}
	return exitOK
}
