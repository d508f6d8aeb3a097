package listener

import (
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"rideau/resolver"
)

// Ownership: slot i of a batch is the kernel's while recvmmsg fills it, then
// the worker's, and the kernel's again while sendmmsg reads it. One goroutine
// makes these calls, so a slot has one holder at each point of batch.run; a
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

type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// batchConn is a UDP socket that is read and written with recvmmsg and
// sendmmsg. The calls go to the kernel past the runtime: they never block, and
// telling the scheduler of them would cost more than some of them.
type batchConn struct {
	*net.UDPConn
	raw syscall.RawConn
	// wildcard: queries come for any address of the host, and the control
	// message tells which; answers leave from there.
	wildcard bool
	v6       bool
}

func newBatchConn(c *net.UDPConn) (*batchConn, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	a := c.LocalAddr().(*net.UDPAddr).AddrPort().Addr()
	return &batchConn{UDPConn: c, raw: raw, wildcard: a.IsUnspecified(), v6: a.Is6() && !a.Is4In6()}, nil
}

func (c *batchConn) interrupt() { c.SetReadDeadline(time.Unix(1, 0)) }

// batch is the memory of one worker, made once.
type batch struct {
	*worker
	sock *batchConn

	in, out  []byte
	rx, tx   [batchSize]mmsghdr
	rxIov    [batchSize]unix.Iovec
	txIov    [batchSize]unix.Iovec
	name     [batchSize]unix.RawSockaddrInet6 // or RawSockaddrInet4
	control  [batchSize][controlLen]uint64
	outcomes [batchSize]resolver.Outcome
}

func newBatch(w *worker, c *batchConn) *batch {
	b := &batch{worker: w, sock: c, in: make([]byte, batchSize*slotStride), out: make([]byte, batchSize*maxAnswer)}
	for i := range b.rx {
		b.rxIov[i].Base = &b.in[i*slotStride]
		b.rxIov[i].SetLen(maxQuery)
		h := &b.rx[i].hdr
		h.Name = (*byte)(unsafe.Pointer(&b.name[i]))
		h.Iov = &b.rxIov[i]
		h.SetIovlen(1)
		b.restore(i)
		b.tx[i].hdr.Iov = &b.txIov[i]
		b.tx[i].hdr.SetIovlen(1)
	}
	return b
}

// restore makes slot i ready for recvmmsg, which writes lengths.
func (b *batch) restore(i int) {
	h := &b.rx[i].hdr
	h.Namelen = uint32(unsafe.Sizeof(b.name[i]))
	if b.sock.wildcard {
		h.Control = (*byte)(unsafe.Pointer(&b.control[i]))
		h.SetControllen(int(unsafe.Sizeof(b.control[i])))
	}
}

func (c *batchConn) serve(w *worker) {
	b := newBatch(w, c)
	for w.l.phase.Load() < sweeping {
		// The runtime's poller parks the goroutine when run says that the
		// socket is empty, and nobody can close the descriptor under it.
		err := c.raw.Read(b.run)
		if err != nil && w.l.phase.Load() < sweeping {
			w.l.readFailed(err)
			time.Sleep(10 * time.Millisecond)
		}
	}
	// The deadline that woke a parked goroutine hides what came just before.
	control(c.raw, func(fd int) error { b.run(uintptr(fd)); return nil })
}

// run serves until the socket is empty, and reports whether to end.
func (b *batch) run(fd uintptr) bool {
	l := b.l
	for l.phase.Load() != closed {
		n, errno := mmsg(unix.SYS_RECVMMSG, fd, b.rx[:])
		switch errno {
		case 0:
		case unix.EAGAIN:
			b.forget()
			return l.phase.Load() >= sweeping
		case unix.EINTR:
			continue
		default:
			// An ICMP error that the kernel kept for this socket, or want of
			// memory. Reading it has cleared it.
			l.readFailed(errno)
			time.Sleep(time.Millisecond)
			continue
		}
		received := time.Now()
		toSend, waiting := b.answer(n, received)
		elapsed := time.Since(received)
		b.send(fd, toSend)
		for i := range n {
			// Of the query the counters see how it came, and all came alike.
			b.counters.Observe(&b.q, b.outcomes[i], elapsed)
			b.restore(i)
		}
		if waiting {
			// A socket that is never empty never parks this goroutine: those
			// that were just woken shall not wait for that.
			runtime.Gosched()
		}
	}
	return true
}

