package listener_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"rideau/resolver"
	"rideau/resolver/listener"
)

// One write with many queries, of which every third waits: the others are
// answered first, and in order.
func TestTCPOutOfOrder(t *testing.T) {
	f := newFake()
	s := serve(t, f, listener.Options{})
	c := dial(t, "tcp", s.Addr())
	const n = 300
	var all [][]byte
	for i := range uint16(n) {
		k := byte(settle)
		if i%3 == 0 {
			k = wait
		}
		all = append(all, query(i, k, string(bytes.Repeat([]byte{'x'}, int(i)))))
	}
	send(t, c, framed(all...))
	for i := range all {
		if i%3 == 0 {
			continue
		}
		if a := receiveFramed(t, c); !isReply(all[i], a) {
			t.Fatalf("query %d: answered %x", i, a)
		}
	}
	close(f.release)
	open := make(map[uint16]bool)
	for i := uint16(0); i < n; i += 3 {
		open[i] = true
	}
	for range n / 3 {
		a := receiveFramed(t, c)
		id := binary.BigEndian.Uint16(a)
		if !open[id] || !isReply(all[id], a) {
			t.Fatalf("query %d: answered %x", id, a)
		}
		delete(open, id)
	}
}

// A message of every size class, cut into pieces in every awkward way.
func TestTCPFraming(t *testing.T) {
	s := serve(t, newFake(), listener.Options{})
	var all [][]byte
	for i, n := range []int{13, 509, 510, 511, 512, 513, 4094, 8189, 8190, 8191, 8192, 20000, 65535, 14, 65535, 13} {
		all = append(all, append(query(uint16(i), settle, ""), make([]byte, n-13)...))
	}
	stream := framed(all...)
	for _, piece := range []int{len(stream), 1399, 509, 3} {
		c := dial(t, "tcp", s.Addr())
		go func() {
			for b := stream; len(b) > 0; {
				n, err := c.Write(b[:min(piece, len(b))])
				if err != nil {
					t.Error(err)
					return
				}
				b = b[n:]
			}
		}()
		for i, q := range all {
			if a := receiveFramed(t, c); !isReply(q, a) {
				t.Fatalf("in pieces of %d: message %d of %d octets: answered %d octets", piece, i, len(q), len(a))
			}
		}
		c.Close()
	}
}

func TestTCPShortMessage(t *testing.T) {
	s := serve(t, newFake(), listener.Options{})
	for _, n := range []int{0, 1, 11} {
		c := dial(t, "tcp", s.Addr())
		send(t, c, framed(query(1, settle, ""), make([]byte, n)))
		if a := receiveFramed(t, c); !isReply(query(1, settle, ""), a) {
			t.Errorf("before it: %x", a)
		}
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("after a message of %d octets: %v, want EOF", n, err)
		}
	}
}

func TestTCPHalfClose(t *testing.T) {
	noLeak(t)
	f := newFake()
	s := serve(t, f, listener.Options{})
	for _, tail := range [][]byte{nil, {0}, {0, 50, 1, 2}} {
		c := dial(t, "tcp", s.Addr())
		send(t, c, append(framed(query(1, wait, ""), query(2, settle, ""), query(3, wait, "")), tail...))
		c.(*net.TCPConn).CloseWrite()
		if a := receiveFramed(t, c); !isReply(query(2, settle, ""), a) {
			t.Errorf("answered %x", a)
		}
		eventually(t, "two wait", func() bool { return s.Stats().Pending == 2 })
		f.release <- struct{}{}
		f.release <- struct{}{}
		a, b := receiveFramed(t, c), receiveFramed(t, c)
		if a[1] > b[1] {
			a, b = b, a
		}
		if !isReply(query(1, wait, ""), a) || !isReply(query(3, wait, ""), b) {
			t.Errorf("answered %x and %x", a, b)
		}
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("at the end: %v, want EOF", err)
		}
	}
}

