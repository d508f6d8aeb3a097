package upstream_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver/upstream"
	"rideau/resolver/upstream/do53"
	"rideau/resolver/upstream/member"
)

// odd is a server, or a path to it, with a habit. It is asked by UDP and, where
// TCP is open, by TCP.
type odd struct {
	*server
	n     atomic.Int64              // queries by UDP so far
	habit func(o *odd, q *oddQuery) // edits the response, or drops it
}

// oddQuery is a query, and the response that an orderly server would give.
type oddQuery struct {
	n       int64 // its number, by UDP
	tcp     bool
	m       *dns.Msg
	cookie  string // of the query, in hexadecimal
	r       *dns.Msg
	drop    bool
	twice   bool
	foreign bool // it is sent from another address
}

func (q *oddQuery) do() bool { o := q.m.IsEdns0(); return o != nil && o.Do() }

// give gives the response a cookie: the client's part, and a server's.
func (q *oddQuery) give(client, server string) {
	if q.r.IsEdns0() == nil {
		q.r.SetEdns0(1232, false)
	}
	q.r.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: client + server}}
}

func (q *oddQuery) fail(code int) { q.r.Rcode, q.r.Answer = code, nil }

func (q *oddQuery) lower() { q.r.Question[0].Name = strings.ToLower(q.r.Question[0].Name) }

var ours = strings.Repeat("ab", 16)

func startOdd(t testing.TB, tcp string, habit func(o *odd, q *oddQuery)) *odd {
	o := &odd{habit: habit}
	other, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2)})
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { other.Close() })
	o.server = serve(t, func(s *server, from netip.AddrPort, b []byte) {
		q, msg := o.answer(t, b, false)
		if msg == nil {
			return
		}
		if q.foreign {
			other.WriteToUDPAddrPort(msg, from)
			return
		}
		s.send(from, msg)
		if q.twice {
			s.send(from, msg)
		}
	}, func(_ *server, conn net.Conn) {
		for b := readFrame(conn); b != nil; b = readFrame(conn) {
			switch tcp {
			case "TCP closed":
				return
			case "TCP":
				if _, msg := o.answer(t, b, true); msg != nil {
					conn.Write(frame(msg))
				}
			}
		}
	})
	if tcp == "TCP closed" {
		o.server.tcp.Close()
	}
	return o
}

func (o *odd) answer(t testing.TB, b []byte, tcp bool) (*oddQuery, []byte) {
	var m dns.Msg
	if m.Unpack(b) != nil {
		return nil, nil
	}
	q := &oddQuery{tcp: tcp, m: &m, cookie: cookieOf(&m)}
	if !tcp {
		q.n = o.n.Add(1)
	}
	msg := reply(t, b, "right", func(r *dns.Msg) {
		if m.IsEdns0() != nil {
			r.SetEdns0(1232, q.do())
		}
		q.r = r
		o.habit(o, q)
	})
	if q.drop {
		return q, nil
	}
	return q, msg
}

// oddHabit is something that servers or paths do, and what queries do not use any
// more in the end: see oddUnused. "*" is that it depends, and TCP that the row is
// for servers whose TCP is open.
type oddHabit struct {
	unused string
	do     func(o *odd, q *oddQuery)
}

