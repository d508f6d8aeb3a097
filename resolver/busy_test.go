package resolver_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver"
	"rideau/resolver/cache"
	"rideau/resolver/upstream"
)

// TestBusy: where nobody can be asked since too much is under way, the client
// is told so, or gets what is stale, and it is not held against the name.
func TestBusy(t *testing.T) {
	now := time.Now()
	var fault error
	up := upstreamFunc(func(q *dns.Msg) (*dns.Msg, error) {
		if fault != nil {
			return nil, fault
		}
		return address(q)
	})
	r := resolver.New(resolver.Options{State: newState(t, snapshot(t, nil), up), Clock: func() time.Time { return now },
		Cache: cache.New(cache.Options{Entries: 1000, Bytes: 1 << 20, MaxStale: time.Hour})})
	want := func(name string, kind resolver.Kind) {
		t.Helper()
		q := query(t, name, "10.0.0.1")
		q.Received = now
		if _, o := ask(t, r, q); o.Kind != kind {
			t.Errorf("%s: %v, want %v", name, o.Kind, kind)
		}
	}
	want("old.example.", resolver.Forwarded)
	now = now.Add(10 * time.Minute)
	fault = fmt.Errorf("upstream group default: %w", upstream.ErrBusy)
	want("new.example.", resolver.Failed)
	want("old.example.", resolver.Stale)
	fault = nil
	want("new.example.", resolver.Forwarded)
	want("old.example.", resolver.Forwarded)
}
