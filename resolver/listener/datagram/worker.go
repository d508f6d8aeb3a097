// Package datagram answers the queries that come in UDP datagrams.
//
// A [Worker] is a goroutine that reads a socket. On Linux each has a socket of
// its own, an epoll, and a thread: it reads and sends up to 32 datagrams with
// one call, and waits in the kernel for its clients and for upstreams alike,
// so that a query that waits for an upstream needs no goroutine. Elsewhere, and
// where those calls are forbidden, workers share one socket and read and send
// one datagram at a time.
//
// # Ownership
//
// A query lies in a buffer of the worker that read it until it was answered, or
// copied because it waits. A response lies in another of its buffers until the
// call that sends it has returned.
package datagram

import (
	"net/netip"
	"sync/atomic"
	"time"

	"rideau/resolver"
	"rideau/resolver/limit"
	"rideau/resolver/listener/proxied"
	"rideau/resolver/listener/session"
)

const (
	// maxQuery is the largest query that is read whole. Queries are far
	// smaller; with padding (RFC 8467) they have a few hundred octets. A larger
	// one gets a response all the same, see Worker.answer.
	maxQuery = 4096
	// maxAnswer is the capacity for a response. A larger one costs an
	// allocation.
	maxAnswer = 4096
)

// Worker reads a UDP socket and answers what it reads. Serve is for one
// goroutine; the other methods are safe for concurrent use.
type Worker struct {
	*session.Session // set by Serve

	core      *session.Core
	sock      socket
	waiting   atomic.Int64 // queries that wait on the worker's own goroutine
	oversized atomic.Uint64
}

// socket is a UDP socket.
type socket interface {
	// serve reads and answers for w until the phase is Sweeping and nothing is
	// left to read, or until the phase is Closed.
	serve(w *Worker)
	// detach has the kernel deliver no more queries, where the system can. What
	// was delivered is still read, and responses are still sent.
	detach() error
	// losses returns what datagrams the system has dropped.
	losses() losses
	// shield has the system drop datagrams; nil has it drop none.
	shield(s *limit.Shield) error
	// descriptor calls f with the address and the descriptor, which is valid during
	// the call only.
	descriptor(f func(a netip.AddrPort, fd int) error) error
	// interrupt has serve check the phase at once.
	interrupt()
	Close() error
}

// losses are datagrams that the system has dropped.
type losses struct {
	full    uint64  // because the socket's buffer was full
	shield  uint64  // while there was a shield; the system counts both alike
	backlog float64 // how full the buffer is, from 0 to 1
}

// Serve reads and answers queries, and counts them in counters, until the
// phase is Sweeping and nothing is left to read, or until the phase is Closed.
func (w *Worker) Serve(counters *resolver.Counters) {
	w.Session = w.core.NewSession(counters, batchSize)
	w.sock.serve(w)
}

// Detach has the kernel deliver no more queries, where the system can. What was
// delivered is still answered.
func (w *Worker) Detach() error { return w.sock.detach() }

// Shield has the system drop some datagrams of networks that flood, before
// they cost anything; nil has it drop none.
func (w *Worker) Shield(s *limit.Shield) error { return w.sock.shield(s) }

// Descriptor calls f with the socket's address and its descriptor, which is valid during
// the call only.
func (w *Worker) Descriptor(f func(a netip.AddrPort, fd int) error) error {
	return w.sock.descriptor(f)
}

// Interrupt has Serve check the phase at once.
func (w *Worker) Interrupt() { w.sock.interrupt() }

// Close closes the socket. It may be called again.
func (w *Worker) Close() { w.sock.Close() }

// Waiting is how many queries wait on the worker's own goroutine.
func (w *Worker) Waiting() int { return int(w.waiting.Load()) }

// Stats are a worker's figures at one moment; totals count from its start.
type Stats struct {
	Oversized uint64  // queries of more than 4096 octets
	Lost      uint64  // datagrams that the system has dropped because they were not read in time; 0 where it does not say
	Shielded  uint64  // datagrams that it has dropped while there was a Shield
	Backlog   float64 // how full the socket's buffer is, from 0 to 1; 0 where the system does not say
}

// Stats returns the figures of this moment.
func (w *Worker) Stats() Stats {
	l := w.sock.losses()
	return Stats{Oversized: w.oversized.Load(), Lost: l.full, Shielded: l.shield, Backlog: l.backlog}
}

// answer appends the response to msg to dst. If it reports that the query
// waits, the caller has it wait or shed.
//
// A query over maxQuery was cut off by the system. The handler gets its header
// alone, and finds that malformed: so its client gets a response at once
// (FORMERR, or REFUSED if it is not allowed) that is smaller than the query, and
// access control and counting stay in one place.
//
// A datagram that must not be answered, because of where it comes from, reaches the
// handler as an empty message, which it drops and counts.
func (w *Worker) answer(dst, msg []byte, oversized, unanswered bool, client netip.Addr, received time.Time) (ans []byte, waits bool) {
	if p := w.core.Proxies; p != nil && p.How(client) == proxied.Header {
		var err error
		if client, msg, err = proxied.Datagram(msg, client); err != nil {
			w.core.ProxyFailed(err)
			unanswered = true
		}
		oversized = oversized && len(msg) >= session.HeaderLen
	}
	if unanswered {
		msg, oversized = msg[:0], false
	}
	if oversized {
		w.oversized.Add(1)
		msg = msg[:session.HeaderLen]
	}
	return w.Answer(dst, msg, session.Client{Addr: client, Transport: resolver.UDP}, received)
}
