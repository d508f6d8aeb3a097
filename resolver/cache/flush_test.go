package cache_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"rideau/resolver/cache"
	"rideau/resolver/wire"
)

func name(t testing.TB, text string) *wire.Name {
	t.Helper()
	n := new(wire.Name)
	if err := n.SetText(text); err != nil {
		t.Fatal(err)
	}
	return n
}

// A flush of a name removes what is about the name, and nothing else.
func TestFlushNameAndTree(t *testing.T) {
	entries := map[string]*dns.Msg{
		"a":         response(t, "www.example.com", dns.TypeA, 0, "www.example.com. 300 IN A 192.0.2.1"),
		"txt":       response(t, "www.example.com", dns.TypeTXT, 0, `www.example.com. 300 IN TXT "x"`),
		"below":     response(t, "a.www.example.com", dns.TypeA, 0, "a.www.example.com. 300 IN A 192.0.2.1"),
		"parent":    response(t, "example.com", dns.TypeA, 0, "example.com. 300 IN A 192.0.2.1"),
		"lookalike": response(t, "xwww.example.com", dns.TypeA, 0, "xwww.example.com. 300 IN A 192.0.2.1"),
		"alias":     response(t, "cdn.example.net", dns.TypeA, 0, "cdn.example.net. 300 IN CNAME WWW.example.com.", "www.example.com. 300 IN A 192.0.2.1"),
		"dangling":  response(t, "old.example.net", dns.TypeA, 0, "old.example.net. 300 IN CNAME www.example.com.", "--", "example.com. 300 IN SOA a. b. 1 2 3 4 50"),
		"below it":  response(t, "deep.example.net", dns.TypeA, 0, "deep.example.net. 300 IN CNAME a.www.example.com.", "a.www.example.com. 300 IN A 192.0.2.1"),
		"other":     response(t, "www.example.org", dns.TypeA, 0, "www.example.org. 300 IN A 192.0.2.1"),
	}
	for _, tt := range []struct {
		name string
		tree bool
		gone []string
	}{
		{"www.example.com", false, []string{"a", "txt", "alias", "dangling"}},
		{"www.example.com", true, []string{"a", "txt", "alias", "dangling", "below", "below it"}},
		{"WWW.Example.COM", false, []string{"a", "txt", "alias", "dangling"}},
		{"example.com", false, []string{"parent"}},
		{"example.com", true, []string{"a", "txt", "alias", "dangling", "below", "below it", "parent", "lookalike"}},
		{"nothing.example", true, nil},
		{".", false, nil},
		{".", true, []string{"a", "txt", "below", "parent", "lookalike", "alias", "dangling", "below it", "other"}},
	} {
		t.Run(fmt.Sprint(tt.name, tt.tree), func(t *testing.T) {
			c := cache.New(options())
			for what, m := range entries {
				if !put(t, c, keyOf(t, m), m, epoch) {
					t.Fatal(what)
				}
			}
			flush := c.FlushName
			if tt.tree {
				flush = c.FlushTree
			}
			before := c.Epoch()
			if n := flush(name(t, tt.name)); n != len(tt.gone) {
				t.Errorf("%d removed, want %d", n, len(tt.gone))
			}
			if c.Epoch() == before {
				t.Error("the epoch did not change")
			}
			for what, m := range entries {
				_, hit := c.Get(nil, keyOf(t, m), epoch)
				gone := false
				for _, g := range tt.gone {
					gone = gone || g == what
				}
				if (hit.Freshness == cache.Miss) != gone {
					t.Errorf("%s: freshness %d", what, hit.Freshness)
				}
			}
			if s := c.Stats(); s.Entries != len(entries)-len(tt.gone) || s.Evictions != 0 {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

// An NXDOMAIN denies the names below it, so a flush of a name below removes it.
func TestFlushNameTakesDenials(t *testing.T) {
	c := cache.New(options())
	m := response(t, "gone.example.com", dns.TypeA, dns.RcodeNameError, "--", "example.com. 300 IN SOA a. b. 1 2 3 4 50")
	put(t, c, keyOf(t, m), m, epoch)
	if n := c.FlushName(name(t, "other.example.com")); n != 0 {
		t.Errorf("%d removed", n)
	}
	if n := c.FlushName(name(t, "a.b.gone.example.com")); n != 1 {
		t.Errorf("%d removed", n)
	}
}

// While others store answers, flushed entries stay away and all others stay.
func TestFlushTreeConcurrent(t *testing.T) {
	c := cache.New(cache.Options{Entries: 1 << 16, Bytes: 1 << 28, Shards: 4})
	for i := range 3000 {
		n := fmt.Sprintf("h%d.flush.example", i)
		m := response(t, n, dns.TypeA, 0, n+". 300 IN A 192.0.2.1")
		put(t, c, keyOf(t, m), m, epoch)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for g := range 2 {
		var ms []*dns.Msg
		for i := range 500 {
			n := fmt.Sprintf("h%d-%d.stay.example", g, i)
			ms = append(ms, response(t, n, dns.TypeA, 0, n+". 300 IN A 192.0.2.1"))
		}
		wg.Go(func() {
			for _, m := range ms {
				put(t, c, keyOf(t, m), m, epoch)
			}
			<-stop
			for _, m := range ms {
				if _, hit := c.Get(nil, keyOf(t, m), epoch); hit.Freshness != cache.Fresh {
					t.Errorf("%s is gone", m.Question[0].Name)
				}
			}
		})
	}
	n := c.FlushTree(name(t, "flush.example"))
	close(stop)
	wg.Wait()
	if n != 3000 || c.Stats().Entries != 1000 {
		t.Errorf("%d removed; stats %+v", n, c.Stats())
	}
}

// A resize, which gives records other numbers, lets no entry escape a flush.
func TestFlushTreeWhileResized(t *testing.T) {
	const n = 20_000
	for range 5 {
		c := cache.New(cache.Options{Entries: 2 * n, Bytes: 1 << 28, Shards: 1})
		keys := make([]cache.Key, n)
		for i := range keys {
			host := fmt.Sprintf("h%d.flush.example", i)
			m := response(t, host, dns.TypeA, 0, host+". 300 IN A 192.0.2.1")
			put(t, c, keyOf(t, m), m, epoch)
			keys[n-1-i] = keyOf(t, m)
		}
		for _, k := range keys { // the last becomes the oldest
			c.Get(nil, k, epoch+2e9)
		}
		held := c.Stats().Bytes
		var wg sync.WaitGroup
		begun := make(chan struct{})
		wg.Go(func() {
			close(begun)
			for i := range int64(20) {
				c.Resize(2*n, held*(99-i)/100)
			}
		})
		<-begun
		c.FlushTree(name(t, "flush.example"))
		wg.Wait()
		if left := c.Stats().Entries; left != 0 {
			t.Fatalf("%d are left", left)
		}
	}
}

// BenchmarkFlushName measures a flush with 200,000 entries.
func BenchmarkFlushName(b *testing.B) {
	c, _ := filled(b, 200_000)
	n := name(b, "nobody.example")
	for b.Loop() {
		c.FlushName(n)
	}
}
