//go:build !linux

package listener

import (
	"net"
	"time"
)

// stream is a connection's socket. One goroutine at a time may read, and one
// at a time write.
type stream struct {
	tc           *net.TCPConn
	writeTimeout time.Duration
	wrote        deadline
}

// open makes s a stream over tc, on which a write ends after writeTimeout.
func (s *stream) open(tc *net.TCPConn, writeTimeout time.Duration) {
	s.tc, s.writeTimeout = tc, writeTimeout
}

// read reads what there is, at least an octet, into b, which is not empty.
func (s *stream) read(b []byte) (int, error) { return s.tc.Read(b) }

// write writes all of b.
func (s *stream) write(b []byte) error {
	if at, ok := s.wrote.extend(time.Now(), s.writeTimeout); ok {
		s.tc.SetWriteDeadline(at)
	}
	_, err := s.tc.Write(b)
	return err
}
