package cache_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver/cache"
	"rideau/resolver/wire"
)

func TestAllocations(t *testing.T) {
	o := options()
	o.MaxStale = time.Hour
	c := cache.New(o)
	k, missing, failed := key(t, "a.example", dns.TypeA), key(t, "b.example", dns.TypeA), key(t, "c.example", dns.TypeA)
	put(t, c, k, response(t, "a.example", dns.TypeA, 0, "a.example. 60 IN CNAME b.example.", "b.example. 60 IN A 192.0.2.1"), epoch)
	c.PutFailure(failed, wire.ServFail, 22, false, epoch)
	buf := make([]byte, 0, 512)
	_, hit := c.Get(buf, k, epoch)
	for name, f := range map[string]func(){
		"Get hit":             func() { c.Get(buf, k, epoch+7*second) },
		"Get miss":            func() { c.Get(buf, missing, epoch) },
		"Get failure":         func() { c.Get(buf, failed, epoch) },
		"Get, clock set back": func() { c.Get(buf, k, epoch-second) },
		"GetStale":            func() { c.GetStale(buf, k, epoch+100*second) },
		"MarkClean":           func() { c.MarkClean(k, hit, 3) },
		"PutFailure, noted":   func() { c.PutFailure(k, wire.ServFail, 22, false, epoch+100*second) },
		"Get, failure noted": func() {
			if _, h := c.Get(buf, k, epoch+100*second); !h.Failure {
				t.Error("no failure noted")
			}
		},
		"Get, name on the stack": func() {
			n := *k.Name
			c.Get(buf, cache.Key{Name: &n, Type: k.Type, Class: k.Class}, epoch+second)
		},
	} {
		if name == "Get, failure noted" {
			c.PutFailure(k, wire.ServFail, 22, false, epoch+100*second)
		}
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// Put allocates nothing in a full cache, whichever bound is reached.
func TestFullCacheAllocatesNothing(t *testing.T) {
	for what, o := range map[string]cache.Options{
		"entries": {Entries: 500, Bytes: 1 << 30, Shards: 2},
		"bytes":   {Entries: 1 << 20, Bytes: 200 << 10, Shards: 2},
	} {
		t.Run(what, func(t *testing.T) {
			c := cache.New(o)
			k := key(t, "host000000.example.com", dns.TypeA)
			msg, r := parsed(t, response(t, "host000000.example.com", dns.TypeA, 0, "host000000.example.com. 300 IN A 192.0.2.1"))
			buf := make([]byte, 0, 512)
			i := 0
			next := func() {
				digits := []byte("000000")
				for at, n := 5, i; n > 0; at, n = at-1, n/10 {
					digits[at] += byte(n % 10)
				}
				copy(k.Name.Bytes()[5:], digits)
				copy(msg[wire.HeaderLen+5:], digits)
				i++
				if !stored(c.Put(buf, k, msg, r, 1, epoch)) {
					t.Fatal("not stored")
				}
			}
			for range 5000 {
				next()
			}
			if n := testing.AllocsPerRun(1000, next); n != 0 {
				t.Errorf("%v allocations", n)
			}
			if s := c.Stats(); s.Evictions < 4000 {
				t.Errorf("%d evictions", s.Evictions)
			}
		})
	}
}

// A response that parses and is stored is found readable, with no TTL above its
// own, and within the bounds.
func FuzzPut(f *testing.F) {
	for _, m := range samples(f) {
		f.Add(mustEncode(f, m), uint32(3))
		m.SetEdns0(1232, true)
		f.Add(mustEncode(f, m), uint32(90))
	}
	f.Fuzz(func(t *testing.T, msg []byte, age uint32) {
		var r wire.Response
		var q wire.Query
		scratch := new(wire.Name)
		if len(msg) > wire.MaxMessage || r.Parse(msg, scratch) != nil {
			return
		}
		end, err := scratch.Parse(msg, wire.HeaderLen)
		if err != nil {
			return
		}
		q.Type = wire.Type(msg[end])<<8 | wire.Type(msg[end+1])
		q.Class = wire.Class(msg[end+2])<<8 | wire.Class(msg[end+3])
		c := cache.New(cache.Options{Entries: 4, Bytes: 1 << 20, Shards: 1, MaxStale: time.Hour})
		k := cache.Key{Name: scratch, Type: q.Type, Class: q.Class}
		if !stored(c.Put(nil, k, msg, &r, 1, epoch)) {
			if c.Stats().Entries != 0 {
				t.Fatal("stored, but Put reports that it is not")
			}
			return
		}
		got, hit := c.Get(nil, k, epoch)
		if hit.Freshness != cache.Fresh {
			t.Fatal("stored and not found")
		}
		later, hit := c.Get(nil, k, epoch+int64(age)*second)
		if hit.Freshness == cache.Miss {
			later, hit = c.GetStale(nil, k, epoch+int64(age)*second)
		}
		if hit.Freshness == cache.Miss || hit.Failure {
			return
		}
		from, to := wire.NewWalk(got), wire.NewWalk(later)
		var a, b wire.Record
		for from.Next(&a) {
			if !to.Next(&b) || a.Type != b.Type || a.End != b.End || a.TTL == 0 || b.TTL == 0 {
				t.Fatalf("record %+v became %+v", a, b)
			}
			if hit.Freshness == cache.Fresh && b.TTL != a.TTL-age || hit.Freshness == cache.Expired && b.TTL != 30 {
				t.Fatalf("TTL %d became %d after %d s", a.TTL, b.TTL, age)
			}
		}
		if from.Err() != nil || to.Next(&b) || to.Err() != nil {
			t.Fatal("sections changed")
		}
	})
}

// filled returns a cache with n names of one alias and two addresses each, and
// their keys.
func filled(b *testing.B, n int) (*cache.Cache, []cache.Key) {
	c := cache.New(cache.Options{Entries: 2 * n, Bytes: 1 << 30})
	keys := make([]cache.Key, n)
	for i := range keys {
		name := fmt.Sprintf("host%d.example.com", i)
		keys[i] = key(b, name, dns.TypeA)
		put(b, c, keys[i], response(b, name, dns.TypeA, 0, name+". 300 IN CNAME cdn.example.net.",
			"cdn.example.net. 300 IN A 192.0.2.1", "cdn.example.net. 300 IN A 192.0.2.2"), epoch)
	}
	rand.New(rand.NewPCG(1, 1)).Shuffle(n, func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	return c, keys
}

const benchNames = 1 << 14

// BenchmarkLarge looks up names in a cache of a million entries, more than the
// processor caches hold.
func BenchmarkLarge(b *testing.B) {
	c, keys := filled(b, 1_000_000)
	buf := make([]byte, 0, 512)
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		c.Get(buf, keys[i%len(keys)], epoch+5*second)
		i++
	}
}

// BenchmarkCollect measures a cycle of the garbage collector with a million
// entries.
func BenchmarkCollect(b *testing.B) {
	c, keys := filled(b, 1_000_000)
	clear(keys) // the keys' names are not the cache's
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	n := 0
	for b.Loop() {
		runtime.GC()
		n++
	}
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.PauseTotalNs-before.PauseTotalNs)/float64(n), "pause-ns/op")
	runtime.KeepAlive(c)
}

