package blocklists

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"rideau/blocklists/format"
	"rideau/resolver/wire"
)

// LoadOptions go with [Load].
type LoadOptions struct {
	// Now is the instant for which bans are in force or not.
	Now time.Time
	// Force accepts lists that became empty or shrank.
	Force bool
	// Slots numbers the bans; required.
	Slots *Slots
}

// ListError is what is wrong with one list.
type ListError struct {
	List   string // its id
	Source string
	Err    error
}

func (e *ListError) Error() string { return fmt.Sprintf("list %s: %v", e.List, e.Err) }

// Unwrap is Err.
func (e *ListError) Unwrap() error { return e.Err }

// Report tells what Load found, whether or not it succeeded.
type Report struct {
	// Problems are unusable lines that were passed over.
	Problems []format.Problem
	// Failed are the lists that were refused.
	Failed []*ListError
}

// Errors of the guards.
var (
	ErrEmpty  = errors.New("no entries, and there were some before")
	ErrShrank = errors.New("lost more of its entries than max_shrink allows")
)

// Load reads the policy's lists, one after the other, and makes a Snapshot.
// prev, which may be nil, is the one that serves now; a list that had
// entries there and has none, or lost more than its MaxShrink, is refused.
// If any list is refused there is no Snapshot and the error joins a
// *ListError for each. Nothing that serves is touched: the caller goes on
// with prev.
func Load(ctx context.Context, p Policy, prev *Snapshot, o LoadOptions) (*Snapshot, Report, error) {
	var report Report
	if err := p.check(); err != nil {
		return nil, report, err
	}
	c := newCompiler()
	s := &Snapshot{policy: p, lists: make([]ListInfo, len(p.Lists))}
	for i := range p.Lists {
		l := &p.Lists[i]
		c.flat = p.excepted(l.ID)
		info, problems, err := c.read(ctx, i, l, o.Now)
		if err == nil && !o.Force {
			before := prev.baseline(l)
			if err = l.Guards.check(l, &info, before); err == nil {
				err = l.guard(&info, before)
			}
		}
		report.Problems = append(report.Problems, problems...)
		if errors.As(err, new(*tooMuch)) {
			return nil, report, report.blame(&p, err)
		}
		if err != nil {
			report.Failed = append(report.Failed, &ListError{l.ID, l.Source, err})
			if ctx.Err() != nil {
				return nil, report, ctx.Err()
			}
		}
		s.lists[i] = info
		if l.Guards.Protected != nil {
			s.guarded.add(i)
		}
	}
	if len(report.Failed) > 0 {
		errs := make([]error, len(report.Failed))
		for i, e := range report.Failed {
			errs[i] = e
		}
		return nil, report, errors.Join(errs...)
	}
	if err := s.tables(c); err != nil {
		return nil, report, report.blame(&p, err)
	}
	s.someAddrs, s.someClients = len(c.addrs) > 0, len(c.clients) > 0
	s.clients = clientTable(p.Groups)
	for i := range p.Bans {
		b := p.Bans[i]
		if b.Action == Given && !slices.ContainsFunc(b.Lists, func(id string) bool { return c.zoned[s.listIndex(id)] }) {
			b.Action = NXDomain // nobody says otherwise
		}
		f := banFacts{Ban: b, slot: o.Slots.Slot(b.ID), option: b.ede(), ttl: uint32(b.TTL / time.Second)}
		if f.flat = b.Action; b.Action == Given || b.Action == Passthru || b.Action == TCPOnly {
			f.flat = NXDomain // these are for policy zones
		}
		if b.Action == LocalData {
			f.data = c.book.local([]LocalRecord{{wire.TypeCNAME, f.ttl, b.CNAME}})
		}
		s.bans = append(s.bans, f)
	}
	s.sets, s.rules, s.types, s.local = c.sets, c.book.sets, c.book.types, c.book.data
	s.triggers, s.addressed, s.isZone = c.book.triggers, c.addressed, c.zoned
	s.slots = slices.Clone(o.Slots.ids)
	s.generation = 1
	if prev != nil {
		s.generation = prev.generation + 1
	}
	s.setScopes(o.Now)
	return s, report, nil
}

