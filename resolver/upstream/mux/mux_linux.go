package mux

import (
	"crypto/rand"
	"encoding/binary"
	mathrand "math/rand/v2"
	"slices"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"rideau/resolver/batch"
	"rideau/resolver/upstream"
	"rideau/resolver/upstream/acceptance"
	"rideau/resolver/wire"
)

// responseSize is the space for one response by UDP. A longer one, which no
// query has allowed, is asked for over TCP.
const responseSize = 4096 + 64

// Mux sends queries to servers over UDP and receives the responses.
//
// Forged responses are kept out as in package do53 (RFC 5452 section 9.2): by
// an id from a cryptographic source for each query, and by a socket that is
// connected to the server, so that it receives nothing from other addresses,
// with a port that the kernel picks at random. Up to some dozen queries a
// second each has a port of its own; beyond that a port serves several, but
// some hundred at most, for some seconds at most. An attacker who guesses
// blindly has the same odds, since he knows none of the ports; one who floods
// a single port closes it: see [acceptance.MaxMismatches].
//
// One goroutine uses all methods.
type Mux struct {
	poller   *batch.Poller
	tags     uint32
	receiver Receiver
	servers  []*server
	ports    []*port // by tag
	spare    *port   // to be used for the next one
	calls    table
	late     list      // calls that have been handed over
	now      time.Time // of what is received
	tidied   time.Time // when the age of sockets was last checked
	random   [256]byte
	used     int // of random
	chance   *mathrand.ChaCha8
	bits     [32]byte // of chance

	rx    [batchSize]batch.Message
	rxIov [batchSize]unix.Iovec
	rxBuf []byte
	tx    [batchSize]batch.Message
	txIov [batchSize]unix.Iovec
	out   *server // whose calls are being sent
	fail  func(i int, err syscall.Errno)
}

// New makes a Mux that tells receiver of the ends of its calls and has poller
// wait for its sockets, with tags from firstTag on.
func New(poller *batch.Poller, firstTag uint32, receiver Receiver) *Mux {
	x := &Mux{poller: poller, tags: firstTag, receiver: receiver, used: 256, rxBuf: make([]byte, batchSize*responseSize)}
	x.fail = x.unsent
	var seed [32]byte
	rand.Read(seed[:]) // never fails
	x.chance = mathrand.NewChaCha8(seed)
	for i := range x.rx {
		x.rxIov[i].Base = &x.rxBuf[i*responseSize]
		x.rxIov[i].SetLen(responseSize)
		x.rx[i].Hdr.Iov = &x.rxIov[i]
		x.rx[i].Hdr.SetIovlen(1)
		x.tx[i].Hdr.Iov = &x.txIov[i]
		x.tx[i].Hdr.SetIovlen(1)
	}
	return x
}

// Start begins a call that sends query, whose id does not matter, to the server
// that up chooses. It is sent by Flush at the latest. It reports false, and has
// begun nothing, where the query needs another way: there is no server that is
// up and free, or it is not asked by datagram now.
func (x *Mux) Start(c *Call, up upstream.Upstream, query []byte, now time.Time) bool {
	c.attempt.Share = c.Share
	if up == nil || len(query) > maxQuery-acceptance.MaxCookie || !up.Begin(&c.attempt, now) {
		return false
	}
	s := x.serverOf(c.attempt.Endpoint(), now)
	if s == nil {
		c.attempt.Leave()
		return false
	}
	c.s, c.port, c.handedOver, c.hedge, c.err = s, s.current, nil, false, nil
	c.length = uint16(x.protect(s.endpoint, c.query[:copy(c.query[:], query)]))
	for taken := true; taken; taken = x.calls.get(c.key()) != nil {
		c.id = x.nextID()
	}
	wire.SetID(c.message(), c.id)
	c.attempt.Sent()
	x.calls.put(c)
	s.waiting.append(c)
	s.current.pending++
	s.current.uses++
	s.queue[s.n] = c
	if s.n++; s.n == batchSize {
		x.send(s)
	}
	return true
}

// protect adds 0x20 and the server's cookie to a query, which has space behind
// it, and returns its length.
func (x *Mux) protect(e *acceptance.Endpoint, query []byte) int {
	var bits *[32]byte
	if e.MixesCase() {
		bits = &x.bits
		for i := 0; i < len(bits); i += 8 {
			binary.LittleEndian.PutUint64(bits[i:], x.chance.Uint64())
		}
	}
	query, _ = e.Protect(query, bits, false)
	return len(query)
}

