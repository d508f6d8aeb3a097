package audit_test

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"rideau/blocklists"
	"rideau/blocklists/compile"
	"rideau/blocklists/format"
	"rideau/blocklists/input"
	"rideau/resolver"
	"rideau/resolver/audit"
	"rideau/resolver/cache"
	"rideau/resolver/device"
	"rideau/resolver/forward"
	"rideau/resolver/upstream"
	"rideau/resolver/upstream/acceptance"
	"rideau/resolver/upstream/member"
	"rideau/resolver/wire"
)

// address is an upstream that answers every question with one address.
type address struct{}

func (address) Exchange(_ context.Context, dst, query []byte) ([]byte, error) {
	q := new(dns.Msg)
	if err := q.Unpack(query); err != nil {
		return dst, err
	}
	r := new(dns.Msg).SetReply(q)
	r.RecursionAvailable = true
	rr, err := dns.NewRR(q.Question[0].Name + " 300 IN A 192.0.2.1")
	if err != nil {
		return dst, err
	}
	r.Answer = append(r.Answer, rr)
	b, err := r.Pack()
	return append(dst, b...), err
}

func (address) Begin(*upstream.Attempt, time.Time) bool { return false }

func (u address) Resume(ctx context.Context, dst, query []byte, _ *upstream.Started) ([]byte, error) {
	return u.Exchange(ctx, dst, query)
}

func (address) Identity() *upstream.Identity { return nil }