func BenchmarkGet(b *testing.B) {
	for name, now := range map[string]int64{"hit": epoch + 5*second, "miss": epoch} {
		b.Run(name, func(b *testing.B) {
			c, keys := filled(b, benchNames)
			if name == "miss" {
				c.Flush()
			}
			buf := make([]byte, 0, 512)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				c.Get(buf, keys[i%benchNames], now)
				i++
			}
		})
	}
}

func BenchmarkGetParallel(b *testing.B) {
	for name, now := range map[string]int64{"hit": epoch + 5*second, "miss": epoch} {
		b.Run(name, func(b *testing.B) {
			c, keys := filled(b, benchNames)
			if name == "miss" {
				c.Flush()
			}
			var start atomic.Int64
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				buf := make([]byte, 0, 512)
				i := int(start.Add(benchNames / 7))
				for pb.Next() {
					c.Get(buf, keys[i%benchNames], now)
					i++
				}
			})
		})
	}
}

// BenchmarkPut stores new names in a full cache.
func BenchmarkPut(b *testing.B) {
	c := cache.New(cache.Options{Entries: benchNames, Bytes: 1 << 30})
	k := key(b, "host000000.example.com", dns.TypeA)
	msg, r := parsed(b, response(b, "host000000.example.com", dns.TypeA, 0, "host000000.example.com. 300 IN A 192.0.2.1"))
	buf := make([]byte, 0, 512)
	i := uint32(0)
	next := func() {
		i++
		for at, n := 10, i; at > 4; at, n = at-1, n/10 {
			k.Name.Bytes()[at], msg[wire.HeaderLen+at] = byte('0'+n%10), byte('0'+n%10)
		}
		c.Put(buf, k, msg, r, 1, epoch)
	}
	for range 2 * benchNames {
		next()
	}
	b.ReportAllocs()
	for b.Loop() {
		next()
	}
}
