package syslog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"rideau/resolver/audit/dial"
)

// link is one connection, and what was sent over it. One goroutine connects and
// writes, another reads, to notice the end.
type link struct {
	cancel context.CancelFunc
	up     chan struct{} // closed when it is connected
	down   chan struct{} // closed when it is no longer
	work   chan struct{} // there are chunks to write; holds one
	room   chan struct{} // there is space for chunks; holds one

	// These are set before down is closed, and not written after.
	err   error
	ended bool // the server ended it in good order
	at    time.Time

	mu        sync.Mutex
	conn      *dial.Conn // guarded by mu; nil: not connected
	failed    bool       // guarded by mu
	finishing bool       // guarded by mu: nothing more will be written
	chunks    []*chunk   // guarded by mu: what the server may not have read
	waiting   int        // guarded by mu: octets that are not written
	next      int        // guarded by mu: index of the first chunk that is not written
}

// connect makes a link, which connects by itself.
func connect(o dial.Options) *link {
	ctx, cancel := context.WithCancel(context.Background())
	l := &link{cancel: cancel, up: make(chan struct{}), down: make(chan struct{}), work: make(chan struct{}, 1), room: make(chan struct{}, 1)}
	go l.run(ctx, o)
	return l
}

func (l *link) run(ctx context.Context, o dial.Options) {
	conn, err := o.Dial(ctx)
	if err != nil {
		l.fail(err, false)
		return
	}
	l.mu.Lock()
	l.conn = conn
	given := l.failed // meanwhile
	l.mu.Unlock()
	if given {
		conn.Close()
		return
	}
	go l.read(conn, o.Address)
	close(l.up)
	for {
		select {
		case <-l.down:
			return
		case <-l.work:
		}
		for c := l.first(); c != nil; c = l.first() {
			if err := write(conn, c.frames); err != nil {
				l.fail(err, false)
				return
			}
			l.wrote(c, conn)
		}
	}
}

// write writes in pieces, each of which has some time.
func write(conn *dial.Conn, b []byte) error {
	for len(b) > 0 {
		piece := b[:min(len(b), 32<<10)]
		if err := conn.SetWriteDeadline(time.Now().Add(stall)); err != nil {
			return err
		}
		if _, err := conn.Write(piece); err != nil {
			return err
		}
		b = b[len(piece):]
	}
	return nil
}

// read notices the end of the connection. A server sends nothing. The end is in
// good order over TLS only if the server says so: another may forge that of TCP.
func (l *link) read(conn *dial.Conn, address string) {
	var b [512]byte
	for {
		if _, err := conn.Read(b[:]); err != nil {
			ended := errors.Is(err, io.EOF)
			if ended {
				err = fmt.Errorf("%s closed the connection", address)
			}
			l.fail(err, ended)
			return
		}
	}
}

// fail ends the link. Only the first reason counts.
func (l *link) fail(err error, ended bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed {
		return
	}
	l.failed, l.err, l.ended, l.at = true, err, ended, time.Now()
	l.cancel()
	if l.conn != nil {
		l.conn.Close()
	}
	close(l.down)
}

func (l *link) close() { l.fail(errors.New("closed"), false) }

// add takes events to be written, if there is space.
func (l *link) add(events [][]byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed || l.waiting >= inFlight {
		return false
	}
	c := newChunk(events)
	l.chunks, l.waiting = append(l.chunks, c), l.waiting+len(c.frames)
	signal(l.work)
	return true
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// first returns the first chunk that is not written; nil for none.
func (l *link) first() *chunk {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next == len(l.chunks) {
		return nil
	}
	return l.chunks[l.next]
}

// wrote notes that a chunk was written.
func (l *link) wrote(c *chunk, conn *dial.Conn) {
	l.mu.Lock()
	c.end, c.written = conn.Carried(), time.Now()
	l.next++
	l.waiting -= len(c.frames)
	l.mu.Unlock()
	signal(l.room)
	l.trim()
}

// trim forgets chunks that the server must have read, because its buffer cannot
// hold them any more.
func (l *link) trim() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil || l.failed {
		return // of a connection that is closed, the kernel tells nothing
	}
	acknowledged, ok := l.conn.Acknowledged()
	if !ok {
		acknowledged -= unread // as much may be on its way
	}
	n := 0
	for n < l.next && l.chunks[n].end <= acknowledged-unread {
		n++
	}
	if n > 0 {
		l.chunks, l.next = append([]*chunk(nil), l.chunks[n:]...), l.next-n
	}
}

// doubtful returns the events that the server may not have read. down is closed.
func (l *link) doubtful() [][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out [][]byte
	for i, c := range l.chunks {
		if i < l.next && l.ended && (l.finishing || l.at.Sub(c.written) > settling) {
			continue
		}
		out = append(out, c.events()...)
	}
	l.chunks, l.next = nil, 0
	return out
}

// finish waits until all has arrived, and ends the connection. After that, only
// what did not arrive is doubtful.
func (l *link) finish(ctx context.Context) {
	for l.unwritten() {
		if !wait(ctx, l.room, l.down, time.Hour) {
			l.close()
			return
		}
	}
	l.mu.Lock()
	conn := l.conn
	l.finishing = conn != nil
	l.mu.Unlock()
	if conn == nil {
		l.close()
		return
	}
	if err := conn.End(); err != nil {
		l.fail(err, false) // it broke: the kernel has forgotten what was acknowledged
	} else {
		wait(ctx, l.down, nil, time.Hour)
	}
	// A server that does not close its side has read what its kernel acknowledged,
	// as far as one can know.
	l.mu.Lock()
	acknowledged, ok := conn.Acknowledged()
	if !l.failed {
		for len(l.chunks) > 0 && (!ok || l.chunks[0].end <= acknowledged) {
			l.chunks, l.next = l.chunks[1:], l.next-1
		}
	}
	l.mu.Unlock()
	l.close()
}

func (l *link) unwritten() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next < len(l.chunks)
}
