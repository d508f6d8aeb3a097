package cache_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver/cache"
	"rideau/resolver/wire"
)

// sized returns a response with one TXT record of n octets.
func sized(t testing.TB, name string, n int) *dns.Msg {
	m := response(t, name, dns.TypeTXT, 0)
	txt := &dns.TXT{Hdr: dns.RR_Header{Name: dns.Fqdn(name), Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 300}}
	for ; n > 200; n -= 200 {
		txt.Txt = append(txt.Txt, strings.Repeat("x", 200))
	}
	txt.Txt = append(txt.Txt, strings.Repeat("x", n))
	m.Answer = append(m.Answer, txt)
	return m
}

func TestEvictsOldestByEntries(t *testing.T) {
	c := cache.New(cache.Options{Entries: 4, Bytes: 1 << 20, Shards: 1})
	name := func(i int) string { return fmt.Sprintf("n%d.example", i) }
	for i := range 4 {
		put(t, c, key(t, name(i), dns.TypeTXT), sized(t, name(i), 10), epoch)
	}
	c.Get(nil, key(t, name(0), dns.TypeTXT), epoch) // 1 is the oldest now
	for i := 4; i < 6; i++ {
		put(t, c, key(t, name(i), dns.TypeTXT), sized(t, name(i), 10), epoch)
	}
	for i, want := range []bool{true, false, false, true, true, true} {
		if _, hit := c.Get(nil, key(t, name(i), dns.TypeTXT), epoch); (hit.Freshness == cache.Fresh) != want {
			t.Errorf("entry %d found: %t", i, !want)
		}
	}
	if s := c.Stats(); s.Entries != 4 || s.Evictions != 2 {
		t.Errorf("stats %+v", s)
	}
}

func TestEvictsOldestByBytes(t *testing.T) {
	const budget = 100 << 10
	c := cache.New(cache.Options{Entries: 10000, Bytes: budget, Shards: 1})
	name := func(i int) string { return fmt.Sprintf("n%04d.example", i) }
	const names = 2000
	for i := range names {
		put(t, c, key(t, name(i), dns.TypeTXT), sized(t, name(i), 100), epoch)
		if s := c.Stats(); s.Bytes > budget || s.Entries == 0 {
			t.Fatalf("stats %+v", s)
		}
	}
	full := c.Stats()
	if full.Evictions != uint64(names-full.Entries) || full.Entries < budget/400 {
		t.Fatalf("stats %+v", full)
	}
	for i := range names {
		if _, hit := c.Get(nil, key(t, name(i), dns.TypeTXT), epoch); (hit.Freshness == cache.Fresh) != (i >= names-full.Entries) {
			t.Errorf("entry %d of the last %d: freshness %d", i, full.Entries, hit.Freshness)
		}
	}
	// One that needs the space of many.
	put(t, c, key(t, "big.example", dns.TypeTXT), sized(t, "big.example", budget/4), epoch)
	if s := c.Stats(); s.Bytes > budget || s.Entries > full.Entries-50 || s.Entries < full.Entries/2 {
		t.Errorf("stats %+v, before %+v", s, full)
	}
	for _, n := range []string{"big.example", name(names - 1)} {
		if _, hit := c.Get(nil, key(t, n, dns.TypeTXT), epoch); hit.Freshness != cache.Fresh {
			t.Errorf("%s is gone", n)
		}
	}
	// If messages become larger, the space of the old ones is used for the new
	// ones.
	for i := range names {
		put(t, c, key(t, name(i), dns.TypeTXT), sized(t, name(i), 600), epoch)
		if s := c.Stats(); s.Bytes > budget || i > 500 && s.Entries < budget/1700 {
			t.Fatalf("stats %+v after %d of another size", s, i)
		}
	}
}

// A message that is too large evicts nothing, but the entry that it was to
// replace is removed.
func TestTooBig(t *testing.T) {
	const budget = 40 << 10
	c := cache.New(cache.Options{Entries: 1000, Bytes: budget, Shards: 1})
	for _, name := range []string{"one.example", "two.example"} {
		put(t, c, key(t, name, dns.TypeTXT), sized(t, name, 100), epoch)
	}
	before := c.Stats()
	if put(t, c, key(t, "huge.example", dns.TypeTXT), sized(t, "huge.example", budget), epoch) || c.Stats() != before {
		t.Errorf("stats %+v, before %+v", c.Stats(), before)
	}
	if put(t, c, key(t, "one.example", dns.TypeTXT), sized(t, "one.example", budget), epoch) {
		t.Error("stored beyond the bound")
	}
	if s := c.Stats(); s.Entries != 1 || s.Evictions != 0 {
		t.Errorf("stats %+v, before %+v", s, before)
	}
}

