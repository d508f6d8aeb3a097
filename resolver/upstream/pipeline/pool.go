// Package pipeline asks one server over connections that carry many queries at
// a time, whose responses come in any order (RFC 7766 sections 6.2.1 and 7; RFC
// 7858 section 3.3). TCP and TLS are the same to it.
//
// A [Pool] keeps few connections, and opens another where each of them has many
// queries. What a server makes of that differs, so that a pool
//
//   - sends what was not answered when a connection ends again, in the order in
//     which it came, over others (RFC 7766 section 6.2.4);
//   - doubts a connection that brings nothing for longer than the server usually
//     takes: what waits there is sent over another as well, and the first response
//     counts. So a connection that a firewall, a tunnel or a sleep has forgotten
//     costs its first query a moment and no other anything;
//   - learns how many queries a connection is good for, and whether it may have
//     several at a time, when two connections agree. It forgets that after a
//     while, and tries again.
package pipeline

import (
	"cmp"
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"rideau/resolver/upstream/acceptance"
	"rideau/resolver/upstream/latency"
	"rideau/resolver/upstream/try"
	"rideau/resolver/wire"
)

const (
	// maxConns is how many connections there are at most. Most servers need
	// one.
	maxConns = 8
	// maxShortConns is the same for a server that answers little on each.
	maxShortConns = 16
	// crowded is how many queries a connection has before another is opened.
	crowded = 64
	// maxOutstanding is how many queries a connection may have, and how many may
	// wait for one.
	maxOutstanding = 4096
	// maxBarren is how many connections that were opened for one query may end and
	// bring nothing.
	maxBarren = 4
	// maxTries is how many connections of one query may end.
	maxTries = 16
)

// Options go with [New].
type Options struct {
	// Dial opens a connection. It returns when ctx ends, at the latest.
	Dial func(ctx context.Context) (net.Conn, error)
	// DialTimeout is how long Dial has.
	DialTimeout time.Duration
	// IdleTimeout is how long a connection is kept for the next query.
	IdleTimeout time.Duration
	// Judge says what a message is to the query that was sent, see
	// [acceptance.Accept]. The query's id is that of the message.
	Judge func(sent, msg []byte) (acceptance.Result, []byte)
	// Mismatched is called for each message that is no response to any query.
	Mismatched func()
	// Panicked is called with what a panic in the handling of a connection
	// brought; nil for nothing. The queries of that connection fail.
	Panicked func(value any)
}

// Pool is the connections to one server. It is safe for concurrent use.
type Pool struct {
	o     Options
	began time.Time // all times below count from here
	pace  latency.Estimator

	mu     sync.Mutex // guards what follows, and all of conn and call but what they say
	conns  []*conn    // the oldest first
	queue  []*call    // those that no connection takes yet, the oldest first
	calls  uint64     // how many there have been
	closed bool
	habit  habit
	late   *call // stands where a query was that went elsewhere; it has ended
}

// New makes a Pool. It connects to nothing yet.
func New(o Options) *Pool {
	return &Pool{o: o, began: time.Now(), late: &call{ended: true}}
}

// Connections is what the server is known to make of connections: how many queries
// it answers on each, 0 if that is not known to be bounded, and whether it answers
// only what comes alone.
func (p *Pool) Connections() (answers int, single bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.habit.expire(p.now())
	return p.habit.answers, p.habit.single
}

// Close closes idle connections, and from now on none is kept. Queries go on.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, x := range slices.Clone(p.conns) {
		x.ifIdle()
	}
}

var (
	errGone    = errors.New("the connection has gone")
	errCrowded = errors.New("too many queries wait for the server")
)

// call is a query.
type call struct {
	framed []byte // the message after its length
	done   chan struct{}
	number uint64
	at     [2]place // the connections that it is on: two if one is doubted
	races  int      // how often it was sent over one more connection because one was doubted
	ended  bool     // framed is not used any more
	alone  bool     // it is to have a connection for itself
	lost   time.Duration
	tries  int // connections that ended
	barren int // those that were opened for it and brought nothing

	// Set before done is closed.
	msg    []byte
	result acceptance.Result
	err    error
	took   time.Duration // from when it was given to the connection that brought msg
}

// place is where a query is: on a connection, under an id, since a time.
type place struct {
	conn  *conn
	id    uint16
	given time.Duration
	sent  time.Duration // or when the connection was opened, if that was later
}

// Ask sends the message that is in framed after two octets for its length, with
// an id of its own, and returns the response, under that id, and what it is. It
// returns when ctx ends, at the latest. framed belongs to the Pool until then;
// its id is overwritten. The response belongs to the caller.
func (p *Pool) Ask(ctx context.Context, framed []byte) ([]byte, acceptance.Result, error) {
	c := &call{framed: framed, done: make(chan struct{})}
	if err := p.begin(c); err != nil {
		return nil, 0, err
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		if p.abandon(c) {
			return nil, 0, ctx.Err()
		}
	}
	if c.err == nil {
		try.NoteTook(ctx, c.took)
	}
	return c.msg, c.result, c.err
}

func (p *Pool) now() time.Duration { return time.Since(p.began) }

func (p *Pool) begin(c *call) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls++
	c.number = p.calls
	if len(p.queue) >= maxOutstanding {
		return errCrowded
	}
	if len(p.queue) > 0 || !p.place(c) {
		p.enqueue(c)
	}
	if len(p.queue) > 0 {
		p.dispatch()
	}
	return nil
}

