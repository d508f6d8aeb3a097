package listener_test

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"rideau/resolver/listener"
	"rideau/resolver/upstream"
	"rideau/resolver/upstream/do53"
	"rideau/resolver/upstream/member"
	"rideau/resolver/wire"
)

// lossy is an upstream like a mirror, behind a delay and a path that loses a share
// of the queries.
func lossy(t *testing.T, share float64, delay time.Duration) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		luck := rand.New(rand.NewPCG(1, 2))
		for {
			buf := make([]byte, 512)
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			if luck.Float64() < share {
				continue
			}
			buf[2] |= 0x80
			buf[3] |= 0x80
			time.AfterFunc(delay, func() { conn.WriteToUDPAddrPort(buf[:n], from) })
		}
	})
	t.Cleanup(func() { conn.Close(); wg.Wait() })
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// A query whose datagram is lost is answered in time, by another upstream or by
// the same.
func TestMissesSurviveLoss(t *testing.T) {
	const n = 1000
	for name, shares := range map[string][]float64{"one of two": {0.3, 0}, "both": {0.3, 0.3}, "black hole": {1, 0}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var ups []member.Server
			for _, share := range shares {
				ups = append(ups, do53.New(lossy(t, share, 5*time.Millisecond), do53.Options{}))
			}
			s := serve(t, forwarderTo(t, upstream.Options{}, 0, ups...), listener.Options{Workers: 1})
			c := dial(t, "udp", s.Addr())
			var queries [n][]byte
			for i := range uint16(n) {
				queries[i] = miss(t, i)
			}
			var mu sync.Mutex
			sent := map[uint16]time.Time{}
			go func() {
				for i := range uint16(n) {
					mu.Lock()
					sent[i] = time.Now()
					mu.Unlock()
					c.Write(queries[i])              // if it is lost, so is its response
					time.Sleep(2 * time.Millisecond) // sleeps: the queries come at a pace
				}
			}()
			var took []time.Duration
			failed := 0
			for range n {
				a := receive(t, c)
				if wire.HeaderRcode(a) != wire.NoError {
					failed++
				}
				mu.Lock()
				took = append(took, time.Since(sent[wire.ID(a)]))
				mu.Unlock()
			}
			slices.Sort(took)
			t.Logf("%d failed; p50 %v, p90 %v, p99 %v, p99.9 %v", failed, took[n/2], took[n*9/10], took[n*99/100], took[n*999/1000])
			// With six datagrams to the two of them some queries are lost.
			if failed > 0 && name != "both" || failed > n/100 {
				t.Errorf("%d of %d failed", failed, n)
			}
		})
	}
}
