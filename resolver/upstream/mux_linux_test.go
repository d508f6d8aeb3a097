package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver/batch"
	"rideau/resolver/upstream"
	"rideau/resolver/upstream/do53"
	"rideau/resolver/upstream/mux"
	"rideau/resolver/wire"
)

// loop is a Mux and its receiver, on the test's goroutine.
type loop struct {
	t      testing.TB
	poller *batch.Poller
	mux    *mux.Mux
	calls  []mux.Call
	ends   map[uint32]end
	late   map[uint32]bool // calls that have not ended Over yet
	over   int
}

// end is how a call ended.
type end struct {
	how     upstream.Ending
	msg     []byte
	started *upstream.Started
}

func newLoop(t testing.TB, calls int) *loop {
	p, err := batch.NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	l := &loop{t: t, poller: p, calls: make([]mux.Call, calls), ends: map[uint32]end{}, late: map[uint32]bool{}}
	l.mux = mux.New(p, 7, l)
	for i := range l.calls {
		l.calls[i].Tag = uint32(i)
	}
	t.Cleanup(func() {
		l.mux.Close()
		p.Close()
	})
	return l
}

// Ended implements mux.Receiver.
func (l *loop) Ended(c *mux.Call, resp []byte, how upstream.Ending) {
	l.late[c.Tag] = how == upstream.Late
	if how == upstream.Over {
		l.over++
		return
	}
	e := end{how: how, msg: slices.Clone(resp)}
	if how == upstream.Answered {
		c.Succeeded()
	} else {
		e.started = c.HandOver(resp, how)
	}
	l.ends[c.Tag] = e
}

// ask asks for as many names as are given, as calls 0, 1, ... Those that ended Late
// before are waited for.
func (l *loop) ask(g *upstream.Group, names ...string) {
	l.t.Helper()
	for i, name := range names {
		for end := time.Now().Add(patience); l.late[uint32(i)]; l.turn() {
			if time.Now().After(end) {
				l.t.Fatalf("call %d is not over", i)
			}
		}
		if !l.mux.Start(&l.calls[i], g, query(l.t, name), time.Now()) {
			l.t.Fatalf("%s is not for this Mux", name)
		}
	}
	l.mux.Flush()
}

// turn waits for an event of the Mux and handles it.
func (l *loop) turn() {
	d := l.mux.Next(time.Now())
	if d < 0 || d > patience {
		d = patience
	}
	for i := range l.poller.Wait(d) {
		l.mux.Receive(l.poller.Tag(i), time.Now())
	}
	l.mux.Expire(time.Now())
}

// until turns until there have been n ends.
func (l *loop) until(n int) {
	l.t.Helper()
	for end := time.Now().Add(patience); len(l.ends) < n; l.turn() {
		if time.Now().After(end) {
			l.t.Fatalf("%d of %d calls ended", len(l.ends), n)
		}
	}
}

// resume finishes call 0, which ended as want, while the loop runs.
func (l *loop) resume(g *upstream.Group, name string, want upstream.Ending) ([]byte, error) {
	l.t.Helper()
	if got := l.ends[0].how; got != want {
		l.t.Fatalf("ended %v, want %v", got, want)
	}
	var msg []byte
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		msg, err = g.Resume(within(l.t, patience), nil, query(l.t, name), l.ends[0].started)
	}()
	for {
		select {
		case <-done:
			return msg, err
		default:
			if l.poller.Wait(time.Millisecond) > 0 {
				l.mux.Receive(l.poller.Tag(0), time.Now())
			}
			l.mux.Expire(time.Now())
		}
	}
}

