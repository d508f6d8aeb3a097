package cache

import "unsafe"

// CollideAll gives every question of an empty cache the same hash.
func (c *Cache) CollideAll() { c.mask = 0 }

// ShardCount returns the number of shards.
func (c *Cache) ShardCount() int { return len(c.shards) }

// Bounds returns the sums of the bounds of the shards.
func (c *Cache) Bounds() (entries int, bytes int64) {
	for i := range c.shards {
		entries += c.shards[i].maxEntries
		bytes += c.shards[i].maxBytes
	}
	return entries, bytes
}

// ShardSize is the size of a shard in memory.
const ShardSize = unsafe.Sizeof(shard{})

// Denials returns the number of counted denials, or -1 if the counts disagree.
func (c *Cache) Denials() int {
	n := 0
	for i := range c.denials.labels {
		n += int(c.denials.labels[i].Load())
	}
	if int(c.denials.all.Load()) != n {
		return -1
	}
	return n
}

// EntrySize is the size of a record in memory.
const EntrySize = unsafe.Sizeof(entry{})
