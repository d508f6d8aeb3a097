package compile

import (
	"fmt"
	"slices"

	"rideau/blocklists"
	"rideau/blocklists/format"
	"rideau/blocklists/input"
)

// idle returns the lists for which a ban that is in use would block nothing, although they have lines. Nobody means such a ban: the lines
// are in another format than they are read in, or about something else than names. Lists with EmptyOK, and those that are forced, may be so.
// An exception that would let nothing through is refused in the same way.
func idle(p *blocklists.Policy, contents []input.Content, o *Options) (out []*ListError) {
	for i := range p.Bans {
		b := &p.Bans[i]
		if b.InUse() && (b.Expires.IsZero() || o.Now.Before(b.Expires)) {
			out = append(out, idleLists(p, contents, o, b.Lists, "the ban "+b.ID+" would block nothing", blocking)...)
			out = append(out, idleLists(p, contents, o, b.AllBut, "the ban "+b.ID+" would let nothing through", letting)...)
		}
	}
	for i := range p.Exceptions {
		e := &p.Exceptions[i]
		if e.Expires.IsZero() || o.Now.Before(e.Expires) {
			out = append(out, idleLists(p, contents, o, e.Lists, "the exception "+e.ID+" would let nothing through", letting)...)
		}
	}
	return slices.CompactFunc(out, func(x, y *ListError) bool { return x.List == y.List })
}

// letting returns how many entries of a list count where it lets names through.
func letting(c *input.Content) int { return c.Stats.Entries }

// blocking returns how many entries of a list count in a ban. In a policy zone all of them do: what its PASSTHRU rules let through, no later
// zone blocks, and a zone of such rules alone before the others is usual (the RPZ draft, section 5.2).
func blocking(c *input.Content) int {
	if c.Stats.Format == format.RPZ {
		return c.Stats.Entries
	}
	return c.Blocking
}

// idleLists returns an error for each of the lists with those ids that has lines, if none of the lists has an entry that count counts.
func idleLists(p *blocklists.Policy, contents []input.Content, o *Options, ids []string, what string, count func(*input.Content) int) (out []*ListError) {
	for i := range p.Lists {
		l, c := &p.Lists[i], &contents[i]
		switch s := &c.Stats; {
		case !slices.Contains(ids, l.ID):
		case count(c) > 0:
			return nil
		case l.EmptyOK || o.Force.Has(l.ID) || s.Entries+s.Skipped+s.NotDNS+s.OtherTier == 0:
		default:
			out = append(out, &ListError{l.ID, l.Source, fmt.Errorf("%s: %w, and %s: %s", l.Source, input.ErrIdle, what, idleReason(c))})
		}
	}
	return out
}

// idleReason returns why a list has no entries that block, and what to do.
func idleReason(c *input.Content) string {
	const orSay = "or set empty_ok for the list"
	s := &c.Stats
	switch {
	case s.Entries > 0:
		return "all its entries let names through; use the list in an exception, " + orSay
	case s.OtherTier > 0:
		return fmt.Sprintf("all %d rows are of tiers that do not count; see the list's tiers, %s", s.OtherTier, orSay)
	case len(s.Reasons) > 0:
		return fmt.Sprintf("it was read as %s, and %d lines are no names, the most of them for this reason: %s; see its format, %s",
			s.Format, s.Skipped+s.NotDNS, s.Reasons[0].Reason, orSay)
	}
	return "see its format, " + orSay
}
