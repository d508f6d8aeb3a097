package listener

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"rideau/resolver"
	"rideau/resolver/limit"
)

// Ownership: in and out are the reading goroutine's alone. Jobs bring their
// own buffers; wmu decides who writes to the socket.

// errFraming is a message without the octets of a header.
var errFraming = errors.New("a message is shorter than its header")

// conn is a TCP connection (RFC 7766). One goroutine reads it and answers
// what needs no waiting; the answers to all queries that came with one read
// go out with one write. Jobs write the rest, in the order they are ready.
type conn struct {
	l        *Listener
	tc       *net.TCPConn
	sock     stream // over tc; the reading side is the reader's, the writing side wmu's
	client   netip.Addr
	counters *resolver.Counters

	in      input
	out     []byte // answers to write, framed; nil while there are none
	q       resolver.Query
	read    deadline
	last    time.Time // when the last whole message came, or the connection
	partial time.Time // when the message that is not whole yet was begun

	pending atomic.Int32
	freed   chan struct{} // holds a token after pending went down
	// idleSince is when the reader began to wait with nothing read, in Unix
	// nanoseconds; 0 while it is not.
	idleSince atomic.Int64
	asked     atomic.Bool // a whole message has come

	wmu    sync.Mutex
	broken bool // guarded by wmu: nothing more is written
}

func newConn(l *Listener, tc *net.TCPConn, counters *resolver.Counters) *conn {
	c := &conn{l: l, tc: tc, counters: counters, freed: make(chan struct{}, 1)}
	c.sock.open(tc, l.o.WriteTimeout)
	if a, ok := tc.RemoteAddr().(*net.TCPAddr); ok {
		c.client = a.AddrPort().Addr().Unmap().WithZone("")
	}
	return c
}

// forget drops what the last query refers to, see worker.forget, and makes
// c.q ready for the next.
func (c *conn) forget() {
	c.q = resolver.Query{
		Client:    c.client,
		Transport: resolver.TCP,
		Keepalive: uint16(min(c.l.o.IdleTimeout/(100*time.Millisecond), 65535)),
	}
}

// idle reports since when nothing is under way, if so.
func (c *conn) idle() (since int64, ok bool) {
	since = c.idleSince.Load()
	return since, since != 0 && c.pending.Load() == 0
}

// serve answers the connection's queries until the client or the server has
// had enough, and closes it when all have their answers. So a client that
// only closes its sending side loses none.
func (c *conn) serve() {
	defer c.l.conns.left(c)
	defer c.tc.Close()
	c.last = time.Now()
	for {
		c.forget()
		received, err := c.fill()
		if err == nil {
			err = c.answerAll(received)
		}
		c.flush()
		if err != nil {
			break
		}
	}
	c.in.release(&c.l.pages)
	for c.pending.Load() > 0 {
		<-c.freed
	}
}