// Flush sends the queries that have begun.
func (x *Mux) Flush() {
	for _, s := range x.servers {
		if s.n > 0 {
			x.send(s)
		}
	}
}

func (x *Mux) send(s *server) {
	n := s.n
	s.n = 0
	if s.current == nil {
		clear(s.queue[:n]) // their port was closed, and they have ended with it
		return
	}
	for i := range n {
		c := s.queue[i]
		x.txIov[i].Base = &c.query[0]
		x.txIov[i].SetLen(int(c.length))
	}
	x.out = s
	batch.SendAll(s.current.fd, x.tx[:n], x.fail)
	x.out = nil
	for i := range n {
		s.queue[i] = nil
		x.txIov[i].Base = nil
	}
}

// unsent ends a call that the system would not send. The system reports an
// error that an earlier datagram caused once, by the next call, so that it is
// worth another try.
func (x *Mux) unsent(i int, err syscall.Errno) {
	c := x.out.queue[i]
	if c.port == nil {
		return // an error of its port has ended it
	}
	if _, _, again := syscall.Syscall(unix.SYS_SENDTO, uintptr(c.port.fd), uintptr(unsafe.Pointer(&c.query[0])), uintptr(c.length)); again == 0 {
		return
	}
	c.err = err
	x.end(c, nil, upstream.Failed)
}

// Pending is how many calls may still get a response, with those that have been
// handed over.
func (x *Mux) Pending() int { return x.calls.n }

// Next is how long Expire may wait; below 0 there is nothing to wait for.
func (x *Mux) Next(now time.Time) time.Duration {
	d := time.Duration(-1)
	sooner := func(at time.Duration) {
		if at = max(at, time.Millisecond); d < 0 || at < d {
			d = at
		}
	}
	for _, s := range x.servers {
		if c := s.waiting.first; c != nil {
			_, in := c.attempt.Due(now, c.Patience)
			sooner(in)
		}
	}
	if c := x.late.first; c != nil {
		_, in := c.attempt.Over(now)
		sooner(in)
	}
	if len(x.servers) > 0 {
		sooner(portAge)
	}
	return d
}

// Expire ends the calls that are late, and closes sockets that are old.
func (x *Mux) Expire(now time.Time) {
	x.now = now
	for _, s := range x.servers {
		for c := s.waiting.first; c != nil; c = s.waiting.first {
			due, _ := c.attempt.Due(now, c.Patience)
			if !due {
				if c.hedge = c.attempt.TakeHedge(now, c.Patience); !c.hedge {
					break
				}
			}
			x.handOver(c)
		}
	}
	for c := x.late.first; c != nil; c = x.late.first {
		if over, _ := c.attempt.Over(now); !over {
			break
		}
		c.handedOver.Expire(&c.attempt)
		x.over(c)
	}
	if now.Sub(x.tidied) < time.Second {
		return
	}
	x.tidied = now
	x.servers = slices.DeleteFunc(x.servers, func(s *server) bool {
		if s.current != nil && now.Sub(s.current.born) >= portAge {
			x.retire(s.current)
		}
		return s.current == nil && s.waiting.first == nil
	})
}

// handOver ends a call as Late, so that a goroutine goes on with its exchange.
// Its response is still accepted, but it does not count as under way any more:
// what follows in its place does.
func (x *Mux) handOver(c *Call) {
	c.s.waiting.remove(c)
	x.late.append(c)
	c.attempt.Leave()
	c.took = c.attempt.Age(x.now)
	x.receiver.Ended(c, nil, upstream.Late)
	if c.handedOver == nil { // the receiver has no use for the response
		x.over(c)
	}
}

// over ends a call that has been handed over. Its pointers are cleared: until
// it is used again it would keep the messages of a race in memory, and a group
// that may have been replaced.
func (x *Mux) over(c *Call) {
	x.drop(c, &x.late)
	c.attempt = upstream.Attempt{}
	c.s, c.handedOver, c.err = nil, nil, nil
	x.receiver.Ended(c, nil, upstream.Over)
}

// Receive reads the socket of a tag until it is empty.
func (x *Mux) Receive(tag uint32, now time.Time) {
	x.now = now
	i := int(tag - x.tags)
	if i >= len(x.ports) || x.ports[i] == nil {
		return // closed since the poller found it
	}
	for p := x.ports[i]; x.ports[i] == p; {
		n, errno := batch.Receive(p.fd, x.rx[:])
		if errno == unix.EAGAIN {
			return
		}
		if errno != 0 {
			x.refused(p, errno)
			continue
		}
		for j := range n {
			h := &x.rx[j]
			path := acceptance.Datagram
			if h.Hdr.Flags&unix.MSG_TRUNC != 0 {
				path = acceptance.CutDatagram
			}
			h.Hdr.Flags = 0
			x.accept(p, x.rxBuf[j*responseSize:][:h.N:responseSize], path)
		}
		if n < batchSize {
			return
		}
	}
}

