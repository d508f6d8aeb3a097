package resolver_test

import (
	"context"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver"
	"rideau/resolver/cache"
)

// A ban that comes into force while a query waits applies to it, too, if it gets
// a stale answer because upstream takes too long.
func TestBanBeforeStale(t *testing.T) {
	for _, banned := range []string{"late.example", "target.example"} {
		gate := make(chan struct{})
		first := true
		up := upstreamFunc(func(q *dns.Msg) (*dns.Msg, error) {
			if !first {
				<-gate
			}
			first = false
			m, err := address(q)
			cname, _ := dns.NewRR("late.example. 30 IN CNAME target.example.")
			m.Answer[0].Header().Name = "target.example."
			m.Answer = append([]dns.RR{cname}, m.Answer...)
			return m, err
		})
		ahead := time.Duration(0)
		r := resolver.New(resolver.Options{State: newState(t, snapshot(t, nil), up), StaleAfter: 50 * time.Millisecond,
			Cache: cache.New(cache.Options{Entries: 1000, Bytes: 1 << 20, MaxStale: time.Hour}),
			Clock: func() time.Time { return time.Now().Add(ahead) }})
		if _, o := ask(t, r, query(t, "late.example.", "10.0.0.1")); o.Kind != resolver.Forwarded {
			t.Fatal(o.Kind)
		}
		q := query(t, "late.example.", "10.0.0.1")
		ahead = time.Minute
		q.Received = time.Now().Add(ahead)
		if _, o := r.Answer(nil, q); o.Kind != resolver.Pending {
			t.Fatal(o.Kind)
		}
		r.SetState(r.State().WithPolicy(snapshot(t, r.State().Policy(), banned)))
		if _, o := r.Resolve(context.Background(), nil, q); o.Kind != resolver.Blocked {
			t.Errorf("%s: %v", banned, o.Kind)
		}
		close(gate)
	}
}
