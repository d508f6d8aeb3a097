package simulate

import (
	"cmp"
	"slices"
	"strings"

	"rideau/resolver/wire"
)

// Report is what a Simulation found.
type Report struct {
	Queries int `json:"queries"`
	Names   int `json:"names"`   // distinct
	Clients int `json:"clients"` // distinct
	// Changes are the classes of changes, all of them, in a fixed order.
	Changes []Change `json:"changes"`
	Same    Same     `json:"unchanged"`
	// Short says which figures are too low because of the limits.
	Short []string `json:"short"`
}

// Change is what changes in one way.
type Change struct {
	Class   string `json:"class"`
	Queries int    `json:"queries"`
	Names   int    `json:"names"`
	Clients int    `json:"clients"`
	// By is the changes by bans, most queries first.
	By []By `json:"by"`
	// Top are the names with the most queries.
	Top []Name `json:"top"`
}

// By is the queries with the same effect before and the same effect after.
type By struct {
	Before  Effect `json:"before"`
	After   Effect `json:"after"`
	Queries int    `json:"queries"`
	Names   int    `json:"names"`
	Clients int    `json:"clients"`
}

// Name is a name whose answer changes.
type Name struct {
	Name    string `json:"name"` // without the final dot
	Queries int    `json:"queries"`
	Clients int    `json:"clients"`
	Before  Effect `json:"before"`
	After   Effect `json:"after"`
}

// Effect is what a policy does to a query.
type Effect struct {
	// Outcome is one of passed, excepted, monitored, special, refused (a
	// client that is not served) and blocked.
	Outcome   string `json:"outcome"`
	Ban       string `json:"ban,omitempty"`
	List      string `json:"list,omitempty"`
	Action    string `json:"action,omitempty"`
	Exception string `json:"exception,omitempty"`
}

// String is the effect in a few words.
func (e Effect) String() string {
	switch {
	case e.Ban != "":
		return e.Outcome + " by " + e.Ban + " (list " + e.List + ", " + e.Action + ")"
	case e.Exception != "":
		return e.Outcome + " by " + e.Exception
	}
	return e.Outcome
}

// Same is the queries whose effect does not change, by outcome.
type Same struct {
	Queries   int `json:"queries"`
	Names     int `json:"names"`
	Clients   int `json:"clients"`
	Passed    int `json:"passed"`
	Blocked   int `json:"blocked"`
	Monitored int `json:"monitored"`
	Excepted  int `json:"excepted"`
	Special   int `json:"special"`
	Refused   int `json:"refused"`
}

// Report returns the sums, with at most top names for each class; 0 is all that are stored.
func (s *Simulation) Report(top int) Report {
	u := s.classes[Unchanged]
	r := Report{Queries: s.queries, Names: s.distinct, Clients: len(s.clients), Same: Same{Queries: u.queries, Names: u.names, Clients: u.clients,
		Passed: s.outcomes[passed], Blocked: s.outcomes[blocked], Monitored: s.outcomes[monitored],
		Excepted: s.outcomes[excepted], Special: s.outcomes[special], Refused: s.outcomes[refused]}, Short: s.short()}
	names := s.sorted(top)
	for c := range Unchanged {
		of := s.classes[c]
		change := Change{Class: c.String(), Queries: of.queries, Names: of.names, Clients: of.clients, By: []By{}, Top: names[c]}
		for _, t := range s.order {
			if t.class() == c {
				change.By = append(change.By, By{s.against.describe(t.before, s.bans), s.candidate.describe(t.after, s.bans), t.queries, t.names, t.clients})
			}
		}
		slices.SortStableFunc(change.By, func(a, b By) int {
			return cmp.Or(b.Queries-a.Queries, strings.Compare(a.Before.String(), b.Before.String()), strings.Compare(a.After.String(), b.After.String()))
		})
		r.Changes = append(r.Changes, change)
	}
	return r
}

// sorted returns the changed names by class, those with the most queries first.
func (s *Simulation) sorted(top int) (out [Unchanged][]Name) {
	type kept struct {
		changedKey
		*changedName
	}
	var all [Unchanged][]kept
	for k, n := range s.changed {
		c := s.order[k.transition].class()
		all[c] = append(all[c], kept{k, n})
	}
	for c := range all {
		slices.SortFunc(all[c], func(a, b kept) int {
			return cmp.Or(b.queries-a.queries, strings.Compare(a.name, b.name), cmp.Compare(a.transition, b.transition))
		})
		if top > 0 {
			all[c] = all[c][:min(top, len(all[c]))]
		}
		out[c] = []Name{}
		for _, k := range all[c] {
			t := s.order[k.transition]
			out[c] = append(out[c], Name{nameText(k.name), k.queries, k.clients, s.against.describe(t.before, s.bans), s.candidate.describe(t.after, s.bans)})
		}
	}
	return out
}

func nameText(w string) string {
	text := wire.NameString([]byte(w))
	if text == "." {
		return text
	}
	return strings.TrimSuffix(text, ".")
}

// describe returns the effect with the ids of what it refers to.
func (x *side) describe(e effect, bans []string) Effect {
	out := Effect{Outcome: e.outcome.String()}
	if e.ban >= 0 {
		out.Ban, out.List, out.Action = bans[e.ban], x.Policy.Lists()[e.list].ID, e.action.String()
	}
	if e.exception >= 0 {
		out.Exception = x.Policy.Policy().Exceptions[e.exception].ID
	}
	return out
}

// short returns Report.Short.
func (s *Simulation) short() []string {
	out := []string{}
	if s.names.full {
		out = append(out, "distinct names: there are more than are told apart")
	}
	if s.unkept > 0 {
		out = append(out, "names that change: there are more than are listed; the sums of queries include them")
	}
	if s.unnumbered > 0 || s.pairs.full {
		out = append(out, "clients: there are more than are told apart")
	}
	return out
}
