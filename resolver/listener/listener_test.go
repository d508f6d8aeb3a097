package listener_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"rideau/resolver"
	"rideau/resolver/limit"
	"rideau/resolver/listener"
	"rideau/resolver/resolvertest"
)

func TestPortZeroIsOnePortForBoth(t *testing.T) {
	addrs := []string{"127.0.0.1:0"}
	if hasIPv6() {
		addrs = append(addrs, "[::1]:0")
	}
	s := serve(t, newFake(), listener.Options{Addrs: addrs})
	if n := len(s.Addrs()); n != len(addrs) {
		t.Fatalf("%d addresses, want %d", n, len(addrs))
	}
	for _, a := range s.Addrs() {
		u, c := dial(t, "udp", a), dial(t, "tcp", a)
		send(t, u, query(1, settle, "u"))
		if a := receive(t, u); !isReply(query(1, settle, "u"), a) {
			t.Errorf("udp answered %x", a)
		}
		send(t, c, framed(query(2, settle, "t")))
		if a := receiveFramed(t, c); !isReply(query(2, settle, "t"), a) {
			t.Errorf("tcp answered %x", a)
		}
	}
}

func TestAddressInUse(t *testing.T) {
	engines(t, func(t *testing.T, o listener.Options) {
		s := serve(t, newFake(), o)
		for _, workers := range []int{1, 2} {
			_, err := listener.Listen(newFake(), listener.Options{Addrs: []string{"127.0.0.1:0", s.Addr().String()}, Workers: workers})
			if err == nil || !strings.Contains(err.Error(), "address already in use; another server has it") {
				t.Errorf("second listener with %d workers: %v", workers, err)
			}
		}
	})
	t.Run("udp alone", func(t *testing.T) {
		u, err := net.ListenPacket("udp4", resolvertest.FreeAddress(t).String()) // free for TCP, too
		if err != nil {
			t.Fatal(err)
		}
		defer u.Close()
		_, err = listener.Listen(newFake(), listener.Options{Addrs: []string{u.LocalAddr().String()}})
		if err == nil || !strings.Contains(err.Error(), "listen on udp "+u.LocalAddr().String()) {
			t.Fatalf("got %v", err)
		}
		// All or nothing: TCP, which was free, must be free again.
		c, err := net.Listen("tcp4", u.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	})
}

func TestBadAddress(t *testing.T) {
	for _, s := range []string{"", "127.0.0.1", "localhost:53", ":dns", ":65536", "::1:53"} {
		if _, err := listener.Listen(newFake(), listener.Options{Addrs: []string{s}}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("address %q", s)) {
			t.Errorf("%q: %v", s, err)
		}
	}
	if _, err := listener.Listen(newFake(), listener.Options{}); err == nil {
		t.Error("no address was no error")
	}
}

func TestServeOnce(t *testing.T) {
	s := serve(t, newFake(), listener.Options{})
	s.stop()
	if err := s.Serve(context.Background()); err != listener.ErrServed {
		t.Errorf("served again: %v", err)
	}
	l, err := listener.Listen(newFake(), listener.Options{Addrs: []string{s.Addr().String()}})
	if err != nil {
		t.Fatalf("after Serve has ended: %v", err)
	}
	l.Close()
	if err := l.Serve(context.Background()); err != listener.ErrServed {
		t.Errorf("served after Close: %v", err)
	}
}

func TestQueryFields(t *testing.T) {
	f := newFake()
	s := serve(t, f, listener.Options{Addrs: []string{":0"}, IdleTimeout: 7 * time.Second})
	for _, a := range s.Addrs() {
		local := "127.0.0.1"
		if a.Addr().Is6() {
			if !hasIPv6() {
				continue
			}
			local = "::1"
		}
		to := netip.AddrPortFrom(netip.MustParseAddr(local), a.Port())
		for _, network := range []string{"udp", "tcp"} {
			c := dial(t, network, to)
			before := time.Now()
			m := query(1, settle, "")
			if network == "tcp" {
				m = framed(m)
			}
			send(t, c, m)
			receive(t, c)
			f.mu.Lock()
			q := f.seen
			f.mu.Unlock()
			if q.Client != to.Addr() {
				t.Errorf("%s: client %v, want %v", network, q.Client, to.Addr())
			}
			if q.Transport.String() != network {
				t.Errorf("transport %v, want %v", q.Transport, network)
			}
			if q.Received.Before(before) || q.Received.After(time.Now()) {
				t.Errorf("%s: received %v is not now", network, q.Received)
			}
			if want := map[string]uint16{"tcp": 70}[network]; q.Keepalive != want {
				t.Errorf("%s: keepalive %d, want %d", network, q.Keepalive, want)
			}
		}
	}
}

func TestStats(t *testing.T) {
	engines(t, func(t *testing.T, o listener.Options) {
		f := newFake()
		close(f.release)
		s := serve(t, f, o)
		u, c := dial(t, "udp", s.Addr()), dial(t, "tcp", s.Addr())
		for _, k := range []byte{settle, wait, drop} {
			send(t, u, query(1, k, ""))
			send(t, c, framed(query(1, k, "")))
			if k != drop {
				receive(t, u)
				receiveFramed(t, c)
			}
		}
		// A last answer on the same socket says that the drop has been seen.
		send(t, u, query(1, settle, ""))
		send(t, c, framed(query(1, settle, "")))
		receive(t, u)
		receiveFramed(t, c)
		eventually(t, "all queries are counted", func() bool {
			n := s.stats.Totals()
			for _, transport := range []resolver.Transport{resolver.UDP, resolver.TCP} {
				for k, want := range map[resolver.Kind]uint64{resolver.Cached: 2, resolver.Forwarded: 1, resolver.Dropped: 1} {
					if n.Queries[transport][0][k] != want {
						return false
					}
				}
			}
			return true
		})
	})
}

func TestPanics(t *testing.T) {
	engines(t, func(t *testing.T, o listener.Options) {
		s := serve(t, newFake(), o)
		u, c := dial(t, "udp", s.Addr()), dial(t, "tcp", s.Addr())
		for range 3 {
			send(t, u, query(1, panicNow, ""))
			send(t, u, query(2, panicLow, ""))
			if a := receive(t, u); a[1] != 2 || a[3] != 2 {
				t.Errorf("udp, after a panic in Resolve: %x, want SERVFAIL for query 2", a)
			}
			send(t, u, query(3, settle, ""))
			if a := receive(t, u); !isReply(query(3, settle, ""), a) {
				t.Errorf("udp, after panics: %x", a)
			}
			send(t, c, framed(query(1, panicNow, ""), query(2, panicLow, "")))
			if a := receiveFramed(t, c); a[1] != 2 || a[3] != 2 {
				t.Errorf("tcp, after a panic in Resolve: %x, want SERVFAIL for query 2", a)
			}
			send(t, c, framed(query(3, settle, "")))
			if a := receiveFramed(t, c); !isReply(query(3, settle, ""), a) {
				t.Errorf("tcp, after panics: %x", a)
			}
		}
		eventually(t, "12 panics are counted", func() bool { return s.Stats().Panics == 12 })
		eventually(t, "none waits", func() bool { return s.Stats().Pending == 0 })
		s.stop()
		if n := strings.Count(s.log.String(), "told to"); n < 1 || n > 3 {
			t.Errorf("%d panics logged, want one a second:\n%s", n, s.log)
		}
	})
}

func TestShed(t *testing.T) {
	engines(t, func(t *testing.T, o listener.Options) {
		f := newFake()
		o.WaitLimit = limit.NewWaitLimit(3)
		s := serve(t, f, o)
		other := serve(t, f, listener.Options{WaitLimit: o.WaitLimit})
		u, c := dial(t, "udp", s.Addr()), dial(t, "tcp", other.Addr())
		for i := range uint16(2) {
			send(t, u, query(i, wait, ""))
		}
		send(t, c, framed(query(2, wait, "")))
		eventually(t, "three wait", func() bool { return o.WaitLimit.Waiting() == 3 && s.Stats().Pending == 2 && other.Stats().Pending == 1 })
		send(t, u, query(3, wait, ""))
		if a := receive(t, u); a[1] != 3 || a[3] != 2 {
			t.Errorf("udp over the bound: %x, want SERVFAIL for query 3", a)
		}
		send(t, c, framed(query(4, wait, "")))
		if a := receiveFramed(t, c); a[1] != 4 || a[3] != 2 {
			t.Errorf("tcp over the bound: %x, want SERVFAIL for query 4", a)
		}
		if s.Stats().Shed != 1 || other.Stats().Shed != 1 {
			t.Errorf("shed %d and %d, want 1 and 1", s.Stats().Shed, other.Stats().Shed)
		}
		close(f.release)
		for range 2 {
			if a := receive(t, u); a[3] != 0 {
				t.Errorf("udp: %x", a)
			}
		}
		if a := receiveFramed(t, c); a[1] != 2 || a[3] != 0 {
			t.Errorf("tcp: %x", a)
		}
		eventually(t, "none waits", func() bool { return o.WaitLimit.Waiting() == 0 })
	})
}
