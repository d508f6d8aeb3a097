package upstream_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rideau/resolver/upstream"
	"rideau/resolver/upstream/health"
)

// icmpForger sends ICMP messages on the loopback interface that say that a UDP port
// is unreachable.
type icmpForger struct {
	t  testing.TB
	fd int
}

func newICMPForger(t testing.TB) *icmpForger {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
	if err != nil {
		t.Skipf("raw sockets take root: %v", err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return &icmpForger{t, fd}
}

// unreachable tells whoever sent a datagram from one address to the other that the
// latter is a closed port.
func (f *icmpForger) unreachable(from, to netip.AddrPort) {
	m := make([]byte, 8+20+8)
	m[0], m[1] = 3, 3 // destination unreachable, port unreachable
	ip := m[8:]
	ip[0], ip[8], ip[9] = 0x45, 64, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(ip[2:], 60)
	src, dst := from.Addr().As4(), to.Addr().As4()
	copy(ip[12:], src[:])
	copy(ip[16:], dst[:])
	binary.BigEndian.PutUint16(ip[20:], from.Port())
	binary.BigEndian.PutUint16(ip[22:], to.Port())
	binary.BigEndian.PutUint16(ip[24:], 40)
	sum := uint32(0)
	for i := 0; i < len(m); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(m[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xFFFF + sum>>16
	}
	binary.BigEndian.PutUint16(m[2:], ^uint16(sum))
	if err := unix.Sendto(f.fd, m, 0, &unix.SockaddrInet4{Addr: src}); err != nil {
		f.t.Error(err)
	}
}

// Somebody who guesses ports sends ICMP messages that say that the upstream is not
// there, before its answers come. No query fails by that, and no upstream goes down.
func TestForgedICMP(t *testing.T) {
	f := newICMPForger(t)
	var refused atomic.Int64
	forged := serve(t, func(s *server, from netip.AddrPort, q []byte) {
		if len(q) > 30 { // the ports of probes, which are for the root, are not guessed in time
			f.unreachable(from, s.addr)
			refused.Add(1)
		}
		time.Sleep(20 * time.Millisecond) // sleeps: the answer comes later
		s.send(from, reply(s.t, q, "right"))
	}, nil)
	other := serve(t, saying("other"), nil)
	for _, ways := range []struct {
		name string
		ask  func(t testing.TB, g *upstream.Group, name string) ([]byte, error)
	}{
		{"multiplexer", byMux},
		{"exchange", func(t testing.TB, g *upstream.Group, name string) ([]byte, error) {
			return g.Exchange(within(t, patience), nil, query(t, name))
		}},
	} {
		t.Run(ways.name, func(t *testing.T) {
			sole := group(t, upstream.Options{}, forged)
			ctx, cancel := context.WithCancel(t.Context())
			var running sync.WaitGroup
			running.Go(func() { sole.Run(ctx) })
			defer running.Wait()
			defer cancel()
			refused.Store(0)
			for i := range 10 {
				name := fmt.Sprintf("n%d.example", i)
				msg, err := ways.ask(t, sole, name)
				if err != nil || texts(t, query(t, name), msg) != "right" {
					t.Fatalf("%s: %v", name, err)
				}
			}
			if refused.Load() < 10 {
				t.Errorf("only %d queries were refused", refused.Load())
			}
			pair := group(t, upstream.Options{}, forged, other)
			if msg, err := ways.ask(t, pair, "two.example"); err != nil || texts(t, query(t, "two.example"), msg) != "other" {
				t.Errorf("the other is asked at once: %v", err)
			}
		})
	}
}

// Where nobody is at the port of an upstream, a probe finds that out, and queries fail
// at once from then on.
func TestTrueICMP(t *testing.T) {
	newICMPForger(t) // where forged ones are tested
	gone := serve(t, nil, nil)
	gone.stop()
	g := group(t, upstream.Options{}, gone)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { g.Run(ctx) })
	defer running.Wait()
	defer cancel()
	begun := time.Now()
	if _, err := byMux(t, g, "one.example"); err == nil || time.Since(begun) > 2*time.Second {
		t.Errorf("%v after %v", err, time.Since(begun))
	}
	eventually(t, "it is down", func() bool { return g.Stats()[0].Health == health.Down })
	begun = time.Now()
	if _, err := g.Exchange(within(t, patience), nil, query(t, "two.example")); err == nil || time.Since(begun) > 300*time.Millisecond {
		t.Errorf("%v after %v", err, time.Since(begun))
	}
}
