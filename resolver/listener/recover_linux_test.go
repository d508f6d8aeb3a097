package listener_test

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"rideau/resolver"
	"rideau/resolver/batch"
	"rideau/resolver/listener"
	"rideau/resolver/upstream"
	"rideau/resolver/upstream/mux"
	"rideau/resolver/wire"
)

// faulty is a resolver that panics while queries wait, as often as it is told to.
type faulty struct {
	*resolver.Resolver
	noMux                bool
	buffer, resume, asks atomic.Int32
}

func (f *faulty) Waiters(to resolver.Responder, p *batch.Poller, firstTag uint32) *resolver.Waiters {
	w := f.Resolver.Waiters(faultyReturn{to, f}, p, firstTag)
	if f.noMux {
		w.SetMultiplexer(f)
	}
	return w
}

func fault(n *atomic.Int32) {
	if n.Add(-1) >= 0 {
		panic("told to")
	}
}

// Start implements forward.Multiplexer: it leaves everything to Resolve.
func (f *faulty) Start(*mux.Call, upstream.Upstream, []byte, time.Time) bool {
	fault(&f.asks)
	return false
}

type faultyReturn struct {
	resolver.Responder
	f *faulty
}

func (r faultyReturn) Buffer() []byte {
	fault(&r.f.buffer)
	return r.Responder.Buffer()
}

func (r faultyReturn) HandOver(ticket uint32, q *resolver.Query) {
	r.Responder.HandOver(ticket, q)
	fault(&r.f.resume)
}

// A panic while queries wait costs only time: all are sent upstream anew, and
// later ones wait as before.
func TestMissesRecover(t *testing.T) {
	const n = 100
	short := upstream.Options{NoHedge: true, AttemptTimeout: 300 * time.Millisecond, Timeout: 10 * time.Second}
	for name, c := range map[string]struct {
		o   upstream.Options
		arm func(f *faulty)
	}{
		// The second panic comes while the first is repaired.
		"in accepting a response": {patient, func(f *faulty) { f.buffer.Store(2) }},
		"in handing over":         {short, func(f *faulty) { f.resume.Store(1) }},
	} {
		t.Run(name, func(t *testing.T) {
			noLeak(t)
			m := newMirror(t)
			m.hold()
			f := &faulty{Resolver: forwarder(t, c.o, m)}
			s := serve(t, f, listener.Options{Workers: 1, Addrs: []string{"0.0.0.0:0"}})
			conn := dial(t, "udp", netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), s.Addr().Port()))
			sendAll := func(first uint16) {
				for i := range uint16(n) {
					send(t, conn, miss(t, first+i))
				}
				eventually(t, "all wait", func() bool { return s.Stats().Pending == n })
			}
			receiveAll := func() {
				seen := map[uint16]bool{}
				for range n {
					seen[answered(t, receive(t, conn), wire.NoError)] = true
				}
				if len(seen) != n {
					t.Errorf("%d of %d were answered", len(seen), n)
				}
				eventually(t, "none waits", func() bool { return s.Stats().Pending == 0 })
			}
			c.arm(f)
			sendAll(0)
			if name == "in handing over" {
				eventually(t, "a fault", func() bool { return s.Stats().Panics > 0 })
			}
			m.release()
			receiveAll()
			if s.Stats().Panics == 0 {
				t.Error("there was no fault")
			}
			m.hold()
			sendAll(1000)
			m.release()
			receiveAll()
		})
	}
}

// A panic when a query begins to wait costs that query, and its client gets a
// response.
func TestMissesRecoverFromBeginning(t *testing.T) {
	m := newMirror(t)
	m.hold()
	f := &faulty{Resolver: forwarder(t, patient, m), noMux: true}
	s := serve(t, f, listener.Options{Workers: 1})
	c := dial(t, "udp", s.Addr())
	for i := range uint16(20) {
		send(t, c, miss(t, i))
	}
	eventually(t, "all wait", func() bool { return m.received.Load() == 20 })
	f.asks.Store(1)
	send(t, c, miss(t, 20))
	if id := answered(t, receive(t, c), wire.ServFail); id != 20 {
		t.Errorf("query %d failed", id)
	}
	m.release()
	for range 20 {
		answered(t, receive(t, c), wire.NoError)
	}
	send(t, c, miss(t, 20)) // the pending query that had just begun has ended
	answered(t, receive(t, c), wire.NoError)
	eventually(t, "none waits", func() bool { return s.Stats().Pending == 0 })
	if n := s.Stats().Panics; n != 1 {
		t.Errorf("%d panics", n)
	}
}
