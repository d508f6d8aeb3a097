//go:build unix

package do53

import (
	"net"
	"syscall"
)

// receiver reads datagrams from a connected socket. It has a buffer only while
// there is something to read: thousands of queries may wait for a server that
// is down.
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

// next waits for a datagram. The result is valid until the next call.
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

// release returns the buffer to the pool.
func (r *receiver) release() {
	r.free.put(r.buf)
	r.buf = nil
}
