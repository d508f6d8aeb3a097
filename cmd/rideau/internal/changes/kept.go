// Package changes compares a configuration with the one that serves: what it takes away from bans, and which keys differ.
package changes

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/enforced"
	"rideau/blocklists/input"
	"rideau/config"
	"rideau/config/policy"
	"rideau/resolver/ops"
)

// Side is a configuration and its policy.
type Side struct {
	Config *config.Config
	Policy *blocklists.Snapshot
}

// Kept returns a problem for each thing that after takes away from the enforced bans of before, unless its configuration says in removed that
// it is meant, or it is forced. What is forced is returned, too. A configuration that looks like that of before with its end missing is a
// problem, unless everything is forced.
func Kept(before, after Side, force input.Forced, now time.Time) (config.Problems, []ops.Forced) {
	var problems config.Problems
	var forced []ops.Forced
	cfg := after.Config
	if p := cfg.CutFrom(before.Config); p != nil && !slices.Contains(force, input.ForceAll) {
		problems = append(problems, *p)
	}
	for _, l := range enforced.Lost(before.Policy, after.Policy, now) {
		switch {
		case l.Gone && slices.Contains(cfg.Removed, l.Ban), l.List != "" && !l.Grew && slices.Contains(cfg.Removed, l.List):
		case l.Had > 0 && force.Has(l.List):
			forced = append(forced, ops.Forced{ID: l.List, Kind: "list", Before: l.Had, Why: l.What})
		case force.Has(l.Ban), l.List != "" && force.Has(l.List):
			forced = append(forced, ops.Forced{ID: l.Ban, Kind: "ban", Why: l.What})
		default:
			problems = append(problems, lost(l, cfg))
		}
	}
	return problems, forced
}

// lost returns the problem of a loss.
func lost(l enforced.Loss, cfg *config.Config) config.Problem {
	p := config.Problem{File: cfg.File, Key: "bans", Message: "ban " + l.Ban + ": " + l.What}
	i := slices.IndexFunc(cfg.Bans, func(b policy.Ban) bool { return b.ID == l.Ban })
	if i >= 0 {
		p.Line, p.Key = cfg.Bans[i].Line, fmt.Sprintf("bans[%d]", i)
	}
	switch {
	case l.Gone:
		p.Remedy = fmt.Sprintf("see whether the end of the file is missing; if the ban is to end, keep it with mode: off, or write removed: [%s], or reload with force=%s", l.Ban, l.Ban)
	case l.Grew:
		p.Key += ".all_but"
		p.Remedy = fmt.Sprintf("see what the list has got; if that is meant, reload with force=%s", l.List)
	case l.List != "":
		p.Key += ".lists"
		p.Remedy = fmt.Sprintf("put the list back; or, if that is meant, write removed: [%s], or reload with force=%s", l.List, l.Ban)
	default:
		p.Remedy = fmt.Sprintf("see whether the end of the file is missing; if that is meant, say so with the ban's mode, modes or expires, or reload with force=%s", l.Ban)
	}
	return p
}

// ErrUnknown is the error of a request that forces what there is not. It says nothing about the configuration.
var ErrUnknown = errors.New("a list or a ban that is forced does not exist")

// Unknown returns a problem for each id that is forced though neither configuration nor the policy that serves has a list or a ban with it.
func Unknown(force input.Forced, cfg *config.Config, serves *blocklists.Policy) []ops.Problem {
	var out []ops.Problem
	for _, id := range force {
		known := id == input.ForceAll ||
			slices.ContainsFunc(cfg.Lists, func(l policy.List) bool { return l.ID == id }) ||
			slices.ContainsFunc(cfg.Bans, func(b policy.Ban) bool { return b.ID == id })
		if serves != nil {
			known = known || slices.ContainsFunc(serves.Lists, func(l input.List) bool { return l.ID == id }) ||
				slices.ContainsFunc(serves.Bans, func(b blocklists.Ban) bool { return b.ID == id })
		}
		if !known {
			out = append(out, ops.Problem{Message: fmt.Sprintf("force=%s: no list and no ban has this id", id),
				Remedy: "write the id of a list or a ban, or force=all"})
		}
	}
	return out
}

// Forced returns the lists that were taken only by force, and after them what Kept says was forced, each once.
func Forced(lists []input.ForcedList, kept []ops.Forced) []ops.Forced {
	var out []ops.Forced
	for _, l := range lists {
		out = append(out, ops.Forced{ID: l.List, Kind: "list", Before: l.Before, After: l.After, Why: l.Why.Error()})
	}
	for _, f := range kept {
		if !slices.ContainsFunc(out, func(o ops.Forced) bool { return o.ID == f.ID && o.Kind == f.Kind }) {
			out = append(out, f)
		}
	}
	return out
}
