// Package mux asks servers over UDP for one goroutine that has many queries in
// hand, without another goroutine and without garbage: queries go out in
// batches, and each one that waits is an entry in a table.
package mux

import (
	"time"

	"rideau/resolver/limit"
	"rideau/resolver/upstream"
	"rideau/resolver/upstream/acceptance"
	"rideau/resolver/wire"
)

// maxQuery is the longest query that a Call has space for: header, name, type,
// class, and an OPT record with a cookie.
const maxQuery = wire.HeaderLen + wire.MaxName + 4 + wire.OPTLen + acceptance.MaxCookie

// Call is a query under way on a Mux. Its memory belongs to the caller, who
// leaves it alone from Mux.Start until Receiver.Ended has been called for it,
// or, for a call that ended Late, until it has ended Over.
type Call struct {
	// Tag and Patience are the caller's. Patience is how long a call waits at
	// most before it ends Late; 0 sets no bound.
	Tag      uint32
	Patience time.Duration
	// Share is the caller's too: it is whose place at the server the call takes.
	Share limit.Share

	attempt    upstream.Attempt
	s          *server
	port       *port
	next, prev *Call             // in the list of calls that wait, or that are handed over
	handedOver *upstream.Started // of a call that ended Late
	hedge      bool              // it ended so that another server is asked beside it
	took       time.Duration
	err        error // of Failed
	id         uint16
	length     uint16
	query      [maxQuery]byte
}

// Receiver is told of the ends of calls, on the goroutine that uses the Mux.
type Receiver interface {
	// Ended is called once for each call, and again with Over for one that
	// ended Late. resp is the response with Answered, Unusable and Truncated, but
	// nil with Truncated if it did not fit; it may be written to, and is valid until Ended returns.
	Ended(c *Call, resp []byte, how upstream.Ending)
}

// Forget is for a call that a Mux.Reset has ended. It may be used again.
func (c *Call) Forget() { c.attempt.Leave() }

// message is the query as it was sent.
func (c *Call) message() []byte { return c.query[:c.length] }

// Took is how long a call took until it ended.
func (c *Call) Took() time.Duration { return c.took }

// Server is which server was asked, as in [upstream.WithAnswered].
func (c *Call) Server() uint16 { return c.attempt.Server() }

// Succeeded notes that the response of a call that ended Answered is good. The
// receiver calls it before it uses c again.
func (c *Call) Succeeded() { c.attempt.Succeeded(c.took) }

// HandOver turns a call that ended, and did not succeed, into what
// [upstream.Upstream.Resume] goes on with. resp is copied. The response to a
// call that ended Late goes to there, if it comes.
func (c *Call) HandOver(resp []byte, how upstream.Ending) *upstream.Started {
	s := c.attempt.HandOver(how, resp, c.err, c.took, c.hedge)
	if how == upstream.Late {
		c.handedOver = s
	}
	return s
}

// list is a list of calls, doubly linked through them.
type list struct{ first, last *Call }

func (l *list) append(c *Call) {
	c.prev, c.next = l.last, nil
	if l.last != nil {
		l.last.next = c
	} else {
		l.first = c
	}
	l.last = c
}

func (l *list) remove(c *Call) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		l.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		l.last = c.prev
	}
	c.prev, c.next = nil, nil
}
