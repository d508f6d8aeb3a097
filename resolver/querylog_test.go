package resolver_test

import (
	"fmt"
	"testing"
	"time"

	"rideau/resolver"
	"rideau/resolver/wire"
)

// TestQueryLog: each query that ended is logged with what became of it, and
// logging allocates nothing.
func TestQueryLog(t *testing.T) {
	r := newResolver(t, upstreamFunc(address))
	for _, name := range []string{"www.canada.ca.", "www.watched.net."} {
		ask(t, r, query(t, name, "10.0.0.1"))
	}
	stats := r.Stats()
	before := stats.NewCounters()
	dst := make([]byte, 0, 4096)
	observe := func(c *resolver.Counters, q *resolver.Query) {
		_, o := r.Answer(dst, q)
		c.Observe(q, o, time.Microsecond)
	}
	observe(before, query(t, "www.canada.ca.", "10.0.0.1"))
	var got []string
	read := func() {
		got = nil
		stats.LoggedQueries(func(q *resolver.LoggedQuery) {
			got = append(got, fmt.Sprintf("%s %s %s %d %s %s %q %v", q.Client, q.Group, wire.NameString(q.Name), q.Type, q.Transport, q.Kind, q.Ban, q.Monitored))
		})
	}
	if read(); got != nil {
		t.Errorf("logged before it was asked for: %q", got)
	}
	stats.LogQueries(true)
	after := stats.NewCounters()
	observe(before, query(t, "a.Web.WeChat.com.", "10.0.0.1"))
	observe(before, query(t, "www.Canada.ca.", "fd00::1"))
	observe(before, query(t, "miss.example.", "10.0.0.1")) // it has not ended
	observe(after, query(t, "www.watched.net.", "10.9.0.1"))
	observe(after, query(t, "localhost.", "10.0.0.1"))
	observe(after, &resolver.Query{Msg: []byte("no query"), Client: query(t, "x.", "10.0.0.1").Client})
	read()
	for i, want := range []string{`10.0.0.1 all a.web.wechat.com. 1 udp blocked "banned" false`, `fd00::1 all www.canada.ca. 1 udp denied "" false`,
		`10.9.0.1 g www.watched.net. 1 udp cached "watched" true`, `10.0.0.1 all localhost. 1 udp special "" false`} {
		if i >= len(got) || got[i] != want {
			t.Fatalf("logged %q, want %q for %d", got, want, i)
		}
	}
	if len(got) != 4 || stats.QueriesNotLogged() != 0 {
		t.Errorf("%d queries, %d lost", len(got), stats.QueriesNotLogged())
	}

	q := query(t, "a.Web.WeChat.com.", "10.0.0.1")
	if n := testing.AllocsPerRun(200, func() { observe(before, q) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	read()
	kept := 0
	const many = 40000
	for range many {
		observe(before, q)
	}
	stats.LoggedQueries(func(*resolver.LoggedQuery) { kept++ })
	if lost := stats.QueriesNotLogged(); lost == 0 || uint64(kept)+lost != many {
		t.Errorf("%d kept and %d lost of %d", kept, lost, many)
	}

	stats.LogQueries(false)
	observe(before, q)
	if read(); got != nil {
		t.Errorf("logged after its end: %q", got)
	}
}
