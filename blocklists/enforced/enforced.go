// Package enforced says which bans of a policy are enforced, for which groups, and what of that a later policy loses.
//
// A ban is enforced for a group if it is within its dates, its mode for the group is enforce, and it is for the group: the clients of the
// group then get the answers of the ban.
package enforced

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/input"
)

// Any reports whether a ban is enforced for any group, and has something to block: an entry of a list, all names but those of lists, or the record types that are not known.
func Any(s *blocklists.Snapshot) bool {
	v := look(s)
	return slices.ContainsFunc(v.bans, func(b blocklists.BanStatus) bool {
		return len(v.groups(b)) > 0 && (b.Names > 0 || b.Ban.UnknownTypes || len(b.Ban.AllBut) > 0)
	})
}

// Groups returns the groups for which the ban with that id is enforced; the empty name is for the clients of no group.
func Groups(s *blocklists.Snapshot, id string) []string {
	v := look(s)
	for _, b := range v.bans {
		if b.Ban.ID == id {
			return v.groups(b)
		}
	}
	return nil
}

// None is what operators are told where Any is false.
const None = "no ban is enforced: every name is resolved"

// Loss is what a later policy takes away from a ban. List is set if it is one of its lists.
type Loss struct {
	Ban  string
	List string
	// Gone says that the later policy does not have the ban.
	Gone bool
	// Had is the number of entries of a list that has none any more, or of one that lets through many more now; 0 for other losses.
	Had int
	// Grew is set if List lets through many more names now.
	Grew bool
	// What says what is lost.
	What string
}

// Lost returns what the policy after takes away from the enforced bans of the policy before: bans, their lists, and groups for which they
// are enforced. What a ban says itself, by its mode, modes or expires, is no loss. A ban that is enforced from a later date counts as
// enforced: it is lost if it is gone or loses a list.
func Lost(before, after *blocklists.Snapshot, now time.Time) []Loss {
	old, next := look(before), look(after)
	var out []Loss
	for _, b := range old.bans {
		groups := old.groups(b)
		if len(groups) == 0 && !scheduled(b, now) {
			continue
		}
		i := slices.IndexFunc(next.bans, func(x blocklists.BanStatus) bool { return x.Ban.ID == b.Ban.ID })
		if i < 0 {
			out = append(out, Loss{Ban: b.Ban.ID, Gone: true, What: "the ban, which was enforced, is gone"})
			continue
		}
		n := next.bans[i]
		if ended(n, now) {
			continue
		}
		if lost := next.without(groups, b, n); len(lost) > 0 {
			out = append(out, Loss{Ban: b.Ban.ID, What: "the ban is not enforced any more for " + names(lost) + because(n, now)})
		}
		if off(n.Ban) {
			continue
		}
		out = append(out, opened(before, after, b.Ban, n.Ban)...)
		for _, l := range b.Ban.Lists {
			was, is := entries(before, l), entries(after, l)
			switch {
			case !slices.Contains(n.Ban.Lists, l) && len(n.Ban.AllBut) == 0:
				out = append(out, Loss{Ban: b.Ban.ID, List: l, What: fmt.Sprintf("the ban, which was enforced, loses the list %s", l)})
			case was > 0 && is == 0:
				out = append(out, Loss{Ban: b.Ban.ID, List: l, Had: was, What: fmt.Sprintf("the list %s of the ban, which was enforced, has no entries any more, and had %d", l, was)})
			}
		}
	}
	return out
}

// opened returns what a ban on all names but those on its lists lets through more than before. A list that it names now, and did not before,
// is what the configuration says, as is one whose names are in the configuration.
func opened(before, after *blocklists.Snapshot, b, n *blocklists.Ban) (out []Loss) {
	if len(b.AllBut) > 0 && len(n.AllBut) == 0 {
		return []Loss{{Ban: b.ID, What: "the ban, which was on all names but those on its lists, is on lists only"}}
	}
	for _, l := range n.AllBut {
		i := slices.IndexFunc(after.Policy().Lists, func(x input.List) bool { return x.ID == l })
		was, is := entries(before, l), entries(after, l)
		if slices.Contains(b.AllBut, l) && !after.Policy().Lists[i].Unguarded && is > 2*was && is-was > maxOpened {
			out = append(out, Loss{Ban: b.ID, List: l, Had: was, Grew: true,
				What: fmt.Sprintf("the list %s, whose names alone it lets through, has %d entries, and had %d", l, is, was)})
		}
	}
	return out
}

