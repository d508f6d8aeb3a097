package upstream

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
	"rideau/resolver/wire"
)

const (
	// responseSize is the room for a response by UDP. What is longer, which
	// nobody was told we take, is asked for over TCP.
	responseSize = 4096 + 64
)

// Mux asks servers over UDP for one goroutine, without another and without
// garbage: queries go out in batches, and what waits is an entry in a table.
//
// What keeps forged answers out is as for [Do53] (RFC 5452 section 9.2): an
// id from a cryptographic source for each query, and a socket connected to the
// server, so that nobody else's datagrams come in, with a port that the kernel
// picks at random. Up to some dozen queries a second each has a port of its
// own; beyond that a port serves several, but no more than some hundred, and
// for some seconds at most. That leaves whoever guesses blindly the same odds,
// since he knows none of them; and who tries his luck on one all the same
// closes it: see maxMismatches.
type Mux struct {
	poller  *batch.Poller
	tags    uint32
	taker   Taker
	servers []*server
	ports   []*port // by tag
	spare   *port   // of use for the next one
	calls   table
	lent    list
	now     time.Time // of what is received
	tidied  time.Time // when sockets were last looked at for their age
	random  [256]byte
	used    int // of random
	chance  *mathrand.ChaCha8
	bits    [32]byte // of chance

	rx    [batchSize]batch.Message
	rxIov [batchSize]unix.Iovec
	rxBuf []byte
	tx    [batchSize]batch.Message
	txIov [batchSize]unix.Iovec
	out   *server // whose calls Flush sends
	fail  func(i int, err syscall.Errno)
}

// NewMux makes a Mux that tells taker of its calls' ends and has poller wait
// for its sockets, with tags from firstTag on. One goroutine uses all of it,
// Close included.
func NewMux(poller *batch.Poller, firstTag uint32, taker Taker) *Mux {
	x := &Mux{poller: poller, tags: firstTag, taker: taker, used: 256, rxBuf: make([]byte, batchSize*responseSize)}
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

// Ask begins a call that asks query, of which the id does not matter, of the
// upstream that up, a *Group, chooses. It is sent by Flush at the latest. It
// reports false, and has begun nothing, where that is not for a Mux to do: up
// is no Group, nobody in it is up and has room, or who is needs another way
// of asking.
func (x *Mux) Ask(c *Call, up any, query []byte, now time.Time) bool {
	g, ok := up.(*Group)
	if !ok || len(query) > maxCall-maxCookie {
		return false
	}
	m := g.choose()
	if m == nil {
		return false
	}
	s := x.serverOf(m, now)
	if s == nil {
		m.leave()
		return false
	}
	c.g, c.m, c.s, c.port, c.sent, c.lent, c.hedge, c.err = g, m, s, s.now, now, nil, false, nil
	c.entered = true
	c.length = uint16(x.dress(s.up, c.query[:copy(c.query[:], query)]))
	for taken := true; taken; taken = x.calls.get(c.key()) != nil {
		c.id = x.nextID()
	}
	wire.SetID(c.message(), c.id)
	m.requests.Add(1)
	x.calls.put(c)
	s.waiting.append(c)
	s.now.pending++
	s.now.uses++
	s.queue[s.n] = c
	if s.n++; s.n == batchSize {
		x.send(s)
	}
	return true
}

// dress gives a query, which has room behind it, its guise, and returns its
// length.
func (x *Mux) dress(u *Do53, query []byte) int {
	if u.guise.mixes() {
		for i := range x.bits {
			if i%8 == 0 {
				binary.LittleEndian.PutUint64(x.bits[i:], x.chance.Uint64())
			}
		}
		mix(query, &x.bits)
	}
	if c := u.guise.offered(); c != nil {
		query = appendCookie(query, c)
	}
	return len(query)
}

// Flush sends what has been asked.
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
	if s.now == nil {
		clear(s.queue[:n]) // their port is gone, and they have ended with it
		return
	}
	for i := range n {
		c := s.queue[i]
		x.txIov[i].Base = &c.query[0]
		x.txIov[i].SetLen(int(c.length))
	}
	x.out = s
	batch.SendAll(s.now.fd, x.tx[:n], x.fail)
	x.out = nil
	for i := range n {
		s.queue[i] = nil
		x.txIov[i].Base = nil
	}
}

// unsent takes a call that the system would not send. An error that an
// earlier datagram brought about is reported once, by the next call of the
// system, so that it is worth another try.
func (x *Mux) unsent(i int, err syscall.Errno) {
	c := x.out.queue[i]
	if c.port == nil {
		return // an error of its port has ended it
	}
	if _, _, again := syscall.Syscall(unix.SYS_SENDTO, uintptr(c.port.fd), uintptr(unsafe.Pointer(&c.query[0])), uintptr(c.length)); again == 0 {
		return
	}
	c.err = err
	x.end(c, nil, Failed)
}

// Pending is how many calls are waited for, those that were lent included.
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
			_, in := c.due(now)
			sooner(in)
		}
	}
	if c := x.lent.first; c != nil {
		sooner(c.g.timeout - now.Sub(c.sent))
	}
	if len(x.servers) > 0 {
		sooner(portAge)
	}
	return d
}

