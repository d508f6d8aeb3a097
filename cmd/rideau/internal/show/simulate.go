package show

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

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
		kind := "lines"
		if len(l.Formats) == 1 && l.Formats[0] == string(querylog.Pcap) {
			kind = "packets"
		}
		fmt.Fprintf(w, "%s (%s): %d %s, %d queries, %d other, %d not read\n", filepath.ToSlash(l.File), strings.Join(l.Formats, ", "), l.Lines, kind, l.Queries, l.Other, l.Unread)
		if l.LeftOut > 0 {
			fmt.Fprintf(w, "  %d queries left out by --not-from\n", l.LeftOut)
		}
		for _, p := range l.Problems {
			fmt.Fprintf(w, "  %s:%d: %s: %q\n", filepath.ToSlash(l.File), p.Line, p.Reason, p.Text)
		}
	}
	fmt.Fprintf(w, "%d queries for %d names by %d clients\n", r.Queries, r.Names, r.Clients)
	for _, change := range r.Changes {
		if change.Queries > 0 {
			printChange(w, &change)
		}
	}
	u := r.Same
	fmt.Fprintf(w, "\nunchanged: %d queries, %d names, %d clients\n", u.Queries, u.Names, u.Clients)
	for _, x := range []struct {
		what string
		n    int
	}{{"passed", u.Passed}, {"blocked", u.Blocked}, {"monitored", u.Monitored}, {"excepted", u.Excepted}, {"special-use names", u.Special}, {"clients not served", u.Refused}} {
		if x.n > 0 {
			fmt.Fprintf(w, "  %s: %d queries\n", x.what, x.n)
		}
	}
	fmt.Fprintln(w)
	for _, s := range r.Short {
		fmt.Fprintf(w, "not exact: %s\n", s)
	}
	fmt.Fprintf(w, "note: %s\n", r.Note)
}

func printChange(w io.Writer, change *simulate.Change) {
	fmt.Fprintf(w, "\n%s: %d queries, %d names, %d clients\n", strings.ReplaceAll(change.Class, "_", " "), change.Queries, change.Names, change.Clients)
	for _, by := range change.By {
		fmt.Fprintf(w, "  %s, was %s: %d queries, %d names, %d clients\n", by.After, by.Before, by.Queries, by.Names, by.Clients)
	}
	fmt.Fprintf(w, "  %9s %9s  name\n", "queries", "clients")
	for _, n := range change.Top {
		fmt.Fprintf(w, "  %9d %9d  %s\n", n.Queries, n.Clients, n.Name)
	}
	if more := change.Names - len(change.Top); more > 0 {
		fmt.Fprintf(w, "  and %d more names; --top prints more\n", more)
	}
}
