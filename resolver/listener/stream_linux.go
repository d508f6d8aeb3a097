package listener

import (
	"io"
	"net"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// stream is a connection's socket, read and written by system calls that the
// runtime is not told of: they never wait, and to announce each as one that
// might costs more than some of them do, above all where the process was idle
// before. Waiting is the runtime's, as ever.
//
// One goroutine at a time may read, and one at a time write.
type stream struct {
	tc  *net.TCPConn
	raw syscall.RawConn // nil where there is none; then tc does all

	in       []byte // what is read into
	received int
	readErr  error
	tryRead  func(fd uintptr) bool

	out          []byte // what is still to be written
	writeErr     error
	writeTimeout time.Duration
	stalled      bool // the write in hand had to wait
	tryWrite     func(fd uintptr) bool
}

// open makes s a stream over tc, on which a write ends after writeTimeout.
func (s *stream) open(tc *net.TCPConn, writeTimeout time.Duration) {
	s.tc, s.writeTimeout = tc, writeTimeout
	if raw, err := tc.SyscallConn(); err == nil {
		s.raw, s.tryRead, s.tryWrite = raw, s.readNow, s.writeNow
	}
}

// read reads what there is, at least an octet, into b, which is not empty.
func (s *stream) read(b []byte) (int, error) {
	if s.raw == nil {
		return s.tc.Read(b)
	}
	s.in, s.received, s.readErr = b, 0, nil
	err := s.raw.Read(s.tryRead)
	s.in = nil
	if err == nil {
		err = s.readErr
	}
	return s.received, err
}

// readNow reports whether there is no need to wait. The kernel has done with
// s.in, which is on the heap and held by s, when the system call returns.
func (s *stream) readNow(fd uintptr) bool {
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&s.in[0])), uintptr(len(s.in)))
		switch {
		case errno == 0 && n == 0:
			s.readErr = io.EOF
		case errno == 0:
			s.received = int(n)
		case errno == unix.EINTR:
			continue
		case errno == unix.EAGAIN:
			return false
		default:
			s.readErr = os.NewSyscallError("read", errno)
		}
		return true
	}
}

// write writes all of b.
func (s *stream) write(b []byte) error {
	if s.raw == nil {
		s.tc.SetWriteDeadline(time.Now().Add(s.writeTimeout))
		_, err := s.tc.Write(b)
		return err
	}
	s.out, s.writeErr = b, nil
	err := s.raw.Write(s.tryWrite)
	s.out = nil
	if s.stalled {
		s.stalled = false
		s.tc.SetWriteDeadline(time.Time{})
	}
	if err == nil {
		err = s.writeErr
	}
	return err
}

// writeNow reports whether there is no need to wait any more. Only a write
// that must wait is given a deadline. As to s.out see readNow.
func (s *stream) writeNow(fd uintptr) bool {
	for len(s.out) > 0 {
		n, _, errno := unix.RawSyscall(unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(&s.out[0])), uintptr(len(s.out)))
		switch errno {
		case 0:
			s.out = s.out[n:]
		case unix.EINTR:
		case unix.EAGAIN:
			if !s.stalled {
				s.stalled = true
				s.tc.SetWriteDeadline(time.Now().Add(s.writeTimeout))
			}
			return false
		default:
			s.writeErr = os.NewSyscallError("write", errno)
			return true
		}
	}
	return true
}
