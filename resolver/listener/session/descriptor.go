package session

import (
	"cmp"
	"net/netip"
	"syscall"
)

// Descriptor calls f with a socket of a network, "udp" or "tcp", and its address. The descriptor is valid during the call only.
func Descriptor(network string, c syscall.Conn, a netip.AddrPort, f func(network string, a netip.AddrPort, fd int) error) error {
	rc, err := c.SyscallConn()
	if err != nil {
		return err
	}
	cerr := rc.Control(func(fd uintptr) { err = f(network, netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), int(fd)) })
	return cmp.Or(err, cerr)
}
