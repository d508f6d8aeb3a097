package listener

import (
	"net"
	"net/netip"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"rideau/resolver"
	"rideau/resolver/batch"
	"rideau/resolver/limit"
)

// Ownership: slot i of a loop is the kernel's while recvmmsg fills it, then
// the worker's, and the kernel's again while sendmmsg reads it. One goroutine
// makes these calls, so a slot has one holder at each point of loop.read; a
// query that waits has left its slot as a copy before the point is passed.

const (
	batchSize = 32
	// slotStride keeps the first lines of all slots out of one set of the
	// level 1 cache, where a power of two would put them.
	slotStride = maxQuery + 192
	// controlLen is the space of a control message with in6_pktinfo, the
	// larger of the two, in words of 8 octets for its alignment.
	controlLen = 5
)

// batchConn is a UDP socket that is read and written in batches, and a poller
// of its own, so that the runtime has no part in it: a worker that waits does
// so in the kernel.
type batchConn struct {
	fd     int
	poller *batch.Poller
	// wildcard: queries come for any address of the host, and the control
	// message tells which; answers leave from there.
	wildcard bool
	v6       bool

	// mu keeps fd from being closed, and its number given to another, while
	// a job sends or Serve looks after it. The worker needs none: sockets are
	// closed after it has ended.
	mu   sync.RWMutex
	open bool // guarded by mu

	drops shielded
}

