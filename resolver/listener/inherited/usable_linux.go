package inherited

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"

	"rideau/resolver/batch"
)

var (
	errSilent = errors.New("it is a TCP socket that does not listen")
	errDual   = errors.New("it is for IPv6 and for IPv4 as well, and rideau has a socket for each: set BindIPv6Only=ipv6-only in the socket unit, and name 0.0.0.0 beside [::]")
)

// usable reports why a socket cannot be used.
func usable(c syscall.Conn, listens bool) error {
	rc, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return batch.Control(rc, func(fd int) error {
		if listens {
			if on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil && on == 0 {
				return errSilent
			}
		}
		domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
		if err != nil || domain != unix.AF_INET6 {
			return err
		}
		if only, err := unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY); err != nil || only == 1 {
			return err
		}
		at, err := unix.Getsockname(fd)
		if a, ok := at.(*unix.SockaddrInet6); ok && a.Addr == [16]byte{} {
			return errDual
		}
		return err
	})
}
