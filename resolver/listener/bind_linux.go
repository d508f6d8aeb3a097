package listener

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// openUDP opens a socket for each worker at one address. The kernel spreads
// clients over them (SO_REUSEPORT).
//
// With SO_REUSEPORT on all of them any process of the same user could bind
// the same address, and a second server started by mistake would silently get
// half of the queries. So the first socket is bound without, which fails if
// anyone has the address, and is opened for sharing only then.
func openUDP(t target, o *Options, log *throttle) ([]packetConn, error) {
	if o.Portable {
		return openPortable(t, o, log)
	}
	var all []packetConn
	for i := range o.Workers {
		share := i > 0 || o.ReusePort
		c, err := listenUDP(t, func(_, _ string, rc syscall.RawConn) error {
			return control(rc, func(fd int) error { return prepareUDP(fd, t, share) })
		})
		if err != nil {
			return all, err
		}
		if !share {
			err = openToSharing(c)
		}
		if err != nil {
			c.Close()
			return all, err
		}
		b, err := newBatchConn(c)
		if err != nil {
			return all, err
		}
		all = append(all, b)
	}
	return all, nil
}

func prepareUDP(fd int, t target, share bool) error {
	if share {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
			return err
		}
	}
	raiseBuffer(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF)
	raiseBuffer(fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF)

	// Answers go out without a look at path MTUs, which forged ICMP messages
	// could have lowered (RFC 9715, section 3.1 and appendix A); what the
	// answers' size limit lets through fits. Best effort, for old kernels.
	wildcard := t.addr.Addr().IsUnspecified()
	if t.addr.Addr().Is4() {
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_OMIT)
		if wildcard {
			return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		}
		return nil
	}
	unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_OMIT)
	if wildcard {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
	}
	return nil
}

// raiseBuffer is best effort. With CAP_NET_ADMIN the system's limit does not
// count, otherwise it holds.
func raiseBuffer(fd, force, polite int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, socketBuffer) != nil {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, polite, socketBuffer)
	}
}

func prepareTCP(rc syscall.RawConn, share bool) error {
	if !share {
		return nil
	}
	return control(rc, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	})
}

// openToSharing lets sockets that ask for it join one that was bound alone.
func openToSharing(c syscall.Conn) error {
	rc, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return control(rc, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	})
}

// detach connects the socket to itself: the kernel then has no other sender's
// datagrams for it, and passes it by when it chooses from those that share an
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

// detachTCP ties a listening socket to a network interface that there is not.
// The kernel then passes it by for new connections, except when it chooses
// from sockets of the same address; those that are being made it still gets.
func detachTCP(t *net.TCPListener) error {
	const nowhere = 1<<31 - 1
	rc, err := t.SyscallConn()
	if err != nil {
		return err
	}
	return control(rc, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, nowhere)
	})
}

// hasQueued reports whether t has connections to be accepted.
func hasQueued(t *net.TCPListener) bool {
	rc, err := t.SyscallConn()
	if err != nil {
		return false
	}
	n := 0
	control(rc, func(fd int) (err error) {
		for {
			n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
			if err != unix.EINTR {
				return err
			}
		}
	})
	return n > 0
}

func control(rc syscall.RawConn, f func(fd int) error) error {
	var err error
	if e := rc.Control(func(fd uintptr) { err = f(int(fd)) }); e != nil {
		return e
	}
	return err
}
