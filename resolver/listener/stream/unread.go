package stream

import (
	"errors"
	"sync/atomic"
	"time"
)

// unread are the octets that connections hold: responses that their clients do not
// read, and large messages that are not whole yet. It bounds them for each client
// and for all, of all Servers, so that clients that do not read take no memory that others need.
type unread struct {
	all      atomic.Int64
	relieved atomic.Int64 // when relieve was last called, in Unix nanoseconds
}

const (
	// Octets that all connections may hold together, and those of one client.
	maxUnread          = 8 << 20
	maxUnreadPerClient = 1 << 20
	// leastUnread is what a client may hold when others hold all.
	leastUnread = 4 << 10
	// relieveEvery is the time between two looks at who reads, and how long a
	// response may take while the octets are short.
	relieveEvery = 250 * time.Millisecond
)

// errUnread is why a connection is closed whose client holds too much.
var errUnread = errors.New("the client holds too much memory")

// hold counts n octets that c is about to hold, and reports whether it may: a client
// may hold as much as is still free, so that a thousand get little each, and one
// that comes later always gets some. drop is to be called in any case.
func (c *conn) hold(n int) bool {
	t := c.srv.o.Table
	c.held.Add(int64(n))
	mine := c.owner.held.Add(int64(n))
	all := t.unread.all.Add(int64(n))
	if all > maxUnread/2 {
		t.relieve()
	}
	return mine <= min(max(maxUnread-all, leastUnread), maxUnreadPerClient)
}

// drop takes octets off the count that c does not hold any more.
func (c *conn) drop(n int) {
	c.held.Add(int64(-n))
	c.owner.held.Add(int64(-n))
	c.srv.o.Table.unread.all.Add(int64(-n))
}

// relieve closes the connections on which a response has waited for long, although
// it could be sent, for the client to take what came before.
func (t *Table) relieve() {
	now, last := time.Now().UnixNano(), t.unread.relieved.Load()
	if now-last < int64(relieveEvery) || !t.unread.relieved.CompareAndSwap(last, now) {
		return
	}
	var stalled []*conn
	t.mu.Lock()
	for c := range t.conns {
		if at := c.sock.StalledSince(); at != 0 && now-at >= int64(relieveEvery) {
			stalled = append(stalled, c)
		}
	}
	t.mu.Unlock()
	for _, c := range stalled {
		c.srv.count.timedOut.Add(1)
		go c.sock.Close() // its goroutines end, and free what they hold
	}
}
