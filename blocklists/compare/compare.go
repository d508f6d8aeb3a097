// Package compare finds what changes from one policy to another: in bans,
// exceptions, groups and lists, and for which listed names the verdict changes.
//
// It does not compare names with names: it asks both Snapshots about every entry of either
// policy, for each set of groups to which the same applies. So it reports what
// happens to queries, and not how the files differ. It takes eight octets for each entry of the
// list at hand, on either side, and about thirty for each name whose verdict changes.
package compare

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"

	"rideau/blocklists"
	"rideau/blocklists/entry"
	"rideau/blocklists/input"
	"rideau/resolver/wire"
)

// Side is one of two policies.
type Side struct {
	Snapshot *blocklists.Snapshot
	// Serving is set for a Snapshot that was made some time ago: of a list
	// whose content has changed since, only the number of entries is known.
	Serving bool
}

// readable reports whether a list still has the content that the Snapshot was made
// from.
func (s *Side) readable(l *input.List, info *blocklists.ListInfo) bool {
	if !s.Serving {
		return true
	}
	digest, err := l.ReadDigest(info.Included)
	return err == nil && digest == info.SHA256
}

// Options bound a report.
type Options struct {
	// Examples is how many names are given of each kind; negative is all.
	Examples int
}

// Report is what differs.
type Report struct {
	Bans       []Change `json:"bans"`
	Exceptions []Change `json:"exceptions"`
	Groups     []Change `json:"groups"`
	Lists      []List   `json:"lists"`
	// Names are the names whose verdict changes, the largest number first.
	Names []Names `json:"names"`
	// Partial is set if names that are on no list any more could not be
	// found.
	Partial bool `json:"partial,omitempty"`
}

// Change is one thing that differs.
type Change struct {
	ID   string   `json:"id"`
	What string   `json:"what"` // added, removed or changed
	Keys []string `json:"keys,omitempty"`
}

// List is what differs in a list's entries.
type List struct {
	ID      string   `json:"id"`
	Before  int      `json:"before"` // entries
	After   int      `json:"after"`
	Added   int      `json:"added"`
	Removed int      `json:"removed"`
	New     []string `json:"new,omitempty"` // examples
	Gone    []string `json:"gone,omitempty"`
	// Counted is set if Added and Removed are only the difference of the
	// numbers.
	Counted bool `json:"counted,omitempty"`
}

// Names are entries whose verdict changes in the same way for the same
// groups.
type Names struct {
	Groups   []string `json:"groups"`
	Before   string   `json:"before"`
	After    string   `json:"after"`
	Count    int      `json:"count"`
	Examples []string `json:"examples"` // with file and line

	sum uint64 // of the names' hashes
}

// Different reports whether anything differs.
func (r *Report) Different() bool {
	return len(r.Bans)+len(r.Exceptions)+len(r.Groups)+len(r.Lists)+len(r.Names) > 0
}

// Compare compares two policies. It reads lists, and returns an error if one cannot be
// read.
func Compare(ctx context.Context, before, after Side, o Options) (*Report, error) {
	c := comparison{ctx: ctx, before: before, after: after, o: o, seed: maphash.MakeSeed(), changed: map[uint64]struct{}{}, kinds: map[kind]int{}}
	c.r = &Report{Bans: []Change{}, Exceptions: []Change{}, Groups: []Change{}, Lists: []List{}, Names: []Names{}}
	c.records()
	c.pairs()
	if err := c.lists(); err != nil {
		return nil, err
	}
	for _, side := range []*Side{&c.after, &c.before} {
		if err := c.names(side); err != nil {
			return nil, err
		}
	}
	c.merge()
	slices.SortStableFunc(c.r.Names, func(a, b Names) int { return b.Count - a.Count })
	return c.r, nil
}

// merge makes one of the Names of groups for which the same names change in the same way.
func (c *comparison) merge() {
	out := c.r.Names[:0]
	for _, n := range c.r.Names {
		i := slices.IndexFunc(out, func(o Names) bool {
			return o.Before == n.Before && o.After == n.After && o.sum == n.sum && o.Count == n.Count
		})
		if i < 0 {
			out = append(out, n)
			continue
		}
		out[i].Groups = slices.Concat(out[i].Groups, n.Groups)
	}
	c.r.Names = out
}

// comparison is the state of one Compare.
type comparison struct {
	ctx           context.Context
	before, after Side
	o             Options
	r             *Report
	seed          maphash.Seed
	groups        []pair
	changed       map[uint64]struct{} // hashes of names and pairs that were counted
	kinds         map[kind]int        // to the index in Report.Names
	n             int                 // entries that were read
}