// newBatchConn takes c's socket over. c is closed.
func newBatchConn(c *net.UDPConn) (*batchConn, error) {
	defer c.Close()
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	a := c.LocalAddr().(*net.UDPAddr).AddrPort().Addr()
	b := &batchConn{wildcard: a.IsUnspecified(), v6: a.Is6() && !a.Is4In6(), open: true}
	err = control(raw, func(fd int) (err error) {
		b.fd, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	if b.poller, err = batch.NewPoller(); err != nil {
		unix.Close(b.fd)
		return nil, err
	}
	if err := b.poller.Add(b.fd, socketTag); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// Tags of the poller. Those of upstream's sockets come after.
const (
	socketTag = 0
	firstTag  = 1
)

// use calls f with the socket unless that is closed.
func (c *batchConn) use(f func(fd int) error) error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if !c.open {
		return net.ErrClosed
	}
	return f(c.fd)
}

func (c *batchConn) interrupt() {
	c.use(func(int) error { c.poller.Wake(); return nil })
}

// Close implements packetConn. It may be called again.
func (c *batchConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.open {
		return nil
	}
	c.open = false
	c.poller.Close()
	return unix.Close(c.fd)
}

// loop is a worker's: its queries, its answers, and what it waits for.
type loop struct {
	*worker
	sock   *batchConn
	misses *resolver.Waiters // nil if the handler has no such thing

	in, out  []byte
	rx, tx   [batchSize]batch.Message
	rxIov    [batchSize]unix.Iovec
	txIov    [batchSize]unix.Iovec
	name     [batchSize]unix.RawSockaddrInet6 // or RawSockaddrInet4
	control  [batchSize][controlLen]uint64
	outcomes [batchSize]resolver.Outcome
	queued   int // answers in tx
	used     int // octets of out
	unsent   func(int, syscall.Errno)
	backs    []back // by ticket
	now      time.Time
	readable bool // the socket may have queries
	started  bool // a job, since that was last looked at
}

// waiter is a Handler that lets queries wait on the worker's own goroutine.
type waiter interface {
	Waiters(to resolver.Responder, p *batch.Poller, firstTag uint32) *resolver.Waiters
}

func newLoop(w *worker, c *batchConn) *loop {
	b := &loop{worker: w, sock: c, readable: true, in: make([]byte, batchSize*slotStride), out: make([]byte, batchSize*maxAnswer)}
	b.unsent = func(_ int, err syscall.Errno) { b.l.sendFailed(err, 1) }
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
	if h, ok := w.l.h.(waiter); ok {
		b.misses = h.Waiters(b, c.poller, firstTag)
	}
	return b
}

// restore makes slot i ready for recvmmsg, which writes lengths.
func (b *loop) restore(i int) {
	h := &b.rx[i].Hdr
	h.Namelen = uint32(unsafe.Sizeof(b.name[i]))
	if b.sock.wildcard {
		h.Control = (*byte)(unsafe.Pointer(&b.control[i]))
		h.SetControllen(int(unsafe.Sizeof(b.control[i])))
	}
}

func (c *batchConn) serve(w *worker) {
	batch.Prompt()
	b := newLoop(w, c)
	defer b.end()
	for w.l.phase.Load() != closed && b.turn() {
	}
}

// turn reads, waits and receives once, and reports whether to go on. A panic
// costs those whom it concerns, and never the worker.
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
	l, poller := b.l, b.sock.poller
	if b.readable {
		// A batch that is not full has emptied the socket; if something
		// came since, the poller knows.
		b.readable = b.read()
	}
	if b.started {
		// Where there are no more threads than workers, who has just been
		// woken shall not wait for one that is never idle.
		b.started = false
		runtime.Gosched()
	}
	if b.readable && (b.misses == nil || b.misses.Open() == 0) {
		return true
	}
	b.worker.waiting.Store(int64(b.waiting()))
	sweep := l.phase.Load() >= sweeping
	patience := b.patience(b.readable || sweep)
	n := poller.Wait(patience)
	if n == 0 && sweep && !b.readable {
		if b.waiting() == 0 && (b.misses == nil || b.misses.Open() == 0 || l.jobs.active() == 0) {
			return false
		}
		n = poller.Wait(closeGrace / 10)
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

func (b *loop) waiting() int {
	if b.misses == nil {
		return 0
	}
	return b.misses.Waiting()
}

// patience is how long to wait for whatever may come. A worker that has to
// wait keeps nothing alive that a reload has replaced.
func (b *loop) patience(busy bool) time.Duration {
	if busy {
		return 0
	}
	b.forget()
	if b.misses == nil {
		return -1
	}
	return b.misses.Next(b.now)
}

func (b *loop) end() {
	if b.misses != nil {
		b.misses.Close()
		b.worker.waiting.Store(0)
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
		b.l.readFailed(errno)
		time.Sleep(time.Millisecond)
		return true
	}
	b.now = time.Now()
	b.answer(n)
	if b.misses != nil {
		b.misses.Send()
	}
	elapsed := time.Since(b.now)
	b.send()
	for i := range n {
		// Of the query the counters see how it came, and all came alike.
		b.counters.Count(&b.q, b.outcomes[i], elapsed)
		b.restore(i)
	}
	return n == batchSize
}

// answer answers the n queries that were read.
func (b *loop) answer(n int) {
	for i := range n {
		rx := &b.rx[i]
		msg := b.in[i*slotStride:][:rx.N]
		ans, o, waits := b.worker.answer(b.Buffer(), msg, rx.Hdr.Flags&unix.MSG_TRUNC != 0, b.client(i), b.now)
		if waits {
			ans, o = b.wait(i)
		}
		b.outcomes[i] = o
		b.counters.Log(&b.q, o)
		if len(ans) > 0 {
			b.queue(ans, rx.Hdr.Name, rx.Hdr.Namelen, rx.Hdr.Control, b.source(i))
		}
	}
}

// wait has query i, the one in hand, wait, or answers that there is no room.
func (b *loop) wait(i int) ([]byte, resolver.Outcome) {
	claim, ok := b.room()
	if !ok {
		return b.refuse(b.Buffer())
	}
	if b.misses != nil {
		t, ok, sound := b.begin()
		if !sound {
			b.l.o.WaitLimit.Release(&claim)
			return b.refuse(b.Buffer())
		}
		if ok {
			b.leave(t, i, claim)
			return nil, resolver.Outcome{}
		}
	}
	j := b.job(claim)
	if j == nil {
		return b.refuse(b.Buffer())
	}
	var w back
	b.wayBack(&w, i)
	b.start(j, &w)
	return nil, resolver.Outcome{}
}

// Buffer implements resolver.Responder.
func (b *loop) Buffer() []byte {
	if b.queued == batchSize {
		b.send()
	}
	return b.out[b.used : b.used : b.used+maxAnswer]
}

// queue has an answer sent with the batch. ans lies in what Buffer has
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

// send sends what is queued. One that the kernel refuses is counted and left
// out. If the socket's buffer is full, it is given a moment to drain.
func (b *loop) send() {
	if b.queued > 0 {
		batch.SendAll(b.sock.fd, b.tx[:b.queued], b.unsent)
	}
	b.queued, b.used = 0, 0
}

// Answered implements resolver.Responder.
func (b *loop) Answered(ticket uint32, q *resolver.Query, ans []byte, o resolver.Outcome) {
	w := &b.backs[ticket]
	b.l.o.WaitLimit.Release(&w.claim)
	b.counters.Observe(q, o, b.now.Sub(q.Received))
	if len(ans) == 0 {
		return
	}
	b.queue(ans, (*byte)(unsafe.Pointer(&w.name)), w.namelen, (*byte)(unsafe.Pointer(&w.control)), w.ctllen)
}

// HandOver implements resolver.Responder. It may be called while another query is
// in hand.
func (b *loop) HandOver(ticket uint32, q *resolver.Query) {
	inHand := b.q
	defer func() { b.q = inHand }()
	msg := q.Msg
	b.q = *q
	b.q.Msg = msg
	w := &b.backs[ticket]
	claim := w.claim
	w.claim = limit.Permit{}
	if j := b.job(claim); j != nil {
		b.start(j, w)
		return
	}
	ans, o := b.refuse(b.Buffer())
	b.counters.Observe(q, o, b.now.Sub(q.Received))
	if len(ans) > 0 {
		b.queue(ans, (*byte)(unsafe.Pointer(&w.name)), w.namelen, (*byte)(unsafe.Pointer(&w.control)), w.ctllen)
	}
}

// client is the address that query i came from.
func (b *loop) client(i int) netip.Addr {
	if b.sock.v6 {
		return netip.AddrFrom16(b.name[i].Addr).Unmap()
	}
	return netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(&b.name[i])).Addr)
}
