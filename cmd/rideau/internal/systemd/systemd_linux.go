package systemd

import (
	"cmp"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// sendFile sends a message that gives the receiver a descriptor. [net.UnixConn] cannot do
// that for datagrams on a socket that is connected.
func sendFile(c *net.UnixConn, message []byte, fd int) error {
	rc, err := c.SyscallConn()
	if err != nil {
		return err
	}
	werr := rc.Write(func(to uintptr) bool {
		err = unix.Sendmsg(int(to), message, unix.UnixRights(fd), nil, unix.MSG_NOSIGNAL)
		return err != unix.EAGAIN
	})
	return cmp.Or(err, werr)
}

// monotonic is CLOCK_MONOTONIC, by which systemd knows a reload that it has asked for.
func monotonic() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}