func TestNoSpace(t *testing.T) {
	for _, o := range []cache.Options{{}, {Entries: 10}, {Bytes: 1 << 20}, {Entries: -1, Bytes: -1, Shards: 8}} {
		c := cache.New(o)
		k := key(t, "a.example", dns.TypeTXT)
		if put(t, c, k, sized(t, "a.example", 10), epoch) {
			t.Errorf("%+v: stored", o)
		}
		c.PutFailure(k, wire.ServFail, -1, false, epoch)
		if s := c.Stats(); s.Entries != 0 || s.Bytes != 0 {
			t.Errorf("%+v: stats %+v", o, s)
		}
	}
}

func TestShards(t *testing.T) {
	for _, tt := range []struct {
		o    cache.Options
		want int // 0: only that it is a power of two
	}{
		{cache.Options{Entries: 1000, Bytes: 1 << 24, Shards: 1}, 1},
		{cache.Options{Entries: 1000, Bytes: 1 << 24, Shards: 5}, 8},
		{cache.Options{Entries: 5, Bytes: 1 << 24, Shards: 64}, 4},
		{cache.Options{Entries: 1 << 20, Bytes: 1 << 30, Shards: 1 << 30}, 1 << 12},
		{cache.Options{Entries: 100, Bytes: 1 << 30}, 1},
		{cache.Options{Entries: 1 << 20, Bytes: 1 << 10}, 1},
		{cache.Options{Entries: 1 << 20, Bytes: 1 << 30}, 0},
	} {
		c := cache.New(tt.o)
		n := c.ShardCount()
		if n&(n-1) != 0 || n < 1 || tt.want != 0 && n != tt.want {
			t.Errorf("%+v: %d shards, want %d", tt.o, n, tt.want)
		}
		if e, b := c.Bounds(); e != tt.o.Entries || b > tt.o.Bytes || b <= tt.o.Bytes-int64(n) {
			t.Errorf("%+v: bounds %d and %d", tt.o, e, b)
		}
	}
	if cache.EntrySize != 64 {
		t.Errorf("a record has %d octets, and so lies across cache lines", cache.EntrySize)
	}
	if cache.ShardSize%128 != 0 {
		t.Errorf("a shard has %d octets, and so shares cache lines", cache.ShardSize)
	}
}

func TestResize(t *testing.T) {
	c := cache.New(cache.Options{Entries: 1000, Bytes: 1 << 24, Shards: 4})
	keys := make([]cache.Key, 400)
	for i := range keys {
		name := fmt.Sprintf("n%d.example", i)
		keys[i] = key(t, name, dns.TypeTXT)
		put(t, c, keys[i], sized(t, name, 50), epoch)
	}
	full := c.Stats()
	if full.Entries != 400 {
		t.Fatalf("stats %+v", full)
	}
	c.Resize(100, 1<<24)
	s := c.Stats()
	if s.Entries != 100 || s.Evictions != 300 {
		t.Errorf("stats %+v", s)
	}
	c.Resize(1000, s.Bytes/2)
	if s2 := c.Stats(); s2.Bytes > s.Bytes/2 {
		t.Errorf("stats %+v", s2)
	}
	if s := c.Stats(); s.Entries == 0 || s.Evictions != uint64(400-s.Entries) {
		t.Errorf("stats %+v", s)
	}
	found := 0
	for _, k := range keys {
		if _, hit := c.Get(nil, k, epoch); hit.Freshness == cache.Fresh {
			found++
		}
	}
	if s := c.Stats(); found != s.Entries {
		t.Errorf("%d found of %d", found, s.Entries)
	}
	c.Resize(0, 0)
	if s := c.Stats(); s.Entries != 0 || s.Bytes != 0 {
		t.Errorf("stats %+v", s)
	}
	c.Resize(2, 1<<20) // fewer than shards: one each
	if e, _ := c.Bounds(); e != 4 {
		t.Errorf("%d entries allowed", e)
	}
	if !put(t, c, keys[0], sized(t, "n0.example", 50), epoch) {
		t.Error("not stored after growing again")
	}
}