func TestMuxAsks(t *testing.T) {
	s := serve(t, func(s *server, from netip.AddrPort, q []byte) {
		var m dns.Msg
		m.Unpack(q)
		s.send(from, reply(s.t, q, m.Question[0].Name))
	}, nil)
	g := group(t, quick, s)
	l := newLoop(t, 100)
	var names []string
	for i := range l.calls {
		names = append(names, fmt.Sprintf("n%d.example.", i))
	}
	l.ask(g, names...)
	if n := l.mux.Pending(); n != 100 {
		t.Errorf("%d pending", n)
	}
	l.until(100)
	for i, name := range names {
		e := l.ends[uint32(i)]
		wire.SetID(e.msg, 0x1234)
		if got := texts(t, query(t, name), e.msg); got != name || e.how != upstream.Answered {
			t.Errorf("%s: got %q, %v", name, got, e.how)
		}
	}
	st := g.Stats()[0]
	heard := uint64(0)
	for _, n := range st.Latency.Counts {
		heard += n
	}
	if st.Requests != 100 || heard != 100 || st.Mismatches != 0 || !st.Healthy || st.LastAnswer.IsZero() {
		t.Errorf("stats: %+v", st)
	}
	if l.mux.Pending() != 0 {
		t.Errorf("%d pending in the end", l.mux.Pending())
	}
}

// At a low rate each query has a port of its own; at a high rate a port serves
// some hundred at most. Ids are random.
func TestMuxPorts(t *testing.T) {
	var mu sync.Mutex
	ports, ids := map[uint16]int{}, map[uint16]int{}
	s := serve(t, func(s *server, from netip.AddrPort, q []byte) {
		mu.Lock()
		ports[from.Port()]++
		ids[wire.ID(q)]++
		mu.Unlock()
		s.send(from, reply(s.t, q, "x"))
	}, nil)
	g := group(t, quick, s)
	l := newLoop(t, 64)
	seen := func() (p, most, i int) {
		mu.Lock()
		defer mu.Unlock()
		p, i = len(ports), len(ids)
		for n := range maps.Values(ports) {
			most = max(most, n)
		}
		clear(ports)
		clear(ids)
		return p, most, i
	}
	rest := func() { // until the next second but one, when no rate is remembered
		at := time.Now().Truncate(time.Second).Add(2 * time.Second)
		time.Sleep(time.Until(at)) // sleeps: rates are remembered by the second
	}
	rest()
	for i := range 50 {
		clear(l.ends)
		l.ask(g, fmt.Sprintf("few%d.example.", i))
		l.until(1)
	}
	// The kernel may choose a port again.
	if p, _, i := seen(); p < 45 || i < 48 {
		t.Errorf("50 queries from %d ports with %d ids", p, i)
	}
	names := make([]string, 64)
	for i := range names {
		names[i] = fmt.Sprintf("many%d.example.", i)
	}
	for range 100 {
		clear(l.ends)
		l.ask(g, names...)
		l.until(64)
	}
	if p, most, i := seen(); p < 64 || most > 600 || i < 5500 {
		t.Errorf("6400 queries from %d ports, %d at most from one, with %d ids", p, most, i)
	}
}

func TestMuxMismatches(t *testing.T) {
	forge := func(edit func(q []byte) []byte) func(*server, netip.AddrPort, []byte) {
		return func(s *server, from netip.AddrPort, q []byte) {
			s.send(from, edit(slices.Clone(reply(s.t, q, "forged"))))
			s.send(from, reply(s.t, q, "true"))
		}
	}
	for name, edit := range map[string]func([]byte) []byte{
		"id":       func(m []byte) []byte { m[1] ^= 1; return m },
		"question": func(m []byte) []byte { m[13] ^= 1; return m },
		"query":    func(m []byte) []byte { m[2] &= 0x7F; return m },
		"opcode":   func(m []byte) []byte { m[2] ^= 0x08; return m },
		"short":    func(m []byte) []byte { return m[:11] },
		"empty":    func(m []byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			g := group(t, quick, serve(t, forge(edit), nil))
			l := newLoop(t, 1)
			l.ask(g, "example.")
			l.until(1)
			e := l.ends[0]
			wire.SetID(e.msg, 0x1234)
			if got := texts(t, query(t, "example."), e.msg); got != "true" {
				t.Errorf("got %q", got)
			}
			if n := g.Stats()[0].Mismatches; n != 1 {
				t.Errorf("%d mismatches", n)
			}
		})
	}
}

