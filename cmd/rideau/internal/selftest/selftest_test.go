package selftest

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/blocklists"
	"rideau/blocklists/compile"
	"rideau/blocklists/input"
	"rideau/resolver/resolvertest"
)

// policy compiles lists of names and bans.
func policy(t *testing.T, lists map[string]string, bans []blocklists.Ban, exceptions ...blocklists.Exception) *blocklists.Snapshot {
	t.Helper()
	p := blocklists.Policy{Bans: bans, Exceptions: exceptions, Groups: []blocklists.Group{
		{ID: "mobile", Clients: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}},
		{ID: "far", Clients: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}}}}
	for id, text := range lists {
		p.Lists = append(p.Lists, input.List{ID: id, Source: id, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }})
	}
	for i := range p.Bans {
		b := &p.Bans[i]
		b.EDE, b.TTL = 15, time.Minute
		if b.Groups == nil {
			b.Groups = []string{blocklists.GroupAll}
		}
	}
	s, _, err := compile.Load(context.Background(), p, nil, compile.Options{Now: time.Now(), Slots: new(blocklists.Slots)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func serves(a netip.Addr) bool {
	return a.IsLoopback() || netip.MustParsePrefix("10.0.0.0/8").Contains(a)
}

// Each ban in force has a question for each group for which it is enforced and
// whose clients are answered, and the ban alone decides it.
func TestPlan(t *testing.T) {
	s := policy(t, map[string]string{"a": "shared.example\n*.below.example\nonly-a.example\n", "b": "shared.example\n", "c": "c.example\n", "x": "only-a.example\n", "m": "m.example\n"},
		[]blocklists.Ban{
			{ID: "b", Lists: []string{"b"}, Groups: []string{"mobile"}},
			{ID: "a", Lists: []string{"a"}},
			{ID: "canary", Lists: []string{"c"}, Canary: "sub.c.example"},
			{ID: "wrong", Lists: []string{"c"}, Canary: "c.example"},
			{ID: "monitor", Lists: []string{"m"}, Mode: blocklists.Monitor},
			{ID: "later", Lists: []string{"m"}, Effective: time.Now().Add(time.Hour)},
		}, blocklists.Exception{ID: "x", Lists: []string{"x"}, Groups: []string{"mobile"}})
	questions, untested := plan(s, serves)
	got := map[string]string{}
	for _, q := range questions {
		got[q.Ban+"/"+q.Group] = q.Name.String()
		if !serves(q.Client) || s.GroupName(s.Group(q.Client, nil)) != q.Group {
			t.Errorf("%s: the client %v", q.Ban, q.Client)
		}
	}
	want := map[string]string{"b/mobile": "shared.example.", "a/all": "shared.example.", "canary/all": "sub.c.example.", "canary/mobile": "sub.c.example."}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s: %q, want %q", k, got[k], v)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%v", got)
	}
	why := map[string]string{}
	for _, u := range untested {
		why[u.Ban+"/"+u.Group] = u.Why
	}
	if len(why) != 3 || !strings.Contains(why["a/mobile"], "canary") || !strings.Contains(why["wrong/all"], "c.example, is not what this ban decides") {
		t.Errorf("%v", why)
	}
}

// A ban on all names but those on its lists is asked for a name that is on none, unless its lists let that through.
func TestPlanAllBut(t *testing.T) {
	for let, want := range map[string]string{"a.example": "rideau-selftest.example.net.", "example.net": ""} {
		s := policy(t, map[string]string{"a": let + "\n"}, []blocklists.Ban{{ID: "rest", AllBut: []string{"a"}, Groups: []string{"mobile"}}})
		questions, untested := plan(s, serves)
		switch {
		case want != "" && (len(questions) != 1 || questions[0].Name.String() != want || len(untested) != 0):
			t.Errorf("%s: %v, untested %v", let, questions, untested)
		case want == "" && (len(questions) != 0 || len(untested) != 1 || !strings.Contains(untested[0].Why, "canary")):
			t.Errorf("%s: %v, untested %v", let, questions, untested)
		}
	}
}

// truth answers as a ban does; change spoils the answers.
func truth(s *blocklists.Snapshot, change func(*dns.Msg) *dns.Msg) func([]byte) []byte {
	return func(query []byte) []byte {
		q := new(dns.Msg)
		if q.Unpack(query) != nil {
			return nil
		}
		r := new(dns.Msg).SetRcode(q, dns.RcodeNameError)
		r.SetEdns0(1232, false)
		r.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: 15, ExtraText: s.Ban(0).ID + ": x"}}
		if r = change(r); r == nil {
			return nil
		}
		out, _ := r.Pack()
		return out
	}
}

