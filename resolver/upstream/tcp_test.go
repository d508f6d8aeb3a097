package upstream_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver/upstream"
	"rideau/resolver/upstream/do53"
	"rideau/resolver/wire"
)

// truncated answers every datagram with TC.
func truncated() func(*server, netip.AddrPort, []byte) {
	return saying("", func(m *dns.Msg) { m.Truncated = true })
}

// answering answers every message of a stream.
func answering(text string) func(*server, net.Conn) {
	return func(s *server, conn net.Conn) {
		for q := readFrame(conn); q != nil; q = readFrame(conn) {
			conn.Write(frame(reply(s.t, q, text)))
		}
	}
}

func TestTruncatedIsAskedOverTCP(t *testing.T) {
	noLeak(t)
	s := serve(t, truncated(), answering("whole"))
	u := plainServer(s)
	t.Cleanup(u.Close)
	for range 20 {
		expect(t, u, "example.com", "whole")
	}
	if d, c := s.datagrams.Load(), s.connections.Load(); d != 20 || c != 1 {
		t.Errorf("%d datagrams and %d connections, want 20 and 1", d, c)
	}
}

// A device that protects a server may repeat nothing of the query but its id. Such
// a message counts by UDP alone.
func TestTruncatedWithoutQuestion(t *testing.T) {
	bare := func(m *dns.Msg) { m.Truncated, m.Question, m.Answer = true, nil, nil }
	s := serve(t, saying("", bare), func(s *server, conn net.Conn) {
		for q := readFrame(conn); q != nil; q = readFrame(conn) {
			conn.Write(frame(reply(s.t, q, "", bare)))
			conn.Write(frame(reply(s.t, q, "whole")))
		}
	})
	u := plainServer(s)
	t.Cleanup(u.Close)
	expect(t, u, "example.com", "whole")
	if d, c := s.datagrams.Load(), s.connections.Load(); d != 1 || c != 1 {
		t.Errorf("%d datagrams and %d connections, want one of each", d, c)
	}
}

func TestTCPAppends(t *testing.T) {
	u := plainServer(serve(t, truncated(), answering("whole")))
	t.Cleanup(u.Close)
	q := query(t, "example.com")
	msg, err := u.Exchange(within(t, patience), []byte("before"), q)
	if err != nil {
		t.Fatal(err)
	}
	if string(msg[:6]) != "before" || texts(t, q, msg[6:]) != "whole" {
		t.Errorf("got %q", msg)
	}
}

func TestTCPLongestMessage(t *testing.T) {
	s := serve(t, truncated(), func(s *server, conn net.Conn) {
		q := readFrame(conn)
		m := reply(s.t, q, strings.Repeat("x", 250), func(m *dns.Msg) {
			for range 248 {
				m.Answer = append(m.Answer, m.Answer[0])
			}
			m.Compress = true
		})
		conn.Write(frame(m))
	})
	q := query(t, "example.com")
	msg, err := plainServer(s).Exchange(within(t, patience), nil, q)
	if err != nil {
		t.Fatal(err)
	}
	if texts(t, q, msg); len(msg) < 65000 {
		t.Errorf("%d octets", len(msg))
	}
}

func TestTCPSplitWrites(t *testing.T) {
	u := plainServer(serve(t, truncated(), func(s *server, conn net.Conn) {
		for q := readFrame(conn); q != nil; q = readFrame(conn) {
			for _, b := range frame(reply(s.t, q, "in pieces")) {
				conn.Write([]byte{b})
			}
		}
	}))
	t.Cleanup(u.Close)
	expect(t, u, "a.example", "in pieces")
	expect(t, u, "b.example", "in pieces")
}

// On a connection that was used before, a response to another query comes first,
// and the right response twice.
func TestTCPAnswersOutOfOrder(t *testing.T) {
	s := serve(t, truncated(), func(s *server, conn net.Conn) {
		last := readFrame(conn)
		first := frame(reply(s.t, last, "real"))
		conn.Write(append(first, first...))
		for q := readFrame(conn); q != nil; q = readFrame(conn) {
			both := append(frame(reply(s.t, last, "late")), frame(reply(s.t, q, "real"))...)
			conn.Write(both)
			last = q
		}
	})
	u := plainServer(s)
	t.Cleanup(u.Close)
	for _, name := range []string{"a.example", "b.example", "c.example"} {
		expect(t, u, name, "real")
	}
	if c := s.connections.Load(); c != 1 {
		t.Errorf("%d connections, want 1", c)
	}
	if n := u.Mismatches(); n != 3 {
		t.Errorf("%d mismatches, want 3", n)
	}
}

func TestTCPStaleConnection(t *testing.T) {
	for name, serveOne := range map[string]func(s *server, conn net.Conn){
		"closed while idle": func(s *server, conn net.Conn) {
			conn.Write(frame(reply(s.t, readFrame(conn), "real")))
		},
		"closed when asked again": func(s *server, conn net.Conn) {
			conn.Write(frame(reply(s.t, readFrame(conn), "real")))
			readFrame(conn)
		},
		"closed within the answer": func(s *server, conn net.Conn) {
			conn.Write(frame(reply(s.t, readFrame(conn), "real")))
			if q := readFrame(conn); q != nil {
				conn.Write(frame(reply(s.t, q, "half"))[:20])
			}
		},
		"reset": func(s *server, conn net.Conn) {
			conn.Write(frame(reply(s.t, readFrame(conn), "real")))
			conn.(*net.TCPConn).SetLinger(0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			noLeak(t)
			s := serve(t, truncated(), serveOne)
			u := plainServer(s)
			t.Cleanup(u.Close)
			for range 5 {
				expect(t, u, "example.com", "real")
			}
		})
	}
}

func TestTCPRefusedOrMute(t *testing.T) {
	noLeak(t)
	closing := plainServer(serve(t, truncated(), nil))
	if msg, err := closing.Exchange(within(t, patience), nil, query(t, "example.com")); err != nil || wire.Flags(msg)&wire.FlagTC == 0 {
		t.Errorf("connection closed: got %x, %v, want what UDP brought", msg, err)
	}
	mute := plainServer(serve(t, truncated(), func(_ *server, conn net.Conn) { readFrame(conn); readFrame(conn) }))
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := mute.Exchange(ctx, nil, query(t, "example.com")); !errors.Is(err, upstream.ErrTimeout) {
		t.Errorf("no answer: got %v", err)
	}
}

func TestTCPIdleConnectionsEnd(t *testing.T) {
	ended := make(chan bool, 10)
	s := serve(t, truncated(), func(s *server, conn net.Conn) {
		answering("x")(s, conn)
		ended <- true
	})
	wait := func(why string) {
		t.Helper()
		select {
		case <-ended:
		case <-time.After(patience):
			t.Fatalf("%s: the connection is still open", why)
		}
	}
	u := do53.New(s.addr, do53.Options{IdleTimeout: 20 * time.Millisecond})
	expect(t, u, "example.com", "x")
	wait("idle timeout")

	u = plainServer(s)
	expect(t, u, "example.com", "x")
	u.Close()
	wait("Close")
	expect(t, u, "example.com", "x")
	wait("used after Close")
}
