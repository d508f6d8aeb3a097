//go:build !linux

package listener

import "syscall"

// shareUDP has the error of prepareTCP.
func shareUDP(rc syscall.RawConn, share bool) error { return prepareTCP(rc, share) }