// maxOpened is how many entries a list that lets names through may have more than before in any case. Above that they may double.
const maxOpened = 20

// entries returns the number of entries of a list.
func entries(s *blocklists.Snapshot, list string) int {
	for _, l := range s.Lists() {
		if l.ID == list {
			return l.Entries
		}
	}
	return 0
}

// view is a policy with its groups by name; the empty name is for the clients of no group.
type view struct {
	policy *blocklists.Policy
	bans   []blocklists.BanStatus
	names  []string
	// some are the groups that the group "enforced" of bans stands for.
	some map[string]bool
}

func look(s *blocklists.Snapshot) *view {
	v := &view{policy: s.Policy(), bans: s.Bans(), names: []string{""}, some: map[string]bool{}}
	for _, g := range v.policy.Groups {
		v.names = append(v.names, g.ID)
	}
	for _, b := range v.bans {
		for _, g := range v.names {
			if b.Active && mode(b.Ban, g) == blocklists.Enforce && named(b.Ban, g) {
				v.some[g] = true
			}
		}
	}
	return v
}

// groups returns the groups for which a ban is enforced.
func (v *view) groups(b blocklists.BanStatus) []string {
	var out []string
	for _, g := range v.names {
		follows := v.some[g] && slices.Contains(b.Ban.Groups, blocklists.GroupEnforced)
		if b.Active && mode(b.Ban, g) == blocklists.Enforce && (named(b.Ban, g) || follows) {
			out = append(out, g)
		}
	}
	return out
}

// without returns those of groups for which the ban now is not enforced, though it does not say so itself. A ban for the group "enforced"
// follows other bans, whose losses are their own.
func (v *view) without(groups []string, before, now blocklists.BanStatus) []string {
	return slices.DeleteFunc(slices.Clone(groups), func(g string) bool {
		if !slices.Contains(v.names, g) { // its clients belong to no group now, or to others
			g = ""
		}
		if m, said := now.Ban.Modes[g]; said && m != blocklists.Enforce {
			return true
		}
		if mode(now.Ban, g) != blocklists.Enforce {
			return now.Ban.Mode != before.Ban.Mode
		}
		// A ban with the dates that it had is not active because the clock was set, and not because the configuration says so.
		active := now.Active || now.Ban.Effective.Equal(before.Ban.Effective)
		return active && (named(now.Ban, g) || slices.Contains(now.Ban.Groups, blocklists.GroupEnforced))
	})
}

// mode is a ban's mode for a group.
func mode(b *blocklists.Ban, group string) blocklists.Mode {
	if m, ok := b.Modes[group]; ok {
		return m
	}
	return b.Mode
}

// named reports whether a ban names a group, or all.
func named(b *blocklists.Ban, group string) bool {
	return slices.Contains(b.Groups, blocklists.GroupAll) || group != "" && slices.Contains(b.Groups, group)
}

// off reports whether a ban is enforced for nobody, whatever the date.
func off(b *blocklists.Ban) bool {
	if b.Mode == blocklists.Enforce {
		return false
	}
	for _, m := range b.Modes {
		if m == blocklists.Enforce {
			return false
		}
	}
	return true
}

// scheduled reports whether a ban is going to be enforced.
func scheduled(b blocklists.BanStatus, now time.Time) bool {
	return !b.Active && !off(b.Ban) && !ended(b, now)
}

// ended reports whether a ban is over by its own date.
func ended(b blocklists.BanStatus, now time.Time) bool {
	return !b.Active && !b.Ban.Expires.IsZero() && !now.Before(b.Ban.Expires)
}

// because says which date keeps a ban from being enforced.
func because(b blocklists.BanStatus, now time.Time) string {
	if !b.Active && now.Before(b.Ban.Effective) {
		return ", since its effective is " + b.Ban.Effective.Format(time.RFC3339)
	}
	return ""
}

// names returns groups as people read them.
func names(groups []string) string {
	var out []string
	for _, g := range groups {
		switch g {
		case "":
			out = append(out, "the clients of no group")
		default:
			out = append(out, "the group "+g)
		}
	}
	return strings.Join(out, ", ")
}
