package session_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rideau/resolver"
	"rideau/resolver/limit"
	"rideau/resolver/listener/session"
	"rideau/resolver/qtype"
)

// fake is a handler that does what the 13th octet of a message says. The
// response is the message with the QR bit set.
type fake struct {
	release chan struct{} // closed: queries that wait get their responses
}

const (
	settle       = 'e'
	wait         = 'p' // until release
	drop         = 'd'
	panicAnswer  = 'P'
	panicResolve = 'R'
	panicShed    = 'S' // waits, and panics in Shed
	huge         = 'h' // a response that no frame can hold
)

func outcome(k resolver.Kind) resolver.Outcome { return resolver.Outcome{Kind: k, Ban: 255} }

func reply(dst []byte, q *resolver.Query, rcode byte) []byte {
	at := len(dst)
	dst = append(dst, q.Msg...)
	dst[at+2] |= 0x80
	dst[at+3] |= rcode
	return dst
}

func (f *fake) Answer(dst []byte, q *resolver.Query) ([]byte, resolver.Outcome) {
	switch q.Msg[12] {
	case wait, panicResolve, panicShed:
		return dst, outcome(resolver.Pending)
	case drop:
		return dst, outcome(resolver.Dropped)
	case panicAnswer:
		panic("told to")
	case huge:
		return append(reply(dst, q, 0), make([]byte, 65536)...), outcome(resolver.Cached)
	}
	return reply(dst, q, 0), outcome(resolver.Cached)
}

func (f *fake) Resolve(ctx context.Context, dst []byte, q *resolver.Query) ([]byte, resolver.Outcome) {
	if q.Msg[12] == panicResolve {
		panic("told to")
	}
	select {
	case <-f.release:
		return reply(dst, q, 0), outcome(resolver.Forwarded)
	case <-ctx.Done():
		return reply(dst, q, servFail), outcome(resolver.Failed)
	}
}

func (f *fake) Shed(dst []byte, q *resolver.Query) ([]byte, resolver.Outcome) {
	if q.Msg[12] == panicShed {
		panic("told to")
	}
	return reply(dst, q, servFail), outcome(resolver.Shed)
}

const servFail = 2

func message(id uint16, kind byte) []byte {
	m := make([]byte, 12, 40)
	binary.BigEndian.PutUint16(m, id)
	return append(append(m, kind), "octets of a question"...)
}

// isResponse reports whether a is the response to message(id, kind).
func isResponse(a []byte, id uint16, kind, rcode byte) bool {
	want := message(id, kind)
	want[2] |= 0x80
	want[3] |= rcode
	return bytes.Equal(a, want)
}

var client = session.Client{Addr: netip.MustParseAddr("192.0.2.1"), Transport: resolver.TCP}

// bench is a Core with an Exchange, as a transport without sockets has it.
type bench struct {
	*session.Exchange
	core    *session.Core
	handler *fake
	stats   *resolver.Stats
	limit   *limit.WaitLimit
}

func newBench(t testing.TB, pending int) *bench {
	t.Helper()
	b := &bench{handler: &fake{make(chan struct{})}, stats: new(resolver.Stats), limit: limit.NewWaitLimit(pending)}
	b.core = session.New(b.handler, b.limit, session.NewLog(slog.New(slog.DiscardHandler)))
	b.Exchange = b.core.NewExchange(b.stats.NewCounters())
	return b
}

// end ends the Core, and fails the test if anything is left.
func (b *bench) end(t *testing.T) {
	t.Helper()
	b.core.Close()
	b.core.Cancel(time.Second)
	b.core.Wait()
	if n, m := b.core.Waiting(), b.limit.Waiting(); n != 0 || m != 0 {
		t.Errorf("at the end %d queries wait, %d permits are held", n, m)
	}
}

func (b *bench) counted(k resolver.Kind) uint64 {
	return b.stats.Totals().Queries[resolver.TCP][qtype.Other][k]
}