// answer answers the n queries that were read. It returns the number of
// answers to send and whether any query waits.
func (b *batch) answer(n int, received time.Time) (toSend int, waiting bool) {
	used := 0
	for i := range n {
		rx := &b.rx[i]
		msg := b.in[i*slotStride:][:rx.n]
		dst := b.out[used : used : used+maxAnswer]
		ans, o, j := b.worker.answer(dst, msg, rx.hdr.Flags&unix.MSG_TRUNC != 0, b.client(i), received)
		b.outcomes[i] = o
		if j != nil {
			b.leave(i, j)
			waiting = true
			continue
		}
		if len(ans) == 0 {
			continue
		}
		if len(ans) <= maxAnswer {
			used += (len(ans) + 63) &^ 63
		}
		b.txIov[toSend].Base = &ans[0]
		b.txIov[toSend].SetLen(len(ans))
		h := &b.tx[toSend].hdr
		h.Name, h.Namelen = rx.hdr.Name, rx.hdr.Namelen
		h.Control = nil
		size := b.source(i)
		if size > 0 {
			h.Control = rx.hdr.Control
		}
		h.SetControllen(size)
		toSend++
	}
	return toSend, waiting
}

// client is the address that query i came from.
func (b *batch) client(i int) netip.Addr {
	if b.sock.v6 {
		return netip.AddrFrom16(b.name[i].Addr).Unmap()
	}
	return netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(&b.name[i])).Addr)
}

// source turns the control message that came with query i into the one that
// sends the answer from the address asked, and returns its length; 0 leaves
// the choice to the kernel. The interface is left to the routes but for
// link-local addresses, which mean nothing without.
func (b *batch) source(i int) int {
	if !b.sock.wildcard {
		return 0
	}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b.control[i]))
	data := unsafe.Add(unsafe.Pointer(h), unix.CmsgLen(0))
	got := int(b.rx[i].hdr.Controllen)
	switch {
	case got >= unix.CmsgLen(unix.SizeofInet4Pktinfo) && h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO:
		(*unix.Inet4Pktinfo)(data).Ifindex = 0
		return unix.CmsgSpace(unix.SizeofInet4Pktinfo)
	case got >= unix.CmsgLen(unix.SizeofInet6Pktinfo) && h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO:
		p := (*unix.Inet6Pktinfo)(data)
		if p.Addr[0] == 0xff { // multicast: no source to answer from
			return 0
		}
		if p.Addr[0] != 0xfe || p.Addr[1]&0xc0 != 0x80 {
			p.Ifindex = 0
		}
		return unix.CmsgSpace(unix.SizeofInet6Pktinfo)
	}
	return 0
}

// send sends the first n answers. One that the kernel refuses is counted and
// left out. If the socket's buffer is full, it is given a moment to drain.
func (b *batch) send(fd uintptr, n int) {
	waited := false
	for at := 0; at < n; {
		sent, errno := mmsg(unix.SYS_SENDMMSG, fd, b.tx[at:n])
		switch errno {
		case 0:
			at += sent
		case unix.EINTR:
		case unix.EAGAIN:
			if waited {
				b.l.sendFailed(errno, n-at)
				return
			}
			waited = true
			unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, 20)
		default:
			// The error is that of the first answer, the others are not tried yet.
			b.l.sendFailed(errno, 1)
			at++
		}
	}
}

// mmsg calls recvmmsg or sendmmsg, without waiting, for at least one message.
func mmsg(call, fd uintptr, m []mmsghdr) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(call, fd, uintptr(unsafe.Pointer(&m[0])), uintptr(len(m)), unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

// batchPath sends one answer from a job.
type batchPath struct {
	sock    *batchConn
	hdr     unix.Msghdr
	iov     unix.Iovec
	name    unix.RawSockaddrInet6
	control [controlLen]uint64
	errno   syscall.Errno
	try     func(fd uintptr) bool // b.trySend, made once
}

// leave starts j, which has the query of slot i, with a copy of the way back.
func (b *batch) leave(i int, j *job) {
	p, ok := j.path.(*batchPath)
	if !ok {
		p = new(batchPath)
		p.try = p.trySend
		j.path = p
	}
	p.sock = b.sock
	p.name = b.name[i]
	p.hdr = unix.Msghdr{Name: (*byte)(unsafe.Pointer(&p.name)), Namelen: b.rx[i].hdr.Namelen, Iov: &p.iov}
	p.hdr.SetIovlen(1)
	if size := b.source(i); size > 0 {
		p.control = b.control[i]
		p.hdr.Control = (*byte)(unsafe.Pointer(&p.control))
		p.hdr.SetControllen(size)
	}
	b.l.jobs.start(j)
}

func (p *batchPath) reply(ans []byte) error {
	p.iov.Base = &ans[0]
	p.iov.SetLen(len(ans))
	err := p.sock.raw.Write(p.try)
	p.iov.Base = nil
	if err == nil && p.errno != 0 {
		err = p.errno
	}
	return err
}

// trySend reports whether the answer was sent or never will be.
func (p *batchPath) trySend(fd uintptr) bool {
	for {
		_, _, p.errno = syscall.RawSyscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&p.hdr)), unix.MSG_DONTWAIT)
		if p.errno != unix.EINTR {
			return p.errno != unix.EAGAIN
		}
	}
}
