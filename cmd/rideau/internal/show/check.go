package show

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"rideau/blocklists"
	"rideau/cmd/rideau/internal/lang"
	"rideau/cmd/rideau/internal/reason"
	"rideau/resolver/ops/printable"
)

// Check prints what is wrong with a configuration.
func Check(w io.Writer, p *lang.Printer, r *reason.CheckReport) {
	for _, f := range r.Findings {
		where := f.File
		if f.Line > 0 {
			where = fmt.Sprintf("%s:%d", f.File, f.Line)
		}
		line := p.Say(f.Severity) + p.Say(": ") + f.Message
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
		fmt.Fprintln(w, p.Say("list %s (%s): %s, %s, %d not about names:", l.ID, l.Format,
			counted(p, l.Entries, "1 entry", "%d entries"), counted(p, l.Skipped, "1 line skipped", "%d lines skipped"), l.NotDNS))
		for _, x := range l.Reasons {
			fmt.Fprintf(w, "  %d: %s\n", x.Lines, x.Reason)
		}
	}
	for i := range r.Bans {
		fmt.Fprintf(w, "%s %s\n", p.Say("ban"), Ban(p, &r.Bans[i]))
	}
	for i := range r.Exceptions {
		fmt.Fprintf(w, "%s %s\n", p.Say("exception"), Exception(p, &r.Exceptions[i]))
	}
	if r.OK {
		fmt.Fprintln(w, p.Say("%s: ok", r.Config))
		return
	}
	fmt.Fprintln(w, p.Say("%s: not ok", r.Config))
}

// Ban says in a line what a ban does, for whom and when.
func Ban(p *lang.Printer, b *reason.BanReport) string {
	if b.Why == reason.NearOff {
		return p.Say("%s: %s, off", b.ID, named(p, b))
	}
	return p.Say("%s: %s, %s, %s", b.ID, named(p, b), b.Stages, b.Action) + scope(p, b.Groups, b.Why, b.Effective, b.Expires)
}

// named says how many names a ban has, or which it does not have.
func named(p *lang.Printer, b *reason.BanReport) string {
	if len(b.AllBut) > 0 {
		return p.Say("all names but those of %s", strings.Join(b.AllBut, ", "))
	}
	if b.Repeated > 0 {
		return p.Say("%s, %d of them repeated", names(p, b.Names), b.Repeated)
	}
	return names(p, b.Names)
}

// names says how many names there are.
func names(p *lang.Printer, n int) string { return counted(p, n, "1 name", "%d names") }

// counted says how many of something there are: one is the whole text for 1.
func counted(p *lang.Printer, n int, one, more string) string {
	if n == 1 {
		return p.Say(one)
	}
	return p.Say(more, n)
}

// Exception says in a line what an exception does, for whom and when.
func Exception(p *lang.Printer, x *reason.ExceptionReport) string {
	return p.Say("%s: %s", x.ID, names(p, x.Names)) + scope(p, x.Groups, x.Why, x.Effective, x.Expires)
}

// scope says for whom and when.
func scope(p *lang.Printer, groups []string, why reason.Near, effective, expires string) string {
	var s string
	if !slices.Contains(groups, blocklists.GroupAll) {
		s = p.Say(", for %s", strings.ReplaceAll(strings.Join(groups, ", "), blocklists.GroupEnforced, p.Say("the groups of enforced bans")))
	}
	switch {
	case why == reason.NearNotYet:
		s += p.Say(", not in force: from %s", effective)
	case why == reason.NearExpired:
		return s + p.Say(", not in force: expired %s", expires)
	case effective != "":
		s += p.Say(", since %s", effective)
	}
	if expires != "" {
		s += p.Say(", until %s", expires)
	}
	return s
}