// many calls f for n ids at once and waits for all of them.
func many(n uint16, f func(id uint16)) {
	var all sync.WaitGroup
	for id := range n {
		all.Go(func() { f(id) })
	}
	all.Wait()
}

// Messages of a transport with a goroutine for each, such as DoH: bytes go in
// and bytes come out, in every phase of the Core's life.
func TestServe(t *testing.T) {
	const n = 50
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, n)
		serve := func(id uint16, kind byte) []byte {
			return b.Serve(context.Background(), nil, message(id, kind), client)
		}
		if !b.core.Begin(t.Context()) || b.core.Begin(t.Context()) || b.core.Phase() != session.Serving {
			t.Fatal("a Core begins once")
		}

		// Answered at once.
		many(n, func(id uint16) {
			if a := serve(id, settle); !isResponse(a, id, settle, 0) {
				t.Errorf("query %d: %x", id, a)
			}
			if a := serve(id, drop); len(a) != 0 {
				t.Errorf("query %d: %x is sent", id, a)
			}
		})
		if b.counted(resolver.Cached) != n || b.counted(resolver.Dropped) != n {
			t.Errorf("counted: %d, %d", b.counted(resolver.Cached), b.counted(resolver.Dropped))
		}

		// A panic costs the query that caused it, and no other.
		many(n, func(id uint16) {
			if a := serve(id, panicAnswer); len(a) != 0 {
				t.Errorf("query %d: %x", id, a)
			}
			if a := serve(id, settle); !isResponse(a, id, settle, 0) {
				t.Errorf("query %d: %x", id, a)
			}
		})
		if a := serve(1, panicResolve); !isResponse(a, 1, panicResolve, servFail) {
			t.Errorf("a panic in Resolve: %x", a)
		}
		if got := b.core.Stats().Panics; got != n+1 {
			t.Errorf("%d panics", got)
		}

		// As many wait as may, the next is shed, and those that need no waiting
		// are answered all the same.
		var waiting sync.WaitGroup
		for id := range uint16(n) {
			waiting.Go(func() {
				if a := serve(id, wait); !isResponse(a, id, wait, 0) {
					t.Errorf("query %d: %x", id, a)
				}
			})
		}
		synctest.Wait()
		if b.core.Waiting() != n || b.limit.Waiting() != n {
			t.Fatalf("%d wait, %d permits", b.core.Waiting(), b.limit.Waiting())
		}
		if a := serve(99, wait); !isResponse(a, 99, wait, servFail) {
			t.Errorf("one too many: %x", a)
		}
		if a := serve(99, panicShed); len(a) != 0 {
			t.Errorf("a panic in Shed: %x", a)
		}
		if a := serve(99, settle); !isResponse(a, 99, settle, 0) {
			t.Errorf("while others wait: %x", a)
		}
		if got := b.core.Stats().Shed; got != 2 || b.counted(resolver.Shed) != 2 { // one for the panic in Resolve
			t.Errorf("%d shed, %d counted", got, b.counted(resolver.Shed))
		}

		// The Core drains: those that wait get their responses, and new ones too.
		b.core.Drain()
		if a := serve(99, settle); !isResponse(a, 99, settle, 0) {
			t.Errorf("while the Core drains: %x", a)
		}
		close(b.handler.release)
		waiting.Wait()
		if b.counted(resolver.Forwarded) != n || b.core.Waiting() != 0 {
			t.Errorf("%d forwarded, %d wait", b.counted(resolver.Forwarded), b.core.Waiting())
		}

		// The Core has ended: nothing may wait.
		b.end(t)
		if a := serve(99, wait); !isResponse(a, 99, wait, servFail) {
			t.Errorf("after the end: %x", a)
		}
	})
}

