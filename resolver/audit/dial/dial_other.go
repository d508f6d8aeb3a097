//go:build !linux

package dial

import (
	"net"
	"syscall"
)

func control(_, _ string, _ syscall.RawConn) error { return nil }

func unacknowledged(net.Conn) (n int64, ok bool) { return 0, false }
