package listener

import (
	"syscall"

	"golang.org/x/sys/unix"

	"rideau/resolver/batch"
)

// reopen makes a socket of the process before as one that was bound here: without a filter that it may have left, and open to
// sharing, as far as the system lets this user do that.
func reopen(c syscall.Conn) error {
	rc, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return batch.Control(rc, func(fd int) error {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0) // an error: it has none
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		return nil
	})
}

// shareUDP lets a socket be bound where another of this process or user is.
func shareUDP(rc syscall.RawConn, share bool) error {
	if !share {
		return nil
	}
	return batch.Control(rc, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	})
}