// Expire ends the calls whose time is over, and lets go of sockets that
// nobody needs.
func (x *Mux) Expire(now time.Time) {
	x.now = now
	for _, s := range x.servers {
		for c := s.waiting.first; c != nil; c = s.waiting.first {
			if late, _ := c.due(now); !late && !c.hurry(now) {
				break
			}
			x.lend(c)
		}
	}
	for c := x.lent.first; c != nil && now.Sub(c.sent) >= c.g.timeout; c = x.lent.first {
		c.never()
		x.gone(c)
	}
	if now.Sub(x.tidied) < time.Second {
		return
	}
	x.tidied = now
	x.servers = slices.DeleteFunc(x.servers, func(s *server) bool {
		if s.now != nil && now.Sub(s.now.born) >= portAge {
			x.retire(s.now)
		}
		return s.now == nil && s.waiting.first == nil
	})
}

// lend ends a call for which it takes too long, and gives it to whoever goes
// on with its question. It is not under way any more: that is what comes in
// its place.
func (x *Mux) lend(c *Call) {
	c.s.waiting.remove(c)
	x.lent.append(c)
	c.leave()
	c.took = x.now.Sub(c.sent)
	x.taker.Took(c, nil, Silent)
	if c.lent == nil { // nobody wants it any more
		x.gone(c)
	}
}

// gone tells that a lent call is over. Nothing is kept of it: until it is used
// again it would hold the messages of a race, and a group that may have ended.
func (x *Mux) gone(c *Call) {
	x.drop(c, &x.lent)
	c.g, c.m, c.s, c.lent, c.err = nil, nil, nil, nil, nil
	x.taker.Took(c, nil, Gone)
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
			x.failed(p, errno)
			continue
		}
		for j := range n {
			h := &x.rx[j]
			x.take(p, x.rxBuf[j*responseSize:][:h.N:responseSize], h.Hdr.Flags&unix.MSG_TRUNC != 0)
			h.Hdr.Flags = 0
		}
		if n < batchSize {
			return
		}
	}
}

// take finds the call that a datagram is the response to.
func (x *Mux) take(p *port, resp []byte, cut bool) {
	var c *Call
	if len(resp) >= wire.HeaderLen {
		c = x.calls.get(key(p, wire.ID(resp)))
	}
	like := differs
	if c != nil {
		like = compare(c.message(), resp)
	}
	switch {
	case like == differs:
		p.s.up.mismatches.Add(1)
		if p.mismatches++; p.mismatches >= maxMismatches {
			x.abandon(p, Truncated, nil)
		}
	case like == rejects && refusesEDNS(resp):
		x.end(c, nil, Refuted)
	case like == rejects:
		x.end(c, appendRejection(nil, c.message(), wire.Flags(resp)), Judged)
	case like == deflects || cut || wire.Flags(resp)&wire.FlagTC != 0 || p.s.up.guise.look(c.message(), resp) == doubted:
		x.end(c, nil, Truncated)
	case refusesCookie(resp):
		x.end(c, nil, Refuted)
	default:
		c.m.authenticate(resp)
		how := Judged
		switch wire.HeaderRcode(resp) {
		case wire.NoError:
			if refusesEDNS(resp) { // BADVERS
				how = Refuted
				break
			}
			how = Answered
		case wire.NXDomain:
			how = Answered
		case wire.FormErr, wire.NotImp:
			how = Refuted
		}
		x.end(c, resp, how)
	}
}

// failed is for an error that the kernel keeps for a port: its server's host
// has refused something that was sent there.
func (x *Mux) failed(p *port, err syscall.Errno) { x.abandon(p, Failed, err) }

// abandon ends all calls of a port, and uses it no more.
func (x *Mux) abandon(p *port, how Ending, err error) {
	x.retire(p)
	for _, l := range []*list{&p.s.waiting, &x.lent} {
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

// end takes a call out of the table and tells of it.
func (x *Mux) end(c *Call, resp []byte, how Ending) {
	c.took = x.now.Sub(c.sent)
	if c.lent == nil {
		x.drop(c, &c.s.waiting)
		c.leave()
		x.taker.Took(c, resp, how)
		return
	}
	if how == Answered || how == Judged {
		c.g.heardOf(c.m, c.sent, c.took, true)
		c.late(resp, nil)
	}
	x.gone(c)
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

// serverOf is where to ask m from a port that is good for one more query; nil
// if that needs another way of asking.
func (x *Mux) serverOf(m *member, now time.Time) *server {
	u, ok := m.up.(*Do53)
	if !ok || u.stream || u.isPlain() {
		return nil
	}
	if s := x.server(u); x.ready(s, now) {
		return s
	}
	return nil
}

// Close lets go of the sockets. Calls that are waited for are forgotten,
// and their ends not told.
func (x *Mux) Close() {
	for _, p := range x.ports {
		if p != nil {
			x.close(p)
		}
	}
	x.servers, x.ports = nil, nil
}

// Reset forgets all calls, of whose ends nobody is told, and lets go of the
// sockets: it is for after a panic, which may have left anything half done.
// Each call's Forget is to be called too.
func (x *Mux) Reset() {
	for _, p := range x.ports {
		if p != nil {
			unix.Close(p.fd)
		}
	}
	x.servers, x.ports, x.spare, x.out = nil, nil, nil, nil
	x.calls, x.lent = table{}, list{}
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
