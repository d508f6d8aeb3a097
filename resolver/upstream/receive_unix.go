//go:build unix

package upstream

import (
	"net"
	"syscall"
)

// receiver reads datagrams from a connected socket. It holds a buffer only
// when there is something to read: thousands of queries may be waiting for a
// server that is gone.
type receiver struct {
	free buffers
	raw  syscall.RawConn
	try  func(fd uintptr) bool
	buf  *buffer
	n    int
	err  error
}

func newReceiver(conn *net.UDPConn, free buffers) (*receiver, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	r := &receiver{free: free, raw: raw}
	r.try = r.read
	return r, nil
}

// next waits for a datagram. What it returns is good until the next call.
func (r *receiver) next() ([]byte, error) {
	r.release()
	if err := r.raw.Read(r.try); err != nil {
		return nil, err
	}
	if r.err != nil {
		return nil, r.err
	}
	return r.buf[:r.n], nil
}

// read reports whether the waiting is over.
func (r *receiver) read(fd uintptr) bool {
	r.buf = r.free.get()
	for {
		r.n, r.err = syscall.Read(int(fd), r.buf[:])
		if r.err != syscall.EINTR {
			break
		}
	}
	if r.err == nil {
		return true
	}
	r.release()
	return r.err != syscall.EAGAIN
}

// release gives the buffer back.
func (r *receiver) release() {
	r.free.put(r.buf)
	r.buf = nil
}
