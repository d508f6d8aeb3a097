package cache_test

import (
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver/cache"
	"rideau/resolver/wire"
)

// remembered stores a failure and returns for how many seconds it is reported.
func remembered(t *testing.T, c *cache.Cache, k cache.Key, backOff bool, now int64) int64 {
	t.Helper()
	c.PutFailure(k, wire.ServFail, 22, backOff, now)
	for s := range int64(400) {
		if _, hit := c.Get(nil, k, now+s*second); !hit.Failure {
			return s
		}
	}
	t.Fatal("it is never forgotten")
	return 0
}

// Each failure in a row is remembered for longer (RFC 9520 section 3.2).
func TestBackOff(t *testing.T) {
	for what, o := range map[string]cache.Options{
		"alone":       {Entries: 100, Bytes: 1 << 20},
		"over denial": {Entries: 100, Bytes: 1 << 20, MaxStale: 24 * time.Hour},
	} {
		t.Run(what, func(t *testing.T) {
			o.FailureTTL, o.FailureMaxTTL = 4*time.Second, 30*time.Second
			c := cache.New(o)
			k := key(t, "www.example.com", dns.TypeA)
			answer := response(t, "www.example.com", dns.TypeA, 0, "www.example.com. 1 IN A 192.0.2.1")
			if what == "over denial" {
				answer = nxdomain(t, "www.example.com", "example.com. 1 IN SOA a. b. 1 2 3 4 1")
			}
			now := epoch
			store := func() {
				if what == "over denial" {
					deny(t, c, k, answer, now)
					return
				}
				put(t, c, k, answer, now)
			}
			store()
			for round := range 2 {
				now += 2 * second
				for _, want := range []int64{4, 8, 16, 30, 30, 30} {
					if got := remembered(t, c, k, true, now); got != want {
						t.Errorf("round %d: %d s, want %d", round, got, want)
					}
					now += want * second
				}
				if round == 0 { // an answer ends the row
					store()
				}
			}
			// Time ends it, too.
			now += 31 * second
			if got := remembered(t, c, k, true, now); got != 4 {
				t.Errorf("%d s after a long time", got)
			}
			if got := remembered(t, c, k, true, now+4*second); got != 8 {
				t.Errorf("%d s then", got)
			}
			if got := remembered(t, c, k, false, now+12*second); got != 4 {
				t.Errorf("%d s without back-off", got)
			}
		})
	}
}

func TestBackOffBounds(t *testing.T) {
	for _, tt := range []struct {
		ttl, max time.Duration
		want     []int64
	}{
		{0, 0, []int64{5, 10, 20, 40, 60, 60}},
		{time.Second, time.Hour, []int64{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300}},
		{5 * time.Minute, time.Second, []int64{300, 300}},
	} {
		o := options()
		o.FailureTTL, o.FailureMaxTTL = tt.ttl, tt.max
		c := cache.New(o)
		k := key(t, "www.example.com", dns.TypeA)
		now := epoch
		for i, want := range tt.want {
			if got := remembered(t, c, k, true, now); got != want {
				t.Errorf("%v, %v: failure %d for %d s, want %d", tt.ttl, tt.max, i, got, want)
			}
			now += want * second
		}
		for range 300 { // the count of failures has a limit
			c.PutFailure(k, wire.ServFail, -1, true, now)
		}
		if got := remembered(t, c, k, true, now); got != tt.want[len(tt.want)-1] {
			t.Errorf("%v, %v: %d s after many failures", tt.ttl, tt.max, got)
		}
	}
}

