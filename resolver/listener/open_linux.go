package listener

import (
	"syscall"

	"golang.org/x/sys/unix"

	"rideau/resolver/batch"
)

// shareUDP lets a socket be bound where another of this process or user is.
func shareUDP(rc syscall.RawConn, share bool) error {
	if !share {
		return nil
	}
	return batch.Control(rc, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	})
}
