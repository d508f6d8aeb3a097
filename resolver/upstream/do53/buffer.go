package do53

import "rideau/resolver/wire"

// buffer has space for the longest message.
type buffer [wire.MaxMessage]byte

// buffers is a pool with a bound on how many free buffers it keeps. It is safe
// for concurrent use.
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

// put returns a buffer to the pool. nil is ignored.
func (bs buffers) put(b *buffer) {
	if b == nil {
		return
	}
	select {
	case bs <- b:
	default:
	}
}