// An attacker who keeps guessing makes the query go over TCP.
func TestMuxFlooded(t *testing.T) {
	s := serve(t, func(s *server, from netip.AddrPort, q []byte) {
		for i := range uint16(400) {
			m := reply(s.t, q, "forged")
			wire.SetID(m, wire.ID(q)+1+i)
			s.send(from, m)
			if i%16 == 0 {
				time.Sleep(time.Millisecond) // sleeps: no datagram is lost for want of space
			}
		}
	}, answeringTCP("true"))
	g := group(t, upstream.Options{AttemptTimeout: 2 * time.Second, Timeout: patience}, s)
	l := newLoop(t, 1)
	l.ask(g, "example.")
	l.until(1)
	msg, err := l.resume(g, "example.", upstream.Rejected)
	if err != nil || texts(t, query(t, "example."), msg) != "true" {
		t.Fatal(err)
	}
	if n := g.Stats()[0].Mismatches; n < 256 {
		t.Errorf("%d mismatches", n)
	}
}

func TestMuxTruncated(t *testing.T) {
	long := strings.Repeat("x", 255)
	for name, datagram := range map[string]func(*server, netip.AddrPort, []byte){
		"TC":              saying("cut", func(m *dns.Msg) { m.Truncated = true }),
		"TC, no question": saying("cut", func(m *dns.Msg) { m.Truncated, m.Question = true, nil }),
		"longer than we take": saying(long, func(m *dns.Msg) {
			for len(m.Answer) < 30 {
				m.Answer = append(m.Answer, m.Answer[0])
			}
		}),
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, datagram, answeringTCP("whole"))
			g := group(t, quick, s)
			l := newLoop(t, 1)
			l.ask(g, "example.")
			l.until(1)
			how, datagrams := upstream.Truncated, int64(1)
			if name == "TC, no question" {
				how, datagrams = upstream.Rejected, 2 // one such datagram is not believed
			}
			msg, err := l.resume(g, "example.", how)
			if err != nil || texts(t, query(t, "example."), msg) != "whole" {
				t.Fatalf("%x, %v", msg, err)
			}
			if n, c := s.datagrams.Load(), s.connections.Load(); n != datagrams || c != 1 {
				t.Errorf("%d datagrams and %d connections", n, c)
			}
		})
	}
}

func TestMuxUnusable(t *testing.T) {
	for _, code := range []int{dns.RcodeServerFailure, dns.RcodeRefused} {
		bad := serve(t, saying("", rcode(code), func(m *dns.Msg) { m.SetEdns0(1232, false) }), nil)
		bare := serve(t, saying("", rcode(code), func(m *dns.Msg) { m.Question, m.Extra = nil, nil }), nil)
		good := serve(t, saying("good"), nil)
		both, alone, unproven := group(t, quick, bad, good), group(t, quick, bad), group(t, quick, bare)
		for _, g := range []*upstream.Group{both, alone, unproven} {
			l := newLoop(t, 1)
			l.ask(g, "example.")
			l.until(1)
			how, requests := upstream.Unusable, uint64(1)
			if g == unproven {
				how, requests = upstream.Rejected, 2
			}
			msg, err := l.resume(g, "example.", how)
			if err != nil {
				t.Fatal(err)
			}
			if g == both && texts(t, query(t, "example."), msg) != "good" {
				t.Errorf("%v", dns.RcodeToString[code])
			}
			if g != both && wire.HeaderRcode(msg) != wire.Rcode(code) {
				t.Errorf("%v, want %v", wire.HeaderRcode(msg), code)
			}
			reason := strings.ToLower(dns.RcodeToString[code])
			if st := g.Stats()[0]; count(st, reason) != 1 || st.Requests != requests {
				t.Errorf("%+v", st)
			}
		}
	}
}

