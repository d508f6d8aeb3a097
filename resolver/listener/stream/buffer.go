package stream

import (
	"encoding/binary"
	"sync"

	"rideau/resolver/listener/session"
)

const (
	// smallInput is the capacity that a connection always has for what it
	// reads: the usual query, and a few more that follow it.
	smallInput = 512
	pageSize   = 8 << 10
	// maxPages is the number of free pages that are kept.
	maxPages = 256
)

// pages are buffers for connections that are busy. It is safe for concurrent
// use. The page that was used last is used next.
type pages struct {
	mu   sync.Mutex
	free [][]byte // guarded by mu
}

func (p *pages) take() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.free)
	if n == 0 {
		return make([]byte, pageSize)
	}
	b := p.free[n-1]
	p.free = p.free[:n-1]
	return b
}

// put frees a page. It ignores other buffers.
func (p *pages) put(b []byte) {
	if cap(b) != pageSize {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) < maxPages {
		p.free = append(p.free, b[:pageSize])
	}
}

// input is what was read from a connection and not yet answered:
// buf[start:end]. Its buffer is the small one inside, a page, or a larger one
// for a large message. That grows as the message arrives, so that a client that
// announces a large message costs no memory before it sends one.
type input struct {
	small      [smallInput]byte
	buf        []byte
	start, end int
	burst      bool // the last read filled the small buffer, or more
}

func (in *input) empty() bool { return in.start == in.end }

// space is where to read into; it is not empty after makeSpace.
func (in *input) space() []byte { return in.buf[in.end:] }

// extend adds the n octets that were read into space.
func (in *input) extend(n int) {
	in.end += n
	in.burst = n >= smallInput
}

// next returns the next message if it is whole. It is valid until makeSpace.
func (in *input) next() ([]byte, bool) {
	b := in.buf[in.start:in.end]
	if len(b) < 2 {
		return nil, false
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	if len(b) < n {
		return nil, false
	}
	in.start += n
	return b[2:n:n], true
}

// makeSpace makes sure that there is space to read into. It may move what is
// there.
func (in *input) makeSpace(p *pages) {
	if in.empty() {
		in.start, in.end = 0, 0
		if in.buf == nil || len(in.buf) > smallInput && !in.burst || len(in.buf) > pageSize {
			in.release(p)
			in.buf = in.small[:]
		}
		if in.burst && len(in.buf) < pageSize {
			in.buf = p.take()
		}
		return
	}
	if in.end < len(in.buf) {
		return
	}
	rest := in.buf[in.start:in.end]
	to := in.buf
	if in.start < len(in.buf)/2 {
		if len(in.buf) < pageSize {
			to = p.take()
		} else {
			to = make([]byte, min(2*len(in.buf), session.MaxFrame))
		}
	}
	n := copy(to, rest)
	if &to[0] != &in.buf[0] {
		in.release(p)
		in.buf = to
	}
	in.start, in.end = 0, n
}

// release frees the buffer.
func (in *input) release(p *pages) {
	p.put(in.buf)
	in.buf = nil
}