// tables makes what names and addresses are looked up in.
func (s *Snapshot) tables(c *compiler) (err error) {
	if s.trie, err = c.names.Trie(c.join); err != nil {
		return err
	}
	if s.addrs, err = c.table(c.addrs); err != nil {
		return err
	}
	s.clientRules, err = c.table(c.clients)
	return err
}

// At is the Snapshot as it is at another instant: the same lists, with the
// bans in force that are so then.
func (s *Snapshot) At(now time.Time) *Snapshot {
	n := *s
	n.generation++
	n.setScopes(now)
	return &n
}

// guard compares a list with what it was.
func (l *List) guard(info *ListInfo, before Baseline) error {
	if l.Unguarded || before.Entries == 0 {
		return nil
	}
	const remedy = "if that is meant, reload with force, or switch the ban off in the configuration"
	if info.Entries == 0 {
		return fmt.Errorf("%s: %w (%d); %s", l.Source, ErrEmpty, before.Entries, remedy)
	}
	if lost := before.Entries - info.Entries; float64(lost) > l.MaxShrink*float64(before.Entries) {
		return fmt.Errorf("%s: %w: %d entries, %d before, max_shrink %g; %s",
			l.Source, ErrShrank, info.Entries, before.Entries, l.MaxShrink, remedy)
	}
	return nil
}

// excepted reports whether an exception uses a list.
func (p *Policy) excepted(list string) bool {
	return slices.ContainsFunc(p.Exceptions, func(e Exception) bool { return slices.Contains(e.Lists, list) })
}

// check holds the limits and references that configuration has checked
// already with better messages.
func (p *Policy) check() error {
	if len(p.Lists) > MaxLists {
		return fmt.Errorf("policy: %d lists; the most is %d", len(p.Lists), MaxLists)
	}
	if len(p.Bans) > MaxBans {
		return fmt.Errorf("policy: %d bans; the most is %d", len(p.Bans), MaxBans)
	}
	if len(p.Groups) > MaxGroups {
		return fmt.Errorf("policy: %d groups; the most is %d", len(p.Groups), MaxGroups)
	}
	if len(p.Exceptions) > MaxExceptions {
		return fmt.Errorf("policy: %d exceptions; the most is %d", len(p.Exceptions), MaxExceptions)
	}
	known := func(what, id string, lists, groups []string) error {
		for _, l := range lists {
			if !slices.ContainsFunc(p.Lists, func(x List) bool { return x.ID == l }) {
				return fmt.Errorf("policy: %s %s: no list %q", what, id, l)
			}
		}
		for _, g := range groups {
			if g != GroupAll && g != GroupEnforced && !slices.ContainsFunc(p.Groups, func(x Group) bool { return x.ID == g }) {
				return fmt.Errorf("policy: %s %s: no group %q", what, id, g)
			}
		}
		return nil
	}
	for i := range p.Bans {
		if err := known("ban", p.Bans[i].ID, p.Bans[i].Lists, p.Bans[i].Groups); err != nil {
			return err
		}
	}
	for i := range p.Exceptions {
		if err := known("exception", p.Exceptions[i].ID, p.Exceptions[i].Lists, p.Exceptions[i].Groups); err != nil {
			return err
		}
	}
	return nil
}

// Fingerprint is the SHA-256 digests of the lists in order, to tell whether
// two Snapshots hold the same names.
func (s *Snapshot) Fingerprint() string {
	var b strings.Builder
	for i := range s.lists {
		fmt.Fprintf(&b, "%x\n", s.lists[i].SHA256)
	}
	return fmt.Sprintf("%x", sha256.Sum256([]byte(b.String())))
}
