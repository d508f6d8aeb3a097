package cache

import (
	"encoding/binary"

	"rideau/resolver/wire"
)

// Epoch returns the number of flushes, including those that have begun. A
// caller that asked upstream before the number changed holds an answer that the
// flush was to remove: compare it before and after Put, and call Remove if it
// changed.
func (c *Cache) Epoch() uint64 { return c.epoch.Load() }

// Flush removes all entries and returns how many there were. Counters stay.
func (c *Cache) Flush() (n int) {
	c.epoch.Add(1)
	for i := range c.shards {
		n += c.shards[i].flush()
	}
	c.existence.Forget()
	return n
}

// FlushName removes everything about a name, whatever the type, and returns how
// many entries there were: those of the name, those that reach it by aliases,
// and denials of names above. It holds up lookups for some dozen microseconds
// at a time at the most.
func (c *Cache) FlushName(name *wire.Name) (n int) { return c.flushIf(name, false) }

// FlushTree does the same for a name and all names below it.
func (c *Cache) FlushTree(name *wire.Name) (n int) {
	if name.Labels() == 0 {
		return c.Flush()
	}
	return c.flushIf(name, true)
}

// flushStep is the number of records visited while holding a lock once.
const flushStep = 256

func (c *Cache) flushIf(name *wire.Name, tree bool) (n int) {
	c.epoch.Add(1)
	c.renumber.Lock()
	defer c.renumber.Unlock()
	for i := range c.shards {
		s := &c.shards[i]
		// A record stored behind this position during the flush is newer than
		// the flush.
		for from, more := uint32(0), true; more; from += flushStep {
			var went int
			went, more = s.flushIf(from, name, tree)
			n += went
		}
	}
	return n
}

// flushIf visits up to flushStep of the shard's records, and reports whether
// there are more.
func (s *shard) flushIf(from uint32, name *wire.Name, tree bool) (n int, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var scratch wire.Name
	for i := from; i < uint32(len(s.records)); i++ {
		if i-from == flushStep {
			return n, true
		}
		e := s.record(i)
		if e.length != 0 && concerns(s.octets.At(e.data, int(e.size)), name, tree, &scratch) {
			s.remove(i)
			n++
		}
	}
	return n, false
}

// concerns reports whether a message is about a name, or with tree about one
// below it: by its question, by an alias, or as the denial of a name above.
func concerns(msg []byte, name *wire.Name, tree bool, scratch *wire.Name) bool {
	is := func(off int) bool {
		if _, err := scratch.Parse(msg, off); err != nil {
			return false
		}
		if tree {
			return scratch.IsSubdomain(name.Bytes())
		}
		return string(scratch.Bytes()) == string(name.Bytes())
	}
	if is(wire.HeaderLen) {
		return true
	}
	if wire.HeaderRcode(msg) == wire.NXDomain && name.IsSubdomain(scratch.Bytes()) {
		return true
	}
	const question = 0xC000 | wire.HeaderLen
	w := wire.NewWalk(msg)
	var rec wire.Record
	for w.Next(&rec) && rec.Section == wire.Answer {
		if binary.BigEndian.Uint16(msg[rec.Off:]) != question && is(rec.Off) ||
			rec.Type == wire.TypeCNAME && is(rec.DataOff) {
			return true
		}
	}
	return false
}
