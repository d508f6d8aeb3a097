package cache

import "unsafe"

// CollideAll gives every question of an empty cache the same hash.
func (c *Cache) CollideAll() { c.mask = 0 }

// ShardCount is how many shards there are.
func (c *Cache) ShardCount() int { return len(c.shards) }

// Bounds are the sums of the shards' bounds.
func (c *Cache) Bounds() (entries int, bytes int64) {
	for i := range c.shards {
		entries += c.shards[i].maxEntries
		bytes += c.shards[i].maxBytes
	}
	return entries, bytes
}

// ShardSize is a shard's size in memory.
const ShardSize = unsafe.Sizeof(shard{})

// Denials is how many are counted.
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

// EntrySize is a record's size in memory.
const EntrySize = unsafe.Sizeof(entry{})