// Questions for large answers do not empty the cache: these keep a quarter of it
// when it is full.
func TestLargeAnswers(t *testing.T) {
	const budget = 8 << 20
	c := cache.New(cache.Options{Entries: 100_000, Bytes: budget, Shards: 4})
	ordinary := func(i int) cache.Key { return key(t, fmt.Sprintf("n%d.example", i), dns.TypeTXT) }
	for i := range 15_000 {
		put(t, c, ordinary(i), sized(t, fmt.Sprintf("n%d.example", i), 100), epoch)
	}
	before := c.Stats()
	for i := range 1000 {
		name := fmt.Sprintf("large%d.example", i)
		put(t, c, key(t, name, dns.TypeTXT), sized(t, name, 60_000), epoch+second+int64(i)*second/100)
	}
	left := 0
	for i := range 15_000 {
		if _, ok := c.Peek(nil, ordinary(i), epoch+20*second); ok {
			left++
		}
	}
	if after := c.Stats(); left < before.Entries*6/10 || after.Entries-left < 8 {
		t.Errorf("%d of %d ordinary answers are left, and %d large ones", left, before.Entries, after.Entries-left)
	}
}

// A client that cannot take a large answer gets its header and question, if the
// policy is still that under which the answer was clean.
func TestTruncated(t *testing.T) {
	c := cache.New(options())
	k := key(t, "large.example", dns.TypeTXT)
	put(t, c, k, sized(t, "large.example", 20_000), epoch)
	small := key(t, "small.example", dns.TypeTXT)
	put(t, c, small, sized(t, "small.example", 2000), epoch)
	with := func(k cache.Key, maxSize int, generation uint64) cache.Key {
		k.MaxSize, k.Generation = maxSize, generation
		return k
	}
	for what, tt := range map[string]struct {
		k    cache.Key
		want bool
	}{
		"too large":      {with(k, 1232, 1), true},
		"it fits":        {with(k, 65535, 1), false},
		"no bound":       {k, false},
		"another policy": {with(k, 1232, 2), false},
		"not so large":   {with(small, 1232, 1), false},
	} {
		msg, hit := c.Get([]byte("head"), tt.k, epoch)
		m := unpack(t, msg[4:])
		if hit.Truncated != tt.want || m.Truncated != tt.want || tt.want == (len(m.Answer) > 0) || hit.Freshness != cache.Fresh {
			t.Errorf("%s: %+v, %d octets", what, hit, len(msg))
		}
	}
}

// model is a simple model of a cache with one shard: a list, newest last.
type model struct {
	entries   int
	list      []modelEntry
	evictions uint64
}

type modelEntry struct {
	id   int
	kind int
	ttl  int64
	at   int64
}

func (m *model) find(id int) int {
	for i := range m.list {
		if m.list[i].id == id {
			return i
		}
	}
	return -1
}

func (m *model) touch(i int) {
	e := m.list[i]
	m.list = append(append(m.list[:i:i], m.list[i+1:]...), e)
}

func (m *model) put(e modelEntry) {
	if i := m.find(e.id); i >= 0 {
		m.list = append(m.list[:i:i], m.list[i+1:]...)
	}
	m.list = append(m.list, e)
	m.shrink()
}

func (m *model) shrink() {
	for len(m.list) > m.entries {
		m.list = m.list[1:]
		m.evictions++
	}
}

// The kinds of entries in the model.
const (
	positive = iota
	negative
	failed
)

// modelStale is how long entries of the model may be served stale.
const modelStale = 30 * second

// freshness is what GetStale should report for e.
func (e *modelEntry) freshness(now int64) cache.Freshness {
	over := now - e.at - e.ttl*second
	switch {
	case e.kind == failed:
		return cache.Miss
	case over < 0:
		return cache.Fresh
	case over <= modelStale:
		return cache.Expired
	}
	return cache.Miss
}

func (m *model) stale(id int, now int64) cache.Freshness {
	i := m.find(id)
	if i < 0 {
		return cache.Miss
	}
	s := m.list[i].freshness(now)
	m.touch(i)
	return s
}

func (m *model) fail(e modelEntry, now int64) {
	if i := m.find(e.id); i >= 0 && m.list[i].freshness(now) != cache.Miss {
		m.touch(i)
		return
	}
	m.put(e)
}

