package datagram

import (
	"net"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"

	"rideau/resolver/batch"
	"rideau/resolver/listener/session"
)

// batchConn is a UDP socket that is read and written in batches, with a poller
// of its own. The Go runtime has no part in it: a worker that waits does so in
// the kernel.
type batchConn struct {
	fd     int
	poller *batch.Poller
	// wildcard: queries are for any address of the host. The control message
	// says which, and the response leaves from there.
	wildcard bool
	v6       bool
	local    netip.AddrPort // what is bound

	// mu keeps fd from being closed, and its number from being used again,
	// while another goroutine than the worker's uses it. The worker needs no
	// lock: its socket is closed after it has ended.
	mu   sync.RWMutex
	open bool // guarded by mu

	drops drops
}

// New makes a Worker that reads the socket of c alone, in batches. It closes c.
func New(c *net.UDPConn, core *session.Core) (*Worker, error) {
	b, err := newBatchConn(c)
	if err != nil {
		return nil, err
	}
	return &Worker{core: core, sock: b}, nil
}

// newBatchConn makes a batchConn of the socket of c, and closes c.
func newBatchConn(c *net.UDPConn) (*batchConn, error) {
	defer c.Close()
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	local := c.LocalAddr().(*net.UDPAddr).AddrPort()
	a := local.Addr()
	b := &batchConn{wildcard: a.IsUnspecified(), v6: a.Is6() && !a.Is4In6(), open: true,
		local: netip.AddrPortFrom(a.Unmap().WithZone(""), local.Port())}
	err = batch.Control(raw, func(fd int) (err error) {
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
	b.losses()
	b.drops.lost = losses{} // what a socket that is older has lost, others have counted
	return b, nil
}

// use calls f with the descriptor, unless that is closed.
func (c *batchConn) use(f func(fd int) error) error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if !c.open {
		return net.ErrClosed
	}
	return f(c.fd)
}

func (c *batchConn) descriptor(f func(a netip.AddrPort, fd int) error) error {
	return c.use(func(fd int) error { return f(c.local, fd) })
}

func (c *batchConn) interrupt() {
	c.use(func(int) error { c.poller.Wake(); return nil })
}

// Close implements socket. It may be called again.
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

// detach connects the socket to itself: the kernel then gives it no other
// sender's datagrams, and does not choose it from the sockets that share an
// address (since Linux 5.4). Sending to others is not affected.
func (c *batchConn) detach() error {
	return c.use(func(fd int) error {
		self, err := unix.Getsockname(fd) // with the zone of a link-local address
		if err != nil {
			return err
		}
		switch a := self.(type) {
		case *unix.SockaddrInet4:
			if c.wildcard {
				a.Addr = [4]byte{127, 0, 0, 1}
			}
		case *unix.SockaddrInet6:
			if c.wildcard {
				a.Addr = [16]byte{15: 1}
			}
		}
		return unix.Connect(fd, self)
	})
}
