package datagram

import (
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"rideau/resolver/batch"
	"rideau/resolver/limit"
	"rideau/resolver/listener/session"
)

// wayBack is where the response to a datagram goes, and from which address.
type wayBack struct {
	name    unix.RawSockaddrInet6
	control [controlLen]uint64
	namelen uint32
	ctllen  int
	permit  limit.Permit // of a query that waits on the worker's own goroutine
}

// leave keeps the way back and the permit of query i by its ticket.
func (b *loop) leave(ticket uint32, i int, permit limit.Permit) {
	for int(ticket) >= len(b.ways) {
		b.ways = append(b.ways, wayBack{})
	}
	b.setWay(&b.ways[ticket], i)
	b.ways[ticket].permit = permit
}

// setWay sets w to the way back of query i.
func (b *loop) setWay(w *wayBack, i int) {
	w.name, w.namelen = b.name[i], b.rx[i].Hdr.Namelen
	if w.ctllen = b.source(i); w.ctllen > 0 {
		w.control = b.control[i]
	}
}

// queueBack has a response sent with the batch, by a way back.
func (b *loop) queueBack(ans []byte, w *wayBack) {
	if len(ans) > 0 {
		b.queue(ans, (*byte)(unsafe.Pointer(&w.name)), w.namelen, (*byte)(unsafe.Pointer(&w.control)), w.ctllen)
	}
}

// source turns the control message that came with query i into the one that
// sends the response from the address that was asked, and returns its length; 0
// leaves the choice to the kernel. The choice of the interface is left to the
// routes, except for link-local addresses, which mean nothing without one.
func (b *loop) source(i int) int {
	if !b.sock.wildcard {
		return 0
	}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b.control[i]))
	data := unsafe.Add(unsafe.Pointer(h), unix.CmsgLen(0))
	got := int(b.rx[i].Hdr.Controllen)
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

// destination is the address that query i was sent to.
func (b *loop) destination(i int) netip.Addr {
	if !b.sock.wildcard {
		return b.sock.local.Addr()
	}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b.control[i]))
	data := unsafe.Add(unsafe.Pointer(h), unix.CmsgLen(0))
	got := int(b.rx[i].Hdr.Controllen)
	switch {
	case got >= unix.CmsgLen(unix.SizeofInet4Pktinfo) && h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO:
		return netip.AddrFrom4((*unix.Inet4Pktinfo)(data).Addr)
	case got >= unix.CmsgLen(unix.SizeofInet6Pktinfo) && h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO:
		return netip.AddrFrom16((*unix.Inet6Pktinfo)(data).Addr)
	}
	return netip.Addr{}
}

// batchPath is the way back for a job.
type batchPath struct {
	sock *batchConn
	way  wayBack
	msg  [1]batch.Message
	iov  unix.Iovec
	err  error
	fail func(int, syscall.Errno)
	try  func(fd int) error
}

// path returns the way back for j, a copy of w in the memory that j keeps for
// it.
func (b *loop) path(j *session.Job, w *wayBack) *batchPath {
	p, ok := j.Kept.(*batchPath)
	if !ok {
		p = new(batchPath)
		p.fail = func(_ int, err syscall.Errno) { p.err = err }
		p.try = func(fd int) error { batch.SendAll(fd, p.msg[:], p.fail); return p.err }
		j.Kept = p
	}
	p.sock, p.way = b.sock, *w
	h := &p.msg[0].Hdr
	*h = unix.Msghdr{Name: (*byte)(unsafe.Pointer(&p.way.name)), Namelen: w.namelen, Iov: &p.iov}
	h.SetIovlen(1)
	if w.ctllen > 0 {
		h.Control = (*byte)(unsafe.Pointer(&p.way.control))
		h.SetControllen(w.ctllen)
	}
	return p
}

// start has a job wait.
func (b *loop) start(j *session.Job, w *wayBack) {
	j.Start(b.path(j, w))
	b.started = true
}

// Reply implements session.Path.
func (p *batchPath) Reply(framed []byte) error {
	if framed == nil {
		return nil
	}
	ans := framed[session.LengthLen:]
	p.err = nil
	p.iov.Base = &ans[0]
	p.iov.SetLen(len(ans))
	err := p.sock.use(p.try)
	p.iov.Base = nil
	return err
}
