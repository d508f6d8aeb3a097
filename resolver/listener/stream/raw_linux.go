package stream

import (
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"rideau/resolver/batch"
)

// rawTCP is a TCP connection that is read and written by system calls that the
// Go runtime does not know of: they never block, and to announce each as one
// that might costs more than some of them do, above all in a process that was
// idle before. Waiting is the runtime's.
//
// One goroutine at a time may read, and one at a time write.
type rawTCP struct {
	*net.TCPConn // for deadlines, Close and RemoteAddr
	raw          syscall.RawConn

	in       []byte // what is read into
	received int
	readErr  error
	tryRead  func(fd uintptr) bool

	out          []byte // what is still to be written
	writeErr     error
	writeTimeout time.Duration
	stalled      atomic.Int64 // when the write in hand had to wait, in Unix nanoseconds; 0 if it had not
	tryWrite     func(fd uintptr) bool
}

// fromTCP makes a Stream of a TCP connection.
func fromTCP(tc *net.TCPConn, writeTimeout time.Duration) Stream {
	raw, err := tc.SyscallConn()
	if err != nil {
		return FromConn(tc, writeTimeout)
	}
	s := &rawTCP{TCPConn: tc, raw: raw, writeTimeout: writeTimeout}
	s.tryRead, s.tryWrite = s.readNow, s.writeNow
	return s
}

// StalledSince implements Stream.
func (s *rawTCP) StalledSince() int64 { return s.stalled.Load() }

// Read implements Stream.
func (s *rawTCP) Read(b []byte) (int, error) {
	s.in, s.received, s.readErr = b, 0, nil
	err := s.raw.Read(s.tryRead)
	s.in = nil
	if err == nil {
		err = s.readErr
	}
	return s.received, err
}

// readNow reports whether there is no need to wait. The kernel writes to s.in,
// which is on the heap and held by s, during the system call only.
func (s *rawTCP) readNow(fd uintptr) bool {
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

// Write implements Stream.
func (s *rawTCP) Write(b []byte) (int, error) {
	s.out, s.writeErr = b, nil
	err := s.raw.Write(s.tryWrite)
	n := len(b) - len(s.out)
	s.out = nil
	if s.stalled.Load() != 0 {
		s.stalled.Store(0)
		s.SetWriteDeadline(time.Time{})
	}
	if err == nil {
		err = s.writeErr
	}
	return n, err
}

// writeNow reports whether there is no need to wait any more. Only a write that
// has to wait gets a deadline. For s.out see readNow.
func (s *rawTCP) writeNow(fd uintptr) bool {
	for len(s.out) > 0 {
		n, _, errno := unix.RawSyscall(unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(&s.out[0])), uintptr(len(s.out)))
		switch errno {
		case 0:
			s.out = s.out[n:]
		case unix.EINTR:
		case unix.EAGAIN:
			if s.stalled.Load() == 0 {
				now := time.Now()
				s.stalled.Store(now.UnixNano())
				s.SetWriteDeadline(now.Add(s.writeTimeout))
			}
			return false
		default:
			s.writeErr = os.NewSyscallError("write", errno)
			return true
		}
	}
	return true
}

// Detach binds a listening socket to a network interface that does not exist.
// The kernel then gives it no new connections, except those that are being made
// and those to an address that no other socket listens on.
func Detach(t *net.TCPListener) error {
	const nowhere = 1<<31 - 1
	rc, err := t.SyscallConn()
	if err != nil {
		return err
	}
	return batch.Control(rc, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, nowhere)
	})
}

// hasQueued reports whether t has connections to be accepted.
func hasQueued(t *net.TCPListener) bool {
	rc, err := t.SyscallConn()
	if err != nil {
		return false
	}
	n := 0
	batch.Control(rc, func(fd int) (err error) {
		for {
			n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
			if err != unix.EINTR {
				return err
			}
		}
	})
	return n > 0
}
