package datagram

import (
	"net/netip"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"rideau/resolver"
	"rideau/resolver/batch"
	"rideau/resolver/limit"
	"rideau/resolver/listener/session"
)

// Ownership: slot i of a loop is the kernel's while recvmmsg fills it, then the
// worker's, and the kernel's again while sendmmsg reads it. One goroutine makes
// these calls, so a slot has one holder at each point of loop.read. A query that
// waits was copied before loop.read ends.

const (
	// batchSize is how many datagrams are read, and sent, by one call at most.
	batchSize = 32
	// slotStride is no power of two: that would put the first lines of all
	// slots into one set of the processor's level 1 cache.
	slotStride = maxQuery + 192
	// controlLen is the space of a control message with in6_pktinfo, the
	// larger of the two, in words of 8 octets for its alignment.
	controlLen = 5
)

// Tags of the poller. Sockets of upstreams have those from firstTag on.
const (
	socketTag = 0
	firstTag  = 1
)

// loop is what a worker's goroutine has: queries, responses, and what it waits
// for.
type loop struct {
	*Worker
	sock   *batchConn
	misses *resolver.Waiters // nil if the handler has none

	in, out  []byte
	rx, tx   [batchSize]batch.Message
	rxIov    [batchSize]unix.Iovec
	txIov    [batchSize]unix.Iovec
	name     [batchSize]unix.RawSockaddrInet6 // or RawSockaddrInet4
	control  [batchSize][controlLen]uint64
	queued   int // responses in tx
	used     int // octets of out
	unsent   func(int, syscall.Errno)
	ways     []wayBack // by ticket
	now      time.Time
	readable bool // the socket may have queries
	started  bool // a job was started that may not have run yet
	left     bool // the socket is read no more, see session.Core.Leave
}

// waiter is a session.Handler that lets queries wait on the worker's own
// goroutine.
type waiter interface {
	Waiters(to resolver.Responder, p *batch.Poller, firstTag uint32) *resolver.Waiters
}

func newLoop(w *Worker, c *batchConn) *loop {
	b := &loop{Worker: w, sock: c, readable: true, in: make([]byte, batchSize*slotStride), out: make([]byte, batchSize*maxAnswer)}
	b.unsent = func(_ int, err syscall.Errno) { b.core.SendFailed(err) }
	for i := range b.rx {
		b.rxIov[i].Base = &b.in[i*slotStride]
		b.rxIov[i].SetLen(maxQuery)
		h := &b.rx[i].Hdr
		h.Name = (*byte)(unsafe.Pointer(&b.name[i]))
		h.Iov = &b.rxIov[i]
		h.SetIovlen(1)
		b.restore(i)
		b.tx[i].Hdr.Iov = &b.txIov[i]
		b.tx[i].Hdr.SetIovlen(1)
	}
	if h, ok := w.core.Handler().(waiter); ok {
		b.misses = h.Waiters(b, c.poller, firstTag)
	}
	return b
}

// restore makes slot i ready for recvmmsg, which overwrites the lengths.
func (b *loop) restore(i int) {
	h := &b.rx[i].Hdr
	h.Namelen = uint32(unsafe.Sizeof(b.name[i]))
	if b.sock.wildcard {
		h.Control = (*byte)(unsafe.Pointer(&b.control[i]))
		h.SetControllen(int(unsafe.Sizeof(b.control[i])))
	}
}

func (c *batchConn) serve(w *Worker) {
	batch.Prompt()
	b := newLoop(w, c)
	defer b.end()
	for w.core.Phase() != session.Closed && b.turn() {
	}
}

// turn reads, waits and receives once, and reports whether to go on. A panic
// costs the queries that it concerns, and never the worker.
func (b *loop) turn() (more bool) {
	defer func() {
		if more {
			return
		}
		if p := recover(); p != nil {
			b.recovered(p)
			more = true
		}
	}()
	poller := b.sock.poller
	if b.readable {
		// A batch that is not full has emptied the socket. If something came
		// since then, the poller reports it.
		b.readable = b.read()
	}
	if b.started {
		// Where there are no more threads than workers, the goroutine of a job
		// must not wait for a worker that is never idle.
		b.started = false
		runtime.Gosched()
	}
	if b.readable && (b.misses == nil || b.misses.Open() == 0) {
		return true
	}
	b.waiting.Store(int64(b.held()))
	sweep := b.core.Phase() >= session.Sweeping
	if sweep && !b.readable && !b.left && b.core.Leaves() {
		b.left = poller.Remove(b.sock.fd) == nil
	}
	patience := b.patience(b.readable || sweep)
	n := poller.Wait(patience)
	if n == 0 && sweep && !b.readable {
		if b.held() == 0 && (b.misses == nil || b.misses.Open() == 0 || b.core.Waiting() == 0) {
			return false
		}
		n = poller.Wait(sweepWait)
	}
	if n > 0 || patience != 0 || sweep {
		b.now = time.Now()
	}
	for i := range n {
		switch tag := poller.Tag(i); tag {
		case socketTag:
			b.readable = true
		case batch.WakeTag:
			poller.Woken()
		default:
			b.misses.Receive(tag, b.now)
		}
	}
	if b.misses != nil {
		b.misses.Expire(b.now)
	}
	b.send()
	return true
}

