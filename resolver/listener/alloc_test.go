package listener_test

import (
	"encoding/binary"
	"runtime"
	"runtime/debug"
	"testing"

	"rideau/resolver"
	"rideau/resolver/listener"
)

// settler answers all queries at once and allocates nothing.
type settler struct{ *fake }

func (settler) Answer(dst []byte, q *resolver.Query) ([]byte, resolver.Outcome) {
	return reply(dst, q), outcome(resolver.Cached)
}

// mallocs is how many allocations f costs all goroutines, the collector's
// excluded by turning it off.
func mallocs(f func()) uint64 {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.Mallocs - before.Mallocs
}

// The client's reads and writes on a connected socket allocate nothing, so
// that all that is counted is the server's; what the runtime allocates for
// itself now and then is allowed one in a hundred queries.
func TestSettledQueriesAllocateNothing(t *testing.T) {
	const n, window, tolerated = 20000, 20, 20000 / 100
	engine := func(o listener.Options) func(t *testing.T) {
		return func(t *testing.T) {
			o.Workers = 1
			s := serve(t, settler{newFake()}, o)
			u := dial(t, "udp", s.Addr())
			q, b := query(1, settle, "allocate nothing"), make([]byte, 512)
			run := func(n int) {
				for range n / window {
					for range window {
						u.Write(q)
					}
					for range window {
						if _, err := u.Read(b); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			run(10 * window)
			if got := mallocs(func() { run(n) }); got > tolerated {
				t.Errorf("%d allocations for %d queries", got, n)
			}
		}
	}
	t.Run("native", engine(listener.Options{}))
	t.Run("portable", engine(listener.Options{Portable: true}))
	t.Run("wildcard", engine(listener.Options{Addrs: []string{"0.0.0.0:0"}}))
	t.Run("tcp", func(t *testing.T) {
		s := serve(t, settler{newFake()}, listener.Options{})
		c := dial(t, "tcp", s.Addr())
		var burst []byte
		for range window {
			burst = append(burst, framed(query(1, settle, "allocate nothing"))...)
		}
		b := make([]byte, len(burst))
		run := func(n int) {
			for range n / window {
				c.Write(burst)
				for got := 0; got < len(b); {
					k, err := c.Read(b[got:])
					if err != nil {
						t.Fatal(err)
					}
					got += k
				}
			}
		}
		run(10 * window)
		if got := mallocs(func() { run(n) }); got > tolerated {
			t.Errorf("%d allocations for %d queries", got, n)
		}
	})
}

// quick leaves all queries pending, and Resolve does not wait.
type quick struct{ *fake }

func (quick) Answer(dst []byte, q *resolver.Query) ([]byte, resolver.Outcome) {
	return dst, outcome(resolver.Pending)
}

// A query that waits uses a job of the pool: in steady state none is made.
func TestPendingQueriesAllocateNothing(t *testing.T) {
	const n, tolerated = 5000, 5000 / 100
	f := newFake()
	close(f.release)
	s := serve(t, quick{f}, listener.Options{Workers: 1})
	u := dial(t, "udp", s.Addr())
	q, b := query(1, wait, "allocate nothing"), make([]byte, 512)
	run := func(n int) {
		for range n {
			u.Write(q)
			if _, err := u.Read(b); err != nil {
				t.Fatal(err)
			}
		}
	}
	run(100)
	if got := mallocs(func() { run(n) }); got > tolerated {
		t.Errorf("%d allocations for %d queries", got, n)
	}
}

func TestManyWait(t *testing.T) {
	noLeak(t)
	f := newFake()
	s := serve(t, f, listener.Options{})
	u := dial(t, "udp", s.Addr())
	const n = 200 // as many as a client's socket buffers
	for i := range uint16(n) {
		send(t, u, query(i, wait, ""))
		if i%50 == 49 {
			eventually(t, "they wait", func() bool { return s.Stats().Pending == int(i)+1 })
		}
	}
	close(f.release)
	seen := make(map[uint16]bool)
	for range n {
		seen[binary.BigEndian.Uint16(receive(t, u))] = true
	}
	if len(seen) != n {
		t.Errorf("%d of %d answered", len(seen), n)
	}
	eventually(t, "none waits", func() bool { return s.Stats().Pending == 0 })
}
