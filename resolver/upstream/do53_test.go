package upstream_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver/upstream"
	"rideau/resolver/upstream/acceptance"
	"rideau/resolver/upstream/do53"
	"rideau/resolver/wire"
)

func TestDo53Appends(t *testing.T) {
	noLeak(t)
	u := plainServer(serve(t, saying("hello"), nil))
	q := query(t, "www.example.com")
	dst := append(make([]byte, 0, 1000), "before"...)
	got, err := u.Exchange(within(t, patience), dst, q)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(got, []byte("before")) || &got[0] != &dst[0] {
		t.Errorf("not appended to dst: %q", got)
	}
	if s := texts(t, q, got[6:]); s != "hello" {
		t.Errorf("got %q", s)
	}
}

func TestDo53IPv6(t *testing.T) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		t.Skip("no IPv6 here: ", err)
	}
	defer conn.Close()
	go func() {
		buf := make([]byte, 512)
		if n, from, err := conn.ReadFromUDPAddrPort(buf); err == nil {
			conn.WriteToUDPAddrPort(reply(t, buf[:n], "six"), from)
		}
	}()
	expect(t, do53.New(conn.LocalAddr().(*net.UDPAddr).AddrPort(), do53.Options{}), "example.com", "six")
}

func TestDo53PassesOverForgeries(t *testing.T) {
	other, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	forged := func(s *server, q []byte, edit func([]byte)) []byte {
		m := reply(s.t, q, "forged")
		edit(m)
		return m
	}
	cases := map[string]func(s *server, from netip.AddrPort, q []byte) []byte{
		"id": func(s *server, _ netip.AddrPort, q []byte) []byte {
			return forged(s, q, func(m []byte) { m[0] ^= 1 })
		},
		"the caller's id": func(s *server, _ netip.AddrPort, q []byte) []byte {
			return forged(s, q, func(m []byte) { m[0], m[1] = 0x12, 0x34 })
		},
		"name": func(s *server, _ netip.AddrPort, q []byte) []byte {
			return forged(s, q, func(m []byte) { m[13] ^= 3 })
		},
		"type": func(s *server, _ netip.AddrPort, q []byte) []byte {
			return forged(s, q, func(m []byte) { m[len("\x03www\x07example\x03com\x00")+13]++ })
		},
		"query": func(s *server, _ netip.AddrPort, q []byte) []byte {
			return forged(s, q, func(m []byte) { m[2] &^= 0x80 })
		},
		"opcode": func(s *server, _ netip.AddrPort, q []byte) []byte {
			return forged(s, q, func(m []byte) { m[2] |= 0x20 })
		},
		"no question": func(s *server, _ netip.AddrPort, q []byte) []byte {
			return reply(s.t, q, "forged", func(m *dns.Msg) { m.Question = nil })
		},
		"two questions": func(s *server, _ netip.AddrPort, q []byte) []byte {
			return reply(s.t, q, "forged", func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) })
		},
		"short":         func(_ *server, _ netip.AddrPort, q []byte) []byte { return q[:11] },
		"empty":         func(*server, netip.AddrPort, []byte) []byte { return nil },
		"half question": func(s *server, _ netip.AddrPort, q []byte) []byte { return reply(s.t, q, "")[:20] },
	}
	for name, forge := range cases {
		t.Run(name, func(t *testing.T) {
			u := plainServer(serve(t, func(s *server, from netip.AddrPort, q []byte) {
				s.send(from, forge(s, from, q))
				s.send(from, reply(s.t, q, "real"))
			}, nil))
			expect(t, u, "www.example.com", "real")
			if n := u.Mismatches(); n != 1 {
				t.Errorf("%d mismatches counted, want 1", n)
			}
		})
	}
	t.Run("source", func(t *testing.T) {
		u := plainServer(serve(t, func(s *server, from netip.AddrPort, q []byte) {
			other.WriteToUDPAddrPort(reply(s.t, q, "forged"), from)
			s.send(from, reply(s.t, q, "real"))
		}, nil))
		expect(t, u, "www.example.com", "real")
	})
}

func TestDo53LeavesUDPToWhoeverGuesses(t *testing.T) {
	noLeak(t)
	s := serve(t, func(s *server, from netip.AddrPort, q []byte) {
		forged := reply(s.t, q, "forged")
		for end := time.Now().Add(patience); s.connections.Load() == 0 && time.Now().Before(end); {
			forged[1]++
			if forged[0] == q[0] && forged[1] == q[1] {
				continue
			}
			s.send(from, forged)
		}
	}, func(s *server, conn net.Conn) {
		conn.Write(frame(reply(s.t, readFrame(conn), "real")))
	})
	expect(t, plainServer(s), "www.example.com", "real")
}

