//go:build !linux

package systemd

import (
	"errors"
	"net"
	"time"
)

// There is no systemd on this system.
func sendFile(*net.UnixConn, []byte, int) error { return errors.ErrUnsupported }

func monotonic() time.Duration { return 0 }
