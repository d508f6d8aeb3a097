package compile

import (
	"cmp"
	"context"
	"hash/maphash"
	"slices"

	"rideau/blocklists"
	"rideau/blocklists/entry"
	"rideau/blocklists/input"
	"rideau/blocklists/internal/rule"
	"rideau/blocklists/prefix"
	"rideau/blocklists/suffix"
)

// compiler collects the lists' entries. Each name and prefix has the number of a
// value; where several entries are about the same one, join makes one value of theirs.
type compiler struct {
	names   suffix.Builder
	addrs   []prefix.Entry // listed addresses, and triggers on addresses
	clients []prefix.Entry // triggers on clients

	values []rule.Value // 0 is the empty one
	index  map[rule.Value]uint16
	joined map[uint32]uint16 // the results of join
	// listed are the values of names that only the list at hand names.
	listed [entry.Below + 1]uint16

	book  book
	ruled map[rule.Rule]uint16 // the values of names that only one rule is about
	// spent counts the values that each list's rules have so.
	spent [rule.MaxLists]int
	// zones are the lists that are policy zones, addressZones those of them that have triggers on addresses
	// in answers.
	zones, addressZones rule.Set
	// plain is set while a list is read that lets names through, for an exception or a ban on all others: its
	// entries name what is let through, whatever else they say.
	plain bool
	// excepted are the entries of that list that take names out of it.
	excepted []entry.Entry
	// letting is set while a list is read whose names alone a ban does not block; above are the names above them.
	letting bool
	above   suffix.Builder
	lets    int  // the names of above, each as often as it was added
	listing bool // it has others

	// named and marked are the octets of each zone's names, and of the marks above them.
	named, marked [rule.MaxLists]int
	// seen are hashes of names that were marked as empty non-terminals
	// lately.
	seen map[uint64]struct{}
	seed maphash.Seed
}

func newCompiler() *compiler {
	return &compiler{joined: map[uint32]uint16{}, index: map[rule.Value]uint16{{}: 0}, values: make([]rule.Value, 1),
		book: newBook(), ruled: map[rule.Rule]uint16{}, seen: map[uint64]struct{}{}, seed: maphash.MakeSeed()}
}

// readList reads the list of that index.
func (c *compiler) readList(ctx context.Context, i int, l *input.List) (content input.Content, err error) {
	for m := range c.listed {
		if c.listed[m], err = c.listedValue(i, entry.Match(m)); err != nil {
			return content, err
		}
	}
	n := 0
	c.excepted, c.listing = nil, false
	content, err = l.Read(func(e entry.Entry) error {
		if n++; n&0xFFF == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		return c.insert(i, &e)
	})
	if err == nil {
		err = c.insertExcepted(i)
	}
	return content, err
}

// insertExcepted inserts the entries of a list of an exception that take names out of the list. If it has no others, it is what
// others call an allowlist, and these names are what the exception lets through.
func (c *compiler) insertExcepted(list int) error {
	for i := range c.excepted {
		e := &c.excepted[i]
		if !c.listing {
			r := *e.Rule
			r.Except, r.Important, r.Types, r.Spelling = false, false, nil, 0
			e.Rule = &r
			if !r.Cancel {
				e.Rule = nil
			}
		}
		insert := c.insertRule
		if e.Rule == nil {
			insert = c.insertListed
		}
		if err := insert(list, e); err != nil {
			return err
		}
	}
	return nil
}

// insert inserts an entry of a list. It keeps nothing of e.
func (c *compiler) insert(list int, e *entry.Entry) error {
	switch {
	case c.plain && e.Rule != nil && e.Rule.Trigger != entry.OnAnswer:
		return nil
	case c.plain && e.Rule != nil && (e.Rule.Except || e.Rule.Cancel):
		kept, r := *e, *e.Rule
		kept.Name, kept.Rule = slices.Clone(e.Name), &r
		if !r.Except {
			r.Spelling, r.Important, r.Types = 0, false, nil // as the entries that it cancels are inserted
		}
		c.excepted = append(c.excepted, kept)
		return nil
	case e.Rule != nil && !c.plain:
		return c.insertRule(list, e)
	}
	c.listing = true
	return c.insertListed(list, e)
}

// insertListed inserts an entry that says no more than that something is listed.
func (c *compiler) insertListed(list int, e *entry.Entry) error {
	if e.Name == nil {
		c.addrs = append(c.addrs, prefix.Entry{Prefix: e.Prefix, Value: uint32(c.listed[entry.Exact])})
		return nil
	}
	if c.letting {
		if err := c.addAbove(e.Name, e.Match == entry.Below); err != nil {
			return err
		}
	}
	return c.names.Add(e.Name, c.listed[e.Match])
}

// addAbove adds the names above a name, and the name itself if it stands for those below it only.
func (c *compiler) addAbove(name []byte, wildcard bool) error {
	if !wildcard && len(name) > 1 {
		name = name[1+name[0]:]
	}
	for ; ; name = name[1+name[0]:] {
		h := maphash.Bytes(c.seed, name) ^ 1<<32 // no hash of markAncestors
		if _, ok := c.seen[h]; ok {
			return nil // and so were those above it
		}
		if len(c.seen) >= maxSeen {
			clear(c.seen)
		}
		c.seen[h] = struct{}{}
		c.lets++
		if err := c.above.Add(name, 1); err != nil || len(name) == 1 {
			return err
		}
	}
}

