package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/dustin/go-humanize/english"

	"rideau/blocklists/lint"
	"rideau/blocklists/querylog"
	"rideau/cmd/rideau/internal/reason"
	"rideau/cmd/rideau/internal/setup"
)

const rulesHelp = `Says what could be better in the lists of bans: entries that another entry of the same ban covers,
entries that are there twice, and suffixes under which anybody can register a name. With --log, also
entries that no query matched, and names that were queried and are in the same registrable domain as
banned ones, and may belong to them. It reads the same logs as simulate, and more files may follow.

Do not remove an entry only because no query matched it: the ban is for the day when one does.

Exit code 0: the report is printed. 1: the configuration, a list or a log cannot be read. 2: the
command line is wrong.`

func rules(c *call) int {
	if f := c.string("log-format"); f != "" && !slices.Contains(querylog.Formats(), f) {
		fmt.Fprintf(c.stderr, "rideau rules: --log-format %q is none of %s\n", f, strings.Join(querylog.Formats(), ", "))
		return exitUsage
	}
	cfg, err := setup.Load(c.string("config"))
	if err != nil {
		return c.fail(err)
	}
	snap, _, err := setup.LoadPolicy(c.ctx, cfg, nil, nil, setup.ReadClock(cfg).Instants)
	if err != nil {
		return c.fail(err)
	}
	examples, _ := c.GetInt("top")
	if examples == 0 {
		examples = -1
	}
	out, err := reason.Rules(c.ctx, reason.Policy{Config: cfg, Snapshot: snap}, reason.RuleOptions{
		Examples: examples, Logs: c.logs(), LogFormat: c.string("log-format")})
	if err != nil {
		return c.fail(err)
	}
	if c.bool("json") {
		printJSON(c, out)
	} else {
		printRules(c.stdout, out)
	}
	return exitOK
}

// printRules prints a report for people.
func printRules(w io.Writer, r *reason.RuleReport) {
	fmt.Fprintf(w, "%s: %s of names\n", r.Config, english.Plural(r.Entries, "entry", ""))
	finding := func(f lint.Finding, what, by string) {
		fmt.Fprintf(w, "%d %s\n", f.Count, what)
		for _, x := range f.Examples {
			fmt.Fprintf(w, "  %s (list %s, %s:%d)", x.Entry, x.List, x.File, x.Line)
			if x.By != "" {
				fmt.Fprintf(w, "%s %s", by, x.By)
			}
			fmt.Fprintln(w)
		}
		if left := f.Count - len(f.Examples); left > 0 {
			fmt.Fprintf(w, "  and %d more\n", left)
		}
	}
	finding(r.Shadowed, "covered by another entry of the same ban", " by")
	finding(r.Repeated, "there more than once in the same ban", "")
	finding(r.Public, english.PluralWord(r.Public.Count, "suffix", "")+" under which anybody can have a name", "")
	if len(r.Logs) == 0 {
		return
	}
	finding(r.Unmet, fmt.Sprintf("that none of %s asked met", english.Plural(r.Asked, "name", "")), "")
	fmt.Fprintf(w, "%s asked beside banned ones\n", english.Plural(len(r.Siblings)+r.MoreSiblings, "name", ""))
	for _, s := range r.Siblings {
		fmt.Fprintf(w, "  %s, %s, beside %s (%s:%d)\n", s.Name, english.Plural(s.Queries, "query", ""), s.Beside, s.File, s.Line)
	}
	if r.MoreSiblings > 0 {
		fmt.Fprintf(w, "  and %d more\n", r.MoreSiblings)
	}
}
