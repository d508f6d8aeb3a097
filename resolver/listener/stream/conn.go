package stream

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"rideau/resolver"
	"rideau/resolver/listener/session"
)

// Ownership: in and out belong to the goroutine that reads. Jobs bring buffers
// of their own; wmu decides who writes to the stream.

// errFraming is a message that is shorter than a header.
var errFraming = errors.New("a message is shorter than its header")

// conn is a connection. One goroutine reads it and answers what needs no
// waiting; the responses to all queries of one read go out with one write. Jobs
// write the others, in the order in which they are ready.
type conn struct {
	srv    *Server
	sock   Stream // the reading side is the reader's, the writing side wmu's
	client session.Client

	queries session.Session
	in      input
	out     []byte // responses to write, framed; nil while there are none
	read    deadline
	last    time.Time // when the last whole message came, or the connection
	partial time.Time // when the first octet came of the message that is not whole yet

	pending atomic.Int32
	freed   chan struct{} // holds a token after pending went down
	// idleSince is when the reader began to wait with nothing read, in Unix
	// nanoseconds; 0 while it does not wait.
	idleSince atomic.Int64
	// partialSince is when the message began, in Unix nanoseconds, of which the
	// reader awaits more; 0 while it does not.
	partialSince atomic.Int64
	asked        atomic.Bool // a whole message has come
	// replied is when a query that had waited was answered while others of the
	// client's connections waited, in Unix nanoseconds.
	replied atomic.Int64

	born     int64         // in Unix nanoseconds; guarded by Table.mu, as what follows
	waits    bool          // for another connection of the client to end
	admitted bool          // after it has waited
	turn     chan struct{} // closed when it has waited; nil if it has not to

	owner *client      // set by Server.admit
	held  atomic.Int64 // octets, see unread
	large int          // octets of in that are held
	ended bool         // nothing can be written any more; the reader's

	wmu    sync.Mutex
	broken bool // guarded by wmu: nothing more is written
}

// batchSize is how many queries of one read are counted at a time.
const batchSize = 8

func (s *Server) newConn(st Stream, counters *resolver.Counters) *conn {
	c := &conn{srv: s, sock: st, queries: *s.core.NewSession(counters, batchSize), freed: make(chan struct{}, 1), born: time.Now().UnixNano()}
	c.client = session.Client{Transport: s.o.Transport, Keepalive: uint16(min(s.o.IdleTimeout/(100*time.Millisecond), 65535))}
	if a, ok := st.RemoteAddr().(*net.TCPAddr); ok {
		c.client.Addr = a.AddrPort().Addr().Unmap().WithZone("")
	}
	return c
}

// serve answers the connection's queries until the client or the server ends
// that, and closes it when all queries have their responses. So a client that
// closes only its sending side loses none.
func (c *conn) serve() {
	defer c.srv.left(c)
	defer c.sock.Close()
	if !c.await() {
		return
	}
	c.last = time.Now()
	for {
		c.queries.Forget()
		received, err := c.fill()
		if err == nil {
			c.identify()
			err = c.answerAll(received)
		}
		c.flush()
		if err != nil {
			break
		}
	}
	c.in.release(&c.srv.pages)
	c.holdInput()
	for c.pending.Load() > 0 {
		<-c.freed
	}
}

