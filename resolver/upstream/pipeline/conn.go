package pipeline

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"time"

	"rideau/resolver/upstream/acceptance"
	"rideau/resolver/wire"
)

const (
	// maxMismatches is how many messages that are no response to a query a
	// connection may bring.
	maxMismatches = 256
	// maxLate is how many queries that were given up may still get a response
	// before a connection is used no more.
	maxLate = 1024
	// writeTimeout is how long the server may take none of what is sent.
	writeTimeout = 4 * time.Second
	readBuffer   = 2 << 10
)

// conn is a connection, or one that is being opened. Its writer sends what is
// queued, and its reader passes each response to the query that waits for it.
// Pool.mu guards all but stream, wake and over.
type conn struct {
	p      *Pool
	stream net.Conn           // set before opened
	cancel context.CancelFunc // of opening it
	wake   chan struct{}      // has an element if something is queued; its capacity is 1
	over   chan struct{}      // closed when reading has ended

	opened, gone bool
	broken       bool // by a fault of ours
	retired      bool // it gets no more queries
	doubted      bool // it brings nothing, and gets no queries for now
	counted      bool // as one that does not answer several queries at a time
	waiting      map[uint16]*call
	live         int    // those that have not ended
	sent         int    // queries so far
	answered     int    // those of them that were answered
	most         int    // the most of them at a time
	out          []byte // framed messages to send
	silence      int    // queries given up since anything came

	started time.Duration
	heard   time.Duration // when a message came, or the connection was opened
	idle    time.Duration // since when it has no query
	timer   *time.Timer   // calls tick
}

// open makes a connection that is opened from now on. Pool.mu is held.
func (p *Pool) open() *conn {
	ctx, cancel := context.WithTimeout(context.Background(), p.o.DialTimeout)
	now := p.now()
	x := &conn{p: p, cancel: cancel, wake: make(chan struct{}, 1), over: make(chan struct{}), waiting: map[uint16]*call{},
		started: now, heard: now, idle: now}
	x.timer = time.AfterFunc(openingFor, x.tick)
	p.conns = append(p.conns, x)
	go x.run(ctx)
	return x
}

// takes reports whether x may have one more query.
func (x *conn) takes() bool {
	h := &x.p.habit
	return !x.retired && (h.answers == 0 || x.sent < h.answers) && (!h.single || x.live == 0) && len(x.waiting) < maxOutstanding
}

// add puts c on x, under an id that nobody can foresee (RFC 5452 section 9.2).
func (x *conn) add(c *call, now time.Duration) {
	var b [2]byte
	id := uint16(0)
	for taken := true; taken; _, taken = x.waiting[id] {
		rand.Read(b[:]) // never fails
		id = binary.BigEndian.Uint16(b[:])
	}
	at := place{x, id, now, now}
	if c.at[0].conn == nil {
		c.at[0] = at
	} else {
		c.at[1] = at
	}
	x.waiting[id] = c
	x.sent++
	x.live++
	x.most = max(x.most, x.live)
	m := c.message(id)
	x.out = append(binary.BigEndian.AppendUint16(x.out, uint16(len(m))), m...)
	if !x.opened {
		return
	}
	if x.live == 1 {
		x.timer.Reset(x.patience())
	}
	x.wakeWriter()
}