func TestDo53IDsAndPortsVary(t *testing.T) {
	const sample = 200
	var mu sync.Mutex
	var ids, ports []uint16
	u := plainServer(serve(t, func(s *server, from netip.AddrPort, q []byte) {
		mu.Lock()
		ids, ports = append(ids, wire.ID(q)), append(ports, from.Port())
		mu.Unlock()
		s.send(from, reply(s.t, q, "x"))
	}, nil))
	for range sample {
		expect(t, u, "example.com", "x")
	}
	mu.Lock()
	defer mu.Unlock()
	for what, seen := range map[string][]uint16{"ids": ids, "ports": ports} {
		distinct, steps := make(map[uint16]bool), make(map[uint16]int)
		for i, v := range seen {
			distinct[v] = true
			if i > 0 {
				steps[v-seen[i-1]]++
			}
		}
		if len(seen) != sample || len(distinct) < sample*9/10 {
			t.Errorf("%s: %d, of which only %d differ", what, len(seen), len(distinct))
		}
		for step, n := range steps {
			if n > sample/10 {
				t.Errorf("%s: %d times the last one and %d", what, n, int16(step))
			}
		}
	}
}

func TestDo53HugeDatagram(t *testing.T) {
	// No path carries much more in one datagram than loopback does.
	text := strings.Repeat("x", 250)
	many := func(m *dns.Msg) {
		for range 239 {
			m.Answer = append(m.Answer, m.Answer[0])
		}
		m.Compress = true
	}
	u := plainServer(serve(t, saying(text, many), nil))
	q := query(t, "example.com")
	msg, err := u.Exchange(within(t, patience), nil, q)
	if err != nil {
		t.Fatal(err)
	}
	if got := texts(t, q, msg); len(msg) < 60000 || strings.Count(got, text) != 240 {
		t.Errorf("%d octets, %d records", len(msg), strings.Count(got, text))
	}
}

func TestDo53WithoutEDNS(t *testing.T) {
	bare := func(code int) func(m *dns.Msg) {
		return func(m *dns.Msg) { m.Question, m.Rcode = nil, code }
	}
	for name, refusal := range map[string]func(*dns.Msg){
		"FORMERR":          rcode(dns.RcodeFormatError),
		"NOTIMP":           rcode(dns.RcodeNotImplemented),
		"FORMERR, bare":    bare(dns.RcodeFormatError),
		"NOTIMP, bare":     bare(dns.RcodeNotImplemented),
		"BADVERS with OPT": func(m *dns.Msg) { m.SetEdns0(512, false); m.Rcode = dns.RcodeBadVers },
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, func(s *server, from netip.AddrPort, q []byte) {
				if wire.Count(q, wire.Additional) > 0 {
					s.send(from, reply(s.t, q, "", refusal))
					return
				}
				s.send(from, reply(s.t, q, "plain"))
			}, nil)
			u := plainServer(s)
			expect(t, u, "a.example", "plain")
			// Two that refuse, since one may be forged and there is no TCP.
			if n := s.datagrams.Load(); n != 3 {
				t.Errorf("%d datagrams, want 3", n)
			}
			expect(t, u, "b.example", "plain")
			if n := s.datagrams.Load(); n != 4 {
				t.Errorf("%d datagrams, want 4: it was not remembered", n)
			}
		})
	}
}

// An error without a question is the server's response if it says the same by
// TCP, or again by UDP: there is no wait for another.
func TestDo53BareErrors(t *testing.T) {
	for _, code := range []int{dns.RcodeServerFailure, dns.RcodeRefused} {
		bare := func(m *dns.Msg) { m.Question, m.Extra, m.Rcode = nil, nil, code }
		stream := func(s *server, conn net.Conn) { conn.Write(frame(reply(s.t, readFrame(conn), "", bare))) }
		for _, s := range []*server{serve(t, saying("", bare), nil), serve(t, truncated(), stream)} {
			u := plainServer(s)
			t.Cleanup(u.Close)
			q := query(t, "a.example")
			msg, err := u.Exchange(within(t, patience), nil, q)
			if err != nil {
				t.Fatal(err)
			}
			if !wire.Matches(q, msg) || wire.HeaderRcode(msg) != wire.Rcode(code) {
				t.Errorf("got %x, want %v with the question", msg, dns.RcodeToString[code])
			}
		}
	}
	// NXDOMAIN and NOERROR without one could be for anybody.
	for _, code := range []int{dns.RcodeSuccess, dns.RcodeNameError} {
		q := query(t, "a.example")
		msg := reply(t, q, "", func(m *dns.Msg) { m.Question, m.Rcode = nil, code })
		if r, _ := acceptance.Accept(acceptance.Datagram, plainServer(&server{}).Endpoint(), q, msg); r != acceptance.Mismatch {
			t.Errorf("%v without a question counts", dns.RcodeToString[code])
		}
	}
}

