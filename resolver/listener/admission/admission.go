// Package admission bounds the connections of clients, in all and by client, and
// those on which nothing was asked yet. Where a new connection needs the place of
// another, one that was never asked anything on gives it up first, then the one
// that has been idle for longest; a busy one never does.
package admission

import (
	"container/list"
	"net/netip"
	"sync"
)

// Limits are those of a Gate. Zero is no limit.
type Limits struct {
	// Connections is how many connections there may be.
	Connections int
	// PerClient is how many one client may have: an IPv4 address or an IPv6 /64.
	PerClient int
	// Fresh is how many there may be on which nothing was asked yet, and
	// FreshPerClient how many of one client.
	Fresh, FreshPerClient int
	// Resolver reports whether a client asks for many others. It may have a
	// quarter of Connections, if that is more than PerClient, and an IPv6 address
	// counts for itself. nil reports false. It is safe for concurrent use.
	Resolver func(netip.Addr) bool
}

// Gate counts connections. It is safe for concurrent use.
type Gate struct {
	limits Limits

	mu      sync.Mutex
	open    int                    // guarded by mu, as what follows
	fresh   list.List              // of *Conn, the oldest first
	idle    list.List              // of *Conn, the one that is idle for longest first
	clients map[netip.Addr]*client // those that have connections
	refused uint64
	evicted uint64
}

type client struct{ open, fresh int }

// state is what a connection does.
type state uint8

const (
	fresh state = iota // nothing was asked yet
	busy
	idle
	left
)

// Conn is a connection that was admitted.
type Conn struct {
	gate  *Gate
	key   netip.Addr
	state state         // guarded by gate.mu, as what follows
	at    *list.Element // in fresh or idle
	under int           // what Begin began and End has not ended
	close func()        // nil: it cannot be ended yet
}

// NewGate makes a Gate without connections.
func NewGate(l Limits) *Gate { return &Gate{limits: l, clients: map[netip.Addr]*client{}} }

// Key is what the connections of a client are counted under: its IPv4 address, or
// the /64 of its IPv6 address.
func Key(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return a
	}
	p, err := a.Prefix(64)
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr()
}

// share is what a client is counted under, and how many connections it may have.
func (l *Limits) share(a netip.Addr) (netip.Addr, int) {
	a = a.Unmap().WithZone("")
	if l.PerClient > 0 && l.Resolver != nil && l.Resolver(a) {
		return a, max(l.PerClient, l.Connections/4)
	}
	return Key(a), l.PerClient
}

// Admit counts a connection of a client, which has asked nothing yet, and closes
// another for it if need be. It returns nil if there is no place. close ends the
// connection; it is called once at most, on a goroutine of its own, and Leave is to
// be called nevertheless. It may be nil until Close is called: nothing ends the
// connection so long.
func (g *Gate) Admit(a netip.Addr, close func()) *Conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	key, most := g.limits.share(a)
	c := &Conn{gate: g, key: key, close: close}
	own := g.clients[c.key]
	if own == nil {
		own = new(client)
	}
	l := &g.limits
	mine := func(o *Conn) bool { return o.key == c.key }
	anybody := func(*Conn) bool { return true }
	switch {
	case most > 0 && own.open >= most && !g.evict(mine, &g.fresh, &g.idle),
		l.FreshPerClient > 0 && own.fresh >= l.FreshPerClient && !g.evict(mine, &g.fresh),
		l.Connections > 0 && g.open >= l.Connections && !g.evict(anybody, &g.fresh, &g.idle),
		l.Fresh > 0 && g.fresh.Len() >= l.Fresh && !g.evict(anybody, &g.fresh):
		g.refused++
		return nil
	}
	g.clients[c.key] = own // evict may have taken it out
	g.open++
	own.open++
	own.fresh++
	c.at = g.fresh.PushBack(c)
	return c
}

// evict ends the first of the connections in lists that is in a set. It reports
// false if there is none. mu is held.
func (g *Gate) evict(set func(*Conn) bool, lists ...*list.List) bool {
	for _, l := range lists {
		for e := l.Front(); e != nil; e = e.Next() {
			if c := e.Value.(*Conn); c.close != nil && set(c) {
				g.forget(c)
				g.evicted++
				go c.close()
				return true
			}
		}
	}
	return false
}

// forget takes c off all counts. mu is held.
func (g *Gate) forget(c *Conn) {
	if c.state == left {
		return
	}
	c.enter(left)
	g.open--
	own := g.clients[c.key]
	if own.open--; own.open == 0 {
		delete(g.clients, c.key)
	}
}

// enter moves c to another state. The gate's mu is held.
func (c *Conn) enter(s state) {
	switch c.state {
	case fresh:
		c.gate.fresh.Remove(c.at)
		c.gate.clients[c.key].fresh--
	case idle:
		c.gate.idle.Remove(c.at)
	}
	c.state, c.at = s, nil
	if s == idle {
		c.at = c.gate.idle.PushBack(c)
	}
}

// to moves c to another state, unless it has left.
func (c *Conn) to(s state) {
	c.gate.mu.Lock()
	defer c.gate.mu.Unlock()
	if c.state != left && c.state != s {
		c.enter(s)
	}
}

// Close sets what ends the connection. It reports false if the connection has left.
func (c *Conn) Close(close func()) bool {
	c.gate.mu.Lock()
	defer c.gate.mu.Unlock()
	c.close = close
	return c.state != left
}

// Busy says that something is asked on the connection.
func (c *Conn) Busy() { c.to(busy) }

// Idle says that everything is answered that was asked on the connection.
func (c *Conn) Idle() { c.to(idle) }

// Begin says that something more is asked on the connection, and End that something was
// answered: it is idle when both were called as often.
func (c *Conn) Begin() { c.count(1) }

// End is the end of what Begin began.
func (c *Conn) End() { c.count(-1) }

func (c *Conn) count(n int) {
	c.gate.mu.Lock()
	defer c.gate.mu.Unlock()
	c.under += n
	s := busy
	if c.under == 0 {
		s = idle
	}
	if c.state != left && c.state != s {
		c.enter(s)
	}
}

// Leave says that the connection has ended. It may be called more than once.
func (c *Conn) Leave() {
	c.gate.mu.Lock()
	defer c.gate.mu.Unlock()
	c.gate.forget(c)
}

// Stats are a Gate's figures at one moment; totals count from its start.
type Stats struct {
	Open, Fresh      int // connections now, and of them those on which nothing was asked yet
	Refused, Evicted uint64
}

// Stats returns the figures of this moment.
func (g *Gate) Stats() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	return Stats{Open: g.open, Fresh: g.fresh.Len(), Refused: g.refused, Evicted: g.evicted}
}