// A query that waits ends with its client's context, or with the Core.
func TestServeEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 10)
		b.core.Begin(t.Context())
		ctx, leave := context.WithCancel(t.Context())
		var both sync.WaitGroup
		for _, ctx := range []context.Context{ctx, t.Context()} {
			both.Go(func() {
				if a := b.Serve(ctx, []byte("kept"), message(1, wait), client); string(a[:4]) != "kept" || !isResponse(a[4:], 1, wait, servFail) {
					t.Errorf("%q", a)
				}
			})
		}
		synctest.Wait()
		leave()
		synctest.Wait()
		if n := b.core.Waiting(); n != 1 {
			t.Errorf("%d wait after one client has left", n)
		}
		b.end(t)
		both.Wait()
	})
}

// pipe is the way back of a stream: it collects responses, in the order in which
// they come.
type pipe struct {
	mu  sync.Mutex
	out []byte
	n   int // calls of Reply
	err error
}

func (p *pipe) Reply(framed []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n++
	p.out = append(p.out, framed...)
	return p.err
}

// take returns the messages that came since the last call.
func (p *pipe) take(t *testing.T) (all [][]byte) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for b := p.out; len(b) > 0; {
		n := session.LengthLen + int(binary.BigEndian.Uint16(b))
		all = append(all, b[session.LengthLen:n])
		b = b[n:]
	}
	p.out = nil
	return all
}

// One goroutine hands over many messages, as of a stream: responses come in the
// order in which they are ready, and each message has one call of Reply.
func TestSubmit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 20
		b := newBench(t, n/2)
		p := new(pipe)
		submit := func(id uint16, kind byte) {
			m := message(id, kind)
			b.Submit(m, client, p)
			clear(m) // which is the transport's again
		}
		b.core.Begin(t.Context())
		for id := range uint16(n) {
			submit(id, map[bool]byte{true: wait, false: settle}[id%2 == 0])
		}
		for i, a := range p.take(t) {
			if !isResponse(a, uint16(2*i+1), settle, 0) {
				t.Errorf("response %d: %x", i, a)
			}
		}
		submit(98, wait) // there are n/2 already
		submit(99, huge)
		submit(99, drop)
		submit(99, panicAnswer)
		if all := p.take(t); len(all) != 1 || !isResponse(all[0], 98, wait, servFail) {
			t.Errorf("one too many: %x", all)
		}
		b.core.Drain()
		close(b.handler.release)
		synctest.Wait()
		seen := map[uint16]bool{}
		for _, a := range p.take(t) {
			id := binary.BigEndian.Uint16(a)
			if seen[id] || !isResponse(a, id, wait, 0) {
				t.Errorf("late response: %x", a)
			}
			seen[id] = true
		}
		if len(seen) != n/2 || p.n != n+4 {
			t.Errorf("%d late responses, %d calls of Reply", len(seen), p.n)
		}

		p.err = errors.New("the connection is gone")
		submit(1, settle)
		submit(2, wait)
		synctest.Wait()
		if got := b.core.Stats().SendErrors; got != 2 {
			t.Errorf("%d responses were not sent", got)
		}
		b.end(t)
		submit(3, wait)
		if all := p.take(t); len(all) != 3 || !isResponse(all[2], 3, wait, servFail) {
			t.Errorf("after the end: %x", all)
		}
	})
}

// Nothing waits before the Core has begun, and one that is abandoned never
// begins.
func TestBeforeBegin(t *testing.T) {
	b := newBench(t, 10)
	if a := b.Serve(t.Context(), nil, message(1, wait), client); !isResponse(a, 1, wait, servFail) {
		t.Errorf("%x", a)
	}
	if n := b.limit.Waiting(); n != 0 {
		t.Errorf("%d permits are held", n)
	}
	if !b.core.Abandon() || b.core.Abandon() || b.core.Begin(t.Context()) || b.core.Phase() != session.Closed {
		t.Error("an abandoned Core has begun")
	}
}

// jobs is how many goroutines of jobs there are.
func jobs() int {
	b := make([]byte, 1<<20)
	return strings.Count(string(b[:runtime.Stack(b, true)]), "session.(*jobPool).idleJob.func1(")
}