// enqueue has c wait for a connection, among others in order.
func (p *Pool) enqueue(c *call) {
	at, _ := slices.BinarySearchFunc(p.queue, c, func(a, b *call) int { return cmp.Compare(a.number, b.number) })
	p.queue = slices.Insert(p.queue, at, c)
}

// place puts c on the connection with the fewest queries of those that may have
// it, or on a new one. It reports false if c has to wait.
func (p *Pool) place(c *call) bool {
	now := p.now()
	p.habit.expire(now)
	if c.alone {
		if len(p.conns) >= maxShortConns && !p.dropIdle() {
			return false
		}
		x := p.open()
		x.add(c, now)
		x.retired = true
		return true
	}
	x := p.best(nil, nil)
	if x == nil {
		x = p.resort(now)
	}
	if x == nil {
		return false
	}
	x.add(c, now)
	return true
}

// best is the connection with the fewest queries of those that may have one
// more, other than the two. It is a new one if there is none, or if all are
// crowded; nil if there may be no more.
func (p *Pool) best(not, nor *conn) *conn {
	var best *conn
	for _, x := range p.conns {
		if x != not && x != nor && !x.doubted && x.takes() && (best == nil || x.live < best.live) {
			best = x
		}
	}
	if best != nil && best.live < crowded {
		return best
	}
	if len(p.conns) < p.habit.maxConns() || best == nil && p.dropIdle() {
		return p.open()
	}
	return best
}

// dropIdle drops a connection that has no query, because it is doubted or has
// had all that it may have, and reports whether there is one.
func (p *Pool) dropIdle() bool {
	i := slices.IndexFunc(p.conns, func(x *conn) bool { return x.opened && x.live == 0 })
	return i >= 0 && p.conns[i].drop()
}

// resort is a connection where all that may have a query are doubted: a new one
// in place of one that has been silent for long, or the newest.
func (p *Pool) resort(now time.Duration) *conn {
	for _, x := range p.conns {
		if x.doubted && now-x.heard >= silentFor {
			p.lose(x, errSilent)
			if y := p.best(nil, nil); y != nil {
				return y
			}
			break
		}
	}
	for _, x := range slices.Backward(p.conns) {
		if x.takes() {
			return x
		}
	}
	return nil
}

// dispatch places what waits, in order.
func (p *Pool) dispatch() {
	for len(p.queue) > 0 {
		c := p.queue[0]
		p.queue[0] = nil
		p.queue = p.queue[1:]
		if !c.ended && !p.place(c) {
			p.enqueue(c)
			return
		}
	}
	p.queue = nil
}

// finish ends c and takes it off its connections.
func (p *Pool) finish(c *call, msg []byte, result acceptance.Result, err error) {
	c.msg, c.result, c.err = msg, result, err
	p.forget(c)
	close(c.done)
}

// forget takes c off its connections and out of the queue. Each connection keeps
// its id until a response comes, which is late then.
func (p *Pool) forget(c *call) {
	c.ended = true
	for i := range c.at {
		if x := c.at[i].conn; x != nil {
			x.live--
		}
	}
}

// abandon gives up c, and reports whether it had not ended. Where queries are
// given up repeatedly on a connection that brings nothing, it counts as dead.
func (p *Pool) abandon(c *call) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.ended {
		return false
	}
	p.forget(c)
	now := p.now()
	for _, at := range c.at {
		x := at.conn
		if x == nil || x.gone {
			continue
		}
		x.silence++
		if x.silence >= maxSilence && now-x.heard >= minSilence {
			p.lose(x, errSilent)
		} else {
			x.rest(now)
		}
	}
	p.dispatch()
	return true
}

// lose drops a connection that has ended with err, or is to end. Its queries are
// to be sent again, in order: dispatch is to be called.
func (p *Pool) lose(x *conn, err error) {
	if !x.drop() {
		return
	}
	now := p.now()
	p.habit.ended(x, err, now)
	for _, c := range x.unanswered() {
		c.leave(x)
		c.races = 0
		if c.at[0].conn != nil {
			continue // another has it, too
		}
		c.tries++
		if x.answered == 0 && x.opened && c.lost <= x.started {
			c.barren++
			c.alone = c.barren == 2 && x.sent > 1
		}
		c.lost = now
		if !x.opened && !p.anyOpen() || c.barren >= maxBarren || c.tries >= maxTries || x.broken {
			p.finish(c, nil, 0, err)
			continue
		}
		p.enqueue(c)
	}
	if !x.opened && !p.anyOpen() {
		for _, c := range p.queue {
			if !c.ended {
				p.finish(c, nil, 0, err)
			}
		}
		p.queue = nil
	}
}

// anyOpen reports whether there is a connection that may have queries.
func (p *Pool) anyOpen() bool {
	return slices.ContainsFunc(p.conns, func(x *conn) bool { return !x.doubted })
}

// leave takes x off the connections that c is on.
func (c *call) leave(x *conn) {
	if c.at[0].conn == x {
		c.at[0] = c.at[1]
	}
	c.at[1] = place{}
}

// on is c's place on x.
func (c *call) on(x *conn) place {
	if c.at[0].conn == x {
		return c.at[0]
	}
	return c.at[1]
}

// newest reports whether x is what c was sent over last.
func (c *call) newest(x *conn) bool { return c.at[1].conn == x || c.at[1].conn == nil }

// message is what is sent, with an id.
func (c *call) message(id uint16) []byte {
	m := c.framed[2:]
	wire.SetID(m, id)
	return m
}