var oddHabits = map[string]oddHabit{
	"orderly": {"cookies", func(o *odd, q *oddQuery) {}},
	"gives cookies": {"", func(o *odd, q *oddQuery) {
		if q.cookie != "" {
			q.give(q.cookie[:16], ours)
		}
	}},
	"drops cookies": {"cookies", func(o *odd, q *oddQuery) { q.drop = q.cookie != "" && !q.tcp }},
	"gives cookies, then drops them": {"cookies", func(o *odd, q *oddQuery) {
		if q.cookie != "" {
			q.give(q.cookie[:16], ours)
			q.drop = q.n > 5
		}
	}},
	"gives the cookie of another": {"cookies", func(o *odd, q *oddQuery) {
		if q.cookie != "" {
			q.give("0123456789abcdef", ours)
		}
	}},
	"gives a cookie unasked": {"cookies", func(o *odd, q *oddQuery) {
		if q.m.IsEdns0() != nil {
			q.give("0123456789abcdef", ours)
		}
	}},
	"repeats the client's cookie alone": {"cookies", func(o *odd, q *oddQuery) {
		if q.cookie != "" {
			q.give(q.cookie[:16], "")
		}
	}},
	"gives cookies, then none": {"cookies", func(o *odd, q *oddQuery) {
		if q.cookie != "" && q.n <= 5 {
			q.give(q.cookie[:16], ours)
		}
	}},
	"gives cookies, then those of another": {"cookies", func(o *odd, q *oddQuery) {
		if q.cookie != "" && q.n <= 5 {
			q.give(q.cookie[:16], ours)
		} else if q.cookie != "" {
			q.give("0123456789abcdef", ours)
		}
	}},
	"gives cookies every other time": {"cookies", func(o *odd, q *oddQuery) {
		if q.cookie != "" && q.n%2 == 1 {
			q.give(q.cookie[:16], ours)
		}
	}},
	"gives cookies at random": {"cookies", func(o *odd, q *oddQuery) {
		if q.cookie != "" && rand.IntN(2) == 1 {
			q.give(q.cookie[:16], ours)
		}
	}},
	"two secrets behind one address": {"*", func(o *odd, q *oddQuery) {
		if q.cookie == "" {
			return
		}
		mine := strings.Repeat(fmt.Sprintf("%02x", rand.IntN(2)), 16)
		q.give(q.cookie[:16], mine)
		if len(q.cookie) > 16 && q.cookie[16:] != mine && !q.tcp {
			q.fail(dns.RcodeBadCookie)
		}
	}},
	"gives a bad cookie always": {"cookies", func(o *odd, q *oddQuery) {
		if q.cookie != "" {
			q.give(q.cookie[:16], ours)
			if !q.tcp {
				q.fail(dns.RcodeBadCookie)
			}
		}
	}},
	"FORMERR to cookies": {"cookies", func(o *odd, q *oddQuery) {
		if q.cookie != "" {
			q.fail(dns.RcodeFormatError)
		}
	}},
	"lower case": {"cookies mix_case", func(o *odd, q *oddQuery) { q.lower() }},
	"upper case": {"cookies mix_case", func(o *odd, q *oddQuery) { q.r.Question[0].Name = strings.ToUpper(q.r.Question[0].Name) }},
	"random case": {"cookies mix_case", func(o *odd, q *oddQuery) {
		b := []byte(q.r.Question[0].Name)
		for i, c := range b {
			if c |= 0x20; c >= 'a' && c <= 'z' && rand.IntN(2) == 0 {
				b[i] = c ^ 0x20
			}
		}
		q.r.Question[0].Name = string(b)
	}},
	"lower case every other time": {"cookies mix_case", func(o *odd, q *oddQuery) {
		if q.n%2 == 0 {
			q.lower()
		}
	}},
	"lower case at random": {"cookies mix_case", func(o *odd, q *oddQuery) {
		if rand.IntN(2) == 0 {
			q.lower()
		}
	}},
	"keeps the case, then lower case": {"cookies mix_case", func(o *odd, q *oddQuery) {
		if q.n > 5 {
			q.lower()
		}
	}},
	"drops mixed case": {"cookies mix_case", func(o *odd, q *oddQuery) {
		n := q.m.Question[0].Name
		q.drop = n != strings.ToLower(n) && !q.tcp
	}},
	"drops EDNS":             {"cookies edns", func(o *odd, q *oddQuery) { q.drop = q.m.IsEdns0() != nil && !q.tcp }},
	"drops EDNS, TCP too":    {"cookies edns", func(o *odd, q *oddQuery) { q.drop = q.m.IsEdns0() != nil }},
	"drops DO":               {"cookies dnssec_ok", func(o *odd, q *oddQuery) { q.drop = q.do() && !q.tcp }},
	"drops answers with OPT": {"cookies edns", func(o *odd, q *oddQuery) { q.drop = q.r.IsEdns0() != nil && !q.tcp }},
	"strips OPT":             {"cookies", func(o *odd, q *oddQuery) { q.r.Extra = nil }},
	"FORMERR to EDNS": {"cookies edns", func(o *odd, q *oddQuery) {
		if q.m.IsEdns0() != nil {
			q.fail(dns.RcodeFormatError)
			q.r.Extra = nil
		}
	}},
	"bare FORMERR to EDNS": {"cookies edns", func(o *odd, q *oddQuery) {
		if q.m.IsEdns0() != nil {
			q.fail(dns.RcodeFormatError)
			q.r.Extra, q.r.Question = nil, nil
		}
	}},
	"NOTIMP to EDNS": {"cookies edns", func(o *odd, q *oddQuery) {
		if q.m.IsEdns0() != nil {
			q.fail(dns.RcodeNotImplemented)
			q.r.Extra = nil
		}
	}},
	"SERVFAIL to EDNS": {"cookies edns", func(o *odd, q *oddQuery) {
		if q.m.IsEdns0() != nil {
			q.fail(dns.RcodeServerFailure)
			q.r.Extra = nil
		}
	}},
	"REFUSED to EDNS": {"cookies edns", func(o *odd, q *oddQuery) {
		if q.m.IsEdns0() != nil {
			q.fail(dns.RcodeRefused)
			q.r.Extra = nil
		}
	}},
	"BADVERS to EDNS": {"cookies edns", func(o *odd, q *oddQuery) {
		if q.m.IsEdns0() != nil {
			q.fail(dns.RcodeBadVers)
		}
	}},
	"answers from another address":                   {"cookies udp TCP", func(o *odd, q *oddQuery) { q.foreign = true }},
	"answers from another address, every other time": {"*", func(o *odd, q *oddQuery) { q.foreign = q.n%2 == 0 }},
	"answers twice": {"cookies", func(o *odd, q *oddQuery) { q.twice = true }},
	"large answers lost": {"cookies large TCP", func(o *odd, q *oddQuery) {
		for range 12 {
			q.r.Answer = append(q.r.Answer, &dns.NULL{Hdr: dns.RR_Header{Name: "x.example.", Rrtype: dns.TypeNULL, Class: 1, Ttl: 60}, Data: strings.Repeat("x", 60)})
		}
		if q.tcp {
			return
		}
		if q.m.IsEdns0() == nil || q.m.IsEdns0().UDPSize() <= 512 {
			q.r.Answer, q.r.Truncated = nil, true
			return
		}
		q.drop = true
	}},
}

