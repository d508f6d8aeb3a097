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

// A shield of any size drops the datagrams of the networks that it names, and no
// others. If it lets a share pass, about that share passes. Without it all do.
func TestShield(t *testing.T) {
	for _, c := range []struct{ listen, client, beside string }{
		{"127.0.0.1:0", "127.0.7.9", "127.0.8.9"},
		{"[::1]:0", "::1", ""},
	} {
		t.Run(c.listen, func(t *testing.T) {
			needs(t, c.listen)
			rnd := rand.New(rand.NewPCG(1, 2))
			for _, size := range []int{1, 2, 6, 7, 50, 1500} {
				testShield(t, rnd, size, c.listen, c.client, c.beside)
			}
		})
	}
}

func testShield(t *testing.T, rnd *rand.Rand, size int, listen, client, beside string) {
	s := serve(t, newFake(), listener.Options{Workers: 1, Addrs: []string{listen}})
	banned := limit.NetworkOf(netip.MustParseAddr(client))
	var fine limit.Network
	if beside != "" {
		fine = limit.NetworkOf(netip.MustParseAddr(beside))
	}
	// Of both families, as they are in a flood of both.
	var networks []limit.Network
	for len(networks) < size-1 {
		a := [16]byte{0x20, 0x01}
		for i := 2; i < len(a); i++ {
			a[i] = byte(rnd.Uint32())
		}
		ip := netip.AddrFrom16(a)
		if len(networks)%2 == 0 {
			ip = netip.AddrFrom4([4]byte(a[4:]))
		}
		if n := limit.NetworkOf(ip); n != fine && n != banned && !slices.Contains(networks, n) {
			networks = append(networks, n)
		}
	}
	with := append(slices.Clone(networks), banned)
	slices.Sort(networks)
	slices.Sort(with)
	asks := func(from string, n int) (answered int) {
		d := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0))}
		c, err := d.Dial("udp", s.Addr().String())
		if err != nil {
			t.Skip("no second loopback address:", err)
		}
		defer c.Close()
		before := s.Stats().Shielded
		for i := range n {
			c.Write(query(uint16(i), settle, ""))
		}
		// Each query is answered, or counted as dropped.
		b := make([]byte, 512)
		for end := time.Now().Add(10 * time.Second); answered+int(s.Stats().Shielded-before) < n && time.Now().Before(end); {
			c.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
			if _, err := c.Read(b); err == nil {
				answered++
			}
		}
		return answered
	}
	raise := func(by *limit.Shield) {
		t.Helper()
		if err := s.Shield(by); err != nil {
			t.Fatalf("%d networks: %v", size, err)
		}
	}
	raise(&limit.Shield{Networks: networks, Pass: 0})
	if n := asks(client, 10); n != 10 {
		t.Errorf("%d networks: %d of 10 queries pass from none of them", len(networks), n)
	}
	raise(&limit.Shield{Networks: with, Pass: 0})
	if n := asks(client, 10); n != 0 {
		t.Errorf("%d networks: %d of 10 queries pass", size, n)
	}
	if beside != "" {
		if n := asks(beside, 10); n != 10 {
			t.Errorf("%d networks: %d of 10 queries pass from the network beside", size, n)
		}
	}
	if st := s.Stats(); st.Shielded != 10 || st.Lost != 0 {
		t.Errorf("%d networks: counted %d shielded, %d lost", size, st.Shielded, st.Lost)
	}
	raise(&limit.Shield{Networks: with, Pass: 0.5})
	if n := asks(client, 400); n < 120 || n > 280 {
		t.Errorf("%d networks: %d of 400 queries pass, of a half", size, n)
	}
	raise(nil)
	if n := asks(client, 10); n != 10 {
		t.Errorf("%d networks: %d of 10 queries pass without a shield", size, n)
	}
}
