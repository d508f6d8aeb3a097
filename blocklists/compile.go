package blocklists

import (
	"cmp"
	"context"
	"hash/maphash"
	"slices"
	"time"

	"rideau/blocklists/format"
	"rideau/blocklists/prefix"
	"rideau/blocklists/suffix"
)

// compiler gathers the lists' entries.
type compiler struct {
	names suffix.Builder
	addrs []prefix.Entry
	sets  []named
	index map[named]uint16
	memo  map[uint32]uint16 // what join said
	// ones are the values of names that stand in the list at hand alone.
	ones [format.Below + 1]uint16

	book  ruleBook
	ruled map[rule]uint16 // the values of names that one rule is about
	spent [MaxLists]int   // how many values each list's rules have so
	// named and marked are the octets of each zone's names, and of the marks above them.
	named, marked [MaxLists]int
	clients       []prefix.Entry // the triggers on clients
	// addressed are the policy zones that have triggers on addresses in answers.
	addressed [MaxLists]bool
	// zoned are the lists that are policy zones.
	zoned [MaxLists]bool
	// flat is set while a list is read of which an exception makes use: it names what
	// is let through, whatever else it says.
	flat bool
	// noted are hashes of names that were marked as empty non-terminals
	// lately.
	noted map[uint64]struct{}
	seed  maphash.Seed
}

func newCompiler() *compiler {
	return &compiler{memo: map[uint32]uint16{}, index: map[named]uint16{{}: 0}, sets: make([]named, 1),
		book: newRuleBook(), ruled: map[rule]uint16{}, noted: map[uint64]struct{}{}, seed: maphash.MakeSeed()}
}

// read adds one list.
func (c *compiler) read(ctx context.Context, i int, l *List, now time.Time) (info ListInfo, problems []format.Problem, err error) {
	info = ListInfo{ID: l.ID, Source: l.Source, LoadedAt: now,
		options: l.options()}
	for m := range c.ones {
		if c.ones[m], err = c.one(i, format.Match(m)); err != nil {
			return info, nil, err
		}
	}
	n := 0
	stats, err := l.scan(&info, format.Options{
		Format: l.Format, MaxBytes: l.MaxBytes, Tiers: l.Tiers, AllowTLD: l.AllowTLD, MaxSkipped: l.MaxSkipped,
	}, func(e format.Entry) error {
		if n++; n&0xFFF == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		return c.add(i, &e)
	})
	info.Entries, info.Skipped = stats.Entries, stats.Skipped
	info.Format, info.NotDNS, info.Reasons = stats.Format, stats.NotDNS, stats.Reasons
	return info, stats.Problems, err
}

// add takes an entry of a list, which it does not keep.
func (c *compiler) add(list int, e *format.Entry) error {
	switch {
	case c.flat && e.Rule != nil && e.Rule.Trigger != format.OnAnswer:
		return nil
	case e.Rule != nil && (!c.flat || e.Rule.Except):
		return c.addRule(list, e)
	case e.Name == nil:
		c.addrs = append(c.addrs, prefix.Entry{Prefix: e.Prefix, Value: uint32(c.ones[format.Exact])})
		return nil
	}
	return c.names.Add(e.Name, c.ones[e.Match])
}

// addRule takes an entry that says more than that something is listed.
func (c *compiler) addRule(list int, e *format.Entry) error {
	r, err := c.book.rule(list, e)
	if err != nil {
		return err
	}
	v, err := c.ruleValue(r)
	if err != nil {
		return err
	}
	c.zoned[list] = c.zoned[list] || r.ofZone()
	switch {
	case e.Name == nil && r.trigger == format.OnClient:
		c.clients = append(c.clients, prefix.Entry{Prefix: e.Prefix, Value: uint32(v)})
		return nil
	case e.Name == nil:
		c.addrs = append(c.addrs, prefix.Entry{Prefix: e.Prefix, Value: uint32(v)})
		c.addressed[list] = true
		return nil
	case r.ofZone():
		if err := c.addAncestors(r, e.Name, e.Match == format.Below); err != nil {
			return err
		}
	}
	return c.names.Add(e.Name, v)
}

// addAncestors marks the names that are in a zone because something lies below
// them. They are mostly the same few, which are remembered so as not to be
// marked again and again; marking twice does no harm.
func (c *compiler) addAncestors(r rule, name []byte, wildcard bool) error {
	mark := rule{list: r.list, trigger: r.trigger, kind: nothing, covers: coversSelf}
	v, err := c.ruleValue(mark)
	if err != nil {
		return err
	}
	if !wildcard && len(name) > 1 {
		name = name[1+name[0]:]
	}
	c.named[r.list] += len(name)
	for ; len(name) > 1; name = name[1+name[0]:] {
		h := maphash.Bytes(c.seed, name) ^ uint64(r.list)<<8 ^ uint64(r.trigger)
		if _, ok := c.noted[h]; ok {
			return nil // and so were those above it
		}
		if len(c.noted) >= maxNoted {
			clear(c.noted)
		}
		c.noted[h] = struct{}{}
		if c.marked[r.list] += len(name); c.marked[r.list] > maxMarked && c.marked[r.list] > maxMarks*c.named[r.list] {
			return &tooMuch{int(r.list), errMarks}
		}
		if err := c.names.Add(name, v); err != nil {
			return err
		}
	}
	return nil
}

// maxNoted bounds the memory for marks.
const maxNoted = 1 << 14

// ruleValue is the value of what one rule is about and nothing else.
func (c *compiler) ruleValue(r rule) (uint16, error) {
	if v, ok := c.ruled[r]; ok {
		return v, nil
	}
	v, err := c.value(named{rules: c.book.set(r)})
	if err == nil {
		c.ruled[r] = v
		c.spent[r.list]++
	}
	return v, err
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
	var err error
	if n.rules, err = c.book.union(n.rules, c.sets[b].rules); err != nil {
		return 0, err
	}
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
		return 0, c.crowded()
	}
	c.sets = append(c.sets, n)
	c.index[n] = uint16(len(c.sets) - 1)
	return uint16(len(c.sets) - 1), nil
}

// table makes a table of prefixes. A prefix inside another carries what is
// said about both, since all that hold an address count, not the longest alone.
func (c *compiler) table(entries []prefix.Entry) (*prefix.Table, error) {
	for i := range entries {
		entries[i].Prefix = entries[i].Prefix.Masked()
	}
	slices.SortFunc(entries, func(a, b prefix.Entry) int {
		return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), a.Prefix.Bits()-b.Prefix.Bits())
	})
	all := entries[:0]
	var around []prefix.Entry // the prefixes that hold the one before, and it
	for _, e := range entries {
		if n := len(all); n > 0 && all[n-1].Prefix == e.Prefix {
			v, err := c.join(uint16(all[n-1].Value), uint16(e.Value))
			if err != nil {
				return nil, err
			}
			all[n-1].Value = uint32(v)
			around[len(around)-1] = all[n-1]
			continue
		}
		for len(around) > 0 && !around[len(around)-1].Prefix.Contains(e.Prefix.Addr()) {
			around = around[:len(around)-1]
		}
		if n := len(around); n > 0 {
			v, err := c.join(uint16(e.Value), uint16(around[n-1].Value))
			if err != nil {
				return nil, err
			}
			e.Value = uint32(v)
		}
		all, around = append(all, e), append(around, e)
	}
	return prefix.New(all), nil
}