// pair is the groups, by ids, to which the same applies before and the same applies after, and one of them in
// each Snapshot.
type pair struct {
	before, after blocklists.GroupID
	ids           []string
}

// kind is what Names have in common.
type kind struct {
	pair          int
	before, after string
}

// pairs sets c.groups: the sets of groups that need a comparison of their own.
func (c *comparison) pairs() {
	ids := []string{blocklists.GroupAll}
	for _, s := range []*blocklists.Snapshot{c.before.Snapshot, c.after.Snapshot} {
		for _, g := range s.Policy().Groups {
			if !slices.Contains(ids, g.ID) {
				ids = append(ids, g.ID)
			}
		}
	}
	known := map[[2]string]int{}
	for _, id := range ids {
		p := pair{c.before.Snapshot.GroupNamed(id), c.after.Snapshot.GroupNamed(id), []string{id}}
		key := [2]string{c.before.Snapshot.Signature(p.before), c.after.Snapshot.Signature(p.after)}
		if i, ok := known[key]; ok {
			c.groups[i].ids = append(c.groups[i].ids, id)
			continue
		}
		known[key] = len(c.groups)
		c.groups = append(c.groups, p)
	}
}

// list returns the list with that id; nil if there is none.
func list(s *blocklists.Snapshot, id string) (*input.List, *blocklists.ListInfo) {
	for i := range s.Policy().Lists {
		if s.Policy().Lists[i].ID == id {
			return &s.Policy().Lists[i], &s.Lists()[i]
		}
	}
	return nil, nil
}

// lists compares the entries of each list with those of the list of the same
// id.
func (c *comparison) lists() error {
	var ids []string
	for _, s := range []*blocklists.Snapshot{c.before.Snapshot, c.after.Snapshot} {
		for _, l := range s.Lists() {
			if !slices.Contains(ids, l.ID) {
				ids = append(ids, l.ID)
			}
		}
	}
	for _, id := range ids {
		oldList, oldInfo := list(c.before.Snapshot, id)
		newList, newInfo := list(c.after.Snapshot, id)
		l := List{ID: id}
		if oldInfo != nil {
			l.Before = oldInfo.Entries
		}
		if newInfo != nil {
			l.After = newInfo.Entries
		}
		if oldInfo != nil && newInfo != nil && oldInfo.SHA256 == newInfo.SHA256 && oldInfo.Options == newInfo.Options {
			continue
		}
		if oldInfo != nil && !c.before.readable(oldList, oldInfo) {
			l.Counted = true
			l.Added, l.Removed = max(l.After-l.Before, 0), max(l.Before-l.After, 0)
			c.r.Partial = true
			c.r.Lists = append(c.r.Lists, l)
			continue
		}
		if err := c.entries(&l, oldList, newList); err != nil {
			return err
		}
		if l.Added+l.Removed > 0 || oldInfo == nil || newInfo == nil {
			c.r.Lists = append(c.r.Lists, l)
		}
	}
	return nil
}

// entries sets in l what the two versions of a list do not share.
func (c *comparison) entries(l *List, before, after *input.List) error {
	hashes := func(list *input.List) ([]uint64, error) {
		var out []uint64
		if list == nil {
			return nil, nil
		}
		err := c.each(list, func(_ string, e *entry.Entry) { out = append(out, c.hash(e)) })
		slices.Sort(out)
		return slices.Compact(out), err
	}
	old, err := hashes(before)
	if err != nil {
		return err
	}
	now, err := hashes(after)
	if err != nil {
		return err
	}
	missing := func(list *input.List, in []uint64, count *int, examples *[]string) error {
		if list == nil {
			return nil
		}
		return c.each(list, func(_ string, e *entry.Entry) {
			if _, ok := slices.BinarySearch(in, c.hash(e)); ok {
				return
			}
			if *count++; c.o.Examples < 0 || len(*examples) < c.o.Examples {
				*examples = append(*examples, ruleText(e))
			}
		})
	}
	return errors.Join(missing(after, old, &l.Added, &l.New), missing(before, now, &l.Removed, &l.Gone))
}

// each reads a list, until the context ends.
func (c *comparison) each(l *input.List, f func(file string, e *entry.Entry)) error {
	err := l.Each(func(file string, e *entry.Entry) error {
		if c.n++; c.n&0xFFF == 0 && c.ctx.Err() != nil {
			return c.ctx.Err()
		}
		f(file, e)
		return nil
	})
	if err != nil {
		return fmt.Errorf("list %s: %w", l.ID, err)
	}
	return nil
}

