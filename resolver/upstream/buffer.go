package upstream

import "rideau/resolver/wire"

// buffer takes the longest message.
type buffer [wire.MaxMessage]byte

// buffers lends out buffers and keeps a bounded number of those that come
// back. It is safe for concurrent use.
type buffers chan *buffer

// keptBuffers is how many are kept. A buffer is in use only while a datagram
// is read and copied, not while one is waited for, so that a few suffice.
const keptBuffers = 8

func newBuffers() buffers { return make(buffers, keptBuffers) }

func (bs buffers) get() *buffer {
	select {
	case b := <-bs:
		return b
	default:
		return new(buffer)
	}
}

// put takes back what get returned; nil is passed over.
func (bs buffers) put(b *buffer) {
	if b == nil {
		return
	}
	select {
	case bs <- b:
	default:
	}
}
