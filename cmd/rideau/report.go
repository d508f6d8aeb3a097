package main

import (
	"errors"
	"fmt"

	"rideau/cmd/rideau/internal/report/page"
	"rideau/cmd/rideau/internal/setup"
)

const reportHelp = `Says what bans did: for how long each was in force, where, with which lists, and why not for
the rest; attempts by day and group; entries that decided; exceptions and who approved them;
and of how much there is evidence. FILEs are stores of nodes (evidence.db), and files of
events in Rideau's own format, sealed and compressed ones too. What several of them hold
counts once. Without FILEs it reads the store of the configuration, also while rideau runs.

Exit code 0: done. 1: a file cannot be read or written. 2: the command line is wrong.`

func makeReport(c *call) int {
	q := page.Request{Paths: c.args, From: c.string("from"), To: c.string("to"), Zone: c.string("zone"), Bans: c.strings("ban"), Format: c.string("format"),
		Lang: c.string("lang"), Out: c.string("out"), By: "Rideau " + buildInfo().Version}
	err := q.Check()
	if err == nil && len(q.Paths) == 0 {
		cfg, wrong := setup.Load(c.string("config"))
		if wrong != nil {
			return c.fail(wrong)
		}
		if q.Paths = []string{cfg.Evidence.StorePath()}; q.Paths[0] == "" {
			err = page.Misuse{Err: errors.New("the configuration has no store: give FILEs, or set state.dir or evidence.store.path")}
		}
	}
	if err == nil {
		err = q.Run(c.ctx, c.stdout)
	}
	var wrong page.Misuse
	if errors.As(err, &wrong) {
		fmt.Fprintln(c.stderr, "rideau report:", err)
		return exitUsage
	}
	if err != nil {
		return c.fail(err)
	}
	return exitOK
}
