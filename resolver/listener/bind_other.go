//go:build !linux

package listener

import (
	"errors"
	"net"
	"syscall"

	"rideau/resolver/listener/datagram"
)

func (l *Listener) openUDP(t target, taken []*net.UDPConn) ([]*datagram.Worker, error) {
	return l.openPortable(t, taken)
}

func prepareTCP(_ syscall.RawConn, share bool) error {
	if share {
		return errors.New("addresses cannot be shared (reuse port) on this system")
	}
	return nil
}

func openToSharing(syscall.Conn) error { return nil }