// After each of many random operations, the cache and the model have the same
// entries, evictions and answers.
func TestAgainstModel(t *testing.T) {
	const names = 60
	rnd := rand.New(rand.NewPCG(1, 2))
	const budget = 1 << 20
	c := cache.New(cache.Options{Entries: 40, Bytes: budget, Shards: 1, MaxStale: time.Duration(modelStale)})
	m := &model{entries: 40}
	text, keys := make([]string, names), make([]cache.Key, names)
	for i := range keys {
		text[i] = fmt.Sprintf("n%d.example", i)
		keys[i] = key(t, text[i], dns.TypeTXT)
	}
	now := epoch
	for step := range 20000 {
		now += rnd.Int64N(second)
		id := rnd.IntN(names)
		switch op := rnd.IntN(100); {
		case op < 30:
			msg := sized(t, text[id], rnd.IntN(900))
			if rnd.IntN(50) == 0 {
				msg = sized(t, text[id], 3000) // large ones have an order of their own
			}
			msg.Answer[0].Header().Ttl = uint32(1 + rnd.IntN(60))
			put(t, c, keys[id], msg, now)
			m.put(modelEntry{id, positive, int64(msg.Answer[0].Header().Ttl), now})
		case op < 40:
			msg := response(t, text[id], dns.TypeTXT, dns.RcodeSuccess, "--", "example. 30 IN SOA a.example. b.example. 1 2 3 4 30")
			put(t, c, keys[id], msg, now)
			m.put(modelEntry{id, negative, 30, now})
		case op < 50:
			c.PutFailure(keys[id], wire.ServFail, -1, false, now)
			m.fail(modelEntry{id, failed, 5, now}, now)
		case op < 99:
			_, hit := c.GetStale(nil, keys[id], now)
			if want := m.stale(id, now); hit.Freshness != want {
				t.Fatalf("step %d: freshness %d, want %d", step, hit.Freshness, want)
			}
		default:
			m.entries = 20 + rnd.IntN(40)
			c.Resize(m.entries, budget-rnd.Int64N(budget/4))
			m.shrink()
		}
		if s := c.Stats(); s.Entries != len(m.list) || s.Bytes > budget || s.Evictions != m.evictions {
			t.Fatalf("step %d: stats %+v, want %d entries, %d evictions", step, s, len(m.list), m.evictions)
		}
	}
	if m.evictions < 1000 {
		t.Errorf("only %d evictions: the test proves little", m.evictions)
	}
}

// All operations run concurrently, for the race detector. A message that is
// found is complete and belongs to its key.
func TestConcurrent(t *testing.T) {
	const names = 64
	c := cache.New(cache.Options{Entries: 48, Bytes: 400000, Shards: 4, MaxStale: time.Hour})
	keys, msgs, rs := make([]cache.Key, names), make([][]byte, names), make([]*wire.Response, names)
	for i := range keys {
		name := fmt.Sprintf("n%d.example", i)
		keys[i] = key(t, name, dns.TypeTXT)
		msgs[i], rs[i] = parsed(t, sized(t, name, 10*i))
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(3, uint64(g)))
			buf := make([]byte, 0, 4096)
			for step := range 3000 {
				i, now := rnd.IntN(names), epoch+rnd.Int64N(600*second)
				var hit cache.Hit
				var got []byte
				switch op := rnd.IntN(20); {
				case op < 5:
					c.Put(nil, keys[i], msgs[i], rs[i], uint64(step), now)
				case op < 6:
					c.PutFailure(keys[i], wire.ServFail, 22, false, now)
				case op < 13:
					got, hit = c.Get(buf, keys[i], now)
				case op < 18:
					got, hit = c.GetStale(buf, keys[i], now)
				case op < 19:
					c.Stats()
				case step%100 == 0:
					c.Flush()
				default:
					c.Resize(32+rnd.IntN(32), 60000+rnd.Int64N(400000))
				}
				if hit.Freshness == cache.Miss {
					continue
				}
				c.MarkClean(keys[i], hit, uint64(step))
				n := wire.HeaderLen + keys[i].Name.Len()
				if string(got[wire.HeaderLen:n]) != string(keys[i].Name.Bytes()) || !hit.Failure && len(got) != len(msgs[i]) {
					t.Errorf("key %s got % x", keys[i].Name, got)
					return
				}
			}
		})
	}
	wg.Wait()
	c.Resize(48, 60000)
	if s := c.Stats(); s.Entries > 48 || s.Bytes > 60000 || s.Entries == 0 {
		t.Errorf("stats %+v", s)
	}
	c.Resize(0, 0)
	if s := c.Stats(); s.Entries != 0 || s.Bytes != 0 {
		t.Errorf("bytes are not zero: %+v", s)
	}
}
