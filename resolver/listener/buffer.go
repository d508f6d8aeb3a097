package listener

import (
	"encoding/binary"
	"sync"
)

const (
	// smallInput is what a connection always has to read into: the usual
	// query, and a few more that follow it.
	smallInput = 512
	pageSize   = 8 << 10
	// maxPages is the number of pages kept for later.
	maxPages = 256
	maxFrame = 2 + 65535
)

// pages are buffers for connections while they are busy. It is safe for
// concurrent use. The page that was used last is the next to be taken.
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

// put takes back a page. Other buffers are left to the garbage collector.
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
// for a large message, which grows as the message comes: to promise a large
// message costs a client as much as it costs us.
type input struct {
	small      [smallInput]byte
	buf        []byte
	start, end int
	burst      bool // the last read filled the small buffer, or more
}

func (in *input) empty() bool  { return in.start == in.end }
func (in *input) room() []byte { return in.buf[in.end:] }

func (in *input) add(n int) {
	in.end += n
	in.burst = n >= smallInput
}

// next returns the next message if it is whole. It is valid until makeRoom.
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

// makeRoom makes room to read into.
func (in *input) makeRoom(p *pages) {
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
			to = make([]byte, min(2*len(in.buf), maxFrame))
		}
	}
	n := copy(to, rest)
	if &to[0] != &in.buf[0] {
		in.release(p)
		in.buf = to
	}
	in.start, in.end = 0, n
}

// release gives up the buffer.
func (in *input) release(p *pages) {
	p.put(in.buf)
	in.buf = nil
}

// sendable reports whether there is an answer that a frame can hold.
func sendable(ans []byte) bool { return len(ans) > 0 && len(ans) <= maxFrame-2 }

// frame puts ans, with its length before it (RFC 1035, section 4.2.2), into
// buf at at, and returns buf or what had to take its place. An answer that was
// appended there, two octets on, is left where it is.
func frame(buf []byte, at int, ans []byte) []byte {
	end := at + 2 + len(ans)
	if end > cap(buf) {
		grown := make([]byte, end)
		copy(grown, buf[:at])
		buf = grown
	}
	buf = buf[:end]
	binary.BigEndian.PutUint16(buf[at:], uint16(len(ans)))
	if &buf[at+2] != &ans[0] {
		copy(buf[at+2:], ans)
	}
	return buf
}