// snapshot is a policy with a ban of each kind, whose ids begin with prefix.
func snapshot(t testing.TB, prefix string, prev *blocklists.Snapshot) *blocklists.Snapshot {
	t.Helper()
	p := blocklists.Policy{
		Groups:     []blocklists.Group{{ID: prefix + "group", Clients: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")}}},
		Exceptions: []blocklists.Exception{{ID: prefix + "exception", Ticket: "T-1", Approver: "somebody", Lists: []string{prefix + "excepted"}, Groups: []string{"all"}}},
	}
	list := func(id string, names ...string) {
		p.Lists = append(p.Lists, input.List{ID: prefix + id, Source: id, Format: format.Plain, Unguarded: true, Open: func() (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(strings.Join(names, "\n"))), nil
		}})
	}
	ban := func(id string, with func(*blocklists.Ban)) {
		b := blocklists.Ban{ID: prefix + id + "-ban", TitleEN: "Title", EDE: 15, TTL: 30 * time.Second, Groups: []string{"all"}, Lists: []string{prefix + id}}
		if with != nil {
			with(&b)
		}
		p.Bans = append(p.Bans, b)
	}
	list("banned", "wechat.com", "ok.wechat.com")
	list("watched", "watched.net")
	list("proxy", "proxy.net")
	list("excepted", "ok.wechat.com")
	ban("banned", nil)
	ban("watched", func(b *blocklists.Ban) { b.Mode = blocklists.Monitor })
	ban("proxy", func(b *blocklists.Ban) { b.Bypass = true })
	s, _, err := compile.Load(context.Background(), p, prev, compile.Options{Now: time.Now(), Slots: new(blocklists.Slots)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type world struct {
	t        testing.TB
	log      *audit.Log
	resolver *resolver.Resolver
}

func newWorld(t testing.TB) *world {
	t.Helper()
	st, err := resolver.NewState(resolver.StateOptions{Policy: snapshot(t, "", nil), Upstream: address{}, UDPSize: 1232,
		Clients: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, log: audit.New()}
	w.resolver = resolver.New(resolver.Options{State: st, RefusedPerSecond: 1 << 30, Audit: w.log, Devices: device.New(device.Options{}),
		Cache: cache.New(cache.Options{Entries: 1000, Bytes: 1 << 20, MaxStale: time.Hour})})
	return w
}

func (w *world) query(name, client string) *resolver.Query {
	w.t.Helper()
	b, err := new(dns.Msg).SetQuestion(name, dns.TypeA).Pack()
	if err != nil {
		w.t.Fatal(err)
	}
	return &resolver.Query{Msg: b, Client: netip.MustParseAddr(client), Received: time.Now()}
}

// ask answers a query as a listener does, to its end.
func (w *world) ask(c *resolver.Counters, q *resolver.Query) {
	_, o := w.resolver.Answer(nil, q)
	if o.Kind == resolver.Pending {
		_, o = w.resolver.Resolve(context.Background(), nil, q)
	}
	c.Observe(q, o, time.Microsecond)
}

// answer is Answer, and Observe whatever came of it.
func (w *world) answer(c *resolver.Counters, q *resolver.Query) {
	_, o := w.resolver.Answer(nil, q)
	c.Observe(q, o, time.Microsecond)
}

// texts is all that a reader has, once the log is drained.
func (w *world) texts(r *audit.Reader) (all []string) {
	w.log.Drain()
	r.Read(func(rec *audit.Record) {
		s := fmt.Sprintf("%s %s %s %d %s %s %d %q %v", rec.Client, rec.Group, wire.NameString(rec.Name()), rec.Type, rec.Transport, rec.Outcome, rec.Rcode, rec.Ban, rec.Monitored)
		if rec.Ban != "" {
			s += " " + rec.List
			if rule := rec.Rule(); rule != nil {
				s += " " + wire.NameString(rule)
			}
		}
		if x := rec.Exception; x != nil {
			s += fmt.Sprint(" ", *x)
		}
		if rec.Route != "" {
			s += " " + rec.Route
		}
		if rec.Upstream != "" {
			s += " by " + rec.Upstream
		}
		all = append(all, s)
	})
	return all
}

func same(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("%s: got\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// TestEveryQuery: each query that ended is recorded with what became of it, and
// only while a reader wants it.
func TestEveryQuery(t *testing.T) {
	w := newWorld(t)
	c := w.resolver.Stats().NewCounters()
	w.ask(c, w.query("www.canada.ca.", "10.0.0.1"))
	w.ask(c, w.query("www.watched.net.", "10.0.0.1"))
	r := w.log.NewReader(100)
	w.answer(c, w.query("www.canada.ca.", "10.0.0.1"))
	same(t, "before it is wanted", w.texts(r))
	r.Want(resolver.Finished)
	after := w.resolver.Stats().NewCounters()
	w.answer(c, w.query("a.Web.WeChat.com.", "10.0.0.1"))
	w.answer(c, w.query("www.Canada.ca.", "fd00::1"))
	w.answer(c, w.query("miss.example.", "10.0.0.1")) // it has not ended
	w.ask(c, w.query("miss.example.", "10.0.0.1"))
	w.answer(c, w.query("x.ok.wechat.com.", "10.0.0.1"))
	w.ask(c, w.query("x.ok.wechat.com.", "10.0.0.1"))
	w.answer(after, w.query("www.watched.net.", "10.9.0.1"))
	w.answer(after, w.query("localhost.", "10.0.0.1"))
	w.answer(after, w.query("proxy.net.", "10.0.0.1"))
	w.answer(after, &resolver.Query{Msg: []byte("no query"), Client: w.query("x.", "10.0.0.1").Client})
	same(t, "all", w.texts(r),
		`10.0.0.1 all a.web.wechat.com. 1 udp blocked 3 "banned-ban" false banned wechat.com.`,
		`fd00::1 all www.canada.ca. 1 udp denied 5 "" false`,
		`10.0.0.1 all miss.example. 1 udp forwarded 0 "" false default`,
		`10.0.0.1 all x.ok.wechat.com. 1 udp forwarded 0 "banned-ban" false excepted ok.wechat.com. {exception T-1 somebody} default`,
		`10.9.0.1 group www.watched.net. 1 udp cached 0 "watched-ban" true watched watched.net.`,
		`10.0.0.1 all localhost. 1 udp special 0 "" false`,
		`10.0.0.1 all proxy.net. 1 udp blocked 3 "proxy-ban" false proxy proxy.net.`)
	if r.Lost() != 0 {
		t.Errorf("%d lost", r.Lost())
	}
	r.Want(0)
	w.answer(c, w.query("www.canada.ca.", "10.0.0.1"))
	same(t, "after it was wanted", w.texts(r))
}

// TestMarks: a reader gets what it wants and nothing else, whatever others
// want.
func TestMarks(t *testing.T) {
	w := newWorld(t)
	c := w.resolver.Stats().NewCounters()
	events, all := w.log.NewReader(100), w.log.NewReader(100)
	events.Want(resolver.WouldBlock | resolver.Excepted | resolver.Bypass)
	ask := func() {
		for _, name := range []string{"www.canada.ca.", "wechat.com.", "www.watched.net.", "ok.wechat.com.", "proxy.net.", "proxy.net."} {
			w.ask(c, w.query(name, "10.0.0.7"))
		}
	}
	ask()
	want := []string{
		`10.0.0.7 all www.watched.net. 1 udp forwarded 0 "watched-ban" true watched watched.net. default`,
		`10.0.0.7 all ok.wechat.com. 1 udp forwarded 0 "banned-ban" false excepted ok.wechat.com. {exception T-1 somebody} default`,
		`10.0.0.7 all proxy.net. 1 udp blocked 3 "proxy-ban" false proxy proxy.net.`,
	}
	same(t, "events", w.texts(events), want...)
	same(t, "all, before they are wanted", w.texts(all))
	all.Want(resolver.Finished)
	ask()
	if got := w.texts(all); len(got) != 6 {
		t.Errorf("%d records: %q", len(got), got)
	}
	// The device that tries to go round was reported lately.
	got := w.texts(events)
	for i := range got {
		got[i] = strings.Replace(got[i], "cached 0", "forwarded 0", 1)
		if !strings.HasSuffix(got[i], " default") {
			got[i] += " default"
		}
	}
	same(t, "events again", got, want[:2]...)
}

// TestReload: records of queries from before a reload have the names from
// before it, whenever they are read.
func TestReload(t *testing.T) {
	w := newWorld(t)
	c := w.resolver.Stats().NewCounters()
	r := w.log.NewReader(100)
	r.Want(resolver.Banned)
	var want []string
	for i := range 9 {
		prefix := fmt.Sprintf("p%d-", i)
		w.resolver.SetState(w.resolver.State().WithPolicy(snapshot(t, prefix, w.resolver.State().Policy())))
		w.answer(c, w.query("wechat.com.", "10.9.0.1"))
		want = append(want, fmt.Sprintf(`10.9.0.1 %sgroup wechat.com. 1 udp blocked 3 "%[1]sbanned-ban" false %[1]sbanned wechat.com.`, prefix))
	}
	same(t, "after reloads", w.texts(r), want...)
}

// TestRoutes: a record has the route of its query, and if a reload takes that
// away while the query waits, the route of afterwards.
func TestRoutes(t *testing.T) {
	w := newWorld(t)
	c := w.resolver.Stats().NewCounters()
	r := w.log.NewReader(100)
	r.Want(resolver.Finished)
	plain := w.resolver.State()
	routed, err := resolver.NewState(resolver.StateOptions{Policy: plain.Policy(), Upstream: address{}, UDPSize: 1232,
		Clients: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		Routes:  []forward.Route{{Zones: []string{"corp.example", "10.in-addr.arpa"}, Upstream: address{}}}})
	if err != nil {
		t.Fatal(err)
	}
	w.resolver.SetState(routed)
	w.ask(c, w.query("host.corp.example.", "10.0.0.1"))
	q := w.query("other.corp.example.", "10.0.0.1")
	if _, o := w.resolver.Answer(nil, q); o.Kind != resolver.Pending {
		t.Fatalf("%+v", o)
	}
	w.resolver.SetState(plain)
	_, o := w.resolver.Resolve(context.Background(), nil, q)
	c.Observe(q, o, time.Microsecond)
	same(t, "routes", w.texts(r),
		`10.0.0.1 all host.corp.example. 1 udp forwarded 0 "" false corp.example`,
		`10.0.0.1 all other.corp.example. 1 udp forwarded 0 "" false default`)
}

// TestRecordingAllocatesNothing: neither with nor without a reader.
func TestRecordingAllocatesNothing(t *testing.T) {
	w := newWorld(t)
	c := w.resolver.Stats().NewCounters()
	r := w.log.NewReader(100)
	dst := make([]byte, 0, 4096)
	for _, want := range []resolver.Marks{0, resolver.Finished} {
		r.Want(want)
		for _, name := range []string{"a.Web.WeChat.com.", "www.watched.net.", "www.canada.ca.", "ok.wechat.com.", "proxy.net."} {
			w.ask(c, w.query(name, "10.0.0.1"))
			q := w.query(name, "10.0.0.1")
			if n := testing.AllocsPerRun(200, func() {
				_, o := w.resolver.Answer(dst, q)
				c.Observe(q, o, time.Microsecond)
				c.Record(q, o)
			}); n != 0 {
				t.Errorf("%s, wanted %b: %v allocations", name, want, n)
			}
			w.log.Drain() // from now on there are chunks to use again
		}
	}
}

// TestLoss: what neither a ring nor a queue takes is counted, for the readers
// that wanted it.
func TestLoss(t *testing.T) {
	w := newWorld(t)
	c := w.resolver.Stats().NewCounters()
	few, many, other := w.log.NewReader(10), w.log.NewReader(1<<20), w.log.NewReader(10)
	few.Want(resolver.Banned)
	many.Want(resolver.Finished)
	other.Want(resolver.Excepted)
	q := w.query("a.Web.WeChat.com.", "10.0.0.1")
	const queries = 40000
	for range queries {
		w.answer(c, q)
	}
	w.log.Drain()
	for _, r := range []*audit.Reader{few, many} {
		kept := 0
		r.Read(func(*audit.Record) { kept++ })
		if r.Lost() == 0 || uint64(kept)+r.Lost() != queries {
			t.Errorf("%d kept and %d lost of %d", kept, r.Lost(), queries)
		}
	}
	if other.Lost() != 0 {
		t.Errorf("%d lost of a reader that wanted none of them", other.Lost())
	}
}

// TestLongNames: names of the maximum length are kept whole, and thousands of
// them between two readings.
func TestLongNames(t *testing.T) {
	w := newWorld(t)
	c := w.resolver.Stats().NewCounters()
	r := w.log.NewReader(1 << 20)
	r.Want(resolver.Banned)
	const queries = 4000
	name := func(i int) string {
		label := strings.Repeat("a", 63) + "."
		return fmt.Sprintf("%04d", i) + strings.Repeat("b", 46) + "." + label + label + label + "wechat.com."
	}
	for i := range queries {
		w.answer(c, w.query(name(i), "10.0.0.1"))
	}
	w.log.Drain()
	i := 0
	r.Read(func(rec *audit.Record) {
		if got := wire.NameString(rec.Name()); got != name(i) || len(rec.Name()) != wire.MaxName {
			t.Fatalf("record %d has the name %s of %d octets", i, got, len(rec.Name()))
		}
		i++
	})
	if i != queries || r.Lost() != 0 {
		t.Errorf("%d records and %d lost of %d", i, r.Lost(), queries)
	}
}

// TestRun: records reach a reader soon after its query, and all of them do by
// the time that Run returns, with any number of workers.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.log.NewReader(1 << 20)
		r.Want(resolver.Finished)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { w.log.Run(ctx) })
		c := w.resolver.Stats().NewCounters()
		began := time.Now()
		w.answer(c, w.query("wechat.com.", "10.0.0.1"))
		<-r.Ready()
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("a record took %v", took)
		}
		got := 0
		count := func(*audit.Record) { got++ }
		r.Read(count)
		const workers, queries = 4, 3000
		var working sync.WaitGroup
		for range workers {
			working.Go(func() {
				c := w.resolver.Stats().NewCounters()
				q := w.query("wechat.com.", "10.0.0.1")
				for range queries {
					w.answer(c, q)
				}
			})
		}
		working.Wait()
		cancel()
		running.Wait()
		r.Read(count)
		if want := 1 + workers*queries; got != want {
			t.Errorf("%d records of %d", got, want)
		}
	})
}

// BenchmarkObserve is what the end of a query costs beside its answer.
func BenchmarkObserve(b *testing.B) {
	for _, want := range []resolver.Marks{0, resolver.WouldBlock, resolver.Finished} {
		b.Run(fmt.Sprintf("want=%05b", want), func(b *testing.B) {
			w := newWorld(b)
			c := w.resolver.Stats().NewCounters()
			r := w.log.NewReader(1 << 10)
			r.Want(want)
			q := w.query("wechat.com.", "10.0.0.1")
			_, o := w.resolver.Answer(nil, q)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				c.Observe(q, o, time.Microsecond)
				if n++; n%4096 == 0 && want == resolver.Finished {
					b.StopTimer()
					w.log.Drain()
					r.Read(func(*audit.Record) {})
					b.StartTimer()
				}
			}
		})
	}
}

// answering is a server that answers with a code.
type answering struct {
	address
	addr string
	code int
}

func (u answering) Exchange(_ context.Context, dst, query []byte) ([]byte, error) {
	m := new(dns.Msg)
	if err := m.Unpack(query); err != nil {
		return dst, err
	}
	r := new(dns.Msg).SetReply(m)
	r.RecursionAvailable, r.Rcode = true, u.code
	if rr, err := dns.NewRR(m.Question[0].Name + " 300 IN A 192.0.2.1"); err == nil && u.code == dns.RcodeSuccess {
		r.Answer = append(r.Answer, rr)
	}
	b, err := r.Pack()
	return append(dst, b...), err
}

func (u answering) ExchangeStream(ctx context.Context, dst, query []byte) ([]byte, error) {
	return u.Exchange(ctx, dst, query)
}

func (u answering) Addr() string { return u.addr }

func (answering) Endpoint() *acceptance.Endpoint { return nil }

func (answering) TrustsAD() bool { return false }

func (answering) Mismatches() uint64 { return 0 }

func (answering) Close() {}

// A record has the server whose response was used beside the route. There is none
// where the cache had the answer.
func TestServers(t *testing.T) {
	w := newWorld(t)
	c := w.resolver.Stats().NewCounters()
	r := w.log.NewReader(100)
	r.Want(resolver.Finished)
	group := func(codes ...int) *upstream.Group {
		var servers []member.Server
		for i, code := range codes {
			servers = append(servers, answering{addr: fmt.Sprintf("192.0.2.%d:53", i+1), code: code})
		}
		return upstream.NewGroup("test", upstream.Options{}, servers...)
	}
	st, err := resolver.NewState(resolver.StateOptions{Policy: w.resolver.State().Policy(), UDPSize: 1232,
		Upstream: group(dns.RcodeSuccess, dns.RcodeSuccess), Clients: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		Routes: []forward.Route{
			{Zones: []string{"corp.example"}, Upstream: group(dns.RcodeServerFailure, dns.RcodeSuccess)},
			{Zones: []string{"bad.example"}, Upstream: group(dns.RcodeServerFailure)},
		}})
	if err != nil {
		t.Fatal(err)
	}
	w.resolver.SetState(st)
	for _, name := range []string{"one.example.", "one.example.", "host.corp.example.", "host.bad.example."} {
		w.ask(c, w.query(name, "10.0.0.1"))
	}
	same(t, "servers", w.texts(r),
		`10.0.0.1 all one.example. 1 udp forwarded 0 "" false default by 192.0.2.1:53`,
		`10.0.0.1 all one.example. 1 udp cached 0 "" false`,
		`10.0.0.1 all host.corp.example. 1 udp forwarded 0 "" false corp.example by 192.0.2.2:53`,
		`10.0.0.1 all host.bad.example. 1 udp servfail 2 "" false bad.example by 192.0.2.1:53`)
}