// A server that does not understand EDNS is asked anew by Resume, without it.
func TestMuxRejected(t *testing.T) {
	for _, how := range []string{"with question", "bare header"} {
		s := serve(t, func(s *server, from netip.AddrPort, q []byte) {
			var m dns.Msg
			m.Unpack(q)
			if m.IsEdns0() == nil {
				s.send(from, reply(s.t, q, "plain"))
				return
			}
			r := reply(s.t, q, "", rcode(dns.RcodeFormatError), func(m *dns.Msg) { m.Extra = nil })
			if how == "bare header" {
				r = append(r[:4:4], make([]byte, 8)...)
			}
			s.send(from, r)
		}, nil)
		g := group(t, quick, s)
		l := newLoop(t, 1)
		l.ask(g, "example.")
		l.until(1)
		msg, err := l.resume(g, "example.", upstream.Rejected)
		if err != nil || texts(t, query(t, "example."), msg) != "plain" {
			t.Fatal(how, err)
		}
		if l.mux.Start(&l.calls[0], g, query(t, "example."), time.Now()) {
			t.Error("asked with EDNS, which is known to be of no use")
		}
	}
}

func TestMuxFailed(t *testing.T) {
	closed := serve(t, nil, nil)
	closed.stop()
	good := serve(t, saying("good"), nil)
	for _, g := range []*upstream.Group{group(t, quick, closed, good), group(t, quick, closed)} {
		l := newLoop(t, 3)
		l.ask(g, "one.example.", "two.example.", "three.example.")
		l.until(3)
		msg, err := l.resume(g, "one.example.", upstream.Late)
		if len(g.Stats()) == 2 {
			if err != nil || texts(t, query(t, "one.example."), msg) != "good" {
				t.Fatal(err)
			}
		} else if !errors.Is(err, upstream.ErrNetwork) {
			t.Errorf("%v, want %v", err, upstream.ErrNetwork)
		}
		// The only server is asked once more, from another port.
		if st := g.Stats()[0]; count(st, "network") != uint64(3-len(g.Stats())) {
			t.Errorf("%+v", st)
		}
	}
}

// When a server is late the next one is asked too; the late one wins if it answers first.
func TestMuxLate(t *testing.T) {
	late := make(chan struct{})
	slow := serve(t, func(s *server, from netip.AddrPort, q []byte) {
		<-late
		s.send(from, reply(s.t, q, "late"))
	}, nil)
	other := serve(t, mute, nil)
	g := group(t, upstream.Options{AttemptTimeout: 100 * time.Millisecond, Timeout: patience}, slow, other)
	l := newLoop(t, 1)
	l.ask(g, "example.")
	l.until(1)
	go func() {
		for other.datagrams.Load() == 0 {
			time.Sleep(time.Millisecond)
		}
		close(late)
	}()
	msg, err := l.resume(g, "example.", upstream.Late)
	if err != nil || texts(t, query(t, "example."), msg) != "late" {
		t.Fatal(err)
	}
	if slow.datagrams.Load() != 1 {
		t.Errorf("the slow one was asked %d times", slow.datagrams.Load())
	}
	if st := g.Stats()[0]; count(st, "timeout") != 1 || st.Latency.Sum < 100*time.Millisecond {
		t.Errorf("%+v", st)
	}
	if l.over != 1 || l.mux.Pending() != 0 {
		t.Errorf("%d over, %d pending", l.over, l.mux.Pending())
	}
}

// A call that was handed over ends at the timeout of the exchange.
func TestMuxOver(t *testing.T) {
	g := group(t, upstream.Options{AttemptTimeout: 20 * time.Millisecond, Timeout: 100 * time.Millisecond}, serve(t, mute, nil))
	l := newLoop(t, 1)
	l.ask(g, "example.")
	l.until(1)
	if _, err := l.resume(g, "example.", upstream.Late); !errors.Is(err, upstream.ErrTimeout) {
		t.Errorf("%v", err)
	}
	for end := time.Now().Add(patience); l.over == 0 && time.Now().Before(end); {
		l.turn()
	}
	if l.over != 1 || l.mux.Pending() != 0 {
		t.Errorf("%d over, %d pending", l.over, l.mux.Pending())
	}
}