// fill reads what has come, at least an octet. It returns the time of the read.
func (c *conn) fill() (time.Time, error) {
	c.in.makeRoom(&c.l.pages)
	for {
		c.setReadDeadline()
		if c.l.phase.Load() != serving {
			c.tc.SetReadDeadline(c.lastRead())
		}
		if c.in.empty() {
			c.idleSince.Store(c.last.UnixNano())
		}
		n, err := c.sock.read(c.in.room())
		c.idleSince.Store(0)
		now := time.Now()
		if n > 0 {
			if c.in.empty() {
				c.partial = now
			}
			c.in.add(n)
			return now, nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || c.l.phase.Load() != serving {
			return now, err
		}
		if !c.in.empty() {
			c.l.count.timedOut.Add(1)
			return now, err
		}
		if c.pending.Load() == 0 && now.Sub(c.last) >= c.l.o.IdleTimeout {
			return now, err
		}
		if c.pending.Load() > 0 {
			c.last = now // one that waits for answers is not idle
		}
	}
}

// setReadDeadline gives a message that was begun the time for a message, and
// the connection otherwise the time to be idle.
func (c *conn) setReadDeadline() {
	since, timeout := c.last, c.l.o.IdleTimeout
	if !c.in.empty() {
		since, timeout = c.partial, c.l.o.MessageTimeout
	}
	if at, ok := c.read.extend(since, timeout); ok {
		c.tc.SetReadDeadline(at)
	}
}

// freshGrace is the time that a client has to ask something on a connection
// that was made just before the Listener began to drain.
const freshGrace = 500 * time.Millisecond

// lastRead is until when c is read once the Listener drains: to have what has
// come, and what a client is about to say that has just connected.
func (c *conn) lastRead() time.Time {
	at := time.Unix(0, c.l.drainBegan.Load())
	if c.asked.Load() {
		return at.Add(kernelGrace)
	}
	return at.Add(min(freshGrace, c.l.o.Drain/2))
}

// answerAll answers the messages that are whole.
func (c *conn) answerAll(received time.Time) error {
	for {
		msg, ok := c.in.next()
		if !ok {
			return nil
		}
		c.last, c.partial = received, received
		c.asked.Store(true)
		if len(msg) < headerLen {
			return errFraming
		}
		c.answer(msg, received)
	}
}

func (c *conn) answer(msg []byte, received time.Time) {
	q := &c.q
	q.Msg, q.Received = msg, received
	at := c.room()
	dst := c.out[at+2 : at+2]
	ans, o, ok := c.l.answer(dst, q)
	if !ok {
		return
	}
	if o.Kind == resolver.Pending {
		if c.wait() {
			return
		}
		at = c.room()
		if ans, o, ok = c.l.shed(c.out[at+2:at+2], q); !ok {
			return
		}
	}
	c.counters.Observe(q, o, time.Since(received))
	if sendable(ans) {
		c.out = frame(c.out, at, ans)
	}
}

// wait makes a job of the query in hand, and reports whether it could. If the
// connection has as many as it may, it is not read until one is settled:
// unlike a datagram's sender, this one can be made to wait.
func (c *conn) wait() bool {
	for int(c.pending.Load()) >= c.l.o.MaxPendingPerConnection {
		c.flush()
		<-c.freed
	}
	var claim limit.Permit
	if !c.q.AcquirePermit(c.l.o.WaitLimit, &claim) {
		return false
	}
	j := c.l.jobs.take(claim)
	if j == nil {
		return false
	}
	j.fill(&c.q, c.counters)
	j.conn = c
	c.pending.Add(1)
	c.l.jobs.start(j)
	return true
}

// settled notes that a job is done with the connection.
func (c *conn) settled() {
	c.pending.Add(-1)
	select {
	case c.freed <- struct{}{}:
	default:
	}
}

// room makes sure that an answer of usual size has room in c.out, and returns
// where it goes.
func (c *conn) room() int {
	if len(c.out)+2+maxAnswer > cap(c.out) {
		c.flush()
		c.out = c.l.pages.take()[:0]
	}
	return len(c.out)
}

// flush writes the answers that are ready.
func (c *conn) flush() {
	if c.out == nil {
		return
	}
	if len(c.out) > 0 {
		c.write(c.out)
	}
	c.l.pages.put(c.out)
	c.out = nil
}

// write writes framed answers. A connection that does not take them is closed.
func (c *conn) write(b []byte) {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if c.broken {
		return
	}
	err := c.sock.write(b)
	if err == nil {
		return
	}
	c.broken = true
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.l.count.timedOut.Add(1)
	}
	c.tc.Close() // wakes the reader
}

// deadline is one that is moved in steps: a socket's deadline costs more than
// a read of the clock, and none of ours need be exact. Nothing ends before its
// time, and at most an eighth of it later.
type deadline struct{ at time.Time }

// extend returns the deadline to set for what began at since, if it must move.
func (d *deadline) extend(since time.Time, timeout time.Duration) (time.Time, bool) {
	want, slack := since.Add(timeout), timeout/8
	if !d.at.Before(want) && !d.at.After(want.Add(slack)) {
		return d.at, false
	}
	d.at = want.Add(slack)
	return d.at, true
}
