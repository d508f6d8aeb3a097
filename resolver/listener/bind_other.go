//go:build !linux

package listener

import (
	"errors"
	"net"
	"syscall"
)

func openUDP(t target, o *Options, log *throttle) ([]packetConn, error) {
	return openPortable(t, o, log)
}

func prepareTCP(_ syscall.RawConn, share bool) error {
	if share {
		return errors.New("addresses cannot be shared (reuse port) on this system")
	}
	return nil
}

func openToSharing(syscall.Conn) error { return nil }

// detachTCP cannot be had here.
func detachTCP(*net.TCPListener) error { return errors.ErrUnsupported }

// hasQueued cannot be told here.
func hasQueued(*net.TCPListener) bool { return false }
