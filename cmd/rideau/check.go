package main

import (
	"cmp"
	"encoding/json"
	"fmt"

	"rideau/cmd/rideau/internal/lang"
	"rideau/cmd/rideau/internal/reason"
	"rideau/cmd/rideau/internal/show"
)

const checkHelp = `Reads the configuration and every list that it names, as a start or a reload does, and
prints what is wrong: file, line, and what to do. It serves nothing, and a running rideau
does not notice it. FILE is the same as --config FILE.

It tries what a start does: certificates, secrets, folders, and whether this user can bind the
addresses here. An address in use is only a note, since it may be the running rideau that uses it.

Lists with a url are read as they were last fetched. --fetch downloads and checks what is
there now, and keeps nothing.

With log.language: fr, or --lang fr, it says in French what it has found. The texts of errors
and remedies stay English, as in the log.

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
	language, ok := c.language()
	if !ok {
		return exitUsage
	}
	r := reason.Check(c.ctx, path, reason.CheckOptions{Fetch: c.bool("fetch"), Agent: agent(), Strict: c.bool("strict"), Elsewhere: c.bool("elsewhere")})
	if c.bool("json") {
		printJSON(c, r)
	} else {
		show.Check(c.stdout, lang.New(cmp.Or(language, lang.Language(r.Language))), r)
	}
	if !r.OK {
		return exitFailure
	}
	return exitOK
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
