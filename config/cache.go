package config

import (
	"time"

	"rideau/config/node"
	"rideau/config/value"
)

// Cache limits what is kept of upstream responses, and for how long.
type Cache struct {
	// MaxEntries is the number of responses.
	MaxEntries int `key:"max_entries" applies:"live"`
	// MaxBytes is the memory, in bytes, for them and everything that belongs to them.
	MaxBytes int64 `key:"max_bytes" applies:"live"`
	// MemoryLimit is the memory, in bytes, that the whole process tries to stay below. The garbage collector runs more often when that comes
	// close. 0 is no limit.
	MemoryLimit int64 `key:"memory_limit" applies:"live"`
	// Snapshot is the path of a file that keeps the responses from one start to the next, relative as List.File is; empty for none.
	Snapshot string `key:"snapshot" applies:"live"`
	// MinTTL raises shorter TTLs.
	MinTTL time.Duration `key:"min_ttl" applies:"restart"`
	// MaxTTL lowers longer TTLs (RFC 8767 section 4).
	MaxTTL time.Duration `key:"max_ttl" applies:"restart"`
	// MaxNegativeTTL lowers the TTLs of NXDOMAIN and NODATA (RFC 2308 section 5).
	MaxNegativeTTL time.Duration `key:"max_negative_ttl" applies:"restart"`
	// NXDomainCut says that an NXDOMAIN holds for all names below, too (RFC 8020).
	NXDomainCut bool `key:"nxdomain_cut" applies:"restart"`
	// FailureTTL is how long a failed resolution is kept (RFC 9520 section 3.2).
	FailureTTL time.Duration `key:"failure_ttl" applies:"restart"`
	// FailureMaxTTL is the longest time for this: it doubles with each failure in a row (RFC 9520 section 3.2). It is never less than
	// FailureTTL.
	FailureMaxTTL time.Duration `key:"failure_max_ttl" applies:"restart"`
	// Prefetch says whether popular responses are asked for again before they expire.
	Prefetch bool `key:"prefetch" applies:"restart"`
	// PrefetchHits is how often clients ask for a popular response while it is in the cache.
	PrefetchHits int `key:"prefetch_hits" applies:"restart"`
	// MaxStale is how long after its expiry a response may be used when upstream fails (RFC 8767 section 5); 0 is never.
	MaxStale time.Duration `key:"max_stale" applies:"restart"`
	// StaleTTL is the TTL of such a stale response (RFC 8767 section 5).
	StaleTTL time.Duration `key:"stale_ttl" applies:"restart"`
	// StaleAfter is how long upstream has before a stale response is sent (RFC 8767 section 5, client response timer).
	StaleAfter time.Duration `key:"stale_after" applies:"restart"`
}

func defaultCache() Cache {
	return Cache{
		MaxEntries:     200_000,
		MaxBytes:       128 << 20,
		MaxTTL:         24 * time.Hour,
		MaxNegativeTTL: time.Hour,
		NXDomainCut:    true,
		FailureTTL:     5 * time.Second,
		FailureMaxTTL:  time.Minute,
		Prefetch:       true,
		PrefetchHits:   3,
		MaxStale:       24 * time.Hour,
		StaleTTL:       30 * time.Second,
		StaleAfter:     1800 * time.Millisecond,
	}
}

func (c *Cache) read(m *node.Mapping) {
	const day = 24 * time.Hour
	node.Set(m, "max_entries", &c.MaxEntries, node.Integer(1, 1<<28))
	node.Set(m, "max_bytes", &c.MaxBytes, node.Size(64<<10, 1<<40))
	node.Set(m, "memory_limit", &c.MemoryLimit, memoryLimit)
	if c.MemoryLimit > 0 && c.MemoryLimit < c.MaxBytes+minRest {
		m.At("memory_limit").Warn("raise it, or lower max_bytes", "memory_limit leaves less than 32 MiB beside max_bytes; the garbage collector would run all the time")
	}
	node.Set(m, "snapshot", &c.Snapshot, value.FileOrNone)
	node.Set(m, "min_ttl", &c.MinTTL, node.TTL(0, time.Hour))
	node.Set(m, "max_ttl", &c.MaxTTL, node.TTL(time.Second, 7*day))
	node.Set(m, "max_negative_ttl", &c.MaxNegativeTTL, node.TTL(time.Second, day))
	node.Set(m, "nxdomain_cut", &c.NXDomainCut, node.Boolean)
	node.Set(m, "failure_ttl", &c.FailureTTL, node.TTL(time.Second, 5*time.Minute))
	node.Set(m, "failure_max_ttl", &c.FailureMaxTTL, node.TTL(time.Second, 5*time.Minute))
	node.Set(m, "prefetch", &c.Prefetch, node.Boolean)
	node.Set(m, "prefetch_hits", &c.PrefetchHits, node.Integer(1, 255))
	node.Set(m, "max_stale", &c.MaxStale, node.Duration(0, 7*day))
	node.Set(m, "stale_ttl", &c.StaleTTL, node.TTL(time.Second, time.Hour))
	node.Set(m, "stale_after", &c.StaleAfter, node.Duration(0, 30*time.Second))
	if c.MinTTL > c.MaxTTL {
		key := "min_ttl"
		if !m.Has(key) {
			key = "max_ttl"
		}
		m.At(key).Problem("lower min_ttl or raise max_ttl", "min_ttl, %s, is longer than max_ttl, %s", node.Short(c.MinTTL), node.Short(c.MaxTTL))
	}
}

// minRest is the least memory that a process needs beside its cache.
const minRest = 32 << 20

// memoryLimit parses a size, or 0 for none.
func memoryLimit(v node.Value) (int64, bool) {
	if s, ok := v.Scalar(); ok && s == "0" {
		return 0, true
	}
	return node.Size(64<<20, 1<<44)(v)
}