// fill reads what has come, at least an octet. It returns the time of the read.
func (c *conn) fill() (time.Time, error) {
	c.in.makeSpace(&c.srv.pages)
	if !c.holdInput() {
		return time.Now(), errUnread
	}
	for looked := false; ; {
		if c.in.empty() {
			c.idleSince.Store(c.last.UnixNano())
		} else {
			c.partialSince.Store(c.partial.UnixNano())
		}
		c.setReadDeadline(looked)
		if c.draining() {
			c.sock.SetReadDeadline(c.lastRead())
		}
		n, err := c.sock.Read(c.in.space())
		c.idleSince.Store(0)
		c.partialSince.Store(0)
		now := time.Now()
		if n > 0 {
			if c.in.empty() {
				c.partial = now
			}
			c.in.extend(n)
			return now, nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || c.draining() {
			return now, err
		}
		c.read = deadline{} // others may have set one
		if !c.in.empty() {
			if now.Sub(c.partial) < c.srv.o.MessageTimeout {
				continue
			}
			c.srv.count.timedOut.Add(1)
			return now, err
		}
		if c.pending.Load() == 0 && now.Sub(c.last) >= c.srv.o.IdleTimeout {
			return now, err
		}
		if c.pending.Load() > 0 {
			c.last = now // a connection with a query that waits is not idle
		}
		wasLooked := looked
		looked = c.crowded() && now.Sub(c.idleFrom()) >= yieldAfter
		if wasLooked && looked && c.yields() {
			return now, err
		}
	}
}

// identify notes what the connection says of its client, once a first message has begun.
func (c *conn) identify() {
	if c.asked.Load() || c.client.Claims != nil {
		return
	}
	if s, ok := c.sock.(claimant); ok {
		c.client.Claims = s.Claims()
	}
}

// idleFrom is when the last message came, or its response went.
func (c *conn) idleFrom() time.Time {
	if at := time.Unix(0, c.replied.Load()); at.After(c.last) {
		return at
	}
	return c.last
}

// holdInput counts the buffer of a large message as held, and reports whether it may
// be.
func (c *conn) holdInput() bool {
	n := len(c.in.buf)
	if n <= pageSize {
		n = 0
	}
	if n == c.large {
		return true
	}
	old := c.large
	c.large = n
	defer c.drop(old)
	return c.hold(n)
}

func (c *conn) draining() bool { return c.srv.core.Phase() != session.Serving }

// setReadDeadline gives a message that has begun the time for a message, and
// the connection otherwise the time to be idle. That is short if another of the
// client waits; it is looked at last whether something has come just now.
func (c *conn) setReadDeadline(looked bool) {
	since, timeout := c.last, c.srv.o.IdleTimeout
	switch {
	case !c.in.empty():
		since, timeout = c.partial, c.srv.o.MessageTimeout
	case looked:
		c.sock.SetReadDeadline(time.Now().Add(time.Millisecond))
		return
	case c.crowded():
		since, timeout = c.idleFrom(), min(yieldAfter, timeout)
	}
	at, ok := c.read.extend(since, timeout)
	if !ok {
		return
	}
	c.sock.SetReadDeadline(at)
	if c.in.empty() && timeout > yieldAfter && c.crowded() { // just now: see Table.wait
		c.sock.SetReadDeadline(c.idleFrom().Add(yieldAfter))
	}
}

// lastRead is until when the connection is read once the Core drains: for what
// has come, and for the first query of a client that has just connected.
func (c *conn) lastRead() time.Time {
	at := c.srv.core.DrainBegan()
	if c.asked.Load() {
		return at.Add(session.KernelGrace)
	}
	return at.Add(min(c.srv.core.FreshGrace(), c.srv.o.Drain/2))
}

// answerAll answers the messages that are whole.
func (c *conn) answerAll(received time.Time) error {
	for {
		if c.ended {
			return net.ErrClosed
		}
		msg, ok := c.in.next()
		if !ok {
			return nil
		}
		c.last, c.partial = received, received
		c.asked.Store(true)
		if len(msg) < session.HeaderLen {
			return errFraming
		}
		c.answer(msg, received)
	}
}

// answer answers one message, or has its query wait as a job.
func (c *conn) answer(msg []byte, received time.Time) {
	dst := c.space()
	ans, waits := c.queries.Answer(dst, msg, c.client, received)
	if waits {
		c.awaitTurn()
		if j := c.queries.AdmitJob(); j != nil {
			c.pending.Add(1)
			j.Start(c)
			return
		}
		ans = c.queries.Shed(c.space())
	}
	if session.Sendable(ans) {
		c.out = session.Frame(c.out, len(c.out), ans)
		if len(c.out) > pageSize {
			c.flush() // no more than one large response is held
		}
	}
}

// awaitTurn waits while the connection has as many queries that wait as it may.
// It is not read meanwhile: unlike the sender of a datagram, its client can be
// made to wait.
func (c *conn) awaitTurn() {
	for int(c.pending.Load()) >= c.srv.o.MaxPending {
		c.flush()
		<-c.freed
	}
}

// Reply implements session.Path.
func (c *conn) Reply(framed []byte) error {
	if framed != nil {
		c.write(framed)
	}
	c.pending.Add(-1)
	if c.crowded() {
		now := time.Now()
		c.replied.Store(now.UnixNano())
		c.sock.SetReadDeadline(now.Add(yieldAfter))
	}
	select {
	case c.freed <- struct{}{}:
	default:
	}
	return nil
}

// space makes sure that c.out has capacity for a response of usual size, and
// returns where it goes: the end of c.out, after space for its length.
func (c *conn) space() []byte {
	if len(c.out)+session.LengthLen+maxAnswer > cap(c.out) {
		c.flush()
		c.out = c.srv.pages.take()[:0]
	}
	at := len(c.out) + session.LengthLen
	return c.out[at:at]
}

// maxAnswer is the capacity for a response. A larger one costs an allocation.
const maxAnswer = 4096

// flush counts the queries of the batch and writes the responses that are ready.
func (c *conn) flush() {
	c.queries.Count()
	if c.out == nil {
		return
	}
	if len(c.out) > 0 {
		c.ended = !c.write(c.out) || c.ended
	}
	c.srv.pages.put(c.out)
	c.out = nil
}

// write writes framed responses, and reports whether it could. A connection whose
// client does not take them, or holds too many, is closed.
func (c *conn) write(b []byte) bool {
	defer c.drop(len(b))
	if !c.hold(len(b)) {
		c.srv.count.timedOut.Add(1)
		c.srv.core.Log.Warn(session.LogRefusal, "a connection was closed", &net.AddrError{Err: errUnread.Error(), Addr: c.client.Addr.String()})
		c.sock.Close() // ends the Write that waits, too
	}
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if c.broken {
		return false
	}
	_, err := c.sock.Write(b)
	if err == nil {
		return true
	}
	c.broken = true
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.srv.count.timedOut.Add(1)
	}
	c.sock.Close() // ends the reader's Read
	return false
}
