//go:build !unix

package do53

import "net"

// receiver reads datagrams from a connected socket.
type receiver struct {
	free buffers
	conn *net.UDPConn
	buf  *buffer
}

func newReceiver(conn *net.UDPConn, free buffers) (*receiver, error) {
	return &receiver{free: free, conn: conn}, nil
}

// next waits for a datagram. The result is valid until the next call.
func (r *receiver) next() ([]byte, error) {
	if r.buf == nil {
		r.buf = r.free.get()
	}
	n, err := r.conn.Read(r.buf[:])
	if err != nil {
		return nil, err
	}
	return r.buf[:n], nil
}

// release returns the buffer to the pool.
func (r *receiver) release() {
	r.free.put(r.buf)
	r.buf = nil
}