func (x *conn) wakeWriter() {
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

// run connects, and reads until the connection ends.
func (x *conn) run(ctx context.Context) {
	err := errGone
	defer func() {
		if v := recover(); v != nil {
			err = x.fault(v)
		}
		x.end(err)
	}()
	stream, dialErr := x.p.o.Dial(ctx)
	if dialErr != nil {
		err = dialErr
		return
	}
	if !x.begin(stream) {
		stream.Close()
		return
	}
	go x.write()
	err = x.read()
}

// begin notes that x is open, and reports whether it is of use.
func (x *conn) begin(stream net.Conn) bool {
	x.p.mu.Lock()
	defer x.p.mu.Unlock()
	if x.gone {
		return false
	}
	x.stream, x.opened, x.doubted = stream, true, false
	x.heard = x.p.now()
	x.idle = x.heard
	for _, c := range x.waiting { // they are sent now
		if !c.ended {
			for i := range c.at {
				if c.at[i].conn == x {
					c.at[i].sent = x.heard
				}
			}
		}
	}
	x.timer.Reset(x.patience())
	x.wakeWriter()
	x.rest(x.heard)
	return !x.gone
}

// end drops x, if it was not dropped yet.
func (x *conn) end(err error) {
	x.cancel()
	close(x.over)
	x.p.mu.Lock()
	defer x.p.mu.Unlock()
	x.p.lose(x, err)
	x.p.dispatch()
}

// fault notes a panic, and returns it as an error.
func (x *conn) fault(v any) error {
	x.p.mu.Lock()
	x.broken = true
	x.p.mu.Unlock()
	if x.p.o.Panicked != nil {
		x.p.o.Panicked(v)
	}
	return fmt.Errorf("a connection was given up: a fault in the program: %v", v)
}

// drop takes x out of the pool and closes it, and reports whether that was still
// to do.
func (x *conn) drop() bool {
	if x.gone {
		return false
	}
	x.gone, x.out = true, nil
	x.timer.Stop()
	x.cancel()
	if i := slices.Index(x.p.conns, x); i >= 0 {
		x.p.conns = slices.Delete(x.p.conns, i, i+1)
	}
	if x.stream != nil {
		go x.stream.Close() // TLS may wait for the server to take its last words
	}
	return true
}

// ifIdle drops x if it has no query.
func (x *conn) ifIdle() {
	if x.live == 0 {
		x.drop()
	}
}

// rest notes that x may have no query any more, and drops it if it is of no more
// use.
func (x *conn) rest(now time.Duration) {
	if len(x.waiting)-x.live > maxLate {
		x.retired = true
	}
	if x.live > 0 {
		return
	}
	x.idle = now
	if a := x.p.habit.answers; x.p.closed || x.retired || a > 0 && x.sent >= a {
		x.drop()
	}
}

// unanswered are the queries that wait on x, in order.
func (x *conn) unanswered() []*call {
	var all []*call
	for _, c := range x.waiting {
		if !c.ended {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b *call) int { return cmp.Compare(a.number, b.number) })
	return all
}

// read delivers responses until the connection ends, and returns why.
func (x *conn) read() error {
	r := bufio.NewReaderSize(x.stream, readBuffer)
	var head [2]byte
	for mismatches := 0; mismatches < maxMismatches; {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return fmt.Errorf("%w: %w", errGone, err)
		}
		msg := make([]byte, binary.BigEndian.Uint16(head[:]))
		if _, err := io.ReadFull(r, msg); err != nil {
			return fmt.Errorf("%w: %w", errGone, err)
		}
		if !x.deliver(msg) {
			mismatches++
			x.p.o.Mismatched()
		}
	}
	return errMismatches
}

// deliver passes a message to the query that it is the response to, and reports
// whether there is one, or has been one.
func (x *conn) deliver(msg []byte) bool {
	p := x.p
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	x.silence, x.heard = 0, now
	if x.doubted {
		p.believe(x)
	}
	if len(msg) < wire.HeaderLen {
		return false
	}
	id := wire.ID(msg)
	c := x.waiting[id]
	if c == nil {
		return false
	}
	if c.ended {
		delete(x.waiting, id)
		return true
	}
	result, msg := p.o.Judge(c.message(id), msg)
	if result == acceptance.Mismatch {
		return false
	}
	delete(x.waiting, id)
	x.answered++
	here := c.on(x)
	p.pace.Observe(now - here.sent)
	at := c.at
	c.took = now - here.given
	p.finish(c, msg, result, nil)
	if c.alone {
		p.habit.aloneAnswered(now)
	}
	if c.races > 0 {
		for _, o := range at {
			if o.conn != nil && o.conn != x {
				p.overtaken(o, now-here.sent, now)
			}
		}
	}
	if !x.gone {
		x.rest(now)
	}
	p.dispatch()
	return true
}

// write sends queued messages until the connection ends. Queries of one moment
// are sent together, each in one piece with its length (RFC 7766 section 8): a
// TLS record and a system call cost more than a query.
func (x *conn) write() {
	defer x.stream.Close() // ends read, and then all queries that wait
	defer func() {
		if v := recover(); v != nil {
			x.fault(v)
		}
	}()
	var sending []byte
	for {
		select {
		case <-x.wake:
		case <-x.over:
			return
		}
		runtime.Gosched() // let others queue what they are about to send
		x.p.mu.Lock()
		sending, x.out = x.out, sending[:0]
		x.p.mu.Unlock()
		if len(sending) == 0 {
			continue // it was sent with those before
		}
		x.stream.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, err := x.stream.Write(sending); err != nil {
			return
		}
	}
}
