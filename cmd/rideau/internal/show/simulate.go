package show

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/dustin/go-humanize/english"

	"rideau/blocklists/querylog"
	"rideau/blocklists/simulate"
	"rideau/cmd/rideau/internal/reason"
)

// Simulation prints what a configuration would change.
func Simulation(w io.Writer, r *reason.Simulation) {
	against := r.Against
	if against == "" {
		against = "no policy"
	}
	fmt.Fprintf(w, "%s against %s, as of %s\n", r.Candidate, against, r.At)
	for _, id := range r.NotInForce {
		fmt.Fprintf(w, "the ban %s is not in force then; --now takes another instant\n", id)
	}
	for _, l := range r.Logs {
		kind := "line"
		if len(l.Formats) == 1 && l.Formats[0] == string(querylog.Pcap) {
			kind = "packet"
		}
		fmt.Fprintf(w, "%s (%s): %s, %s, %d other, %d not read\n", filepath.ToSlash(l.File), strings.Join(l.Formats, ", "), english.Plural(l.Lines, kind, ""), english.Plural(l.Queries, "query", ""), l.Other, l.Unread)
		if l.LeftOut > 0 {
			fmt.Fprintf(w, "  %s left out by --not-from\n", english.Plural(l.LeftOut, "query", ""))
		}
		for _, p := range l.Problems {
			fmt.Fprintf(w, "  %s:%d: %s: %q\n", filepath.ToSlash(l.File), p.Line, p.Reason, p.Text)
		}
	}
	fmt.Fprintf(w, "%s for %s by %s\n", english.Plural(r.Queries, "query", ""), english.Plural(r.Names, "name", ""), english.Plural(r.Clients, "client", ""))
	for _, change := range r.Changes {
		if change.Queries > 0 {
			printChange(w, &change)
		}
	}
	u := r.Same
	fmt.Fprintf(w, "\nunchanged: %s\n", counts(u.Queries, u.Names, u.Clients))
	for _, x := range []struct {
		what string
		n    int
	}{{"passed", u.Passed}, {"blocked", u.Blocked}, {"monitored", u.Monitored}, {"excepted", u.Excepted}, {"special-use names", u.Special}, {"clients not served", u.Refused}} {
		if x.n > 0 {
			fmt.Fprintf(w, "  %s: %s\n", x.what, english.Plural(x.n, "query", ""))
		}
	}
	fmt.Fprintln(w)
	for _, s := range r.Short {
		fmt.Fprintf(w, "not exact: %s\n", s)
	}
	fmt.Fprintf(w, "note: %s\n", r.Note)
}

// counts says how many queries, names and clients there are.
func counts(queries, names, clients int) string {
	return english.Plural(queries, "query", "") + ", " + english.Plural(names, "name", "") + ", " + english.Plural(clients, "client", "")
}

func printChange(w io.Writer, change *simulate.Change) {
	fmt.Fprintf(w, "\n%s: %s\n", strings.ReplaceAll(change.Class, "_", " "), counts(change.Queries, change.Names, change.Clients))
	for _, by := range change.By {
		fmt.Fprintf(w, "  %s, was %s: %s\n", by.After, by.Before, counts(by.Queries, by.Names, by.Clients))
	}
	fmt.Fprintf(w, "  %9s %9s  name\n", "queries", "clients")
	for _, n := range change.Top {
		fmt.Fprintf(w, "  %9d %9d  %s\n", n.Queries, n.Clients, n.Name)
	}
	if more := change.Names - len(change.Top); more > 0 {
		fmt.Fprintf(w, "  and %d more %s; --top prints more\n", more, english.PluralWord(more, "name", ""))
	}
}