// A server that refuses a question with and without an OPT record does not refuse
// EDNS.
func TestDo53KeepsEDNSAfterOtherFormErr(t *testing.T) {
	s := serve(t, func(s *server, from netip.AddrPort, q []byte) {
		if strings.Contains(string(q), "odd") {
			s.send(from, reply(s.t, q, "", func(m *dns.Msg) { m.Question, m.Rcode = nil, dns.RcodeFormatError }))
			return
		}
		if wire.Count(q, wire.Additional) != 1 {
			s.send(from, reply(s.t, q, "without"))
			return
		}
		s.send(from, reply(s.t, q, "with"))
	}, nil)
	u := plainServer(s)
	q := query(t, "odd.example")
	msg, err := u.Exchange(within(t, patience), nil, q)
	if err != nil {
		t.Fatal(err)
	}
	if texts(t, q, msg) != "" || wire.HeaderRcode(msg) != wire.FormErr {
		t.Errorf("got %x, want FORMERR with the question", msg)
	}
	expect(t, u, "a.example", "with")
}

func TestDo53Errors(t *testing.T) {
	noLeak(t)
	mute := plainServer(serve(t, func(*server, netip.AddrPort, []byte) {}, nil))
	gone := serve(t, nil, nil)
	gone.stop()
	closed := plainServer(gone)
	q := query(t, "example.com")
	cases := map[string]struct {
		u    *do53.Server
		ctx  func() (context.Context, context.CancelFunc)
		q    []byte
		want error
	}{
		"no answer": {mute, func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.Background(), 30*time.Millisecond)
		}, q, upstream.ErrTimeout},
		"cancelled": {mute, func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(20*time.Millisecond, cancel)
			return ctx, cancel
		}, q, context.Canceled},
		"over before": {mute, func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			return ctx, cancel
		}, q, context.Canceled},
		"closed port": {closed, func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.Background(), patience)
		}, q, upstream.ErrNetwork},
		"no query": {mute, func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.Background(), patience)
		}, q[:11], upstream.ErrNetwork},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := c.ctx()
			defer cancel()
			start := time.Now()
			dst, err := c.u.Exchange(ctx, []byte("dst"), c.q)
			if string(dst) != "dst" {
				t.Errorf("dst is now %q", dst)
			}
			for _, e := range []error{upstream.ErrTimeout, upstream.ErrNetwork, context.Canceled} {
				if errors.Is(err, e) != (e == c.want) {
					t.Errorf("got %v, want %v alone", err, c.want)
				}
			}
			if d := time.Since(start); d > patience/2 {
				t.Errorf("took %v", d)
			}
		})
	}
}

func TestDo53Concurrent(t *testing.T) {
	noLeak(t)
	u := plainServer(serve(t, func(s *server, from netip.AddrPort, q []byte) {
		var n wire.Name
		if _, err := n.Parse(q, wire.HeaderLen); err != nil {
			s.t.Error(err)
		}
		s.send(from, reply(s.t, q, n.String()))
	}, nil))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			name := string(rune('a'+i)) + ".example."
			q := query(t, name)
			for range 50 {
				msg, err := u.Exchange(within(t, patience), nil, q)
				if err != nil {
					t.Error(err)
					return
				}
				if got := texts(t, q, msg); got != name {
					t.Errorf("asked for %s, got %s", name, got)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkDo53(b *testing.B) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	go func() { // echoes, and allocates nothing
		buf := make([]byte, 512)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			buf[2] |= 0x80
			conn.WriteToUDPAddrPort(buf[:n], from)
		}
	}()
	u := do53.New(conn.LocalAddr().(*net.UDPAddr).AddrPort(), do53.Options{})
	g := upstream.NewGroup("bench", upstream.Options{}, u)
	q := query(b, "www.example.com")
	dst := make([]byte, 0, 4096)
	b.Run("alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := u.Exchange(b.Context(), dst, q); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("group", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := g.Exchange(b.Context(), dst, q); err != nil {
				b.Fatal(err)
			}
		}
	})
}
