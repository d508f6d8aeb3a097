package ops

import (
	"net"

	"golang.org/x/sys/unix"
)

// peerOf returns the process at the other end of a Unix socket; nil if the system
// does not say.
func peerOf(c net.Conn) *Peer {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return nil
	}
	var cred *unix.Ucred
	if raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }) != nil || err != nil {
		return nil
	}
	return &Peer{User: cred.Uid, Process: cred.Pid}
}
