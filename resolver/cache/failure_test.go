package cache_test

import (
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver/cache"
	"rideau/resolver/wire"
)

// remembered is for how many seconds a failure that is put now is reported.
func remembered(t *testing.T, c *cache.Cache, k cache.Key, backOff bool, now int64) int64 {
	t.Helper()
	c.PutFailure(k, wire.ServFail, 22, backOff, now)
	for s := range int64(400) {
		if _, hit := c.Get(nil, k, now+s*second); !hit.Failure {
			return s
		}
	}
	t.Fatal("it does not end")
	return 0
}

// Failures in a row are remembered for longer and longer (RFC 9520 section
// 3.2).
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
			put(t, c, k, answer, now)
			for round := range 2 {
				now += 2 * second
				for _, want := range []int64{4, 8, 16, 30, 30, 30} {
					if got := remembered(t, c, k, true, now); got != want {
						t.Errorf("round %d: %d s, want %d", round, got, want)
					}
					now += want * second
				}
				if round == 0 { // an answer makes an end of it
					put(t, c, k, answer, now)
				}
			}
			// So does time.
			now += 31 * second
			if got := remembered(t, c, k, true, now); got != 4 {
				t.Errorf("%d s long after", got)
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
		for range 300 { // the count of them has an end
			c.PutFailure(k, wire.ServFail, -1, true, now)
		}
		if got := remembered(t, c, k, true, now); got != tt.want[len(tt.want)-1] {
			t.Errorf("%v, %v: %d s in the end", tt.ttl, tt.max, got)
		}
	}
}

// The wish for an attempt in the background is told once in FailureTTL, from
// the second failure in a row on.
func TestRetry(t *testing.T) {
	c, k := stale(t) // failures last for 10 seconds
	now := epoch + 200*second
	wishes := func(from, to int64) (n int) {
		for s := from; s < to; s++ {
			if _, hit := c.Get(nil, k, now+s*second); hit.Refresh {
				n++
			}
		}
		return n
	}
	c.PutFailure(k, wire.ServFail, 22, true, now)
	if n := wishes(0, 10); n != 0 {
		t.Errorf("%d wishes after one failure", n)
	}
	if _, hit := c.Get(nil, k, now+10*second); hit.Freshness != cache.Miss {
		t.Error("nobody may ask")
	}
	now += 10 * second
	c.PutFailure(k, wire.ServFail, 22, true, now)
	if n := wishes(0, 10); n != 0 {
		t.Errorf("%d wishes at once", n)
	}
	if n := wishes(10, 20); n != 1 {
		t.Errorf("%d wishes in the next 10 s", n)
	}
	if n := wishes(20, 30); n != 1 {
		t.Errorf("%d wishes in the 10 s after that", n)
	}
	// Where nobody asks for as long as the failures are remembered, who comes
	// then may ask.
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

// The wish to fetch an answer anew is told once in its time, if it was asked for
// often enough, and late in it.
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
			for round := range 2 { // what is put begins anew
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
						t.Errorf("%s, after %d: wish %v", what, after, hit.Refresh)
					}
					want = false
				}
			}
		}
	}
}
