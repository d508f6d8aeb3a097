package acceptance

import (
	"net/netip"
	"sync/atomic"
	"time"
)

// MaxMismatches is how many messages that are no response to the query one
// socket or connection takes. Whoever sends so many is guessing: the query is
// then sent over TCP, where guesses do not get in (RFC 5452 section 7).
const MaxMismatches = 256

// Endpoint is one server that is asked in plain text, and what its responses
// have shown so far. A Do53 upstream and all multiplexers that ask the server
// share it. It is safe for concurrent use, and locks only to note an observation
// about a server with a habit.
type Endpoint struct {
	addr       netip.AddrPort
	born       time.Time // the instants below are nanoseconds since then
	mismatches atomic.Uint64
	antispoof
	habits
}

// NewEndpoint makes an Endpoint. With mixCase queries have names in random
// case; with cookies they have a cookie.
func NewEndpoint(addr netip.AddrPort, mixCase, cookies bool) *Endpoint {
	e := &Endpoint{addr: addr, born: time.Now()}
	e.antispoof.init(mixCase, cookies, e.born)
	return e
}

// Inherit makes e know what o has learnt of the same server. It is called before
// e is used.
func (e *Endpoint) Inherit(o *Endpoint) {
	e.born, e.start = o.born, o.start
	e.antispoof.inherit(&o.antispoof)
	e.habits.inherit(&o.habits)
}

// Addr is the server's address and port.
func (e *Endpoint) Addr() netip.AddrPort { return e.addr }

// Mismatched counts a message that was no response to what had been asked.
func (e *Endpoint) Mismatched() { e.mismatches.Add(1) }

// Mismatches is how many there were.
func (e *Endpoint) Mismatches() uint64 { return e.mismatches.Load() }

func (e *Endpoint) now() int64 { return int64(time.Since(e.born)) }
