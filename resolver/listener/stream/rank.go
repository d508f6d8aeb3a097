package stream

import "time"

// Ranks of connections. When a new one needs a place, one of the lowest rank is closed.
const (
	// queued: it waits for another of its client's to end.
	queued = iota
	// unasked: it has sent no whole query, although it had time to.
	unasked
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
// before its connection has a low rank.
const freshTime = 500 * time.Millisecond

// ranked is the rank of c at now, in Unix nanoseconds, and since when it has that. A
// client that has many connections gets no time.
func (c *conn) ranked(now int64, many bool) (rank int, since int64) {
	idleAt, partialAt, stalledAt := c.idleSince.Load(), c.partialSince.Load(), c.sock.StalledSince()
	late := func(since int64) bool { return many || now-since >= int64(freshTime) }
	switch {
	case c.waits:
		return queued, -c.born // the youngest first
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

// toClose returns the connection to close for a new one of a client that has n, or
// nil: of those with the lowest rank, one of the client that has most connections, if
// these are more than few, and otherwise the one that has the rank for longest. A busy
// connection is closed only if its client has more than few, and more than twice as
// many as the new one's.
//
// It is called with mu held. It compares all connections, which takes some
// microseconds at the limit, and costs connections nothing below it.
func (t *Table) toClose(n int) *conn {
	var found *conn
	var rank, weight int
	var since int64
	now := time.Now().UnixNano()
	for c := range t.conns {
		few := c.owner.few()
		w := max(c.owner.conns, few)
		r, at := c.ranked(now, c.owner.conns > few)
		if r == busy && (c.owner.conns <= few || c.owner.conns <= 2*(n+1)) {
			continue
		}
		if found == nil || r < rank || r == rank && (w > weight || w == weight && at < since) {
			found, rank, weight, since = c, r, w, at
		}
	}
	return found
}
