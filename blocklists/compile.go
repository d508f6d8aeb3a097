package blocklists

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
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
