package listener

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"rideau/resolver/batch"
	"rideau/resolver/limit"
)

// back is the way back to the sender of a datagram that waits.
type back struct {
	name    unix.RawSockaddrInet6
	control [controlLen]uint64
	namelen uint32
	ctllen  int
	claim   limit.Permit // what waits holds
}

// leave keeps the way back of query i by its ticket, and what it holds.
func (b *loop) leave(ticket uint32, i int, claim limit.Permit) {
	for int(ticket) >= len(b.backs) {
		b.backs = append(b.backs, back{})
	}
	b.wayBack(&b.backs[ticket], i)
	b.backs[ticket].claim = claim
}

func (b *loop) wayBack(w *back, i int) {
	w.name, w.namelen = b.name[i], b.rx[i].Hdr.Namelen
	if w.ctllen = b.source(i); w.ctllen > 0 {
		w.control = b.control[i]
	}
}

// source turns the control message that came with query i into the one that
// sends the answer from the address asked, and returns its length; 0 leaves
// the choice to the kernel. The interface is left to the routes but for
// link-local addresses, which mean nothing without.
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

// batchPath sends one answer from a job.
type batchPath struct {
	sock *batchConn
	way  back
	msg  [1]batch.Message
	iov  unix.Iovec
	err  error
	fail func(int, syscall.Errno)
	try  func(fd int) error
}

// start starts j, which has been filled with a query, with a copy of its way
// back.
func (b *loop) start(j *job, w *back) {
	p, ok := j.path.(*batchPath)
	if !ok {
		p = new(batchPath)
		p.fail = func(_ int, err syscall.Errno) { p.err = err }
		p.try = func(fd int) error { batch.SendAll(fd, p.msg[:], p.fail); return p.err }
		j.path = p
	}
	p.sock, p.way = b.sock, *w
	h := &p.msg[0].Hdr
	*h = unix.Msghdr{Name: (*byte)(unsafe.Pointer(&p.way.name)), Namelen: w.namelen, Iov: &p.iov}
	h.SetIovlen(1)
	if w.ctllen > 0 {
		h.Control = (*byte)(unsafe.Pointer(&p.way.control))
		h.SetControllen(w.ctllen)
	}
	b.l.jobs.start(j)
	b.started = true
}

func (p *batchPath) reply(ans []byte) error {
	p.err = nil
	p.iov.Base = &ans[0]
	p.iov.SetLen(len(ans))
	err := p.sock.use(p.try)
	p.iov.Base = nil
	return err
}
