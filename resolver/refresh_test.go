package resolver_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver"
	"rideau/resolver/cache"
	"rideau/resolver/cache/existence"
)

// A flood of random names below one that does not exist costs upstream a few
// queries, and nothing is allocated for it.
func TestFloodBelowWhatIsNotThere(t *testing.T) {
	var asked atomic.Int32
	r := newResolver(t, upstreamFunc(func(q *dns.Msg) (*dns.Msg, error) {
		asked.Add(1)
		m := new(dns.Msg).SetRcode(q, dns.RcodeNameError)
		soa, err := dns.NewRR("example.org. 300 IN SOA ns.example.org. host.example.org. 1 3600 600 86400 300")
		m.Ns = append(m.Ns, soa)
		return m, err
	}))
	ask(t, r, query(t, "gone.example.org.", "10.0.0.1"))
	other := query(t, "gone.example.org.", "10.0.0.1")
	other.Msg[len(other.Msg)-14] = byte(dns.TypeAAAA) // before the class and the OPT record
	ask(t, r, other)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 2000 {
		q := query(t, fmt.Sprintf("%x.%x.gone.example.org.", rnd.Uint64(), rnd.Uint32()), "10.0.0.1")
		if m, o := ask(t, r, q); o.Kind != resolver.Cached && i > existence.Evidence || m.Rcode != dns.RcodeNameError {
			t.Fatalf("outcome %v: %v", o.Kind, m)
		}
	}
	if n := asked.Load(); n > 2+existence.Evidence+1 {
		t.Errorf("upstream was asked %d times", n)
	}
	q := query(t, "abc.gone.example.org.", "10.0.0.1")
	buf := make([]byte, 0, 1232)
	if n := testing.AllocsPerRun(100, func() { r.Answer(buf, q) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	q.Received = q.Received.Add(300 * time.Second)
	if _, o := r.Answer(buf, q); o.Kind != resolver.Pending {
		t.Errorf("outcome %v after its time", o.Kind)
	}
}

// A question that upstream does not answer in time, while it answers others, is
// stored as a failure for longer each time; if it answers nothing, it is not.
func TestBackOffOfSilence(t *testing.T) {
	for _, answersOthers := range []bool{true, false} {
		var clock atomic.Int64
		clock.Store(time.Now().UnixNano())
		now := func() time.Time { return time.Unix(0, clock.Load()) }
		var r *resolver.Resolver
		up := upstreamFunc(func(q *dns.Msg) (*dns.Msg, error) {
			if q.Question[0].Name != "dead.example." {
				return address(q)
			}
			clock.Add(int64(time.Second))
			if answersOthers {
				other := query(t, fmt.Sprintf("n%d.example.", clock.Load()), "10.0.0.1")
				other.Received = now()
				ask(t, r, other)
			}
			return nil, errors.New("no answer")
		})
		r = resolver.New(resolver.Options{State: newState(t, snapshot(t, nil), up), Clock: now,
			Cache: cache.New(cache.Options{Entries: 1000, Bytes: 1 << 20, FailureTTL: 5 * time.Second})})
		for i, want := range []int{5, 10, 20} {
			if !answersOthers {
				want = 5
			}
			dead := func() resolver.Kind {
				q := query(t, "dead.example.", "10.0.0.1")
				q.Received = now()
				_, o := r.Answer(nil, q)
				if o.Kind == resolver.Pending {
					r.Resolve(t.Context(), nil, q)
				}
				return o.Kind
			}
			if k := dead(); k != resolver.Pending {
				t.Errorf("others %v, failure %d: %v", answersOthers, i, k)
			}
			clock.Add(int64(want)*int64(time.Second) - 1)
			if k := dead(); k != resolver.Failed {
				t.Errorf("others %v, failure %d: %v just before %d s", answersOthers, i, k, want)
			}
			clock.Add(1)
		}
	}
}

// Refreshes are bounded, and there is never more than one for a question.
func TestRefreshBounds(t *testing.T) {
	const names = 300
	hold := make(chan struct{})
	var asked, background atomic.Int32
	var held atomic.Bool
	up := upstreamFunc(func(q *dns.Msg) (*dns.Msg, error) {
		asked.Add(1)
		if held.Load() {
			background.Add(1)
			<-hold
		}
		return address(q)
	})
	r := resolver.New(resolver.Options{State: newState(t, snapshot(t, nil), up),
		Cache: cache.New(cache.Options{Entries: 1000, Bytes: 1 << 20, PrefetchAfter: 1})})
	var queries []*resolver.Query
	for i := range names {
		q := query(t, fmt.Sprintf("n%d.example.", i), "10.0.0.1")
		ask(t, r, q)
		queries = append(queries, q)
	}
	held.Store(true)
	buf := make([]byte, 0, 1232)
	for range 2 {
		for _, q := range queries {
			q.Received = time.Now().Add(280 * time.Second)
			if _, o := r.Answer(buf, q); o.Kind != resolver.Cached {
				t.Fatalf("outcome %v", o.Kind)
			}
		}
	}
	bound := r.Exchanges().Refreshing()
	ahead, again := r.Exchanges().Refreshes()
	if bound == 0 || bound >= names || ahead != uint64(bound) || again != 0 {
		t.Errorf("%d under way; %d ahead, %d again", bound, ahead, again)
	}
	close(hold)
	for deadline := time.Now().Add(10 * time.Second); r.Exchanges().Refreshing() > 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if n := background.Load(); r.Exchanges().Refreshing() != 0 || n != int32(bound) || asked.Load() != names+n {
		t.Errorf("%d still under way, %d asked in the background", r.Exchanges().Refreshing(), n)
	}
	// A popular answer that does not expire soon costs nothing.
	q := queries[0]
	q.Received = time.Now().Add(time.Second)
	if n := testing.AllocsPerRun(100, func() { r.Answer(buf, q) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
