package listener_test

import (
	"net"
	"net/netip"
	"sync"
	"testing"

	"rideau/resolver/listener"
	"rideau/resolver/upstream"
	"rideau/resolver/upstream/do53"
)

// answering is an upstream that answers any question with an address, and
// allocates nothing.
func answering(t testing.TB) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 512)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			n -= 11 // the OPT record
			buf[2] |= 0x80
			buf[3] |= 0x80
			buf[7], buf[11] = 1, 0 // one answer, nothing additional
			n += copy(buf[n:], "\xc0\x0c\x00\x01\x00\x01\x00\x00\x01\x2c\x00\x04\xc0\x00\x02\x01")
			conn.WriteToUDPAddrPort(buf[:n], from)
		}
	})
	t.Cleanup(func() { conn.Close(); wg.Wait() })
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// asker sends queries for new names, a window at a time.
type asker struct {
	t      testing.TB
	conn   net.Conn
	query  []byte
	answer []byte
	n      int
}

func newAsker(t testing.TB, addr netip.AddrPort) *asker {
	return &asker{t: t, conn: dial(t, "udp", addr), query: miss(t, 10000), answer: make([]byte, 512)}
}

func (a *asker) ask(window int) {
	for range window {
		a.n++
		for at, n := 18, a.n; at > 12; at, n = at-1, n/26 { // n10000 becomes six letters
			a.query[at] = byte('a' + n%26)
		}
		a.conn.Write(a.query)
	}
	for range window {
		if n, err := a.conn.Read(a.answer); err != nil || a.answer[7] != 1 {
			a.t.Fatalf("%x, %v", a.answer[:n], err)
		}
	}
}

// A miss allocates nothing either, once the cache is full, except for new
// sockets, and for what the runtime allocates for itself.
func TestMissesAllocateNothing(t *testing.T) {
	const n, window = 20000, 20
	up := answering(t)
	s := serve(t, forwarderTo(t, patient, 200, do53.New(up, do53.Options{MixCase: true, Cookies: true})), listener.Options{Workers: 1})
	a := newAsker(t, s.Addr())
	run := func() {
		for range n / window {
			a.ask(window)
		}
	}
	run()
	if got := mallocs(run); got > n/100 {
		t.Errorf("%d allocations for %d misses", got, n)
	}
	eventually(t, "none waits", func() bool { return s.Stats().Pending == 0 })
}

// BenchmarkMiss is a query that goes to an upstream. The costs of the upstream
// and the client are in the figure.
func BenchmarkMiss(b *testing.B) {
	const window = 32
	up := answering(b)
	o := upstream.Options{AttemptTimeout: patient.AttemptTimeout, Timeout: patient.Timeout}
	s := serve(b, forwarderTo(b, o, 1<<16, do53.New(up, do53.Options{MixCase: true, Cookies: true})), listener.Options{Workers: 1})
	a := newAsker(b, s.Addr())
	b.ReportAllocs()
	for b.Loop() {
		a.ask(window)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*window), "ns/query")
}