func TestTCPIdle(t *testing.T) {
	f := newFake()
	s := serve(t, f, listener.Options{IdleTimeout: 200 * time.Millisecond})
	c := dial(t, "tcp", s.Addr())
	waiting := dial(t, "tcp", s.Addr())
	send(t, waiting, framed(query(2, wait, "")))
	for range 4 { // whole messages keep it open
		send(t, c, framed(query(1, settle, "")))
		receiveFramed(t, c)
		time.Sleep(100 * time.Millisecond) // sleeps: half the idle timeout
	}
	start := time.Now()
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("idle connection: %v, want EOF", err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("closed after %v", d)
	}
	// This one has waited longer than it may be idle, but was not.
	close(f.release)
	if a := receiveFramed(t, waiting); !isReply(query(2, wait, ""), a) {
		t.Errorf("answered %x", a)
	}
	if _, err := waiting.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("then: %v, want EOF", err)
	}
}

func TestTCPSlowMessage(t *testing.T) {
	s := serve(t, newFake(), listener.Options{IdleTimeout: time.Hour, MessageTimeout: 100 * time.Millisecond})
	for _, first := range [][]byte{nil, framed(query(1, settle, ""))} {
		c := dial(t, "tcp", s.Addr())
		if first != nil {
			send(t, c, first)
			receiveFramed(t, c)
		}
		closed := make(chan error, 1)
		go func() {
			_, err := c.Read(make([]byte, 1))
			closed <- err
		}()
		dribble := framed(make([]byte, 60000))
		for open := true; open; {
			select {
			case err := <-closed:
				if err == nil || errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("read: %v", err)
				}
				open = false
			case <-time.After(10 * time.Millisecond):
				c.Write(dribble[:1])
				dribble = dribble[1:]
			}
		}
	}
	if n := s.Stats().TimedOut; n != 2 {
		t.Errorf("%d timed out, want 2", n)
	}
}

// The connection of a client that sends but does not read is closed.
func TestTCPWriteTimeout(t *testing.T) {
	noLeak(t)
	s := serve(t, newFake(), listener.Options{WriteTimeout: 100 * time.Millisecond})
	c := dial(t, "tcp", s.Addr())
	q := framed(query(1, large, ""))
	for end := time.Now().Add(10 * time.Second); ; {
		if _, err := c.Write(bytes.Repeat(q, 100)); err != nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("still open")
		}
	}
	eventually(t, "it is counted and gone", func() bool { return s.Stats().TimedOut == 1 && s.Stats().Connections == 0 })
}

// A client that reads its responses late, but in time, gets all of them, and is
// served afterwards as before.
func TestTCPSlowReader(t *testing.T) {
	const n, timeout = 10000, time.Second // 30 MB: more than sockets hold
	s := serve(t, newFake(), listener.Options{WriteTimeout: timeout})
	c := dial(t, "tcp", s.Addr())
	q := framed(query(1, large, ""))
	go c.Write(bytes.Repeat(q, n))
	answered := func() uint64 { return s.stats.Totals().Queries[resolver.TCP][0][resolver.Cached] }
	eventually(t, "the server has to wait", func() bool {
		before := answered()
		time.Sleep(20 * time.Millisecond) // sleeps: nothing goes out meanwhile
		return before > 0 && answered() == before
	})
	if answered() == n {
		t.Fatal("it did not have to wait")
	}
	want := framed(make([]byte, 3000))[:2]
	b := make([]byte, 3002)
	read := func() {
		t.Helper()
		if _, err := io.ReadFull(c, b); err != nil || !bytes.Equal(b[:2], want) {
			t.Fatalf("read %x: %v", b[:2], err)
		}
	}
	for range n {
		read()
	}
	time.Sleep(timeout + timeout/5) // sleeps: past the deadline of the last wait
	send(t, c, q)
	read()
	if s.Stats().TimedOut != 0 {
		t.Error("counted as timed out")
	}
}

func TestTCPPendingPerConnection(t *testing.T) {
	f := newFake()
	s := serve(t, f, listener.Options{MaxPendingPerConnection: 2})
	c := dial(t, "tcp", s.Addr())
	const n = 10
	var all [][]byte
	for i := range uint16(n) {
		all = append(all, query(i, wait, ""))
	}
	send(t, c, framed(append(all, query(n, settle, ""))...))
	eventually(t, "two wait", func() bool { return s.Stats().Pending == 2 })
	time.Sleep(20 * time.Millisecond) // sleeps: no third waits meanwhile
	if p := s.Stats().Pending; p != 2 {
		t.Errorf("%d wait, want 2", p)
	}
	close(f.release)
	for range n + 1 {
		if a := receiveFramed(t, c); a[3] != 0 {
			t.Errorf("answered %x", a)
		}
	}
}

