package listener

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"

	"rideau/resolver/batch"
	"rideau/resolver/listener/datagram"
)

// openUDP opens a socket for each worker at one address. The kernel spreads
// clients over them (SO_REUSEPORT).
//
// With SO_REUSEPORT on all of them any process of the same user could bind
// the same address, and a second server started by mistake would silently get
// half of the queries. So the first socket is bound without it, which fails if
// anyone has the address, and is opened for sharing only after that.
//
// Each socket that was taken gets a worker, also if that makes more than are configured:
// the system spreads clients over all. If more cannot be bound beside them, because
// another user has made them, they have to be enough. openUDP owns taken.
func (l *Listener) openUDP(t target, taken []*net.UDPConn) ([]*datagram.Worker, error) {
	if l.o.Portable {
		return l.openPortable(t, taken)
	}
	all, err := l.adoptUDP(t, taken)
	if err != nil {
		return all, err
	}
	for i := len(taken); i < l.o.Workers; i++ {
		share := i > 0 || l.o.ReusePort
		c, err := listenUDP(t, func(_, _ string, rc syscall.RawConn) error {
			return batch.Control(rc, func(fd int) error { return prepareUDP(fd, t, share) })
		})
		if len(taken) > 0 && errors.Is(err, syscall.EADDRINUSE) {
			l.o.Logger.Warn("fewer UDP sockets than workers were handed over, and another user has made them, so that no more can be bound; fewer workers read them",
				"addr", t.addr.String(), "sockets", len(taken), "workers", l.o.Workers)
			return all, nil
		}
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
		w, err := datagram.New(c, l.core)
		if err != nil {
			return all, err
		}
		all = append(all, w)
	}
	return all, nil
}

// adoptUDP makes a worker of each socket that was taken, which it owns.
func (l *Listener) adoptUDP(t target, taken []*net.UDPConn) (all []*datagram.Worker, err error) {
	for i, c := range taken {
		err := adopt(c, t)
		var w *datagram.Worker
		if err == nil {
			w, err = datagram.New(c, l.core)
		}
		if err != nil {
			for _, c := range taken[i:] {
				c.Close()
			}
			return all, err
		}
		all = append(all, w)
	}
	return all, nil
}

// adopt makes a socket as one that was bound here: without the filter that the process
// before may have left, see limit.Shield, and open to sharing.
func adopt(c *net.UDPConn, t target) error {
	rc, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return batch.Control(rc, func(fd int) error {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0) // an error: it has none
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)     // best effort: then no more are bound
		return prepareUDP(fd, t, false)
	})
}

func prepareUDP(fd int, t target, share bool) error {
	if share {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
			return err
		}
	}
	raiseBuffer(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF)
	raiseBuffer(fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF)

	// Responses ignore path MTUs, which forged ICMP messages could have lowered
	// (RFC 9715 section 3.1 and appendix A). What the limit of a response's size
	// allows fits. Best effort: old kernels do not have this.
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

// raiseBuffer raises the size of a buffer, best effort. The system's limit holds
// unless the process has CAP_NET_ADMIN.
func raiseBuffer(fd, force, polite int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, socketBuffer) != nil {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, polite, socketBuffer)
	}
}

// sendBuffer is how much the kernel holds for a client that does not read, at first;
// it doubles the number. It would hold megabytes for each otherwise. One large
// response fits.
const sendBuffer = 64 << 10

func prepareTCP(rc syscall.RawConn, share bool) error {
	return batch.Control(rc, func(fd int) error {
		// Best effort; connections have it from the socket that accepts them.
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer)
		if !share {
			return nil
		}
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	})
}

// openToSharing lets other sockets bind the address of one that was bound alone.
func openToSharing(c syscall.Conn) error {
	rc, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return batch.Control(rc, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	})
}
