package stream

import (
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

// yieldAfter is how long a connection must have been idle before it is closed for
// one of the same client that waits: a client that asks again at once keeps it.
const yieldAfter = 100 * time.Millisecond

// shares says how many connections each client may have.
type shares struct {
	perClient, perResolver int
	resolver               func(netip.Addr) bool
}

func sharesOf(l Limits) shares {
	return shares{l.MaxConnectionsPerClient, max(l.MaxConnectionsPerClient, l.MaxConnections/4), l.Resolver}
}

// of is what the connections of a client are counted under, and how many it may
// have. An IPv4 address is a client, and the /64 of an IPv6 address, all of which is
// usually one client's, but for a resolver.
func (s *shares) of(a netip.Addr) (key netip.Addr, most int) {
	switch {
	case s.resolver != nil && s.resolver(a):
		return a, s.perResolver
	case a.Is4():
		return a, s.perClient
	}
	p, _ := a.Prefix(64)
	return p.Addr(), s.perClient
}

// client is what the connections of one client have together.
type client struct {
	key   netip.Addr   // in Table.clients
	max   int          // connections that it may have
	conns int          // guarded by Table.mu: how many it has, but for those that wait
	queue []*conn      // guarded by Table.mu: those that wait, in order
	waits atomic.Int32 // how many these are
	held  atomic.Int64 // octets, see unread
}

// few is how many connections a client may have without losing one before others
// do.
func (c *client) few() int { return max(c.max/8, 4) }

// wait has c wait for another connection of its client to end. Those that are idle
// look whether they have been so for long. mu is held.
func (t *Table) wait(c *conn) {
	owner := c.owner
	c.waits, c.turn = true, make(chan struct{})
	owner.queue = append(owner.queue, c)
	owner.waits.Add(1)
	for o := range t.conns {
		if o.owner != owner || o.waits {
			continue
		}
		if at := o.idleSince.Load(); at != 0 {
			o.sock.SetReadDeadline(time.Unix(0, at).Add(yieldAfter))
		}
	}
}

// unwait takes c out of its client's queue, and wakes it. mu is held.
func (t *Table) unwait(c *conn) {
	c.waits = false
	if i := slices.Index(c.owner.queue, c); i >= 0 {
		c.owner.queue = slices.Delete(c.owner.queue, i, i+1)
		c.owner.waits.Add(-1)
	}
	close(c.turn)
}

// admitWaiting admits those of a client's connections that wait and may go on. mu
// is held.
func (t *Table) admitWaiting(o *client) {
	for len(o.queue) > 0 && o.conns < o.max {
		c := o.queue[0]
		t.unwait(c)
		t.begin(c)
	}
}

// begin admits c, which has waited. mu is held.
func (t *Table) begin(c *conn) {
	c.owner.conns++
	c.born = time.Now().UnixNano()
	c.admitted = true
	c.srv.count.accepted.Add(1)
}

// await waits for c to be admitted, and reports whether it is. A client that
// waited for long has given up.
func (c *conn) await() bool {
	if c.turn == nil {
		return true
	}
	timer := time.NewTimer(c.srv.o.IdleTimeout)
	defer timer.Stop()
	select {
	case <-c.turn:
	case <-timer.C:
	}
	t := c.srv.o.Table
	t.mu.Lock()
	admitted := c.admitted
	if !admitted {
		t.forget(c)
	}
	t.mu.Unlock()
	if !admitted {
		c.srv.refused(c, errClientLimit)
	}
	return admitted
}

// crowded reports whether a connection of the same client waits for c to end.
func (c *conn) crowded() bool { return c.owner.waits.Load() > 0 && c.pending.Load() == 0 }

// yields takes c, which is idle, out of the table, for one that waits. It reports
// false if none does any more.
func (c *conn) yields() bool {
	t := c.srv.o.Table
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(c.owner.queue) == 0 {
		return false
	}
	t.forget(c)
	c.srv.count.evicted.Add(1)
	return true
}
