package encrypted

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"time"

	"rideau/resolver/upstream/acceptance"
	"rideau/resolver/wire"
)

const (
	// maxConns is how many connections to a server there are at most. Most need
	// one: it carries many queries at a time.
	maxConns = 4
	// crowded is how many queries a connection has before another is opened.
	crowded = 64
	// maxOutstanding is how many queries a connection may have at all.
	maxOutstanding = 4096
	// maxMismatches is how many messages that are no response to a query a
	// connection may bring.
	maxMismatches = 256
	// maxSilence is how many queries in a row may be given up on a connection
	// that brings nothing before it counts as dead.
	maxSilence = 3
	// minSilence is how long nothing must have arrived besides: the server may
	// just have become slower.
	minSilence = 1500 * time.Millisecond
)

// DoT is a server asked over TLS (RFC 7858). Its connections are kept, and carry
// many queries at a time, whose responses arrive in any order (RFC 7766 sections
// 6.2.1 and 7). It is safe for concurrent use.
type DoT struct {
	server

	mu    sync.Mutex
	pipes []*pipe // guarded by mu; those that may be used
	made  uint64  // guarded by mu; how many have been made
}

// NewDoT makes a server. It connects to nothing yet.
func NewDoT(o Options) *DoT {
	u := new(DoT)
	u.server = newServer(label("tls", &o, ""), o, "dot")
	return u
}

// Close closes idle connections. Exchanges go on; their connections are closed
// when they are idle.
func (u *DoT) Close() {
	u.mu.Lock()
	pipes := slices.Clone(u.pipes)
	u.mu.Unlock()
	for _, p := range pipes {
		p.closeIfIdle()
	}
}

// Exchange implements upstream.Server. A query on a connection that turns out to
// be closed is sent once more, over one that was opened later (RFC 7766 section
// 6.2.4).
func (u *DoT) Exchange(ctx context.Context, dst, query []byte) ([]byte, error) {
	m, err := prepare(query, 0, 2)
	if err != nil {
		return dst, u.fail(ctx, err)
	}
	binary.BigEndian.PutUint16(m, uint16(len(m)-2))
	for gone := (*pipe)(nil); ; {
		p, made, err := u.get(ctx, gone)
		if err != nil {
			return dst, u.fail(ctx, err)
		}
		out, err := p.ask(ctx, dst, query, m)
		if err == nil {
			return out, nil
		}
		if made || gone != nil || ctx.Err() != nil || !errors.Is(err, errGone) {
			return dst, u.fail(ctx, err)
		}
		gone = p
	}
}

// ExchangeStream implements upstream.Server: TLS is all there is.
func (u *DoT) ExchangeStream(ctx context.Context, dst, query []byte) ([]byte, error) {
	return u.Exchange(ctx, dst, query)
}

// pipe is a connection. Its writer sends the queries that are queued, and its
// reader passes each response to the query that waits for it.
type pipe struct {
	u     *DoT
	ready chan struct{} // closed when conn or err is set
	conn  *tls.Conn
	err   error
	wake  chan struct{} // has an element if something is queued; its capacity is 1
	over  chan struct{} // closed when reading has ended

	// number counts the pipes of u; last is the number of the newest when this
	// one was dropped. Guarded by u.mu.
	number, last uint64

	mu      sync.Mutex
	waiting map[uint16]*waiter // guarded by mu
	queue   []byte             // guarded by mu: framed messages to send
	gone    bool               // guarded by mu
	silence int                // guarded by mu: queries given up since anything came
	heard   time.Time          // guarded by mu: when that was, or the connection was opened
	idle    *time.Timer        // guarded by mu; closes the connection; runs while nothing waits
}

// waiter is a query that waits for its response.
type waiter struct {
	sent []byte
	done chan struct{}
	resp []byte // nil if the connection was closed
}

var errGone = errors.New("the connection has gone")

// get returns a connection to send a query over, and whether it was opened for
// that. If the query was on a connection that is gone, it is one that was opened
// later, since the others may be gone with it; all queries of that connection
// share the new one.
func (u *DoT) get(ctx context.Context, gone *pipe) (p *pipe, made bool, err error) {
	u.mu.Lock()
	after := uint64(0)
	if gone != nil {
		after = gone.last
	}
	p = u.best(after)
	if made = p == nil; made {
		u.made++
		p = &pipe{u: u, number: u.made, ready: make(chan struct{}), wake: make(chan struct{}, 1), over: make(chan struct{}), waiting: map[uint16]*waiter{}}
		u.pipes = append(u.pipes, p)
		go p.run()
	}
	u.mu.Unlock()
	select {
	case <-p.ready:
		return p, made, p.err
	case <-ctx.Done():
		return nil, made, ctx.Err()
	}
}

// best is the connection with the fewest queries of those with a number above
// after. It returns nil if all are crowded and another may be opened. mu is
// held.
func (u *DoT) best(after uint64) *pipe {
	var best *pipe
	least := 0
	for _, p := range u.pipes {
		if p.number <= after {
			continue
		}
		if n := p.load(); best == nil || n < least {
			best, least = p, n
		}
	}
	if best != nil && least >= crowded && len(u.pipes) < maxConns {
		return nil
	}
	return best
}

func (p *pipe) load() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiting)
}

