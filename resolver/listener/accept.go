package listener

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"rideau/resolver"
)

// accept admits connections until t is closed. As the Listener drains, t has
// a deadline, and what the kernel has accepted until then is admitted still,
// however late this goroutine comes to it: who has connected to an address
// must not find that nobody is there.
func (l *Listener) accept(t *net.TCPListener, counters []*resolver.Counters, streams *sync.WaitGroup) {
	const maxBackoff = time.Second
	const now = time.Second // for what is there already
	backoff := time.Duration(0)
	over := false // the deadline has passed
	for n := 0; ; n++ {
		if over && !hasQueued(t) {
			t.Close() // at once: who connects now would wait for nothing
			return
		}
		tc, err := t.AcceptTCP()
		if err != nil {
			if l.phase.Load() != serving {
				if over || !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Close()
					return
				}
				over = true
				t.SetDeadline(time.Now().Add(now))
				continue
			}
			if errors.Is(err, syscall.ECONNABORTED) {
				continue
			}
			l.count.readErrors.Add(1)
			l.log.warn(&l.log.accepts, "accepting connections failed; going on", err)
			if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
				l.evict()
			}
			backoff = min(max(2*backoff, 5*time.Millisecond), maxBackoff)
			time.Sleep(backoff)
			continue
		}
		backoff = 0
		c := newConn(l, tc, counters[n%len(counters)])
		if !l.admit(c) {
			// Without lingering: under a flood there shall be no memory of
			// connections that never were.
			tc.SetLinger(0)
			tc.Close()
			continue
		}
		streams.Go(c.serve)
	}
}

// connTable is the open connections. It is safe for concurrent use.
type connTable struct {
	max, maxPerClient int
	open              atomic.Int64 // connections whose goroutines have not ended

	mu      sync.Mutex
	conns   map[*conn]struct{} // guarded by mu
	clients map[netip.Addr]int // guarded by mu: how many of conns each has
	stopped bool               // guarded by mu: nothing is admitted any more
}

func (t *connTable) init(o *Options) {
	t.max, t.maxPerClient = o.MaxConnections, o.MaxConnectionsPerClient
	t.conns, t.clients = make(map[*conn]struct{}), make(map[netip.Addr]int)
}

func (t *connTable) len() int { return int(t.open.Load()) }

// clientKey is what one client's connections are counted under. Whoever has
// an IPv6 address has the /64 around it.
func clientKey(a netip.Addr) netip.Addr {
	if a.Is4() {
		return a
	}
	p, _ := a.Prefix(64)
	return p.Addr()
}

// admit makes room for c, or says that there is none.
func (l *Listener) admit(c *conn) bool {
	t := &l.conns
	key := clientKey(c.client)
	t.mu.Lock()
	reason := error(nil)
	var victim *conn
	switch {
	case t.stopped:
		t.mu.Unlock()
		return false
	case t.clients[key] >= t.maxPerClient:
		reason = errClientLimit
	case len(t.conns) >= t.max:
		if victim = t.longestIdle(); victim == nil {
			reason = errTotalLimit
		} else {
			t.forget(victim)
		}
	}
	if reason == nil {
		t.conns[c] = struct{}{}
		t.clients[key]++
		t.open.Add(1)
	}
	t.mu.Unlock()
	if victim != nil {
		l.count.evicted.Add(1)
		victim.tc.Close()
	}
	if reason != nil {
		l.count.refused.Add(1)
		l.log.warn(&l.log.refusals, "a connection was refused", &net.AddrError{Err: reason.Error(), Addr: c.client.String()})
		return false
	}
	l.count.accepted.Add(1)
	return true
}

var (
	errClientLimit = errors.New("the client has too many connections")
	errTotalLimit  = errors.New("too many connections, none of them idle")
)

// evict closes the connection that has been idle for longest, if any is.
func (l *Listener) evict() {
	t := &l.conns
	t.mu.Lock()
	victim := t.longestIdle()
	if victim != nil {
		t.forget(victim)
	}
	t.mu.Unlock()
	if victim != nil {
		l.count.evicted.Add(1)
		victim.tc.Close()
	}
}

// longestIdle is called with mu held. It looks at all connections: that is
// some microseconds, at the limit only, and costs connections nothing before.
func (t *connTable) longestIdle() *conn {
	var found *conn
	var since int64
	for c := range t.conns {
		if s, idle := c.idle(); idle && (found == nil || s < since) {
			found, since = c, s
		}
	}
	return found
}

// forget is called with mu held.
func (t *connTable) forget(c *conn) {
	if _, ok := t.conns[c]; !ok {
		return
	}
	delete(t.conns, c)
	key := clientKey(c.client)
	if t.clients[key]--; t.clients[key] == 0 {
		delete(t.clients, key)
	}
}

// left notes that c's goroutine ends.
func (t *connTable) left(c *conn) {
	t.mu.Lock()
	t.forget(c)
	t.mu.Unlock()
	t.open.Add(-1)
}

// stopReading ends all connections as soon as their queries have answers.
// Connections of which no query has come yet are waited for as in
// conn.lastRead.
func (t *connTable) stopReading() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
	for c := range t.conns {
		c.tc.SetReadDeadline(c.lastRead())
	}
}

// closeAll ends all connections at once.
func (t *connTable) closeAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.conns {
		c.tc.Close()
	}
}