// The goroutines of jobs that nobody needs any more end.
func TestTrim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 20
		b := newBench(t, n)
		b.core.Begin(t.Context())
		p := new(pipe)
		for id := range uint16(n) {
			b.Submit(message(id, wait), client, p)
		}
		close(b.handler.release)
		synctest.Wait()
		if got := jobs(); got != n {
			t.Errorf("%d goroutines for %d queries", got, n)
		}
		b.core.Trim() // all were needed since it was last called
		b.Submit(message(1, wait), client, p)
		synctest.Wait()
		b.core.Trim()
		synctest.Wait()
		if got := jobs(); got != 1 {
			t.Errorf("%d goroutines are left, want the one that was needed", got)
		}
		b.end(t)
	})
}

// A batch is counted with one reading of the clock, or one more when it is
// larger than expected, and always before its session forgets the query.
func TestSessionCounts(t *testing.T) {
	b := newBench(t, 10)
	s := b.core.NewSession(b.stats.NewCounters(), 4)
	at := time.Now().Add(-3 * time.Second)
	for id := range uint16(6) {
		if a, waits := s.Answer(nil, message(id, settle), client, at); waits || !isResponse(a, id, settle, 0) {
			t.Errorf("query %d: %x, waits %v", id, a, waits)
		}
	}
	if n := b.counted(resolver.Cached); n != 4 {
		t.Errorf("%d counted of a batch that goes on", n)
	}
	s.Forget()
	l := b.stats.Totals().Latency[resolver.Cached]
	if n := b.counted(resolver.Cached); n != 6 || l.Sum < 18*time.Second || l.Sum > 30*time.Second {
		t.Errorf("%d counted, %v in all", n, l.Sum)
	}
	s.Count()
	if n := b.counted(resolver.Cached); n != 6 {
		t.Errorf("%d counted, some twice", n)
	}
}

// Each kind of trouble is logged once a second.
func TestLogIsThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := session.NewLog(slog.New(slog.NewTextHandler(&out, nil)))
		for range 25 { // 2.5 seconds
			l.Warn(session.LogSend, "a response", io.EOF)
			l.Warn(session.LogRead, "a query", io.EOF)
			time.Sleep(100 * time.Millisecond)
		}
		if a, b := strings.Count(out.String(), "a response"), strings.Count(out.String(), "a query"); a != 3 || b != 3 {
			t.Errorf("logged %d and %d times:\n%s", a, b, &out)
		}
	})
}

// What needs no waiting allocates nothing, and neither does a query that waits
// as a job.
func TestAllocations(t *testing.T) {
	b := newBench(t, 10)
	b.core.Begin(t.Context())
	defer b.end(t)
	buf, m := make([]byte, 0, 512), message(1, settle)
	if n := testing.AllocsPerRun(1000, func() { b.Serve(context.Background(), buf, m, client) }); n != 0 {
		t.Errorf("Serve: %v allocations", n)
	}
	s := b.core.NewSession(b.stats.NewCounters(), 1)
	if n := testing.AllocsPerRun(1000, func() {
		s.Answer(buf, m, client, time.Now())
		s.Count()
	}); n != 0 {
		t.Errorf("Answer: %v allocations", n)
	}
	close(b.handler.release)
	waits, done := message(2, wait), make(chan struct{}, 1)
	path := signal(done)
	if n := testing.AllocsPerRun(1000, func() {
		if _, pending := s.Answer(buf, waits, client, time.Now()); !pending {
			t.Fatal("it does not wait")
		}
		s.AdmitJob().Start(path)
		<-done
	}); n > 0.1 { // now and then two jobs take turns
		t.Errorf("a job: %v allocations", n)
	}
}

// signal is a way back that reports each response.
type signal chan struct{}

func (s signal) Reply([]byte) error { s <- struct{}{}; return nil }

func BenchmarkServe(b *testing.B) {
	x := newBench(b, 10)
	buf, m := make([]byte, 0, 512), message(1, settle)
	b.ReportAllocs()
	for b.Loop() {
		x.Serve(context.Background(), buf, m, client)
	}
}