func TestMuxPatience(t *testing.T) {
	g := group(t, upstream.Options{AttemptTimeout: patience, Timeout: patience}, serve(t, mute, nil))
	l := newLoop(t, 1)
	l.calls[0].Patience = 10 * time.Millisecond
	begun := time.Now()
	l.ask(g, "example.")
	l.until(1)
	if d := time.Since(begun); l.ends[0].how != upstream.Late || d > patience/2 {
		t.Errorf("%v after %v", l.ends[0].how, d)
	}
}

// A Mux begins no call that needs another way.
func TestMuxDeclines(t *testing.T) {
	s := serve(t, mute, nil)
	down := group(t, upstream.Options{AttemptTimeout: time.Millisecond, Timeout: 5 * time.Millisecond}, s)
	for down.Stats()[0].Healthy {
		down.Exchange(context.Background(), nil, query(t, "example."))
	}
	overTCP := upstream.NewGroup("tcp", quick, do53.New(s.addr, do53.Options{Stream: true}))
	l := newLoop(t, 1)
	for what, up := range map[string]upstream.Upstream{"no upstream": nil, "one asked over TCP alone": overTCP, "an empty group": group(t, quick), "one that is down": down} {
		if l.mux.Start(&l.calls[0], up, query(t, "example."), time.Now()) || l.mux.Pending() != 0 {
			t.Errorf("%s was asked", what)
		}
	}
}

// Idle sockets are closed.
func TestMuxClosesIdleSockets(t *testing.T) {
	open := func() int {
		d, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip(err)
		}
		return len(d)
	}
	s := serve(t, saying("x"), nil)
	g := group(t, quick, s)
	l := newLoop(t, 1)
	before := open()
	for i := range 300 {
		clear(l.ends)
		l.ask(g, fmt.Sprintf("n%d.example.", i))
		l.until(1)
	}
	if n := open(); n > before+2 {
		t.Errorf("%d descriptors, %d before", n, before)
	}
	l.mux.Expire(time.Now().Add(time.Minute))
	if n := open(); n > before {
		t.Errorf("%d descriptors in the end, %d before", n, before)
	}
	if d := l.mux.Next(time.Now()); d >= 0 {
		t.Errorf("waits %v for nothing", d)
	}
}

// quiet is a receiver that counts ends and does not hand over.
type quiet struct{ n int }

func (q *quiet) Ended(c *mux.Call, _ []byte, how upstream.Ending) {
	switch how {
	case upstream.Answered:
		c.Succeeded()
		q.n++
	case upstream.Late:
		q.n++
	}
}

// A call does not allocate; a new socket does, once for some hundred calls.
func TestMuxAllocatesNothing(t *testing.T) {
	mirror, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mirror.Close() })
	go func() {
		buf := make([]byte, 512)
		for {
			n, from, err := mirror.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			buf[2] |= 0x80 // a response
			mirror.WriteToUDPAddrPort(buf[:n], from)
		}
	}()
	addr := mirror.LocalAddr().(*net.UDPAddr).AddrPort()
	g := upstream.NewGroup("mirror", quick, do53.New(addr, do53.Options{}))
	poller, err := batch.NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	defer poller.Close()
	receiver := &quiet{}
	x := mux.New(poller, 1, receiver)
	defer x.Close()
	calls := make([]mux.Call, 32)
	q := query(t, "example.")
	const n = 6400
	ask := func() {
		for i := 0; i < n; i += len(calls) {
			for j := range calls {
				if !x.Start(&calls[j], g, q, time.Now()) {
					t.Fatal("not asked")
				}
			}
			x.Flush()
			for x.Pending() > 0 {
				for k := range poller.Wait(x.Next(time.Now())) {
					x.Receive(poller.Tag(k), time.Now())
				}
				x.Expire(time.Now())
			}
		}
	}
	for range 3 { // until the rate is known to be high
		ask()
	}
	if got := testing.AllocsPerRun(1, ask); got > n/100 {
		t.Errorf("%v allocations for %d calls", got, n)
	}
	if receiver.n != 5*n {
		t.Errorf("%d ends of %d calls", receiver.n, 5*n)
	}
	for _, s := range g.Stats() {
		if s.InFlight != 0 {
			t.Errorf("%d in flight in the end", s.InFlight)
		}
	}
}
