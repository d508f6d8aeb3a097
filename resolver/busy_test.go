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

// TestBusy: if too many requests are under way to ask an upstream, the client gets
// SERVFAIL or an expired answer, and no failure is stored for the name.
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

// TestShed: a query that may not wait gets an expired answer, under the policy of
// the moment, or SERVFAIL.
func TestShed(t *testing.T) {
	now := time.Now()
	r := resolver.New(resolver.Options{State: newState(t, snapshot(t, nil), upstreamFunc(address)), Clock: func() time.Time { return now },
		Cache: cache.New(cache.Options{Entries: 1000, Bytes: 1 << 20, MaxStale: time.Hour})})
	pending := func(name string) *resolver.Query {
		t.Helper()
		q := query(t, name, "10.0.0.1")
		q.Received = now
		if _, o := r.Answer(nil, q); o.Kind != resolver.Pending {
			t.Fatalf("%s: %v", name, o.Kind)
		}
		return q
	}
	want := func(q *resolver.Query, kind resolver.Kind, rcode, answers int) {
		t.Helper()
		out, o := r.Shed(nil, q)
		var m dns.Msg
		if err := m.Unpack(out); err != nil {
			t.Fatal(err)
		}
		if o.Kind != kind || m.Rcode != rcode || len(m.Answer) != answers {
			t.Errorf("%v, want %v:\n%v", o.Kind, kind, &m)
		}
	}
	q := query(t, "old.example.", "10.0.0.1")
	q.Received = now
	ask(t, r, q)
	now = now.Add(10 * time.Minute)
	want(pending("old.example."), resolver.Stale, dns.RcodeSuccess, 1)
	want(pending("new.example."), resolver.Shed, dns.RcodeServerFailure, 0)

	q = pending("old.example.")
	r.SetState(newState(t, snapshot(t, r.State().Policy(), "old.example"), upstreamFunc(address)))
	want(q, resolver.Blocked, dns.RcodeNameError, 0)
	now = now.Add(2 * time.Hour)
	r.SetState(newState(t, snapshot(t, r.State().Policy()), upstreamFunc(address)))
	want(pending("old.example."), resolver.Shed, dns.RcodeServerFailure, 0)
}
