package text

import (
	"fmt"
	"io"
	"strings"

	"github.com/dustin/go-humanize/english"

	"rideau/blocklists/compare"
)

// WriteComparison writes what two policies differ in, for people.
func WriteComparison(w io.Writer, r *compare.Report) {
	if !r.Different() {
		fmt.Fprintln(w, "no difference")
		return
	}
	for _, part := range []struct {
		what    string
		changes []compare.Change
	}{{"ban", r.Bans}, {"exception", r.Exceptions}, {"group", r.Groups}} {
		for _, c := range part.changes {
			if c.ID == "" {
				fmt.Fprintf(w, "%ss %s\n", part.what, c.What)
				continue
			}
			fmt.Fprintf(w, "%s %s %s\n", part.what, c.ID, c.What)
			for _, k := range c.Keys {
				fmt.Fprintf(w, "  %s\n", k)
			}
		}
	}
	for _, l := range r.Lists {
		about := ""
		if l.Counted {
			about = " (by number: what the list had is not known)"
		}
		fmt.Fprintf(w, "list %s: %s, was %d: %d added, %d removed%s\n", l.ID, english.Plural(l.After, "entry", ""), l.Before, l.Added, l.Removed, about)
		for _, n := range l.New {
			fmt.Fprintf(w, "  + %s\n", n)
		}
		for _, n := range l.Gone {
			fmt.Fprintf(w, "  - %s\n", n)
		}
	}
	for _, n := range r.Names {
		fmt.Fprintf(w, "%s for %s: %s, was %s\n", english.Plural(n.Count, "name", ""), strings.Join(n.Groups, ", "), n.After, n.Before)
		for _, e := range n.Examples {
			fmt.Fprintf(w, "  %s\n", e)
		}
		if left := n.Count - len(n.Examples); left > 0 {
			fmt.Fprintf(w, "  and %d more\n", left)
		}
	}
	if r.Partial {
		fmt.Fprintln(w, "names that a list had and has no longer are counted above, not told")
	}
}
