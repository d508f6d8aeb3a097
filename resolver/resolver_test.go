package resolver_test

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"rideau/blocklists"
	"rideau/blocklists/compile"
	"rideau/blocklists/extratext"
	"rideau/blocklists/format"
	"rideau/blocklists/input"
	"rideau/resolver"
	"rideau/resolver/cache"
	"rideau/resolver/special"
	"rideau/resolver/upstream"
)

// upstreamFunc is an upstream that runs in the test's process.
type upstreamFunc func(*dns.Msg) (*dns.Msg, error)

func (f upstreamFunc) Exchange(_ context.Context, dst, query []byte) ([]byte, error) {
	m := new(dns.Msg)
	if err := m.Unpack(query); err != nil {
		return dst, err
	}
	r, err := f(m)
	if err != nil {
		return dst, err
	}
	b, err := r.Pack()
	return append(dst, b...), err
}

func (f upstreamFunc) Begin(*upstream.Attempt, time.Time) bool { return false }

func (f upstreamFunc) Resume(ctx context.Context, dst, query []byte, _ *upstream.Started) ([]byte, error) {
	return f.Exchange(ctx, dst, query)
}

func (f upstreamFunc) Identity() *upstream.Identity { return nil }

// address answers every A question.
func address(q *dns.Msg) (*dns.Msg, error) {
	r := new(dns.Msg).SetReply(q)
	r.RecursionAvailable = true
	rr, err := dns.NewRR(q.Question[0].Name + " 300 IN A 192.0.2.1")
	r.Answer = append(r.Answer, rr)
	return r, err
}

