package session

import (
	"net/netip"
	"time"

	"rideau/blocklists/group"
	"rideau/resolver"
	"rideau/resolver/limit"
)

// Client is where a message came from.
type Client struct {
	// Addr is the client's address, without zone, and IPv4 as IPv4.
	Addr      netip.Addr
	Transport resolver.Transport
	// Claims are what the connection says of the client beside the address; nil: nothing.
	Claims *group.Claims
	// Keepalive is the idle timeout of the connection in units of 100
	// milliseconds (RFC 7828); 0 is none.
	Keepalive uint16
}

// Session answers the messages that one goroutine receives, in batches: what
// was received by one call of the system, at one time. Only that goroutine uses
// it. Its methods are to be called in this order:
//
//   - Answer for each message, and where that reports that the query waits,
//     Admit and Job, or Shed;
//   - Count at the end of the batch.
type Session struct {
	core     *Core
	counters *resolver.Counters
	// q is the query in hand, used again for each message.
	q resolver.Query
	// ended are the outcomes of queries that were not counted yet: one reading
	// of the clock serves all of them.
	ended []resolver.Outcome
}

// NewSession makes a Session that counts queries in counters, which other
// sessions may use as well. batch is how many messages a batch usually has at
// most; a larger one costs another reading of the clock.
func (c *Core) NewSession(counters *resolver.Counters, batch int) *Session {
	return &Session{core: c, counters: counters, ended: make([]resolver.Outcome, 0, batch)}
}

// Answer appends the response to msg to dst, or nothing if none is to be sent.
// If it reports that the query waits, nothing was appended; the query is in
// hand until the next call.
func (s *Session) Answer(dst, msg []byte, client Client, received time.Time) (ans []byte, waits bool) {
	q := &s.q
	q.Msg, q.Client, q.Transport, q.Claims, q.Keepalive, q.Received = msg, client.Addr, client.Transport, client.Claims, client.Keepalive, received
	ans, o, ok := s.core.answer(dst, q)
	if ok && o.Kind == resolver.Pending {
		return nil, true
	}
	s.end(o)
	return ans, false
}

// Shed appends the response to the query in hand, which may not wait.
func (s *Session) Shed(dst []byte) []byte {
	ans, o := s.core.shedQuery(dst, &s.q)
	s.end(o)
	return ans
}

// end records that the query in hand has ended, and has it counted with its
// batch.
func (s *Session) end(o resolver.Outcome) {
	s.counters.Record(&s.q, o)
	if len(s.ended) == cap(s.ended) {
		s.Count()
	}
	s.ended = append(s.ended, o)
}

// Count counts the queries that ended since the last call, as ended now. They
// were received at one time and by one transport, as is the query in hand.
func (s *Session) Count() {
	if len(s.ended) == 0 {
		return
	}
	elapsed := time.Since(s.q.Received)
	for _, o := range s.ended {
		s.counters.Count(&s.q, o, elapsed)
	}
	s.ended = s.ended[:0]
}

// Query is the query in hand. It is valid until the next call of Answer.
func (s *Session) Query() *resolver.Query { return &s.q }

// Forget ends the batch and drops what its last query refers to, so that a
// session without work keeps no policy alive that was replaced meanwhile.
func (s *Session) Forget() {
	s.Count()
	s.q = resolver.Query{}
}

// Admit acquires a permit for the query in hand to wait. If it reports false
// the query has to be shed.
func (s *Session) Admit(p *limit.Permit) bool { return s.q.AcquirePermit(s.core.limit, p) }

// Job makes a Job of a copy of q and its message. q is the query in hand, or one
// that waits and that Finish is not called for. The Job takes over the permit. It
// is nil if no query may wait any more; the permit is released then.
func (s *Session) Job(q *resolver.Query, p limit.Permit) *Job {
	j := s.core.jobs.take(p)
	if j != nil {
		j.fill(q, s.counters)
	}
	return j
}

// AdmitJob is Admit and Job for the query in hand; nil if it has to be shed.
func (s *Session) AdmitJob() *Job {
	var p limit.Permit
	if !s.Admit(&p) {
		return nil
	}
	return s.Job(&s.q, p)
}

// Release releases the permit of a query that does not wait after all.
func (s *Session) Release(p *limit.Permit) { s.core.limit.Release(p) }

// Finish counts and records a query that has waited, not as a Job, and
// releases its permit.
func (s *Session) Finish(q *resolver.Query, o resolver.Outcome, now time.Time, p *limit.Permit) {
	s.core.settle(p, o)
	s.core.limit.Release(p)
	s.counters.Observe(q, o, now.Sub(q.Received))
}

// ShedWaiting appends the response to a query that has waited and may wait no
// longer. Finish is to be called with the outcome.
func (s *Session) ShedWaiting(dst []byte, q *resolver.Query) ([]byte, resolver.Outcome) {
	return s.core.shedQuery(dst, q)
}

// settle notes what has become of a query that had a permit to wait. One that was
// shed says nothing.
func (c *Core) settle(p *limit.Permit, o resolver.Outcome) {
	switch o.Kind {
	case resolver.Forwarded, resolver.Cached, resolver.Blocked:
		c.limit.Settle(p, true)
	case resolver.Failed, resolver.Stale:
		c.limit.Settle(p, false)
	}
}
