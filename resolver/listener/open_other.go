//go:build !linux

package listener

import "syscall"

// reopen has nothing to do on this system.
func reopen(syscall.Conn) error { return nil }

// shareUDP has the error of prepareTCP.
func shareUDP(rc syscall.RawConn, share bool) error { return prepareTCP(rc, share) }
