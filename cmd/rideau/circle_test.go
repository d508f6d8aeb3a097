package main

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// forwarder is a resolver that forwards every query to one address, which may change.
func forwarder(t *testing.T, to func() string) netip.AddrPort {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{PacketConn: c, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		client := dns.Client{Timeout: 2 * time.Second}
		if m, _, err := client.Exchange(q, to()); err == nil {
			w.WriteMsg(m)
		}
	})}
	go s.ActivateAndServe()
	t.Cleanup(func() { s.Shutdown() })
	return netip.MustParseAddrPort(c.LocalAddr().String())
}

const (
	toldLoop = `level=ERROR msg="upstream forwards to this rideau: queries run in a circle"`
)

// TestCircle: two Rideaus that forward to each other say so, once, with the remedy; so do the metrics and /readyz. After a reload that
// breaks the circle they are ready.
func TestCircle(t *testing.T) {
	t.Parallel()
	a, b := newWorld(t), newWorld(t)
	at := freeAddress(t, "127.0.0.1")
	b.config(func(s *settings) { s.upstream = netip.MustParseAddrPort(at) })
	second := start(t, b.dir)
	a.config(func(s *settings) {
		s.listen, s.upstream = []string{at}, netip.MustParseAddrPort(second.dns[0])
	})
	first := start(t, a.dir)
	first.logs(time.Now(), toldLoop+` upstream=`+second.dns[0]+` key=upstream.servers remedy="name another server in upstream.servers, or take this rideau out of what `+second.dns[0]+` forwards to"`)
	if code, body := first.get("/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "upstream.servers: each forwards to this rideau") {
		t.Errorf("/readyz: %d %s", code, body)
	}
	if n := first.metric(`rideau_upstream_loop{upstream="` + second.dns[0] + `"}`); n != 1 {
		t.Errorf("rideau_upstream_loop is %v", n)
	}
	began := time.Now()
	a.config(func(s *settings) { s.listen = []string{at} })
	first.becomes(began, "plain.example", passed)
	if n := first.metric(`rideau_upstream_loop{upstream="` + a.upstream.Addr().String() + `"}`); n != 0 {
		t.Errorf("rideau_upstream_loop is %v", n)
	}
	if code, body := first.get("/readyz"); code != http.StatusOK {
		t.Errorf("/readyz: %d %s", code, body)
	}
	if n := strings.Count(first.stderr.String(), toldLoop); n != 1 {
		t.Errorf("told %d times", n)
	}
}

// TestNoLoopCheck: without upstream.loop_check no server is asked for a name of the check; a reload switches it on.
func TestNoLoopCheck(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	asked := func() (string, bool) {
		for _, q := range w.upstream.Queries() {
			if strings.HasSuffix(strings.ToLower(q.Name), ".loop.example.") {
				return q.Name, true
			}
		}
		return "nothing", false
	}
	w.config(func(s *settings) { s.probe = ", loop_check: false" })
	p := start(t, w.dir)
	p.ask("udp", "plain.example", dns.TypeA) // the check comes with the start, before clients
	if name, yes := asked(); yes {
		t.Errorf("asked for %s", name)
	}
	w.config()
	p.within(time.Now(), "asked for a name of the check", asked)
}

// TestCircleByOthers: a circle by way of another forwarder is found, and a circle of a forwarded zone. A server of a zone that forwards all
// other names to this Rideau is as it should be.
func TestCircleByOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	at := freeAddress(t, "127.0.0.1")
	other := forwarder(t, func() string { return at })
	internal := w.other.Addr() // answers for its zone
	zone := forwarder(t, func() string { return at })
	w.config(func(s *settings) {
		s.listen, s.upstream = []string{at}, other
		s.more = `forward: [{zones: [corp.example], servers: ["` + internal.String() + `"]}, {zones: [lab.example], servers: ["` + zone.String() + `"]}]`
	})
	p := start(t, w.dir)
	p.logs(time.Now(), toldLoop+` upstream=`+other.String()+` key=upstream.servers`)
	p.logs(time.Now(), toldLoop+` upstream=`+zone.String()+` key="the servers of forward for lab.example"`)
	if strings.Contains(p.stderr.String(), toldLoop+` upstream=`+internal.String()) {
		t.Errorf("%v answers for its zone", internal)
	}
	for _, q := range w.other.Queries() {
		if strings.Contains(q.Name, "loop.example") {
			t.Errorf("a server of a zone was asked for %s", q.Name)
		}
	}
}
