package stream

import "time"

// How much a connection is in nobody's way, from the one that makes room for a new
// connection first to the one that does so last.
const (
	// unasked: it has sent no whole query, although it had time to.
	unasked = iota
	// halfway: it has begun a message and does not go on.
	halfway
	// unreading: its client does not take a response.
	unreading
	// idle: it waits for the client's next message.
	idle
	// fresh: it may be about to send a message, or to take a response.
	fresh
	// answering: its queries are being answered, which takes long only while there
	// is more to do than can be done.
	answering
	// busy: a query waits.
	busy
)

// freshTime is how long a client that has connected, or has begun a message, may take
// before it makes room.
const freshTime = 500 * time.Millisecond

// standing is how much c is in the way at now, in Unix nanoseconds, and since when. A
// client of a crowd, which has many connections, gets no time.
func (c *conn) standing(now int64, crowd bool) (rank int, since int64) {
	idleAt, partialAt, stalledAt := c.idleSince.Load(), c.partialSince.Load(), c.sock.StalledSince()
	late := func(since int64) bool { return crowd || now-since >= int64(freshTime) }
	switch {
	case stalledAt != 0 && late(stalledAt):
		return unreading, stalledAt
	case stalledAt != 0:
		return fresh, stalledAt
	case !c.asked.Load() && late(c.born):
		return unasked, c.born
	case !c.asked.Load():
		return fresh, c.born
	case c.pending.Load() > 0:
		return busy, c.born
	case idleAt == 0 && partialAt == 0:
		return answering, c.born
	case partialAt != 0 && late(partialAt):
		return halfway, partialAt
	case partialAt != 0:
		return fresh, partialAt
	}
	return idle, idleAt
}

// crowd is how many connections a client may have without making room before others do.
func (t *connTable) crowd() int { return max(t.maxPerClient/8, 4) }

// makesRoom returns the connection that makes room for one of a client that has n, or
// nil: of those with the lowest rank, one of the client that has most of them, if
// that is a crowd, and otherwise the one that has been so for longest. A busy
// connection makes room only if its client is a crowd, with more than twice as many
// connections as the new one's.
//
// It is called with mu held. It compares all connections, which takes some
// microseconds at the limit, and costs connections nothing below it.
func (t *connTable) makesRoom(n int) *conn {
	var found *conn
	var rank, weight int
	var since int64
	now := time.Now().UnixNano()
	for c := range t.conns {
		w := max(c.owner.conns, t.crowd())
		r, at := c.standing(now, c.owner.conns > t.crowd())
		if r == busy && (c.owner.conns <= t.crowd() || c.owner.conns <= 2*(n+1)) {
			continue
		}
		if found == nil || r < rank || r == rank && (w > weight || w == weight && at < since) {
			found, rank, weight, since = c, r, w, at
		}
	}
	return found
}