// Refresh is reported once in FailureTTL, from the second failure in a row on.
func TestRetry(t *testing.T) {
	c, k := stale(t) // failures last for 10 seconds
	now := epoch + 200*second
	refreshes := func(from, to int64) (n int) {
		for s := from; s < to; s++ {
			if _, hit := c.Get(nil, k, now+s*second); hit.Refresh {
				n++
			}
		}
		return n
	}
	c.PutFailure(k, wire.ServFail, 22, true, now)
	if n := refreshes(0, 10); n != 0 {
		t.Errorf("%d refreshes after one failure", n)
	}
	if _, hit := c.Get(nil, k, now+10*second); hit.Freshness != cache.Miss {
		t.Error("the failure is still reported")
	}
	now += 10 * second
	c.PutFailure(k, wire.ServFail, 22, true, now)
	if n := refreshes(0, 10); n != 0 {
		t.Errorf("%d refreshes at once", n)
	}
	if n := refreshes(10, 20); n != 1 {
		t.Errorf("%d refreshes in the next 10 s", n)
	}
	if n := refreshes(20, 30); n != 1 {
		t.Errorf("%d refreshes in the 10 s after that", n)
	}
	// A lookup after the time for which the failures are remembered finds
	// nothing.
	for i, want := range []int64{20, 40, 60, 60} {
		now += 100 * second
		put(t, c, k, response(t, "a.example", dns.TypeA, 0, "a.example. 1 IN A 192.0.2.1"), now)
		now += 2 * second
		for range i + 2 {
			c.PutFailure(k, wire.ServFail, 22, true, now)
		}
		if _, hit := c.Get(nil, k, now+want*second); hit.Freshness != cache.Miss {
			t.Errorf("%d failures: %+v after %d s", i+2, hit, want)
		}
	}
}

// Refresh is reported once at a time for an answer, if there were enough lookups, and
// late in its lifetime.
func TestPrefetch(t *testing.T) {
	for _, after := range []int{0, 1, 3, 255, 1000} {
		o := options()
		o.PrefetchAfter = after
		for what, m := range map[string]*dns.Msg{
			"positive": response(t, "www.example.com", dns.TypeA, 0, "www.example.com. 100 IN A 192.0.2.1"),
			"NXDOMAIN": nxdomain(t, "www.example.com", "example.com. 100 IN SOA a. b. 1 2 3 4 100"),
		} {
			c := cache.New(o)
			k := key(t, "www.example.com", dns.TypeA)
			for round := range 2 { // a new answer starts the count again
				now := epoch + int64(round)*95*second
				put(t, c, k, m, now)
				for range after - 1 {
					if _, hit := c.Get(nil, k, now+89*second); hit.Refresh {
						t.Errorf("%s, after %d: too early", what, after)
					}
				}
				if _, hit := c.Get(nil, k, now+90*second-1); hit.Refresh {
					t.Errorf("%s, after %d: too early", what, after)
				}
				want := after > 0
				for range 3 {
					if _, hit := c.Get(nil, k, now+90*second); hit.Refresh != want {
						t.Errorf("%s, after %d: Refresh is %v", what, after, hit.Refresh)
					}
					want = false
				}
			}
		}
	}
}

// A popular answer that nothing has replaced is asked for again, after 1, 2, 4 and so on
// seconds, until it expires. The failures meanwhile count as one.
func TestPrefetchAgain(t *testing.T) {
	for what, fails := range map[string]bool{"failed": true, "lost": false} {
		c := cache.New(cache.Options{Entries: 10, Bytes: 1 << 20, PrefetchAfter: 1, FailureTTL: 5 * time.Second})
		k := key(t, "www.example.org", dns.TypeA)
		put(t, c, k, response(t, "www.example.org", dns.TypeA, 0, "www.example.org. 1000 IN A 192.0.2.1"), epoch)
		var at []int64
		for s := int64(900); s < 1000; s++ {
			if _, hit := c.Get(nil, k, epoch+s*second); hit.Refresh {
				at = append(at, s-900)
				if fails {
					c.PutFailure(k, wire.ServFail, -1, true, epoch+s*second)
				}
			}
		}
		if want := []int64{0, 1, 3, 7, 15, 31, 63}; !slices.Equal(at, want) {
			t.Errorf("%s: asked for after %v seconds, want %v", what, at, want)
		}
		if !fails {
			continue
		}
		c.PutFailure(k, wire.ServFail, -1, true, epoch+999*second)
		if _, hit := c.Get(nil, k, epoch+1003*second); !hit.Failure {
			t.Error("the failure is not remembered")
		}
		if _, hit := c.Get(nil, k, epoch+1004*second); hit.Freshness != cache.Miss {
			t.Error("the failure is remembered for longer than one")
		}
	}
}
