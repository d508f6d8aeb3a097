package main

import (
	"encoding/json"
	"fmt"
	"io"

	"rideau/cmd/rideau/internal/reason"
	"rideau/resolver/ops/printable"
)

const checkHelp = `Reads the configuration and every list that it names, as a start or a reload does, and
prints what is wrong: file, line, and what to do. It serves nothing, and a running rideau
does not notice it. FILE is the same as --config FILE.

It tries what a start does: certificates, secrets, folders, and whether this user can bind the
addresses here. An address in use is only a note, since it may be the running rideau that uses it.

Lists with a url are read as they were last fetched. --fetch downloads and checks what is
there now, and keeps nothing.

Exit code 0: rideau would start with this configuration. 1: it would not; with --strict, also
if there are warnings or lines that cannot be used.`

func check(c *call) int {
	path := c.string("config")
	if len(c.args) > 0 {
		if c.Changed("config") && path != c.args[0] {
			fmt.Fprintf(c.stderr, "rideau check: --config %s and %s are two configurations; check one at a time\n", path, c.args[0])
			return exitUsage
		}
		path = c.args[0]
	}
	r := reason.Check(c.ctx, path, reason.CheckOptions{Fetch: c.bool("fetch"), Agent: agent(), Strict: c.bool("strict"), Elsewhere: c.bool("elsewhere")})
	if c.bool("json") {
		printJSON(c, r)
	} else {
		printCheck(c.stdout, r)
	}
	if !r.OK {
		return exitFailure
	}
	return exitOK
}

// printCheck prints a report for people.
func printCheck(w io.Writer, r *reason.CheckReport) {
	for _, f := range r.Findings {
		where := f.File
		if f.Line > 0 {
			where = fmt.Sprintf("%s:%d", f.File, f.Line)
		}
		line := f.Severity + ": " + f.Message
		if where != "" {
			line = where + ": " + line
		}
		if f.Remedy != "" {
			line += "; " + f.Remedy
		}
		fmt.Fprintln(w, printable.Text(line))
	}
	for _, l := range r.Lists {
		if l.Skipped+l.NotDNS == 0 {
			continue
		}
		fmt.Fprintf(w, "list %s (%s): %d entries, %d lines skipped, %d not about names:\n", l.ID, l.Format, l.Entries, l.Skipped, l.NotDNS)
		for _, x := range l.Reasons {
			fmt.Fprintf(w, "  %d: %s\n", x.Lines, x.Reason)
		}
	}
	for _, b := range r.Bans {
		state := b.Stages
		if state != "off" && !b.Active {
			state += ", not in force today"
		}
		fmt.Fprintf(w, "ban %s: %d names, %s, %s\n", b.ID, b.Names, state, b.Action)
	}
	if r.OK {
		fmt.Fprintf(w, "%s: ok\n", r.Config)
		return
	}
	fmt.Fprintf(w, "%s: not ok\n", r.Config)
}

// printJSON prints a value as indented JSON.
func printJSON(c *call, v any) {
	e := json.NewEncoder(c.stdout)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		c.fail(err)
	}
}
