package listener

import (
	"net/netip"
	"sync/atomic"
	"time"

	"rideau/resolver"
	"rideau/resolver/limit"
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
	// waiting is how many queries wait in the worker's own hands.
	waiting atomic.Int64
}

// answer appends the answer to msg to dst, and counts nothing. If it reports
// that the query waits, which is in w.q, the caller has job or refuse see to it.
// The outcome of a query that a panic ended is Pending and counts nothing.
//
// A query over maxQuery was cut off by the system. It is handed on as its
// header alone, which the handler finds malformed: so its client is told at
// once (FORMERR, or REFUSED if it is not served) with an answer that is
// smaller than the query, and access control and counting stay in one place.
func (w *worker) answer(dst, msg []byte, oversized bool, client netip.Addr, received time.Time) (ans []byte, o resolver.Outcome, waits bool) {
	q := &w.q
	if oversized {
		w.l.count.oversized.Add(1)
		msg = msg[:headerLen]
	}
	q.Msg, q.Client, q.Transport, q.Received = msg, client, resolver.UDP, received
	ans, o, ok := w.l.answer(dst, q)
	return ans, o, ok && o.Kind == resolver.Pending
}

// room takes room for the query in hand to wait, if there is any.
func (w *worker) room() (claim limit.Permit, ok bool) {
	ok = w.q.AcquirePermit(w.l.o.WaitLimit, &claim)
	return claim, ok
}

// job returns a job with a copy of the query in hand, for the caller to set
// its path and start it; nil if there are to be no more.
func (w *worker) job(claim limit.Permit) *job {
	j := w.l.jobs.take(claim)
	if j != nil {
		j.fill(&w.q, w.counters)
	}
	return j
}

// roomyJob is job, if there is room.
func (w *worker) roomyJob() *job {
	claim, ok := w.room()
	if !ok {
		return nil
	}
	return w.job(claim)
}

// refuse answers the query in hand, which there is no room for.
func (w *worker) refuse(dst []byte) ([]byte, resolver.Outcome) {
	ans, o, _ := w.l.shed(dst, &w.q)
	return ans, o
}

// forget drops what the last query refers to, so that a worker without work
// keeps no policy alive that was replaced meanwhile.
func (w *worker) forget() { w.q = resolver.Query{} }

// readFailed counts an error of a socket that reads on.
func (l *Listener) readFailed(err error) {
	l.count.readErrors.Add(1)
	l.log.warn(&l.log.reads, "reading queries failed; going on", err)
}
