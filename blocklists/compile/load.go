// Package compile makes a [blocklists.Snapshot] of a policy and the content of
// its lists: it reads the lists, holds them to their guards, and joins what
// they say.
package compile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/format"
	"rideau/blocklists/input"
)

// Options go with [Load].
type Options struct {
	// Now is the instant that decides which bans and exceptions are in force. Others are further instants that may be
	// the right one, see [blocklists.Snapshot.At].
	Now    time.Time
	Others []time.Time
	// Force are lists that are accepted though their guards refuse them, for example because they became empty or shrank.
	Force input.Forced
	// Slots numbers the bans; required.
	Slots *blocklists.Slots
}

// ListError is what is wrong with one list.
type ListError struct {
	List   string // its id
	Source string
	Err    error
}

func (e *ListError) Error() string { return fmt.Sprintf("list %s: %v", e.List, e.Err) }

// Unwrap returns Err.
func (e *ListError) Unwrap() error { return e.Err }

// Report tells what Load found, whether or not it succeeded.
type Report struct {
	// Problems are unusable lines that were skipped.
	Problems []format.Problem
	// Failed are the lists that were refused.
	Failed []*ListError
	// Forced are the lists that were accepted only by force.
	Forced []input.ForcedList
}

// Load reads the policy's lists, one after the other, and makes a Snapshot.
// prev, which may be nil, is the one that serves now; the guards compare each list with what it
// was there. If any list is refused there is no Snapshot, and the error joins a
// *ListError for each. Load changes nothing that serves: after an error the caller continues
// with prev.
func Load(ctx context.Context, p blocklists.Policy, prev *blocklists.Snapshot, o Options) (*blocklists.Snapshot, Report, error) {
	var report Report
	if err := check(&p); err != nil {
		return nil, report, err
	}
	c := newCompiler()
	lists := make([]blocklists.ListInfo, len(p.Lists))
	contents := make([]input.Content, len(p.Lists))
	for i := range p.Lists {
		l := &p.Lists[i]
		c.letting = slices.ContainsFunc(p.Bans, func(b blocklists.Ban) bool { return slices.Contains(b.AllBut, l.ID) })
		c.plain = c.letting || usedByException(&p, l.ID)
		content, err := c.readList(ctx, i, l)
		if err == nil {
			before := baseline(prev, l)
			err = l.Check(&content, before)
			if err != nil && o.Force.Has(l.ID) {
				report.Forced = append(report.Forced, input.ForcedList{List: l.ID, Source: l.Source, Before: before.Entries, After: content.Stats.Entries, Why: err})
				err = nil
			}
		}
		report.Problems = append(report.Problems, content.Stats.Problems...)
		if errors.As(err, new(*tooMuch)) {
			return nil, report, report.blame(&p, err)
		}
		if err != nil {
			report.Failed = append(report.Failed, &ListError{l.ID, l.Source, err})
			if ctx.Err() != nil {
				return nil, report, ctx.Err()
			}
		}
		lists[i], contents[i] = listInfo(l, &content, o.Now), content
	}
	if len(report.Failed) == 0 {
		report.Failed = idle(&p, contents, &o)
	}
	if len(report.Failed) > 0 {
		errs := make([]error, len(report.Failed))
		for i, e := range report.Failed {
			errs[i] = e
		}
		return nil, report, errors.Join(errs...)
	}
	parts, err := c.parts()
	if err != nil {
		return nil, report, report.blame(&p, err)
	}
	parts.Policy, parts.Lists = p, lists
	return blocklists.New(parts, prev, o.Slots, append([]time.Time{o.Now}, o.Others...)...), report, nil
}

// listInfo is what reports say of a list.
func listInfo(l *input.List, c *input.Content, now time.Time) blocklists.ListInfo {
	return blocklists.ListInfo{ID: l.ID, Source: l.Source, Options: l.Options(), LoadedAt: now,
		Entries: c.Stats.Entries, Skipped: c.Stats.Skipped, Format: c.Stats.Format, NotDNS: c.Stats.NotDNS, Reasons: c.Stats.Reasons,
		SHA256: c.SHA256, Digest: c.Entries, Serial: c.Serial, Included: c.Included, Wide: c.Wide}
}

// baseline is the version of a list that a new one is compared with: that of
// prev, which may be nil, or else the one that its guards know.
func baseline(prev *blocklists.Snapshot, l *input.List) input.Baseline {
	options := l.Options()
	if prev != nil {
		for i := range prev.Lists() {
			if old := &prev.Lists()[i]; old.ID == l.ID && old.Options == options {
				return input.Baseline{Options: options, Entries: old.Entries, Serial: old.Serial, Wide: old.Wide, Format: old.Format}
			}
		}
	}
	if b := l.Guards.Before; b.Options == options {
		return b
	}
	return input.Baseline{}
}

// usedByException reports whether an exception uses a list.
func usedByException(p *blocklists.Policy, list string) bool {
	return slices.ContainsFunc(p.Exceptions, func(e blocklists.Exception) bool { return slices.Contains(e.Lists, list) })
}

// check holds a policy to the limits and references that configuration has
// checked already, with better messages.
func check(p *blocklists.Policy) error {
	if len(p.Lists) > blocklists.MaxLists {
		return fmt.Errorf("policy: %d lists; the most is %d", len(p.Lists), blocklists.MaxLists)
	}
	if len(p.Bans) > blocklists.MaxBans {
		return fmt.Errorf("policy: %d bans; the most is %d", len(p.Bans), blocklists.MaxBans)
	}
	if len(p.Groups) > blocklists.MaxGroups {
		return fmt.Errorf("policy: %d groups; the most is %d", len(p.Groups), blocklists.MaxGroups)
	}
	if len(p.Exceptions) > blocklists.MaxExceptions {
		return fmt.Errorf("policy: %d exceptions; the most is %d", len(p.Exceptions), blocklists.MaxExceptions)
	}
	for i := range p.Bans {
		if err := checkReferences(p, "ban", p.Bans[i].ID, append(slices.Clone(p.Bans[i].Lists), p.Bans[i].AllBut...), p.Bans[i].Groups); err != nil {
			return err
		}
	}
	for i := range p.Exceptions {
		if err := checkReferences(p, "exception", p.Exceptions[i].ID, p.Exceptions[i].Lists, p.Exceptions[i].Groups); err != nil {
			return err
		}
	}
	return nil
}

// checkReferences returns an error if the policy lacks one of the lists or groups that
// a ban or an exception names.
func checkReferences(p *blocklists.Policy, what, id string, lists, groups []string) error {
	for _, l := range lists {
		if !slices.ContainsFunc(p.Lists, func(x input.List) bool { return x.ID == l }) {
			return fmt.Errorf("policy: %s %s: no list %q", what, id, l)
		}
	}
	for _, g := range groups {
		if g != blocklists.GroupAll && g != blocklists.GroupEnforced && !slices.ContainsFunc(p.Groups, func(x blocklists.Group) bool { return x.ID == g }) {
			return fmt.Errorf("policy: %s %s: no group %q", what, id, g)
		}
	}
	return nil
}