// oddUnused is what queries to a server do not use.
func oddUnused(st member.Stat) string {
	var unused []string
	for _, u := range st.Uses {
		if !u.Used {
			unused = append(unused, u.What)
		}
	}
	return strings.Join(unused, " ")
}

// oddAsk asks for a name by one of two ways, and reports whether it is answered
// rightly.
func oddAsk(t testing.TB, g *upstream.Group, mux bool, name string) (string, bool) {
	q := query(t, name)
	var msg []byte
	var err error
	if mux {
		msg, err = byMux(t, g, name)
	} else {
		msg, err = g.Exchange(within(t, patience), nil, q)
	}
	if err != nil {
		return err.Error(), false
	}
	var m dns.Msg
	if err := m.Unpack(msg); err != nil || len(m.Answer) == 0 {
		return fmt.Sprintf("%v, %v", err, &m), false
	}
	x, ok := m.Answer[0].(*dns.TXT)
	return m.String(), ok && x.Txt[0] == "right"
}

// TestOddServers: whatever a server does with cookies, the case of names and EDNS,
// and its TCP with it, each name is answered. Soon it is asked so that an answer
// takes no more datagrams than usual.
func TestOddServers(t *testing.T) {
	var rows sync.WaitGroup
	defer rows.Wait()
	places := make(chan bool, 24) // rows at a time: they mostly wait, and must not be late
	for name, h := range oddHabits {
		for i, tcp := range []string{"TCP closed", "TCP silent", "TCP"} {
			needs, some := strings.HasSuffix(h.unused, "TCP"), strings.Contains(name, "cookie") == strings.Contains(name, ",")
			if needs && tcp != "TCP" || !needs && i > 0 && !some {
				continue // not each with each
			}
			unused := strings.TrimSuffix(h.unused, " TCP")
			places <- true
			rows.Go(func() {
				defer func() { <-places }()
				oddRow(t, fmt.Sprintf("%s, %s, by mux: %v", name, tcp, i < 2), startOdd(t, tcp, h.do), unused, i < 2)
			})
		}
	}
}

func oddRow(t *testing.T, row string, o *odd, unused string, mux bool) {
	u := do53.New(o.addr, do53.Options{MixCase: true, Cookies: true})
	g := upstream.NewGroup("test", upstream.Options{NoHedge: true}, u)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { g.Run(ctx) })
	defer running.Wait()
	defer cancel()
	if strings.HasSuffix(unused, "edns") {
		unused += " dnssec_ok large"
	}
	names, end := 0, time.Now().Add(6*patience)
	ask := func() bool {
		names++
		got, ok := oddAsk(t, g, mux, fmt.Sprintf("a%d-%s", names, caseName))
		if !ok {
			t.Errorf("%s: name %d: %s", row, names, got)
		}
		return ok
	}
	for learnt := false; !learnt || names < 8; time.Sleep(20 * time.Millisecond) {
		if !ask() {
			return
		}
		if learnt = unused == "*" || oddUnused(g.Stats()[0]) == unused && !u.LearnDue(); !learnt && time.Now().After(end) {
			t.Errorf("%s: not used %q, want %q", row, oddUnused(g.Stats()[0]), unused)
			return
		}
	}
	if unused == "*" {
		return
	}
	o.quiet()
	before := o.n.Load()
	for range 5 {
		if !ask() {
			return
		}
	}
	if n := o.n.Load() - before; n > 5+1 { // a datagram may be late on a busy machine
		t.Errorf("%s: %d datagrams for 5 names", row, n)
	}
}

// quiet waits until no query comes any more.
func (o *odd) quiet() {
	for before := int64(-1); before != o.n.Load(); time.Sleep(50 * time.Millisecond) {
		before = o.n.Load()
	}
}

// TestProbeOtherwise: a probe that is answered over TCP, some time after it was sent
// by UDP in vain, does not count for how long the server takes. Otherwise queries
// would wait that much longer before another server is asked.
func TestProbeOtherwise(t *testing.T) {
	o := startOdd(t, "TCP", func(_ *odd, q *oddQuery) { q.drop = !q.tcp })
	good := startOdd(t, "TCP", func(*odd, *oddQuery) {})
	g := upstream.NewGroup("test", upstream.Options{NoHedge: true, ProbeInterval: 50 * time.Millisecond},
		do53.New(o.addr, do53.Options{}), do53.New(good.addr, do53.Options{}))
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { g.Run(ctx) })
	defer running.Wait()
	defer cancel()
	eventually(t, "a probe was answered", func() bool {
		s := g.Stats()[0]
		if s.RTT >= 200*time.Millisecond {
			t.Fatalf("it takes %v", s.RTT)
		}
		return !s.LastAnswer.IsZero()
	})
}
