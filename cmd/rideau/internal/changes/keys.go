package changes

import (
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"rideau/blocklists"
	"rideau/blocklists/compare"
	"rideau/blocklists/enforced"
	"rideau/cmd/rideau/internal/setup"
	"rideau/cmd/rideau/internal/text"
	"rideau/config"
	"rideau/resolver/ops"
)

// Keys returns what differs between two configurations, by key. The file and the lines are those of the second. Relative paths that are the same from the
// directories of both do not differ.
func Keys(before, after *config.Config) []ops.Change {
	out := []ops.Change{}
	from, to := filepath.Dir(before.File)+"/", filepath.Dir(after.File)+"/"
	for _, d := range config.Differences(before, after) {
		if from != to && strings.TrimPrefix(d.Before, from) == strings.TrimPrefix(d.After, to) {
			continue
		}
		out = append(out, ops.Change{File: setup.Name(after), Line: d.Line, Key: d.Key, Before: d.Before, After: d.After, Applies: string(d.Applies)})
	}
	return out
}

// System returns the change of the servers that resolv.conf names; none if they are the same, or if one of the configurations does not use
// them.
func System(before, after []netip.AddrPort) []ops.Change {
	if len(before) == 0 || len(after) == 0 || slices.Equal(before, after) {
		return nil
	}
	return []ops.Change{{File: setup.ResolvConf, Key: "upstream.servers[system]", Before: fmt.Sprint(before), After: fmt.Sprint(after), Applies: string(config.Live)}}
}

// Lists returns the lists whose content differs between two policies that both have them, by their number of entries.
func Lists(before, after *blocklists.Snapshot) []ops.Change {
	var out []ops.Change
	for _, l := range after.Lists() {
		i := slices.IndexFunc(before.Lists(), func(o blocklists.ListInfo) bool { return o.ID == l.ID })
		if i < 0 || before.Lists()[i].SHA256 == l.SHA256 {
			continue
		}
		was, is := entries(before.Lists()[i].Entries), entries(l.Entries)
		if was == is {
			is += ", some of them others"
		}
		out = append(out, ops.Change{File: l.Source, Key: "lists[" + l.ID + "] (content)", Before: was, After: is, Applies: string(config.Lists)})
	}
	return out
}

// Report is what differs between two configurations and their policies.
type Report struct {
	*compare.Report
	// Configuration has the keys that differ, also those of the policy.
	Configuration []ops.Change `json:"configuration"`
	// Warnings are those about the second configuration.
	Warnings []ops.Problem `json:"warnings"`
}

// Different reports whether anything differs.
func (r *Report) Different() bool { return len(r.Configuration) > 0 || r.Report.Different() }

// Write writes a report for people. A key of a ban, an exception or a group that the comparison of the policies tells is not told again.
func (r *Report) Write(w io.Writer) {
	for _, c := range r.Configuration {
		if !r.told(c.Key) {
			fmt.Fprintln(w, c)
		}
	}
	if r.Report.Different() || len(r.Configuration) == 0 {
		text.WriteComparison(w, r.Report)
	}
	for _, p := range r.Warnings {
		fmt.Fprintf(w, "warning: %v\n", p)
	}
}

// told reports whether the comparison of the policies tells about a key.
func (r *Report) told(key string) bool {
	for _, part := range []struct {
		section string
		changes []compare.Change
	}{{"bans", r.Bans}, {"exceptions", r.Exceptions}, {"groups", r.Groups}} {
		for _, c := range part.changes {
			if c.ID == "" && key == part.section+" (order)" {
				return true
			}
			rest, is := strings.CutPrefix(key, part.section+"["+c.ID+"]")
			if is && (rest == "" || len(c.Keys) > 0 && slices.ContainsFunc(c.Keys, func(k string) bool { return tells(k, rest) })) {
				return true
			}
		}
	}
	return false
}

// tells reports whether a line of a comparison, such as "mode: off, was enforce", is about a key such as ".mode" or ".modes[x].mode".
func tells(line, key string) bool {
	about, _, _ := strings.Cut(line, ":")
	return strings.HasPrefix(key, "."+about) || about == "mode" && strings.HasPrefix(key, ".modes")
}

// Warnings returns the warnings about a configuration, its upstream servers and its policy.
func Warnings(cfg *config.Config, plan setup.UpstreamPlan, policy *blocklists.Snapshot) []ops.Problem {
	out := []ops.Problem{}
	none := !enforced.Any(policy)
	for _, w := range cfg.Warnings {
		none = none && w.Message != enforced.None
		out = append(out, ops.Problem{File: w.File, Line: w.Line, Key: w.Key, Message: w.Message, Remedy: w.Remedy})
	}
	for _, w := range plan.Warnings {
		out = append(out, ops.Problem{File: setup.Name(cfg), Message: w})
	}
	for _, l := range policy.Lists() {
		if l.Entries == 0 {
			out = append(out, ops.Problem{List: l.ID, File: l.Source, Message: "the list has no entries", Remedy: "add names, or take the list out of the configuration"})
		}
	}
	if none {
		out = append(out, ops.Problem{File: setup.Name(cfg), Message: enforced.None, Remedy: "see the dates, modes, groups and lists of the bans"})
	}
	return out
}

// WouldRefuse adds to the warnings what Kept says of a reload from the first configuration to the second.
func (r *Report) WouldRefuse(kept config.Problems) {
	for _, p := range kept {
		r.Warnings = append(r.Warnings, ops.Problem{File: p.File, Line: p.Line, Key: p.Key, Message: "a reload would be refused: " + p.Message, Remedy: p.Remedy})
	}
}

// entries says how many entries there are.
func entries(n int) string {
	if n == 1 {
		return "1 entry"
	}
	return fmt.Sprint(n, " entries")
}