// insertRule inserts an entry that says more than that something is listed.
func (c *compiler) insertRule(list int, e *entry.Entry) error {
	r, err := c.book.rule(list, e)
	if err != nil {
		return err
	}
	v, err := c.ruleValue(r)
	if err != nil {
		return err
	}
	if r.OfZone() {
		c.zones.Add(list)
	}
	switch {
	case e.Name == nil && r.Trigger == entry.OnClient:
		c.clients = append(c.clients, prefix.Entry{Prefix: e.Prefix, Value: uint32(v)})
		return nil
	case e.Name == nil:
		c.addrs = append(c.addrs, prefix.Entry{Prefix: e.Prefix, Value: uint32(v)})
		c.addressZones.Add(list)
		return nil
	case r.OfZone():
		if err := c.markAncestors(r, e.Name, e.Match == entry.Below); err != nil {
			return err
		}
	}
	return c.names.Add(e.Name, v)
}

// markAncestors marks the empty non-terminals that a rule for a name makes of the names
// above it. Those are mostly the same few, and seen keeps most of them from being
// marked again; a second mark does no harm.
func (c *compiler) markAncestors(r rule.Rule, name []byte, wildcard bool) error {
	mark := rule.Rule{List: r.List, Trigger: r.Trigger, Kind: rule.Empty, Covers: rule.Self}
	v, err := c.ruleValue(mark)
	if err != nil {
		return err
	}
	if !wildcard && len(name) > 1 {
		name = name[1+name[0]:]
	}
	c.named[r.List] += len(name)
	for ; len(name) > 1; name = name[1+name[0]:] {
		h := maphash.Bytes(c.seed, name) ^ uint64(r.List)<<8 ^ uint64(r.Trigger)
		if _, ok := c.seen[h]; ok {
			return nil // and so were those above it
		}
		if len(c.seen) >= maxSeen {
			clear(c.seen)
		}
		c.seen[h] = struct{}{}
		if c.marked[r.List] += len(name); c.marked[r.List] > maxMarked && c.marked[r.List] > maxMarks*c.named[r.List] {
			return &tooMuch{int(r.List), errMarks}
		}
		if err := c.names.Add(name, v); err != nil {
			return err
		}
	}
	return nil
}

// maxSeen bounds the memory for seen.
const maxSeen = 1 << 14

// ruleValue returns the value of a name or prefix that only this rule is about.
func (c *compiler) ruleValue(r rule.Rule) (uint16, error) {
	if v, ok := c.ruled[r]; ok {
		return v, nil
	}
	v, err := c.value(rule.Value{Rules: c.book.set(r)})
	if err == nil {
		c.ruled[r] = v
		c.spent[r.List]++
	}
	return v, err
}

// listedValue returns the value of a name that only this list names.
func (c *compiler) listedValue(list int, m entry.Match) (uint16, error) {
	var v rule.Value
	if m != entry.Below {
		v.Self.Add(list)
	}
	if m != entry.Exact {
		v.Below.Add(list)
	}
	return c.value(v)
}

// join returns the value of what has the value a and the value b.
func (c *compiler) join(a, b uint16) (uint16, error) {
	if a == b {
		return a, nil
	}
	k := uint32(a)<<16 | uint32(b)
	if v, ok := c.joined[k]; ok {
		return v, nil
	}
	both := c.values[a]
	both.Self.Union(&c.values[b].Self)
	both.Below.Union(&c.values[b].Below)
	var err error
	if both.Rules, err = c.book.union(both.Rules, c.values[b].Rules); err != nil {
		return 0, err
	}
	v, err := c.value(both)
	if err == nil {
		c.joined[k] = v
	}
	return v, err
}

// value returns the number of a value.
func (c *compiler) value(v rule.Value) (uint16, error) {
	if n, ok := c.index[v]; ok {
		return n, nil
	}
	if len(c.values) > 1<<16-1 {
		return 0, c.tooManyValues()
	}
	c.values = append(c.values, v)
	n := uint16(len(c.values) - 1)
	c.index[v] = n
	return n, nil
}

// parts returns what was collected, without the policy and what is known
// of its lists. The compiler is used up.
func (c *compiler) parts() (p blocklists.Parts, err error) {
	if p.Names, err = c.names.Trie(c.join); err != nil {
		return p, err
	}
	if c.lets > 0 {
		if p.Above, err = c.above.Trie(func(a, _ uint16) (uint16, error) { return a, nil }); err != nil {
			return p, err
		}
	}
	if p.Addrs, err = c.table(c.addrs); err != nil {
		return p, err
	}
	if p.Clients, err = c.table(c.clients); err != nil {
		return p, err
	}
	p.Values, p.Rules, p.Types, p.Local = c.values, c.book.sets, c.book.types, c.book.local
	p.Triggers, p.Zones, p.AddressZones = c.book.triggers, c.zones, c.addressZones
	return p, nil
}

// table makes a table of prefixes. All prefixes that hold an address count,
// not only the longest, so the value of a prefix is joined with those of the prefixes around it.
func (c *compiler) table(entries []prefix.Entry) (*prefix.Table, error) {
	for i := range entries {
		entries[i].Prefix = entries[i].Prefix.Masked()
	}
	slices.SortFunc(entries, func(a, b prefix.Entry) int {
		return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), a.Prefix.Bits()-b.Prefix.Bits())
	})
	all := entries[:0]
	var around []prefix.Entry // the last prefix, after those that hold it
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