func TestTCPConnectionLimits(t *testing.T) {
	f := newFake()
	s := serve(t, f, listener.Options{MaxConnections: 3, MaxConnectionsPerClient: 3})
	dial := func(local string) (net.Conn, error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(local)}}
		c, err := d.Dial("tcp", s.Addr().String())
		if errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Skip("no second loopback address:", err)
		}
		if err == nil {
			t.Cleanup(func() { c.Close() })
			c.SetDeadline(time.Now().Add(15 * time.Second))
		}
		return c, err
	}
	from := func(local string) net.Conn {
		c, err := dial(local)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	// A connection that is refused may be reset before Dial returns.
	refused := func(local string) bool {
		c, err := dial(local)
		if err == nil {
			_, err = readFramed(c)
		}
		return err != nil
	}
	busy := from("127.0.0.1")
	send(t, busy, framed(query(1, wait, "")))
	eventually(t, "it waits", func() bool { return s.Stats().Pending == 1 })
	first := from("127.0.0.1")
	send(t, first, framed(query(2, settle, "")))
	receiveFramed(t, first)
	time.Sleep(200 * time.Millisecond) // sleeps: it is idle for so much longer than the next
	second := from("127.0.0.1")
	send(t, second, framed(query(3, settle, "")))
	receiveFramed(t, second)
	time.Sleep(200 * time.Millisecond) // sleeps: it counts as idle some time after its answer

	// The client has as many as it may have; none of them is closed for another of
	// its own.
	if !refused("127.0.0.1") {
		t.Error("a fourth connection of the client was served")
	}
	// Another client gets the place of the one that has been idle for longest.
	other := from("127.0.0.2")
	send(t, other, framed(query(4, wait, "")))
	if _, err := readFramed(first); err == nil {
		t.Error("the longest idle connection was not closed")
	}
	eventually(t, "the other waits", func() bool { return s.Stats().Pending == 2 })
	send(t, second, framed(query(5, wait, "")))
	eventually(t, "all wait", func() bool { return s.Stats().Pending == 3 })
	// Now that all are busy, a new one is refused.
	if !refused("127.0.0.3") {
		t.Error("a connection beyond the limit was served")
	}
	n := s.Stats()
	if n.Accepted != 4 || n.Refused != 2 || n.Evicted != 1 || n.Connections != 3 {
		t.Errorf("counted %+v", n)
	}
	close(f.release)
	for _, c := range []net.Conn{busy, other, second} {
		if a := receiveFramed(t, c); a[3] != 0 {
			t.Errorf("answered %x", a)
		}
	}
}

// Connections that have ended do not count any more.
func TestTCPConnectionsComeAndGo(t *testing.T) {
	s := serve(t, newFake(), listener.Options{MaxConnectionsPerClient: 2})
	for i := range uint16(50) {
		c := dial(t, "tcp", s.Addr())
		send(t, c, framed(query(i, settle, "")))
		if a := receiveFramed(t, c); !isReply(query(i, settle, ""), a) {
			t.Fatalf("connection %d: %x", i, a)
		}
		c.Close()
		eventually(t, "it has left", func() bool { return s.Stats().Connections == 0 })
	}
}

// A response that no frame can hold is not sent, and does not break the framing.
func TestTCPAnswerTooLarge(t *testing.T) {
	s := serve(t, monsters{newFake()}, listener.Options{})
	c := dial(t, "tcp", s.Addr())
	send(t, c, framed(query(1, monster, ""), query(2, settle, "")))
	if a := receiveFramed(t, c); !isReply(query(2, settle, ""), a) {
		t.Errorf("answered %d octets for query %d", len(a), a[1])
	}
}

type monsters struct{ *fake }

func (m monsters) Answer(dst []byte, q *resolver.Query) ([]byte, resolver.Outcome) {
	dst, o := m.fake.Answer(dst, q)
	if kind(q) == monster {
		dst = append(dst, make([]byte, 65536)...)
	}
	return dst, o
}
