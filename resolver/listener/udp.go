package listener

import (
	"net/netip"
	"time"

	"rideau/resolver"
)

const (
	// maxQuery is the largest UDP query that is read whole. Queries are far
	// smaller; with padding (RFC 8467) they come to a few hundred octets. A
	// larger one is answered all the same, see worker.answer.
	maxQuery = 4096
	// maxAnswer is the room for a UDP answer; a larger one costs an allocation.
	maxAnswer = 4096
	// headerLen is the length of a message's header (RFC 1035, section 4.1.1).
	headerLen = 12
)

// worker is what a goroutine that reads a UDP socket has of its own, whatever
// the system.
type worker struct {
	l        *Listener
	counters *resolver.Counters
	// q is the query in hand, used again for each.
	q resolver.Query
}

// answer appends the answer to msg to dst. If it returns a job, the query
// waits there: the caller sets the job's path and starts it. The outcome is
// the caller's to observe in any case; that of a query that waits, or that a
// panic ended, is Pending and counts nothing.
//
// A query over maxQuery was cut off by the system. It is handed on as its
// header alone, which the handler finds malformed: so its client is told at
// once (FORMERR, or REFUSED if it is not served) with an answer that is
// smaller than the query, and access control and counting stay in one place.
func (w *worker) answer(dst, msg []byte, oversized bool, client netip.Addr, received time.Time) ([]byte, resolver.Outcome, *job) {
	q := &w.q
	if oversized {
		w.l.count.oversized.Add(1)
		msg = msg[:headerLen]
	}
	q.Msg, q.Client, q.Transport, q.Received = msg, client, resolver.UDP, received
	ans, o, ok := w.l.answer(dst, q)
	if !ok || o.Kind != resolver.Pending {
		return ans, o, nil
	}
	if j := w.l.jobs.take(); j != nil {
		j.fill(q, w.counters)
		return nil, o, j
	}
	ans, o, _ = w.l.shed(dst, q)
	return ans, o, nil
}

// forget drops what the last query refers to, so that a worker without work
// keeps no policy alive that was replaced meanwhile.
func (w *worker) forget() { w.q = resolver.Query{} }

// readFailed counts an error of a socket that reads on.
func (l *Listener) readFailed(err error) {
	l.count.readErrors.Add(1)
	l.log.warn(&l.log.reads, "reading queries failed; going on", err)
}
