package listener_test

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"rideau/resolver/limit"
	"rideau/resolver/listener"
)

// A shield of any size keeps away the networks that it names, and no others;
// of what it lets through by the die, some comes; and without it all is as before.
func TestShield(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{1, 2, 6, 7, 50, 1500} {
		s := serve(t, newFake(), listener.Options{Workers: 1})
		banned := netip.MustParseAddr("127.0.7.9")
		networks := []uint32{127<<16 | 0<<8 | 7}
		for len(networks) < size {
			if n := rnd.Uint32N(1 << 24); n != 127<<16|0<<8|8 && !slices.Contains(networks, n) {
				networks = append(networks, n)
			}
		}
		slices.Sort(networks)
		asks := func(from netip.Addr, n int) (answered int) {
			d := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
			c, err := d.Dial("udp", s.Addr().String())
			if err != nil {
				t.Skip("no second loopback address:", err)
			}
			defer c.Close()
			for i := range n {
				c.Write(query(uint16(i), settle, ""))
			}
			b := make([]byte, 512)
			c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
			for answered < n {
				if _, err := c.Read(b); err != nil {
					break
				}
				answered++
			}
			return answered
		}
		beside := netip.MustParseAddr("127.0.8.9")
		if err := s.Shield(&limit.Shield{Networks: networks, Pass: 0}); err != nil {
			t.Fatalf("%d networks: %v", size, err)
		}
		if n, m := asks(banned, 10), asks(beside, 10); n != 0 || m != 10 {
			t.Errorf("%d networks: %d of 10 queries come through, and %d of 10 from beside", size, n, m)
		}
		if st := s.Stats(); st.Shielded != 10 || st.Lost != 0 {
			t.Errorf("%d networks: counted %d shielded, %d lost", size, st.Shielded, st.Lost)
		}
		if err := s.Shield(&limit.Shield{Networks: networks, Pass: 0.5}); err != nil {
			t.Fatal(err)
		}
		if n := asks(banned, 400); n < 120 || n > 280 {
			t.Errorf("%d networks: %d of 400 queries come through by the half", size, n)
		}
		if err := s.Shield(nil); err != nil {
			t.Fatal(err)
		}
		if n := asks(banned, 10); n != 10 {
			t.Errorf("%d networks: %d of 10 queries come through without a shield", size, n)
		}
	}
}
