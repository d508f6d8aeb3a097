package forward_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/blocklists"
	"rideau/blocklists/compile"
	"rideau/blocklists/format"
	"rideau/blocklists/input"
	"rideau/resolver/batch"
	"rideau/resolver/cache"
	"rideau/resolver/forward"
	"rideau/resolver/steady"
	"rideau/resolver/upstream"
	"rideau/resolver/upstream/do53"
	"rideau/resolver/upstream/mux"
	"rideau/resolver/wire"
)

const patience = 10 * time.Second

var start = time.Unix(1_700_000_000, 0)

// policy bans banned.example.
func policy(t *testing.T, prev *blocklists.Snapshot) *blocklists.Snapshot {
	t.Helper()
	s, _, err := compile.Load(context.Background(), blocklists.Policy{
		Groups: []blocklists.Group{{ID: "g", Clients: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")}}},
		Lists: []input.List{{ID: "l", Source: "l", Format: format.Plain, Unguarded: true, Open: func() (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader("banned.example")), nil
		}}},
		Bans: []blocklists.Ban{{ID: "b", TitleEN: "Title", EDE: 15, TTL: 30 * time.Second, Groups: []string{"all"}, Lists: []string{"l"}}},
	}, prev, compile.Options{Now: start, Slots: new(blocklists.Slots)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// answers has, by the first label of a name, what the server responds.
func answers() map[string]func(r *dns.Msg) {
	rr := func(text string) dns.RR {
		r, err := dns.NewRR(text)
		if err != nil {
			panic(err)
		}
		return r
	}
	soa := "example. 300 IN SOA a. b. 1 2 3 4 60"
	return map[string]func(r *dns.Msg){
		"plain": func(r *dns.Msg) { r.Answer = []dns.RR{rr("plain.example. 300 IN A 192.0.2.1")} },
		"two": func(r *dns.Msg) {
			r.Answer = []dns.RR{rr("two.example. 300 IN A 192.0.2.1"), rr("two.example. 20 IN A 192.0.2.2")}
		},
		"nodata":   func(r *dns.Msg) { r.Ns = []dns.RR{rr(soa)} },
		"nxdomain": func(r *dns.Msg) { r.Rcode, r.Ns = dns.RcodeNameError, []dns.RR{rr(soa)} },
		"unrelated": func(r *dns.Msg) {
			r.Answer = []dns.RR{rr("unrelated.example. 300 IN A 192.0.2.1"), rr("bank.example. 300 IN A 192.0.2.66")}
		},
		"other": func(r *dns.Msg) { r.Answer = []dns.RR{rr("bank.example. 300 IN A 192.0.2.66")} },
		"alias": func(r *dns.Msg) {
			r.Answer = []dns.RR{rr("alias.example. 300 IN CNAME plain.example."), rr("plain.example. 300 IN A 192.0.2.1")}
		},
		"breaksoff": func(r *dns.Msg) {
			r.RecursionAvailable = false
			r.Answer = []dns.RR{rr("breaksoff.example. 300 IN CNAME plain.example.")}
		},
		"leads": func(r *dns.Msg) {
			r.Answer = []dns.RR{rr("leads.example. 300 IN CNAME banned.example."), rr("banned.example. 300 IN A 192.0.2.1")}
		},
		"servfail": func(r *dns.Msg) {
			r.Rcode = dns.RcodeServerFailure
			r.SetEdns0(1232, false)
			r.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: 6}}
		},
		"refused": func(r *dns.Msg) { r.Rcode = dns.RcodeRefused },
		"notauth": func(r *dns.Msg) { r.Rcode = dns.RcodeNotAuth },
		"yxdomain": func(r *dns.Msg) {
			r.Rcode = dns.RcodeYXDomain
			r.Answer = []dns.RR{&dns.DNAME{Hdr: dns.RR_Header{Name: "example.", Rrtype: dns.TypeDNAME, Class: dns.ClassINET, Ttl: 60}, Target: "long.example."}}
		},
	}
}

// serve answers at an address of its own until the test ends.
func serve(t *testing.T) netip.AddrPort {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	known := answers()
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			var q dns.Msg
			if q.Unpack(buf[:n]) != nil {
				continue
			}
			r := new(dns.Msg).SetReply(&q)
			r.RecursionAvailable = true
			label, _, _ := strings.Cut(q.Question[0].Name, ".")
			if edit := known[label]; edit != nil {
				edit(r)
			}
			if b, err := r.Pack(); err == nil {
				conn.WriteToUDPAddrPort(b, from)
			}
		}
	}()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// fixture is a server, a cache, and the exchanges with it. All of example. goes
// there by a route.
type fixture struct {
	*forward.Exchanges
	group   *upstream.Group
	routing *forward.Routing
	cache   *cache.Cache
}

func newFixture(t *testing.T, server netip.AddrPort) *fixture {
	t.Helper()
	g := upstream.NewGroup("g", upstream.Options{NoHedge: true, AttemptTimeout: patience, Timeout: patience}, do53.New(server, do53.Options{}))
	r, err := forward.NewRouting(forward.Options{Policy: policy(t, nil), Upstream: g, UDPSize: 1232,
		Routes: []forward.Route{{Zones: []string{"example"}, Upstream: g}}})
	if err != nil {
		t.Fatal(err)
	}
	c := cache.New(cache.Options{Entries: 1000, Bytes: 1 << 20})
	f := &fixture{forward.New(c, steady.New(start), func() time.Time { return start }, func(p any) { t.Errorf("panic: %v", p) }), g, r, c}
	f.SetRouting(r)
	return f
}

func (f *fixture) question(t *testing.T, name string) forward.Question {
	t.Helper()
	q := forward.Question{Name: new(wire.Name), Type: wire.TypeA, Class: wire.ClassIN}
	if err := q.Name.SetText(name); err != nil {
		t.Fatal(err)
	}
	_, q.ZoneLabels, q.Route = f.routing.Zone(q.Name, q.Type)
	return q
}

func wait(t *testing.T, s *forward.Shared) forward.Result {
	t.Helper()
	select {
	case <-s.Done():
		return s.Result()
	case <-time.After(patience):
		t.Fatal("no result")
	}
	return forward.Result{}
}

// sink is a Sink that keeps what it is told.
type sink struct {
	result *forward.Result
	shared *forward.Shared
}

func (s *sink) Buffer() []byte { return make([]byte, 0, 512) }

func (s *sink) Answered(_ uint32, _ []byte, res forward.Result) {
	res.Msg = slices.Clone(res.Msg)
	s.result = &res
}

func (s *sink) HandOver(_ uint32, shared *forward.Shared) { s.shared = shared }

func (s *sink) Failed(uint32, int) {}

// byLoop asks by a Loop. declined is whether it was handed over.
func (f *fixture) byLoop(t *testing.T, q forward.Question) (res forward.Result, declined bool) {
	t.Helper()
	poller, err := batch.NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	defer poller.Close()
	s := new(sink)
	l := f.NewLoop(s)
	x := mux.New(poller, 1, l)
	defer x.Close()
	l.SetMultiplexer(x)
	if _, ok := l.Begin(l.Ticket(), f.routing, q, start, 0); !ok {
		t.Fatal("the loop did not begin")
	}
	x.Flush()
	for end := time.Now().Add(patience); s.result == nil && s.shared == nil; {
		if time.Now().After(end) {
			t.Fatal("the loop has no result")
		}
		for i := range poller.Wait(time.Second) {
			x.Receive(poller.Tag(i), start)
		}
	}
	if s.shared != nil {
		return wait(t, s.shared), true
	}
	return *s.result, false
}

// TestWaysAgree: a response has the same result, and is stored in the same way,
// whether a goroutine has asked or a loop. The loop declines what needs more, and
// nothing else.
func TestWaysAgree(t *testing.T) {
	server := serve(t)
	needsMore := []string{"other", "breaksoff", "servfail", "refused", "notauth"}
	for label := range answers() {
		a, b := newFixture(t, server), newFixture(t, server)
		q := a.question(t, label+".example")
		want := wait(t, a.Join(a.Pending(a.routing, q, start.UnixNano())))
		got, declined := b.byLoop(t, b.question(t, label+".example"))
		if declined != slices.Contains(needsMore, label) {
			t.Errorf("%s: declined: %v", label, declined)
		}
		// Generations are those of two policies made alike.
		if !bytes.Equal(got.Msg, want.Msg) || got.Failed != want.Failed || got.EDE != want.EDE || (got.Generation == 0) != (want.Generation == 0) {
			t.Errorf("%s: got %+v by the loop, %+v by a goroutine", label, got, want)
		}
		if want.Failed != slices.Contains([]string{"other", "servfail", "refused", "notauth"}, label) || (want.Generation == 0) != (want.Failed || label == "leads") {
			t.Errorf("%s: %+v", label, want)
		}
		x, xh := a.cache.Get(nil, q.Key(), start.UnixNano())
		y, yh := b.cache.Get(nil, q.Key(), start.UnixNano())
		if !bytes.Equal(x, y) || xh.Freshness != yh.Freshness || xh.Failure != yh.Failure || xh.EDE != yh.EDE || (xh.Freshness == cache.Miss) != (label == "yxdomain") {
			t.Errorf("%s: cached %x, %+v by a goroutine, %x, %+v by a loop", label, x, xh, y, yh)
		}
		if a.Unrelated() != b.Unrelated() && !declined || (a.Unrelated() > 0) != (label == "unrelated" || label == "other") {
			t.Errorf("%s: %d and %d unrelated records", label, a.Unrelated(), b.Unrelated())
		}
	}
}

// TestReloadKeepsUpstream: an answer that comes after a reload is stored if its
// question still goes to the same upstream, known by its Identity.
func TestReloadKeepsUpstream(t *testing.T) {
	server := serve(t)
	for _, c := range []struct {
		name   string
		change func(f *fixture) forward.Options
		stored bool
	}{
		{"another policy", func(f *fixture) forward.Options { return forward.Options{} }, true},
		{"the same upstream by another routing", func(f *fixture) forward.Options { return forward.Options{Upstream: f.group} }, true},
		{"another upstream", func(f *fixture) forward.Options {
			return forward.Options{Upstream: upstream.NewGroup("g", upstream.Options{}, do53.New(server, do53.Options{}))}
		}, false},
		{"no upstream", func(f *fixture) forward.Options { return forward.Options{UDPSize: 1} }, false},
	} {
		f := newFixture(t, server)
		old, q := f.routing, f.question(t, "plain.example")
		o := c.change(f)
		next := old.WithPolicy(policy(t, nil))
		if o.Upstream != nil || o.UDPSize != 0 {
			o.Policy = policy(t, nil)
			var err error
			if next, err = forward.NewRouting(o); err != nil {
				t.Fatal(err)
			}
		}
		p := f.Pending(old, q, start.UnixNano())
		f.SetRouting(next)
		if res := wait(t, f.Join(p)); res.Failed {
			t.Fatalf("%s: failed", c.name)
		}
		if _, hit := f.cache.Get(nil, q.Key(), start.UnixNano()); (hit.Freshness != cache.Miss) != c.stored {
			t.Errorf("%s: stored: %v", c.name, hit.Freshness != cache.Miss)
		}
	}
}