// run connects, and reads until the connection ends.
func (p *pipe) run() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*dialTimeout)
	p.conn, p.err = p.u.dialTLS(ctx)
	cancel()
	if p.err != nil {
		p.u.drop(p)
		close(p.ready)
		return
	}
	p.mu.Lock()
	p.heard = time.Now()
	p.idle = time.AfterFunc(p.u.o.IdleTimeout, p.closeIfIdle)
	p.mu.Unlock()
	close(p.ready)
	defer p.u.survive()
	defer p.leave()
	go p.write()
	p.read()
}

func (u *DoT) drop(p *pipe) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if i := slices.Index(u.pipes, p); i >= 0 {
		u.pipes = slices.Delete(u.pipes, i, i+1)
		p.last = u.made
	}
}

// leave closes the connection and ends all queries that wait.
func (p *pipe) leave() {
	p.u.drop(p)
	close(p.over)
	p.conn.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone, p.queue = true, nil
	p.idle.Stop()
	for id, w := range p.waiting {
		close(w.done)
		delete(p.waiting, id)
	}
}

// read delivers responses until the connection ends.
func (p *pipe) read() {
	head := make([]byte, 2)
	for mismatches := 0; mismatches < maxMismatches; {
		if _, err := io.ReadFull(p.conn, head); err != nil {
			return
		}
		msg := make([]byte, binary.BigEndian.Uint16(head))
		if _, err := io.ReadFull(p.conn, msg); err != nil {
			return
		}
		if !p.deliver(msg) {
			mismatches++
			p.u.mismatches.Add(1)
		}
	}
}

// deliver passes a message to the query that it is the response to, and reports
// whether there is one.
func (p *pipe) deliver(msg []byte) bool {
	if len(msg) < wire.HeaderLen {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silence, p.heard = 0, time.Now()
	w := p.waiting[wire.ID(msg)]
	if w == nil {
		return false
	}
	if result, _ := acceptance.Accept(acceptance.Encrypted, nil, w.sent, msg); result == acceptance.Mismatch {
		return false
	}
	p.forget(wire.ID(msg))
	w.resp = msg
	close(w.done)
	return true
}

// forget removes a query. mu is held.
func (p *pipe) forget(id uint16) {
	delete(p.waiting, id)
	if len(p.waiting) == 0 && !p.gone {
		p.idle.Reset(p.u.o.IdleTimeout)
	}
}

// closeIfIdle closes the connection if nothing waits.
func (p *pipe) closeIfIdle() {
	select {
	case <-p.ready:
	default:
		return // it is being opened for a query
	}
	p.mu.Lock()
	idle := len(p.waiting) == 0 && p.err == nil
	p.mu.Unlock()
	if idle {
		p.u.drop(p)
		p.conn.Close()
	}
}

// ask sends a prepared query under an id of this connection, and waits for the
// response.
func (p *pipe) ask(ctx context.Context, dst, query, prepared []byte) ([]byte, error) {
	w, id, err := p.register(prepared)
	if err != nil {
		return dst, err
	}
	select {
	case <-w.done:
	case <-ctx.Done():
		p.abandon(id, w)
		return dst, ctx.Err()
	}
	if w.resp == nil {
		return dst, errGone
	}
	return appendResponse(dst, query, w.resp), nil
}

var errCrowded = errors.New("too many queries wait for the server")

// register gives a framed message an id and queues it, and returns the waiter for
// its response. The id only tells responses apart: nobody on the path can forge
// one.
func (p *pipe) register(framed []byte) (*waiter, uint16, error) {
	w := &waiter{sent: slices.Clone(framed[2:]), done: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return nil, 0, errGone
	}
	if len(p.waiting) >= maxOutstanding {
		return nil, 0, errCrowded
	}
	id := uint16(0)
	for taken := true; taken; _, taken = p.waiting[id] {
		id = uint16(rand.Uint32())
	}
	wire.SetID(w.sent, id)
	p.waiting[id] = w
	p.queue = append(append(p.queue, framed[:2]...), w.sent...)
	p.idle.Stop()
	select {
	case p.wake <- struct{}{}:
	default:
	}
	return w, id, nil
}

// write sends queued messages until the connection ends. Queries of one moment
// are sent together: a TLS record and a system call cost more than a query.
func (p *pipe) write() {
	defer p.u.survive()
	defer p.conn.Close() // ends read, and then all queries that wait
	var sending []byte
	for {
		select {
		case <-p.wake:
		case <-p.over:
			return
		}
		runtime.Gosched() // let others queue what they are about to send
		p.mu.Lock()
		sending, p.queue = p.queue, sending[:0]
		p.mu.Unlock()
		if len(sending) == 0 {
			continue // it was sent with those before
		}
		p.conn.SetWriteDeadline(time.Now().Add(dialTimeout))
		if _, err := p.conn.Write(sending); err != nil {
			return
		}
	}
}

// abandon gives up a query. If that happens repeatedly on a connection that
// brings nothing, it counts as dead and is closed, so that the next query opens a
// new one.
func (p *pipe) abandon(id uint16, w *waiter) {
	p.mu.Lock()
	if p.waiting[id] == w {
		p.forget(id)
		p.silence++
	}
	dead := p.silence >= maxSilence && time.Since(p.heard) >= minSilence
	p.mu.Unlock()
	if dead {
		p.u.drop(p)
		p.conn.Close()
	}
}
