package admission_test

import (
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"rideau/resolver/listener/admission"
)

// world admits connections by name, and knows which were closed.
type world struct {
	gate   *admission.Gate
	mu     sync.Mutex
	closed []string
}

func (w *world) admit(name, from string) *admission.Conn {
	defer synctest.Wait()
	return w.gate.Admit(netip.MustParseAddr(from), func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.closed = append(w.closed, name)
	})
}

func (w *world) wantClosed(t *testing.T, names ...string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Equal(w.closed, names) {
		t.Errorf("closed %v, want %v", w.closed, names)
	}
	w.closed = nil
}

// TestPlaces: a connection takes the place of the oldest that was never asked
// anything on, or else of the one that is idle for longest; a busy one keeps its place.
func TestPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{gate: admission.NewGate(admission.Limits{Connections: 3})}
		a, b, c := w.admit("a", "192.0.2.1"), w.admit("b", "192.0.2.2"), w.admit("c", "192.0.2.3")
		a.Busy()
		b.Busy()
		b.Idle()
		d := w.admit("d", "192.0.2.4")
		w.wantClosed(t, "c")
		c.Leave() // the closed connection ends, which changes nothing
		d.Busy()
		e := w.admit("e", "192.0.2.5")
		w.wantClosed(t, "b")
		b.Idle() // too late
		e.Busy()
		if f := w.admit("f", "192.0.2.6"); f != nil {
			t.Error("a connection was admitted while all are busy")
		}
		w.wantClosed(t)
		a.Leave()
		a.Leave()
		if f := w.admit("f", "192.0.2.6"); f == nil {
			t.Error("there is a place")
		} else {
			f.Leave()
		}
		d.Leave()
		e.Leave()
		if n := w.gate.Stats(); n != (admission.Stats{Refused: 1, Evicted: 2}) {
			t.Errorf("%+v", n)
		}
	})
}

// TestClients: a client has a bound of its own, which takes nothing from others. All
// addresses of an IPv6 /64 are one client, unless it is a resolver.
func TestClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{gate: admission.NewGate(admission.Limits{Connections: 100, PerClient: 2, FreshPerClient: 2,
			Resolver: func(a netip.Addr) bool { return a == netip.MustParseAddr("2001:db8::9") }})}
		w.admit("other", "2001:db8:0:1::1")
		w.admit("a", "2001:db8::1").Busy()
		w.admit("b", "2001:db8::2").Busy()
		if w.admit("c", "2001:db8::3") != nil {
			t.Error("a third connection of a client")
		}
		for range 10 {
			w.admit("resolver", "2001:db8::9").Busy()
		}
		w.admit("d", "::ffff:192.0.2.1")
		w.admit("e", "192.0.2.1")
		w.wantClosed(t)
		w.admit("f", "192.0.2.1")
		w.wantClosed(t, "d")
	})
}

// TestFresh: connections on which nothing is asked are bounded, in all and by client, and the
// oldest ends for a new one: a client that asks at once is served, however many do not.
func TestFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{gate: admission.NewGate(admission.Limits{Fresh: 4, FreshPerClient: 2})}
		w.admit("a", "192.0.2.1")
		w.admit("b", "192.0.2.1")
		w.admit("c", "192.0.2.1")
		w.wantClosed(t, "a")
		w.admit("d", "192.0.2.2")
		w.admit("e", "192.0.2.3")
		w.admit("f", "192.0.2.4")
		w.wantClosed(t, "b")
		honest := w.admit("honest", "192.0.2.5")
		w.wantClosed(t, "c")
		honest.Busy()
		for range 10 {
			w.admit("flood", "192.0.2.6")
		}
		if n := w.gate.Stats(); n.Open != 5 || n.Fresh != 4 || n.Refused != 0 {
			t.Errorf("%+v", n)
		}
	})
}