// serve answers by UDP and TCP on one address.
func serve(t *testing.T, answer func([]byte) []byte) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", resolvertest.FreeAddress(t).String())
	if err != nil {
		t.Fatal(err)
	}
	p, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	h := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		query, _ := q.Pack()
		if out := answer(query); out != nil {
			_, _ = w.Write(out)
		}
	})
	for _, s := range []*dns.Server{{Listener: l, Handler: h}, {PacketConn: p, Handler: h}} {
		go s.ActivateAndServe()
		t.Cleanup(func() { s.Shutdown() })
	}
	return netip.MustParseAddrPort(l.Addr().String())
}

// A test passes if the ban's answer comes by every way, and says what else came.
func TestAnswers(t *testing.T) {
	s := policy(t, map[string]string{"l": "banned.example\n"}, []blocklists.Ban{{ID: "ban", Lists: []string{"l"}}})
	same := func(r *dns.Msg) *dns.Msg { return r }
	for name, c := range map[string]struct {
		change func(*dns.Msg) *dns.Msg
		want   string
	}{
		"right": {same, ""},
		"resolved": {func(r *dns.Msg) *dns.Msg {
			r.Rcode = dns.RcodeSuccess
			return r
		}, "the answer is NOERROR, and the ban's is NXDOMAIN"},
		"another's NXDOMAIN": {func(r *dns.Msg) *dns.Msg { r.Extra = nil; return r }, "does not name the ban"},
		"another ban": {func(r *dns.Msg) *dns.Msg {
			r.IsEdns0().Option[0].(*dns.EDNS0_EDE).ExtraText = "other: x"
			return r
		}, "does not name the ban"},
		"an address beside": {func(r *dns.Msg) *dns.Msg {
			rr, _ := dns.NewRR("banned.example. 1 IN A 192.0.2.1")
			r.Answer = append(r.Answer, rr)
			return r
		}, `"192.0.2.1"`},
		"another id": {func(r *dns.Msg) *dns.Msg { r.Id++; return r }, "another query"},
		"garbage":    {func(r *dns.Msg) *dns.Msg { return nil }, "there is no answer"},
	} {
		t.Run(name, func(t *testing.T) {
			answer := truth(s, c.change)
			at := serve(t, truth(s, same))
			var log strings.Builder
			tester := New(Options{Policy: func() *blocklists.Snapshot { return s }, Serves: serves, Key: []byte("0123456789abcdef"),
				Endpoints: func() []Endpoint { return []Endpoint{{Transport: UDP, Addr: at}, {Transport: TCP, Addr: at}} },
				Answer:    func(_ context.Context, _ netip.Addr, _ *blocklists.Claims, q []byte) []byte { return answer(q) },
				Logger:    slog.New(slog.NewTextHandler(&log, nil))})
			r := tester.Run(t.Context())
			if r.OK != (c.want == "") || tester.Last() != r {
				t.Errorf("%+v", r)
			}
			if c.want != "" && (!strings.Contains(strings.Join(r.Problems(), "\n"), c.want) || !strings.Contains(log.String(), "self-test failed")) {
				t.Errorf("%q, want %q; the log: %s", r.Problems(), c.want, &log)
			}
			if len(r.Results) != 4 { // inside for all and mobile, udp, tcp
				t.Errorf("%+v", r.Results)
			}
		})
	}
}

// A socket that lies is found although the answers inside are right, and Loop says
// when it is well again.
func TestSocketLies(t *testing.T) {
	s := policy(t, map[string]string{"l": "banned.example\n"}, []blocklists.Ban{{ID: "ban", Lists: []string{"l"}}})
	var lies atomic.Bool
	lies.Store(true)
	same := func(r *dns.Msg) *dns.Msg { return r }
	at := serve(t, truth(s, func(r *dns.Msg) *dns.Msg {
		if lies.Load() {
			r.Rcode = dns.RcodeSuccess
		}
		return r
	}))
	inside := truth(s, same)
	tester := New(Options{Policy: func() *blocklists.Snapshot { return s }, Serves: serves, Key: []byte("k"), Logger: slog.New(slog.DiscardHandler),
		Endpoints: func() []Endpoint { return []Endpoint{{Transport: UDP, Addr: at}, {Transport: TCP, Addr: at}} },
		Answer:    func(_ context.Context, _ netip.Addr, _ *blocklists.Claims, q []byte) []byte { return inside(q) }})
	problems := strings.Join(tester.Run(t.Context()).Problems(), "\n")
	for _, way := range []string{"udp " + at.String(), "tcp " + at.String()} {
		if !strings.Contains(problems, "banned.example, "+way+": the answer is NOERROR") {
			t.Errorf("no %s in %s", way, problems)
		}
	}
	if strings.Contains(problems, "inside") || !tester.due(tester.Last(), time.Hour) == (time.Since(tester.Last().At) >= again) {
		t.Errorf("%s", problems)
	}
	lies.Store(false)
	if r := tester.Run(t.Context()); !r.OK || tester.due(r, time.Hour) || !tester.due(r, time.Nanosecond) {
		t.Errorf("%+v", r)
	}
}
