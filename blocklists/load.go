package blocklists

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"rideau/blocklists/format"
	"rideau/blocklists/prefix"
	"rideau/blocklists/suffix"
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
	c := compiler{memo: map[uint32]uint16{}, index: map[named]uint16{{}: 0}, sets: make([]named, 1)}
	s := &Snapshot{policy: p, lists: make([]ListInfo, len(p.Lists))}
	for i := range p.Lists {
		l := &p.Lists[i]
		info, problems, err := c.read(ctx, i, l, o.Now)
		if err == nil && !o.Force && prev != nil {
			err = prev.guard(l, &info)
		}
		report.Problems = append(report.Problems, problems...)
		if err != nil {
			report.Failed = append(report.Failed, &ListError{l.ID, l.Source, err})
			if ctx.Err() != nil {
				return nil, report, ctx.Err()
			}
		}
		s.lists[i] = info
	}
	if len(report.Failed) > 0 {
		errs := make([]error, len(report.Failed))
		for i, e := range report.Failed {
			errs[i] = e
		}
		return nil, report, errors.Join(errs...)
	}
	var err error
	if s.trie, err = c.names.Trie(c.join); err != nil {
		return nil, report, err
	}
	s.addrs = c.table()
	s.sets = c.sets
	s.clients = clientTable(p.Groups)
	for i := range p.Bans {
		b := p.Bans[i]
		s.bans = append(s.bans, banFacts{b, o.Slots.Slot(b.ID), b.ede(), uint32(b.TTL / time.Second)})
	}
	s.slots = slices.Clone(o.Slots.ids)
	s.generation = 1
	if prev != nil {
		s.generation = prev.generation + 1
	}
	s.setScopes(o.Now)
	return s, report, nil
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
func (s *Snapshot) guard(l *List, info *ListInfo) error {
	if l.Unguarded {
		return nil
	}
	for i := range s.lists {
		old := &s.lists[i]
		if old.ID != info.ID || old.options != info.options || old.Entries == 0 {
			continue
		}
		const remedy = "if that is meant, reload with force, or switch the ban off in the configuration"
		if info.Entries == 0 {
			return fmt.Errorf("%s: %w (%d); %s", l.Source, ErrEmpty, old.Entries, remedy)
		}
		if lost := old.Entries - info.Entries; float64(lost) > l.MaxShrink*float64(old.Entries) {
			return fmt.Errorf("%s: %w: %d entries, %d before, max_shrink %g; %s",
				l.Source, ErrShrank, info.Entries, old.Entries, l.MaxShrink, remedy)
		}
	}
	return nil
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
	known := func(what, id string, lists, groups []string) error {
		for _, l := range lists {
			if !slices.ContainsFunc(p.Lists, func(x List) bool { return x.ID == l }) {
				return fmt.Errorf("policy: %s %s: no list %q", what, id, l)
			}
		}
		for _, g := range groups {
			if g != GroupAll && !slices.ContainsFunc(p.Groups, func(x Group) bool { return x.ID == g }) {
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

// compiler gathers the lists' entries.
type compiler struct {
	names suffix.Builder
	addrs []prefix.Entry
	sets  []named
	index map[named]uint16
	memo  map[uint32]uint16 // what join said
	// ones are the values of names that stand in the list at hand alone.
	ones [format.Below + 1]uint16
}

// read adds one list.
func (c *compiler) read(ctx context.Context, i int, l *List, now time.Time) (info ListInfo, problems []format.Problem, err error) {
	info = ListInfo{ID: l.ID, Source: l.Source, LoadedAt: now,
		options: fmt.Sprint(l.Source, " ", l.Format, " ", l.Tiers)}
	f, err := l.Open()
	if err != nil {
		return info, nil, err
	}
	defer f.Close()
	sum := sha256.New()
	for m := range c.ones {
		if c.ones[m], err = c.one(i, format.Match(m)); err != nil {
			return info, nil, err
		}
	}
	n := 0
	stats, err := format.Read(io.TeeReader(f, sum), format.Options{
		File: l.Source, Format: l.Format, Tiers: l.Tiers, AllowTLD: l.AllowTLD, MaxSkipped: l.MaxSkipped,
	}, func(e format.Entry) error {
		if n++; n&0xFFF == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		return c.add(&e)
	})
	info.Entries, info.Skipped = stats.Entries, stats.Skipped
	sum.Sum(info.SHA256[:0])
	return info, stats.Problems, err
}

// add takes an entry, which it does not keep.
func (c *compiler) add(e *format.Entry) error {
	if e.Name == nil {
		c.addrs = append(c.addrs, prefix.Entry{Prefix: e.Prefix, Value: uint32(c.ones[format.Exact])})
		return nil
	}
	return c.names.Add(e.Name, c.ones[e.Match])
}

// one is the value of what a list alone names, in that way.
func (c *compiler) one(list int, m format.Match) (uint16, error) {
	var n named
	if m != format.Below {
		n.self.add(list)
	}
	if m != format.Exact {
		n.below.add(list)
	}
	return c.value(n)
}

// join is the value of what is named with value a and with value b.
func (c *compiler) join(a, b uint16) (uint16, error) {
	if a == b {
		return a, nil
	}
	k := uint32(a)<<16 | uint32(b)
	if v, ok := c.memo[k]; ok {
		return v, nil
	}
	n := c.sets[a]
	n.self.union(&c.sets[b].self)
	n.below.union(&c.sets[b].below)
	v, err := c.value(n)
	if err == nil {
		c.memo[k] = v
	}
	return v, err
}

// value is the number of a pair of sets.
func (c *compiler) value(n named) (uint16, error) {
	if v, ok := c.index[n]; ok {
		return v, nil
	}
	if len(c.sets) > 1<<16-1 {
		return 0, errors.New("policy: names lie in more than 65,535 different combinations of lists; join some lists")
	}
	c.sets = append(c.sets, n)
	c.index[n] = uint16(len(c.sets) - 1)
	return uint16(len(c.sets) - 1), nil
}

// table makes the address table. A prefix inside another carries the lists
// of both, since all that hold an address count, not the longest alone.
func (c *compiler) table() *prefix.Table {
	for i := range c.addrs {
		c.addrs[i].Prefix = c.addrs[i].Prefix.Masked()
	}
	slices.SortFunc(c.addrs, func(a, b prefix.Entry) int {
		return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), a.Prefix.Bits()-b.Prefix.Bits())
	})
	all := c.addrs[:0]
	var around []prefix.Entry // the prefixes that hold the one before, and it
	for _, e := range c.addrs {
		if n := len(all); n > 0 && all[n-1].Prefix == e.Prefix {
			all[n-1].Value = c.joinAddrs(all[n-1].Value, e.Value)
			around[len(around)-1] = all[n-1]
			continue
		}
		for len(around) > 0 && !around[len(around)-1].Prefix.Contains(e.Prefix.Addr()) {
			around = around[:len(around)-1]
		}
		if n := len(around); n > 0 {
			e.Value = c.joinAddrs(e.Value, around[n-1].Value)
		}
		all, around = append(all, e), append(around, e)
	}
	return prefix.New(all)
}

// joinAddrs is join for the sets of prefixes. Where there are too many
// combinations, the smaller prefix's own remain.
func (c *compiler) joinAddrs(a, b uint32) uint32 {
	v, err := c.join(uint16(a), uint16(b))
	if err != nil {
		return a
	}
	return uint32(v)
}

// clientTable numbers groups from 1; 0 is a client of no group.
func clientTable(groups []Group) *prefix.Table {
	var entries []prefix.Entry
	for i, g := range groups {
		for _, p := range g.Clients {
			entries = append(entries, prefix.Entry{Prefix: p, Value: uint32(i + 1)})
		}
	}
	return prefix.New(entries)
}

// setScopes works out what binds whom at an instant.
func (s *Snapshot) setScopes(now time.Time) {
	s.at, s.next = now, time.Time{}
	s.scopes = make([]scope, len(s.policy.Groups)+2)
	for i := range s.scopes {
		for l := range MaxLists {
			s.scopes[i].enforceBan[l], s.scopes[i].monitorBan[l] = noBan, noBan
		}
	}
	everyone := &s.scopes[s.Everyone()]
	for i := range s.bans {
		b := &s.bans[i].Ban
		if b.Mode == Off || !s.active(b.Effective, b.Expires) {
			continue
		}
		everyone.bind(s, b.Lists, uint8(i), Enforce)
		for _, g := range s.inScope(b.Groups) {
			g.bind(s, b.Lists, uint8(i), b.Mode)
		}
	}
	for i := range s.policy.Exceptions {
		e := &s.policy.Exceptions[i]
		if !s.active(e.Effective, e.Expires) {
			continue
		}
		for _, g := range s.inScope(e.Groups) {
			for _, id := range e.Lists {
				g.allow.add(s.listIndex(id))
			}
		}
	}
}

func (s *Snapshot) active(effective, expires time.Time) bool {
	active, next := activeAt(effective, expires, s.at)
	if !next.IsZero() && (s.next.IsZero() || next.Before(s.next)) {
		s.next = next
	}
	return active
}

// inScope are the scopes of the named groups.
func (s *Snapshot) inScope(groups []string) []*scope {
	var out []*scope
	for i := range len(s.scopes) - 1 {
		if slices.Contains(groups, GroupAll) || i > 0 && slices.Contains(groups, s.policy.Groups[i-1].ID) {
			out = append(out, &s.scopes[i])
		}
	}
	return out
}

func (s *Snapshot) listIndex(id string) int {
	return slices.IndexFunc(s.lists, func(l ListInfo) bool { return l.ID == id })
}

// bind adds a ban's lists. Bans come in order, so that the first to use a
// list is the one to be named for it.
func (sc *scope) bind(s *Snapshot, lists []string, ban uint8, m Mode) {
	set, bans := &sc.enforce, &sc.enforceBan
	if m == Monitor {
		set, bans = &sc.monitor, &sc.monitorBan
	}
	for _, id := range lists {
		i := s.listIndex(id)
		set.add(i)
		if bans[i] == noBan {
			bans[i] = ban
		}
	}
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
