package upstream_test

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver/upstream"
	"rideau/resolver/upstream/choice"
	"rideau/resolver/upstream/health"
	"rideau/resolver/wire"
)

// truncating answers names that begin with large by TC, and all others.
func truncating(text string) func(*server, netip.AddrPort, []byte) {
	return func(s *server, from netip.AddrPort, q []byte) {
		var m dns.Msg
		if err := m.Unpack(q); err != nil {
			s.t.Error(err)
			return
		}
		s.send(from, reply(s.t, q, text, func(r *dns.Msg) {
			r.Truncated = strings.HasPrefix(strings.ToLower(m.Question[0].Name), "large")
		}))
	}
}

// TestNoTCP: a server that answers by UDP stays up whatever its TCP does, and is
// asked for all names. What it truncates the next one is asked for; without
// another, the truncated answer is what there is, in less than a client's
// patience.
func TestNoTCP(t *testing.T) {
	for name, stream := range map[string]func(*server, net.Conn){
		"closed": nil,
		"silent": func(_ *server, conn net.Conn) { readFrame(conn); readFrame(conn) },
		"cut too": func(s *server, conn net.Conn) {
			for q := readFrame(conn); q != nil; q = readFrame(conn) {
				conn.Write(frame(reply(s.t, q, "part", func(m *dns.Msg) { m.Truncated = true })))
			}
		},
	} {
		for way, ask := range map[string]func(testing.TB, *upstream.Group, string) ([]byte, error){
			"exchange": func(t testing.TB, g *upstream.Group, name string) ([]byte, error) {
				return g.Exchange(within(t, patience), nil, query(t, name))
			},
			"multiplexer": byMux,
		} {
			t.Run(name+"/"+way, func(t *testing.T) {
				t.Parallel()
				first, second := serve(t, truncating("part"), stream), serve(t, saying("whole"), nil)
				alone := group(t, upstream.Options{NoHedge: true}, first)
				both := group(t, upstream.Options{NoHedge: true}, first, second)
				for range 4 {
					began := time.Now()
					msg, err := ask(t, alone, "large.example")
					if err != nil || texts(t, query(t, "large.example"), msg) != "part" || wire.Flags(msg)&wire.FlagTC == 0 {
						t.Fatalf("alone: %x, %v", msg, err)
					}
					if took := time.Since(began); took > patience {
						t.Errorf("alone: %v", took)
					}
					msg, err = ask(t, both, "large.example")
					if err != nil || texts(t, query(t, "large.example"), msg) != "whole" || wire.Flags(msg)&wire.FlagTC != 0 {
						t.Fatalf("with another: %x, %v", msg, err)
					}
				}
				for what, g := range map[string]*upstream.Group{"alone": alone, "with another": both} {
					msg, err := ask(t, g, "small.example")
					if err != nil || texts(t, query(t, "small.example"), msg) != "part" {
						t.Errorf("%s: %x, %v", what, msg, err)
					}
					if s := g.Stats()[0]; s.Health != health.Up || count(s, "truncated") == 0 || count(s, "network") > 0 {
						t.Errorf("%s: %v, %+v", what, s.Health, s.Failures)
					}
				}
			})
		}
	}
}

// TestTCPComesBack: what is truncated is whole again soon after TCP works.
func TestTCPComesBack(t *testing.T) {
	open := make(chan bool, 1)
	s := serve(t, truncating("part"), func(s *server, conn net.Conn) {
		select {
		case <-open:
			open <- true
			answering("whole")(s, conn)
		default:
		}
	})
	g := group(t, upstream.Options{NoHedge: true}, s)
	for range 3 {
		expect(t, g, "large.example", "part")
	}
	open <- true
	for range 3 {
		msg, err := byMux(t, g, "large.example")
		if err != nil || texts(t, query(t, "large.example"), msg) != "whole" {
			t.Fatalf("%x, %v", msg, err)
		}
	}
}

// TestGoesLast: a server that gives no answers to what others answer is asked
// last, and is tried now and then. One that gives some keeps its place in an
// ordered group.
func TestGoesLast(t *testing.T) {
	for _, code := range []string{"REFUSED", "NOTAUTH", "NOTIMP"} {
		for _, s := range []choice.Strategy{choice.Ordered, choice.Weighted, choice.Fastest} {
			bubbleWith(t, upstream.Options{NoHedge: true, Strategy: s}, 3, func(t *testing.T, g *upstream.Group, f []*fake) {
				f[0].say(time.Millisecond, code)
				f[1].say(10*time.Millisecond, "good")
				f[2].say(10*time.Millisecond, "good")
				exchange := func(n int) (first int) {
					asked(f)
					for range n {
						q := query(t, "example.com")
						if msg, err := g.Exchange(t.Context(), nil, q); err != nil || texts(t, q, msg) != "good" && code != "good" {
							t.Fatalf("%x, %v", msg, err)
						}
					}
					return asked(f)[0]
				}
				exchange(150)
				if n := exchange(100); n > 10 {
					t.Errorf("%s, strategy %d: asked %d times of 100", code, s, n)
				}
				f[0].say(time.Millisecond, "good")
				time.Sleep(2 * time.Second)
				exchange(10 * 32)
				if n := exchange(32); n < 8 {
					t.Errorf("%s, strategy %d: asked %d times of 32 when it answers", code, s, n)
				}
				if s != choice.Ordered {
					return
				}
				f[0].say(time.Millisecond, code)
				if n := exchange(150); n != 150 {
					t.Errorf("%s: asked %d times of 150 though it knows some names", code, n)
				}
			})
		}
	}
	// A failure is nobody's fault, nor is what nobody answers.
	for _, code := range []string{"SERVFAIL", "REFUSED"} {
		bubble(t, 2, func(t *testing.T, g *upstream.Group, f []*fake) {
			f[0].say(0, code)
			f[1].say(0, map[string]string{"SERVFAIL": "good", "REFUSED": "REFUSED"}[code])
			for range 150 {
				g.Exchange(t.Context(), nil, query(t, "example.com"))
			}
			if n := asked(f)[0]; n != 150 {
				t.Errorf("%s: asked %d times of 150", code, n)
			}
		})
	}
}
