// Package stream answers the queries that come on connections, which carry
// messages with their lengths before them: TCP (RFC 7766), and TLS over it.
//
// A [Server] admits connections, bounds their number, and closes those that are
// idle for too long. A connection is a [Stream]; one goroutine reads it.
package stream

import (
	"net"
	"sync/atomic"
	"time"

	"rideau/blocklists/group"
)

// Stream is a connection's two directions. One goroutine at a time reads, and
// one at a time writes; the other methods are safe for concurrent use.
type Stream interface {
	// Read reads what there is, at least an octet, into b, which is not empty.
	Read(b []byte) (int, error)
	// Write writes all of b. It ends with os.ErrDeadlineExceeded if the client
	// does not take b in time.
	Write(b []byte) (int, error)
	// SetReadDeadline is when Read ends with os.ErrDeadlineExceeded.
	SetReadDeadline(t time.Time) error
	// StalledSince is since when Write waits for the client to take something, in
	// Unix nanoseconds; 0 if it does not.
	StalledSince() int64
	// Close ends both directions, and Read and Write if they wait. It may wait a
	// moment for the client, and is called without a lock.
	Close() error
	// RemoteAddr is the client's address, a *net.TCPAddr.
	RemoteAddr() net.Addr
}

// claimant is a Stream that says more of its client than the address, once it has been read from.
type claimant interface{ Claims() *group.Claims }

// FromConn makes a Stream of any connection, on which a write ends after
// writeTimeout.
func FromConn(c net.Conn, writeTimeout time.Duration) Stream {
	return &portable{Conn: c, writeTimeout: writeTimeout}
}

// portable is a Stream of a connection of package net or crypto/tls.
type portable struct {
	net.Conn
	writeTimeout time.Duration
	wrote        deadline
	stalled      atomic.Int64 // since when Write runs, in Unix nanoseconds
}

// farewell is how long Close waits for the client to take the last words of TLS.
const farewell = 100 * time.Millisecond

// Close implements Stream. TLS says that the connection ends, and waits for a
// client that takes nothing for seconds.
func (s *portable) Close() error {
	if t, ok := s.Conn.(interface{ NetConn() net.Conn }); ok {
		defer time.AfterFunc(farewell, func() { t.NetConn().Close() }).Stop()
	}
	return s.Conn.Close()
}

// StalledSince implements Stream: a Write that runs counts as one that waits.
func (s *portable) StalledSince() int64 { return s.stalled.Load() }

// Write implements Stream.
func (s *portable) Write(b []byte) (int, error) {
	now := time.Now()
	if at, ok := s.wrote.extend(now, s.writeTimeout); ok {
		s.SetWriteDeadline(at)
	}
	s.stalled.Store(now.UnixNano())
	defer s.stalled.Store(0)
	return s.Conn.Write(b)
}

// deadline is a deadline that is moved in steps: to set a connection's costs
// more than to read the clock, and none of ours has to be exact. Nothing ends
// before its time, and at most an eighth of it later.
type deadline struct{ at time.Time }

// extend returns the deadline to set for what began at since, if it must move.
func (d *deadline) extend(since time.Time, timeout time.Duration) (time.Time, bool) {
	want, slack := since.Add(timeout), timeout/8
	if !d.at.Before(want) && !d.at.After(want.Add(slack)) {
		return d.at, false
	}
	d.at = want.Add(slack)
	return d.at, true
}
