//go:build !linux

package listener

import (
	"errors"
	"syscall"

	"rideau/resolver/listener/datagram"
)

func (l *Listener) openUDP(t target) ([]*datagram.Worker, error) { return l.openPortable(t) }

func prepareTCP(_ syscall.RawConn, share bool) error {
	if share {
		return errors.New("addresses cannot be shared (reuse port) on this system")
	}
	return nil
}

func openToSharing(syscall.Conn) error { return nil }
