//go:build !linux

package stream

import (
	"errors"
	"net"
	"time"
)

// fromTCP makes a Stream of a TCP connection.
func fromTCP(tc *net.TCPConn, writeTimeout time.Duration) Stream { return FromConn(tc, writeTimeout) }

// Detach is not possible on this system.
func Detach(*net.TCPListener) error { return errors.ErrUnsupported }

// hasQueued cannot tell on this system.
func hasQueued(*net.TCPListener) bool { return false }
