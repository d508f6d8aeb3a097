package acceptance

import (
	"math"
	"net/netip"
	"sync/atomic"
	"time"
)

// plainFor is how long a server that does not understand EDNS is asked without
// it before it gets another chance.
const plainFor = 5 * time.Minute

// MaxMismatches is how many messages that are no response to the query one
// socket or connection takes. Whoever sends so many is guessing: the query is
// then sent over TCP, where guesses do not get in (RFC 5452 section 7).
const MaxMismatches = 256

// Endpoint is one server that is asked in plain text, and what its responses
// have shown so far. A Do53 upstream and all multiplexers that ask the server
// share it. It is safe for concurrent use and never locks.
type Endpoint struct {
	addr       netip.AddrPort
	born       time.Time
	mismatches atomic.Uint64
	plainUntil atomic.Int64 // nanoseconds since born; before it, queries go without OPT
	antispoof
}

// NewEndpoint makes an Endpoint. With mixCase queries have names in random
// case; with cookies they have a cookie.
func NewEndpoint(addr netip.AddrPort, mixCase, cookies bool) *Endpoint {
	e := &Endpoint{addr: addr, born: time.Now()}
	e.plainUntil.Store(math.MinInt64)
	e.init(mixCase, cookies)
	return e
}

// Addr is the server's address and port.
func (e *Endpoint) Addr() netip.AddrPort { return e.addr }

// Plain reports whether the server is asked without EDNS for now.
func (e *Endpoint) Plain() bool {
	until := e.plainUntil.Load()
	return until != math.MinInt64 && int64(time.Since(e.born)) < until
}

// SetPlain notes that the server has answered without EDNS what it has not
// answered with it (RFC 6891 section 6.2.2).
func (e *Endpoint) SetPlain() { e.plainUntil.Store(int64(time.Since(e.born) + plainFor)) }

// Mismatched counts a message that was no response to what had been asked.
func (e *Endpoint) Mismatched() { e.mismatches.Add(1) }

// Mismatches is how many there were.
func (e *Endpoint) Mismatches() uint64 { return e.mismatches.Load() }
