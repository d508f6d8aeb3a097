package show

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"rideau/blocklists"
	"rideau/cmd/rideau/internal/reason"
	"rideau/resolver/ops/printable"
)

// Check prints what is wrong with a configuration.
func Check(w io.Writer, r *reason.CheckReport) {
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
	for i := range r.Bans {
		fmt.Fprintf(w, "ban %s\n", Ban(&r.Bans[i]))
	}
	for i := range r.Exceptions {
		fmt.Fprintf(w, "exception %s\n", Exception(&r.Exceptions[i]))
	}
	if r.OK {
		fmt.Fprintf(w, "%s: ok\n", r.Config)
		return
	}
	fmt.Fprintf(w, "%s: not ok\n", r.Config)
}

// Ban says in a line what a ban does, for whom and when.
func Ban(b *reason.BanReport) string {
	if b.Why == reason.NearOff {
		return fmt.Sprintf("%s: %d names, off", b.ID, b.Names)
	}
	return fmt.Sprintf("%s: %d names, %s, %s", b.ID, b.Names, b.Stages, b.Action) + scope(b.Groups, b.Why, b.Effective, b.Expires)
}

// Exception says in a line what an exception does, for whom and when.
func Exception(x *reason.ExceptionReport) string {
	return fmt.Sprintf("%s: %d names", x.ID, x.Names) + scope(x.Groups, x.Why, x.Effective, x.Expires)
}

// scope says for whom and when.
func scope(groups []string, why reason.Near, effective, expires string) string {
	var s string
	if !slices.Contains(groups, blocklists.GroupAll) {
		s = strings.ReplaceAll(", for "+strings.Join(groups, ", "), blocklists.GroupEnforced, "the groups of enforced bans")
	}
	switch {
	case why == reason.NearNotYet:
		s += ", not in force: from " + effective
	case why == reason.NearExpired:
		return s + ", not in force: expired " + expires
	case effective != "":
		s += ", since " + effective
	}
	if expires != "" {
		s += ", until " + expires
	}
	return s
}