// accept ends the call that a datagram is the response to.
func (x *Mux) accept(p *port, resp []byte, path acceptance.Path) {
	var c *Call
	if len(resp) >= wire.HeaderLen {
		c = x.calls.get(key(p, wire.ID(resp)))
	}
	result := acceptance.Mismatch
	if c != nil {
		result, resp = acceptance.Accept(path, p.s.endpoint, c.message(), resp)
	}
	switch result {
	case acceptance.Mismatch:
		p.s.endpoint.Mismatched()
		if p.mismatches++; p.mismatches >= acceptance.MaxMismatches {
			x.abandon(p, upstream.Rejected, nil)
		}
	case acceptance.Truncated:
		x.end(c, resp, upstream.Truncated)
	case acceptance.Doubtful:
		p.s.endpoint.Doubted(c.message(), resp)
		x.end(c, nil, upstream.Rejected)
	case acceptance.RefusesEDNS, acceptance.RefusesCookie:
		x.end(c, nil, upstream.Rejected)
	case acceptance.Answer:
		c.attempt.Trust(resp)
		x.end(c, resp, upstream.Answered)
	default:
		if p.s.endpoint.MayMindEDNS(c.message(), resp) {
			x.end(c, nil, upstream.Rejected)
			return
		}
		c.attempt.Trust(resp)
		x.end(c, resp, upstream.Unusable)
	}
}

// refused hands over all calls of a port, since an ICMP message says that the
// server's host has refused something that was sent from there. That may be forged, by
// whoever guesses the port: their responses are still accepted. The port is not used
// for others.
func (x *Mux) refused(p *port, err error) {
	x.retire(p)
	for c := p.s.waiting.first; c != nil; {
		next := c.next
		if c.port == p {
			c.err = err
			x.handOver(c)
		}
		c = next
	}
}

// abandon ends all calls of a port, and closes it.
func (x *Mux) abandon(p *port, how upstream.Ending, err error) {
	x.retire(p)
	for _, l := range []*list{&p.s.waiting, &x.late} {
		for c := l.first; c != nil; {
			next := c.next
			if c.port == p {
				c.err = err
				x.end(c, nil, how)
			}
			c = next
		}
	}
}

// end removes a call from the table and tells the receiver, or, if the call has
// been handed over, the race that goes on with it.
func (x *Mux) end(c *Call, resp []byte, how upstream.Ending) {
	c.took = c.attempt.Age(x.now)
	if c.handedOver == nil {
		x.drop(c, &c.s.waiting)
		c.attempt.Leave()
		x.receiver.Ended(c, resp, how)
		return
	}
	if how == upstream.Answered || how == upstream.Unusable {
		c.attempt.AnsweredLate(c.took)
		c.handedOver.Deliver(resp, c.took)
	}
	x.over(c)
}

func (x *Mux) drop(c *Call, l *list) {
	l.remove(c)
	x.calls.remove(c)
	p := c.port
	c.port = nil
	if p.pending--; p.pending == 0 && p.retired {
		x.close(p)
	}
}

// Close closes the sockets. Calls that wait are forgotten, and their ends are
// not told.
func (x *Mux) Close() {
	for _, p := range x.ports {
		if p != nil {
			x.close(p)
		}
	}
	x.servers, x.ports = nil, nil
}

// Reset forgets all calls, whose ends are not told, and closes the sockets. It
// is for after a panic, which may have left anything half done. The caller
// calls Forget for each call, too.
func (x *Mux) Reset() {
	for _, p := range x.ports {
		if p != nil {
			unix.Close(p.fd)
		}
	}
	x.servers, x.ports, x.spare, x.out = nil, nil, nil, nil
	x.calls, x.late = table{}, list{}
	for i := range x.rx {
		x.rx[i].Hdr.Flags = 0
		x.txIov[i].Base = nil
	}
}

// nextID is an id that nobody can foresee.
func (x *Mux) nextID() uint16 {
	if x.used == len(x.random) {
		rand.Read(x.random[:]) // never fails
		x.used = 0
	}
	x.used += 2
	return binary.NativeEndian.Uint16(x.random[x.used-2:])
}