// sweepWait is how long a worker that sweeps its socket waits at a time for
// queries that wait.
const sweepWait = 10 * time.Millisecond

// held is how many queries wait on this goroutine.
func (b *loop) held() int {
	if b.misses == nil {
		return 0
	}
	return b.misses.Waiting()
}

// patience is how long to wait for queries and responses. A worker that has to
// wait keeps nothing alive that a reload has replaced.
func (b *loop) patience(busy bool) time.Duration {
	if busy {
		return 0
	}
	b.Forget()
	if b.misses == nil {
		return -1
	}
	return b.misses.Next(b.now)
}

func (b *loop) end() {
	if b.misses != nil {
		b.misses.Close()
		b.waiting.Store(0)
		b.send()
	}
}

// read answers a batch of queries, and reports whether there may be more.
func (b *loop) read() bool {
	n, errno := batch.Receive(b.sock.fd, b.rx[:])
	if errno != 0 {
		if errno == unix.EAGAIN {
			return false
		}
		// An ICMP error that the kernel kept for this socket, or want of
		// memory. Reading it has cleared it.
		b.core.ReadFailed(errno)
		time.Sleep(time.Millisecond)
		return true
	}
	b.now = time.Now()
	b.answer(n)
	if b.misses != nil {
		b.misses.Send()
	}
	b.send()
	for i := range n {
		b.restore(i)
	}
	if n < batchSize {
		return false
	}
	b.core.BatchFull()
	return true
}

// answer answers the n queries that were read.
func (b *loop) answer(n int) {
	for i := range n {
		rx := &b.rx[i]
		msg := b.in[i*slotStride:][:rx.N]
		ans, waits := b.Worker.answer(b.Buffer(), msg, rx.Hdr.Flags&unix.MSG_TRUNC != 0, b.unanswered(i), b.client(i), b.now)
		if waits {
			ans = b.wait(i)
		}
		if len(ans) > 0 {
			b.queue(ans, rx.Hdr.Name, rx.Hdr.Namelen, rx.Hdr.Control, b.source(i))
		}
	}
}

// wait has query i, the one in hand, wait, or returns the response that it may
// not.
func (b *loop) wait(i int) []byte {
	var p limit.Permit
	if !b.Admit(&p) {
		return b.Shed(b.Buffer())
	}
	if b.misses != nil {
		ticket, ok, sound := b.begin()
		if !sound {
			b.Release(&p)
			return b.Shed(b.Buffer())
		}
		if ok {
			b.leave(ticket, i, p)
			return nil
		}
	}
	j := b.Job(b.Query(), p)
	if j == nil {
		return b.Shed(b.Buffer())
	}
	var w wayBack
	b.setWay(&w, i)
	b.start(j, &w)
	return nil
}

// Buffer implements resolver.Responder.
func (b *loop) Buffer() []byte {
	if b.queued == batchSize {
		b.send()
	}
	return b.out[b.used : b.used : b.used+maxAnswer]
}

// queue has a response sent with the batch. ans lies in what Buffer has
// returned, or elsewhere if it is longer than that.
func (b *loop) queue(ans []byte, name *byte, namelen uint32, ctl *byte, ctllen int) {
	if len(ans) <= maxAnswer {
		b.used += (len(ans) + 63) &^ 63
	}
	i := b.queued
	b.txIov[i].Base = &ans[0]
	b.txIov[i].SetLen(len(ans))
	h := &b.tx[i].Hdr
	h.Name, h.Namelen = name, namelen
	h.Control = nil
	if ctllen > 0 {
		h.Control = ctl
	}
	h.SetControllen(ctllen)
	b.queued++
}

// send sends what is queued, and counts the queries of the batch before that. A
// response that the kernel refuses is counted and left out. If the socket's
// buffer is full, send waits a moment for space.
func (b *loop) send() {
	b.Count()
	if b.queued > 0 {
		batch.SendAll(b.sock.fd, b.tx[:b.queued], b.unsent)
	}
	b.queued, b.used = 0, 0
}

// Answered implements resolver.Responder.
func (b *loop) Answered(ticket uint32, q *resolver.Query, ans []byte, o resolver.Outcome) {
	w := &b.ways[ticket]
	b.Finish(q, o, b.now, &w.permit)
	b.queueBack(ans, w)
}

// HandOver implements resolver.Responder. It may be called while another query
// is in hand.
func (b *loop) HandOver(ticket uint32, q *resolver.Query) {
	w := &b.ways[ticket]
	permit := w.permit
	w.permit = limit.Permit{}
	if j := b.Job(q, permit); j != nil {
		b.start(j, w)
		return
	}
	ans, o := b.ShedWaiting(b.Buffer(), q)
	b.Answered(ticket, q, ans, o)
}

// unanswered reports whether query i must not be answered: no resolver asks from its
// port, or it claims to come from this socket.
func (b *loop) unanswered(i int) bool {
	p := (*[2]byte)(unsafe.Pointer(&b.name[i].Port)) // at one place in both families
	port := uint16(p[0])<<8 | uint16(p[1])
	return !asked(port) || port == b.sock.local.Port() && b.client(i) == b.destination(i)
}

// client is the address that query i came from.
func (b *loop) client(i int) netip.Addr {
	if b.sock.v6 {
		return netip.AddrFrom16(b.name[i].Addr).Unmap()
	}
	return netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(&b.name[i])).Addr)
}
