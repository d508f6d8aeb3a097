package listener_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"rideau/resolver/listener"
)

// Windows of queries, of which every fifth waits, from several clients at once.
func TestUDPLosesNone(t *testing.T) {
	engines(t, func(t *testing.T, o listener.Options) {
		f := newFake()
		close(f.release)
		s := serve(t, f, o)
		const clients, window, rounds = 4, 50, 50 // 10,000 queries
		errs := make(chan error, clients)
		for c := range clients {
			u := dial(t, "udp", s.Addr())
			go func() { errs <- windows(u, byte(c), window, rounds) }()
		}
		for range clients {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		n := s.stats.Totals()
		var total uint64
		for k := range n.Queries[0][0] {
			total += n.Queries[0][0][k]
		}
		if total != clients*window*rounds { // each is counted before its response is sent
			t.Errorf("%d queries counted", total)
		}
	})
}

func windows(u net.Conn, client byte, window, rounds int) error {
	b := make([]byte, 4096)
	for r := range rounds {
		open := make(map[uint16][]byte)
		for i := range window {
			id := uint16(r*window + i)
			k := byte(settle)
			if i%5 == 0 {
				k = wait
			}
			q := query(id, k, fmt.Sprint(client, strings.Repeat("x", int(id)%400)))
			open[id] = q
			if _, err := u.Write(q); err != nil {
				return err
			}
		}
		for range window {
			n, err := u.Read(b)
			if err != nil {
				return fmt.Errorf("client %d, round %d: %d responses missing: %w", client, r, len(open), err)
			}
			id := binary.BigEndian.Uint16(b)
			if !isReply(open[id], b[:n]) {
				return fmt.Errorf("client %d: %x is not a response to its queries", client, b[:n])
			}
			delete(open, id)
		}
	}
	return nil
}

func TestUDPSourceAddress(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("127.0.0.2 is not this host's everywhere")
	}
	engines(t, func(t *testing.T, o listener.Options) {
		f := newFake()
		close(f.release)
		o.Addrs = []string{":0"}
		s := serve(t, f, o)
		asked := []string{"127.0.0.2", "127.3.2.1"}
		if hasIPv6() && len(s.Addrs()) == 2 {
			asked = append(asked, "::1")
		}
		for _, a := range asked {
			to := netip.AddrPortFrom(netip.MustParseAddr(a), s.Addr().Port())
			// Not connected, so that a response from another address would be read.
			u, err := net.ListenUDP("udp", nil)
			if err != nil {
				t.Fatal(err)
			}
			defer u.Close()
			for _, k := range []byte{settle, wait} {
				if _, err := u.WriteToUDPAddrPort(query(7, k, ""), to); err != nil {
					t.Fatal(err)
				}
				b := make([]byte, 512)
				n, from, err := u.ReadFromUDPAddrPort(b)
				if err != nil {
					t.Fatal(err)
				}
				if got := netip.AddrPortFrom(from.Addr().Unmap(), from.Port()); got != to || !isReply(query(7, k, ""), b[:n]) {
					t.Errorf("asked %v, answered by %v: %x", to, got, b[:n])
				}
			}
		}
	})
}

func TestUDPSizes(t *testing.T) {
	engines(t, func(t *testing.T, o listener.Options) {
		s := serve(t, newFake(), o)
		u := dial(t, "udp", s.Addr())
		for _, n := range []int{0, 1, 11, 12, 13, 512, 4095, 4096} {
			q := bytes.Repeat([]byte{1}, n)
			if n > 12 {
				q[12] = settle
			}
			send(t, u, q)
			if n == 0 {
				continue // the fake sends nothing then
			}
			a := receive(t, u)
			if n > 2 {
				q[2] |= 0x80
			}
			if !bytes.Equal(a, q) {
				t.Errorf("%d octets: answered %d octets", n, len(a))
			}
		}
		for _, n := range []int{4097, 20000} {
			q := bytes.Repeat([]byte{1}, n)
			send(t, u, q)
			// The handler gets the header alone.
			if a := receive(t, u); len(a) != 12 || a[2] != 0x81 {
				t.Errorf("%d octets: answered %x", n, a)
			}
		}
		if n := s.Stats().Oversized; n != 2 {
			t.Errorf("%d oversized, want 2", n)
		}
		send(t, u, query(3, large, ""))
		if a := receive(t, u); len(a) != 3000 || a[1] != 3 {
			t.Errorf("large answer has %d octets", len(a))
		}
	})
}

// Responses that the kernel refuses do not stop the others of their batch.
func TestUDPSendErrors(t *testing.T) {
	engines(t, func(t *testing.T, o listener.Options) {
		f := newFake()
		close(f.release)
		o.Workers = 1
		s := serve(t, f, o)
		u := dial(t, "udp", s.Addr())
		const n = 20
		for i := range uint16(n) {
			k := byte(settle)
			if i%4 == 1 {
				k = monster
			}
			send(t, u, query(i, k, ""))
		}
		for range n - n/4 {
			if a := receive(t, u); a[1]%4 == 1 {
				t.Errorf("answered %x", a)
			}
		}
		eventually(t, "errors are counted", func() bool { return s.Stats().SendErrors == n/4 })
	})
}
