package setup

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"

	"rideau/config"
	"rideau/resolver/wire"
)

// counted starts a server on a free port that answers and counts queries.
func counted(t *testing.T) (addr string, asked *atomic.Int64) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked = new(atomic.Int64)
	s := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		asked.Add(1)
		r := new(dns.Msg).SetReply(q)
		r.RecursionAvailable = true // otherwise an empty response is none
		w.WriteMsg(r)
	})}
	var wg sync.WaitGroup
	wg.Go(func() { s.ActivateAndServe() })
	t.Cleanup(func() { conn.Close(); wg.Wait() })
	return conn.LocalAddr().String(), asked
}

// TestGroupOptions: the settings of upstream and of a forward entry reach their
// groups; a forward entry inherits what it does not set.
func TestGroupOptions(t *testing.T) {
	a, nA := counted(t)
	b, nB := counted(t)
	parse := func(upstream, forward string) *config.Config {
		c, err := config.Parse("test.yaml", fmt.Appendf(nil, `
upstream: {servers: [%q, %q], hedge: false, %s}
forward: [{zones: [corp.example], servers: [%q, %q], %s}]
bans: []
`, a, b, upstream, a, b, forward))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	build := func(c *config.Config, old *Upstreams) *Upstreams {
		p, err := PlanUpstreams(c, nil)
		if err != nil {
			t.Fatal(err)
		}
		u, err := NewUpstreams(c, p, old, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	shares := func(u *Upstreams, group int) string {
		t.Helper()
		nA.Store(0)
		nB.Store(0)
		var name wire.Name
		if err := name.SetText("www.example.org"); err != nil {
			t.Fatal(err)
		}
		for range 40 {
			if _, err := u.Groups[group].Exchange(context.Background(), nil, wire.AppendQuery(nil, 1, &name, wire.TypeA, wire.ClassIN, false, false, true, 1232)); err != nil {
				t.Fatal(err)
			}
		}
		return fmt.Sprint(nA.Load(), ":", nB.Load())
	}
	for _, c := range []struct{ upstream, forward, first, second string }{
		{"", "", "40:0", "40:0"},
		{"strategy: weighted", "", "20:20", "20:20"},
		{"strategy: weighted, weights: [3, 1]", "", "30:10", "20:20"},
		{"strategy: weighted, weights: [3, 1]", "weights: [1, 4]", "30:10", "8:32"},
		{"strategy: weighted", "strategy: ordered", "20:20", "40:0"},
	} {
		u := build(parse(c.upstream, c.forward), nil)
		if first, second := shares(u, 0), shares(u, 1); first != c.first || second != c.second {
			t.Errorf("upstream: {%s}, forward: {%s}: asked %s and %s, want %s and %s", c.upstream, c.forward, first, second, c.first, c.second)
		}
		u.Close()
	}
	one := build(parse("strategy: weighted", ""), nil)
	if build(parse("strategy: weighted", ""), one) != one {
		t.Error("a reload without a change made new groups")
	}
	for _, c := range []string{"strategy: ordered", "strategy: weighted, weights: [1, 2]", "strategy: weighted, max_in_flight: 7"} {
		if build(parse(c, "strategy: weighted, max_in_flight: 2000"), one) == one {
			t.Errorf("a reload to %s changed nothing", c)
		}
	}
}