func (c *comparison) hash(e *entry.Entry) uint64 {
	var h maphash.Hash
	h.SetSeed(c.seed)
	if e.Name != nil {
		h.Write(e.Name)
	} else {
		h.WriteString(e.Prefix.String())
	}
	h.WriteByte(byte(e.Match))
	if r := e.Rule; r != nil {
		var b [16]byte
		out := append(b[:0], byte(r.Trigger), byte(r.Action), truth(r.Except), truth(r.Important), truth(r.Cancel), truth(r.NotTypes))
		out = binary.BigEndian.AppendUint16(out, r.Type)
		out = binary.BigEndian.AppendUint32(out, r.TTL)
		for _, t := range r.Types {
			out = binary.BigEndian.AppendUint16(out, t)
		}
		h.Write(out)
		h.Write(r.Data)
	}
	return h.Sum64()
}

func truth(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// names compares the verdicts of both sides on the entries of one side's lists.
func (c *comparison) names(side *Side) error {
	for i := range side.Snapshot.Policy().Lists {
		l := &side.Snapshot.Policy().Lists[i]
		if !side.readable(l, &side.Snapshot.Lists()[i]) {
			c.r.Partial = true
			continue
		}
		if err := c.each(l, c.entry); err != nil {
			return err
		}
	}
	return nil
}

// entry counts an entry whose verdict changes.
func (c *comparison) entry(file string, e *entry.Entry) {
	if e.Rule != nil && e.Rule.Trigger != entry.OnAnswer {
		return
	}
	var name wire.Name
	if e.Name != nil {
		w := e.Name
		if e.Match == entry.Below {
			w = append([]byte{1, 'x'}, w...) // any name below
		}
		if name.Set(w) != nil {
			return
		}
	}
	for i := range c.groups {
		p := &c.groups[i]
		was := verdict(c.before.Snapshot, p.before, &name, e)
		is := verdict(c.after.Snapshot, p.after, &name, e)
		if was == is {
			continue
		}
		before, after := was.String(), is.String()
		var h maphash.Hash
		h.SetSeed(c.seed)
		h.WriteString(text(e))
		sum := h.Sum64()
		key := sum ^ uint64(i)*0x9E3779B97F4A7C15
		if _, ok := c.changed[key]; ok {
			continue
		}
		c.changed[key] = struct{}{}
		k := kind{i, before, after}
		n, ok := c.kinds[k]
		if !ok {
			n = len(c.r.Names)
			c.kinds[k] = n
			c.r.Names = append(c.r.Names, Names{Groups: p.ids, Before: before, After: after, Examples: []string{}})
		}
		g := &c.r.Names[n]
		g.sum += sum
		if g.Count++; c.o.Examples < 0 || len(g.Examples) < c.o.Examples {
			g.Examples = append(g.Examples, fmt.Sprintf("%s (%s:%d)", text(e), file, e.Line))
		}
	}
}

// outcome is a verdict in a form that compares between two
// Snapshots.
type outcome struct {
	kind   blocklists.Kind
	id     string // of the ban or the exception
	action blocklists.Action
}

// String is the outcome in words.
func (o outcome) String() string {
	switch o.kind {
	case blocklists.Allow:
		return "let through by " + o.id
	case blocklists.Block:
		return fmt.Sprintf("blocked by %s (%v)", o.id, o.action)
	case blocklists.WouldBlock:
		return "watched by " + o.id
	}
	return "passed"
}

// verdict is the outcome for an entry's name, or its first address.
func verdict(s *blocklists.Snapshot, g blocklists.GroupID, name *wire.Name, e *entry.Entry) outcome {
	var v blocklists.Verdict
	if e.Name != nil {
		v = s.Question(&blocklists.Ask{Name: name, Type: wire.TypeA, Group: g})
	} else {
		v = s.Addr(e.Prefix.Addr(), g)
	}
	switch v.Kind {
	case blocklists.Allow:
		return outcome{kind: v.Kind, id: s.Policy().Exceptions[v.Exception].ID}
	case blocklists.Block:
		return outcome{v.Kind, s.Ban(v.Ban).ID, v.Action}
	case blocklists.WouldBlock:
		return outcome{kind: v.Kind, id: s.Ban(v.Ban).ID}
	}
	return outcome{}
}