func snapshot(t testing.TB, prev *blocklists.Snapshot, names ...string) *blocklists.Snapshot {
	t.Helper()
	list := func(id string, lines ...string) input.List {
		return input.List{ID: id, Source: id, Format: format.Plain, Unguarded: true, Open: func() (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(strings.Join(lines, "\n"))), nil
		}}
	}
	ban := func(id string) blocklists.Ban {
		return blocklists.Ban{ID: id, TitleEN: "Title", EDE: 15, TTL: 30 * time.Second, Groups: []string{"all"}, Lists: []string{id}}
	}
	watch := ban("watched")
	watch.Mode = blocklists.Monitor
	s, _, err := compile.Load(context.Background(), blocklists.Policy{
		Groups: []blocklists.Group{{ID: "g", Clients: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")}}},
		Lists:  []input.List{list("banned", append(names, "wechat.com")...), list("watched", "watched.net")},
		Bans:   []blocklists.Ban{ban("banned"), watch},
		Errors: extratext.Structured{Version: extratext.Draft25, Option: 65001},
	}, prev, compile.Options{Now: time.Now(), Slots: new(blocklists.Slots)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newState(t testing.TB, p *blocklists.Snapshot, up upstream.Upstream) *resolver.State {
	t.Helper()
	here, err := special.NewPresence("here.wechat.com", "on", netip.Addr{}, netip.Addr{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := resolver.NewState(resolver.StateOptions{Policy: p, Upstream: up, UDPSize: 1232, Presence: here,
		Clients: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newResolver(t testing.TB, up upstream.Upstream) *resolver.Resolver {
	t.Helper()
	return resolver.New(resolver.Options{State: newState(t, snapshot(t, nil), up), RefusedPerSecond: 1 << 30,
		Cache: cache.New(cache.Options{Entries: 1000, Bytes: 1 << 20, MaxStale: time.Hour})})
}

func query(t testing.TB, name, client string) *resolver.Query {
	t.Helper()
	m := new(dns.Msg).SetQuestion(name, dns.TypeA)
	m.SetEdns0(1232, false)
	if strings.HasPrefix(name, "structured.") { // ask for a structured error
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Code: 65001}}
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return &resolver.Query{Msg: b, Client: netip.MustParseAddr(client), Received: time.Now()}
}

// ask answers a query as a listener does, and parses the response.
func ask(t testing.TB, r *resolver.Resolver, q *resolver.Query) (*dns.Msg, resolver.Outcome) {
	t.Helper()
	out, o := r.Answer(nil, q)
	if o.Kind == resolver.Pending {
		out, o = r.Resolve(context.Background(), nil, q)
	}
	if len(out) == 0 {
		return nil, o
	}
	m := new(dns.Msg)
	if err := m.Unpack(out); err != nil {
		t.Fatal(err)
	}
	return m, o
}

// TestAnswerAllocatesNothing: a query that is answered at once allocates nothing.
func TestAnswerAllocatesNothing(t *testing.T) {
	r := newResolver(t, upstreamFunc(address))
	ask(t, r, query(t, "www.canada.ca.", "10.0.0.1"))
	ask(t, r, query(t, "www.watched.net.", "10.0.0.1"))
	counters := r.Stats().NewCounters()
	dst := make([]byte, 0, 4096)
	for _, c := range []struct {
		what, name, client string
		want               resolver.Kind
	}{
		{"policy hit", "a.b.Web.WeChat.com.", "10.0.0.1", resolver.Blocked},
		{"policy hit, structured", "structured.wechat.com.", "10.0.0.1", resolver.Blocked},
		{"cache hit", "www.Canada.ca.", "10.0.0.1", resolver.Cached},
		{"cache hit in a group", "www.canada.ca.", "10.9.0.1", resolver.Cached},
		{"monitored cache hit", "www.watched.net.", "10.0.0.1", resolver.Cached},
		{"refused client", "www.canada.ca.", "192.0.2.1", resolver.Denied},
		{"name of this resolver", "here.wechat.com.", "10.0.0.1", resolver.Special},
		{"special name", "localhost.", "10.0.0.1", resolver.Special},
		{"miss", "miss.example.", "10.0.0.1", resolver.Pending},
	} {
		q := query(t, c.name, c.client)
		if _, o := r.Answer(dst, q); o.Kind != c.want {
			t.Errorf("%s: %v, want %v", c.what, o.Kind, c.want)
		}
		if n := testing.AllocsPerRun(200, func() {
			_, o := r.Answer(dst, q)
			counters.Observe(q, o, time.Microsecond)
		}); n != 0 {
			t.Errorf("%s: %v allocations", c.what, n)
		}
	}
	// The first query for a cached answer after a reload applies the policy to it.
	r.SetState(r.State().WithPolicy(snapshot(t, r.State().Policy(), "other.example")))
	q := query(t, "www.canada.ca.", "10.0.0.1")
	if n := testing.AllocsPerRun(1, func() { r.Answer(dst, q) }); n != 0 {
		t.Errorf("examining a cached answer: %v allocations", n)
	}
}

// TestOneExchange: identical questions share one exchange, and another question
// does not.
func TestOneExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		gate := make(chan struct{})
		r := newResolver(t, upstreamFunc(func(q *dns.Msg) (*dns.Msg, error) {
			asked.Add(1)
			<-gate
			return address(q)
		}))
		var wg sync.WaitGroup
		for i := range 50 {
			name := "same.example."
			if i == 0 {
				name = "other.example."
			}
			q := query(t, name, "10.0.0.1")
			if out, o := r.Answer(nil, q); len(out) > 0 || o.Kind != resolver.Pending {
				t.Fatalf("%v", o)
			}
			wg.Go(func() {
				out, o := r.Resolve(context.Background(), nil, q)
				if len(out) == 0 || o.Kind != resolver.Forwarded {
					t.Errorf("%v", o)
				}
			})
		}
		synctest.Wait() // all of them wait for an answer
		close(gate)
		wg.Wait()
		if n := asked.Load(); n != 2 {
			t.Errorf("upstream was asked %d times", n)
		}
	})
}

// TestBanWhilePending: a ban that comes into force while a query waits applies to
// it, whether it names the question or a name in the response.
func TestBanWhilePending(t *testing.T) {
	for _, banned := range []string{"late.example", "target.example"} {
		gate := make(chan struct{})
		r := newResolver(t, upstreamFunc(func(q *dns.Msg) (*dns.Msg, error) {
			<-gate
			m, err := address(q)
			cname, _ := dns.NewRR("late.example. 300 IN CNAME target.example.")
			m.Answer[0].Header().Name = "target.example."
			m.Answer = append([]dns.RR{cname}, m.Answer...)
			return m, err
		}))
		q := query(t, "late.example.", "10.0.0.1")
		r.Answer(nil, q)
		done := make(chan resolver.Outcome)
		go func() {
			_, o := r.Resolve(context.Background(), nil, q)
			done <- o
		}()
		r.SetState(r.State().WithPolicy(snapshot(t, r.State().Policy(), banned)))
		close(gate)
		if o := <-done; o.Kind != resolver.Blocked {
			t.Errorf("%s: %v", banned, o.Kind)
		}
		if _, o := ask(t, r, query(t, "late.example.", "10.0.0.1")); o.Kind != resolver.Blocked {
			t.Errorf("%s: then %v", banned, o.Kind)
		}
	}
}

// TestPanicBecomesServfail: a panic in one exchange costs one SERVFAIL.
func TestPanicBecomesServfail(t *testing.T) {
	r := newResolver(t, upstreamFunc(func(*dns.Msg) (*dns.Msg, error) { panic("fault") }))
	m, o := ask(t, r, query(t, "www.canada.ca.", "10.0.0.1"))
	if m == nil || m.Rcode != dns.RcodeServerFailure || o.Kind != resolver.Failed || r.Panics() != 1 {
		t.Errorf("%v, %v, %d panics", m, o, r.Panics())
	}
}

// TestContextEnds: a query whose context ends does not wait for upstream.
func TestContextEnds(t *testing.T) {
	gate := make(chan struct{})
	defer close(gate)
	r := newResolver(t, upstreamFunc(func(*dns.Msg) (*dns.Msg, error) { <-gate; return nil, errors.New("late") }))
	q := query(t, "www.canada.ca.", "10.0.0.1")
	r.Answer(nil, q)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if out, o := r.Resolve(ctx, nil, q); o.Kind != resolver.Failed || len(out) == 0 {
		t.Errorf("%v", o)
	}
}

// TestRefusalsAreBounded: beyond the budget, clients that are not allowed get no
// response.
func TestRefusalsAreBounded(t *testing.T) {
	r := resolver.New(resolver.Options{State: newState(t, snapshot(t, nil), nil), RefusedPerSecond: 3, Cache: cache.New(cache.Options{})})
	q := query(t, "web.wechat.com.", "192.0.2.1")
	answered := 0
	for i := range 30 {
		q.Received = time.Unix(1000+int64(i/10), 0)
		if out, _ := r.Answer(nil, q); len(out) > 0 {
			answered++
		}
	}
	if answered != 9 {
		t.Errorf("%d answers in three seconds, want 9", answered)
	}
}

func BenchmarkAnswer(b *testing.B) {
	r := newResolver(b, upstreamFunc(address))
	ask(b, r, query(b, "www.canada.ca.", "10.0.0.1"))
	dst := make([]byte, 0, 4096)
	for what, name := range map[string]string{"blocked": "web.wechat.com.", "cached": "www.canada.ca.", "miss": "miss.example."} {
		q := query(b, name, "10.0.0.1")
		b.Run(what, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.Answer(dst, q)
			}
		})
	}
}
