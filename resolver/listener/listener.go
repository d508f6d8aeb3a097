package listener

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"rideau/resolver"
	"rideau/resolver/limit"
)

// Handler answers queries. It is safe for concurrent use. What it is given it
// does not keep, and what it appends it does not keep either.
type Handler interface {
	// Answer appends the answer to dst if that needs no waiting. It says
	// resolver.Pending if Resolve is to be called, with the same query or a
	// copy of it whose Msg may have moved.
	Answer(dst []byte, q *resolver.Query) ([]byte, resolver.Outcome)
	// Resolve appends the answer to a query that Answer left pending, or
	// nothing if none is to be sent. It returns soon after ctx has ended.
	Resolve(ctx context.Context, dst []byte, q *resolver.Query) ([]byte, resolver.Outcome)
	// Shed appends the answer to a query that Answer left pending and that
	// there is no room for.
	Shed(dst []byte, q *resolver.Query) ([]byte, resolver.Outcome)
}

// Defaults of Options.
const (
	DefaultDrain                   = 3 * time.Second
	DefaultMaxConnections          = 2048
	DefaultMaxConnectionsPerClient = 128
	DefaultMaxPendingPerConnection = 128
	DefaultIdleTimeout             = 10 * time.Second
	DefaultMessageTimeout          = 5 * time.Second
	DefaultWriteTimeout            = 5 * time.Second
)

// Options are fixed when a Listener is made. A zero field has the default.
type Options struct {
	// Addrs are the addresses to serve on, each as address and port, over
	// both UDP and TCP. One without address (":53") means 0.0.0.0 and, where
	// the host has IPv6, [::]; [::] alone is IPv6 alone. Port 0 lets the
	// kernel choose one that is free for both transports.
	Addrs []string
	// Workers is the number of UDP goroutines for each address, each with a
	// socket of its own; GOMAXPROCS if 0.
	Workers int
	// Portable uses the system's plain UDP calls, one for each datagram,
	// where batches of them would be had: for sandboxes that forbid those.
	Portable bool
	// ReusePort lets the addresses be shared with a Listener of this process
	// or user that has them already, so that one can take over from another
	// without a gap. Without it, Listen fails if anyone has them. Linux only.
	ReusePort bool
	// Room bounds the queries that wait. If nil the Listener has one of
	// its own, for DefaultMaxPending.
	WaitLimit *limit.WaitLimit
	// Drain is how long the queries that wait may take when Serve is to end.
	Drain time.Duration

	// MaxConnections bounds the open TCP connections. To admit one more, the
	// one that has been idle for longest is closed (RFC 7766, section 6.2.3
	// lets a server do so); if all are busy the new one is refused.
	MaxConnections int
	// MaxConnectionsPerClient bounds those of one client: an IPv4 address or
	// an IPv6 /64. More are refused.
	MaxConnectionsPerClient int
	// MaxPendingPerConnection bounds the queries of one connection that
	// wait. Beyond it the connection is not read until one has its answer.
	MaxPendingPerConnection int
	// IdleTimeout closes a connection that has sent no whole message for so
	// long and waits for no answer. Clients that ask are told of it.
	IdleTimeout time.Duration
	// MessageTimeout is how long a message may take from its first octet
	// to its last.
	MessageTimeout time.Duration
	// WriteTimeout closes a connection whose client does not take its answers.
	WriteTimeout time.Duration

	// Logger is told of what an operator should know, each kind of trouble
	// once a second at most; slog.Default() if nil.
	Logger *slog.Logger
	// Stats counts the queries; nil counts them for nobody.
	Stats *resolver.Stats
}

func (o Options) withDefaults() Options {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	num := func(n *int, v int) {
		if *n <= 0 {
			*n = v
		}
	}
	def(&o.Drain, DefaultDrain)
	def(&o.IdleTimeout, DefaultIdleTimeout)
	def(&o.MessageTimeout, DefaultMessageTimeout)
	def(&o.WriteTimeout, DefaultWriteTimeout)
	num(&o.Workers, runtime.GOMAXPROCS(0))
	num(&o.MaxConnections, DefaultMaxConnections)
	num(&o.MaxConnectionsPerClient, DefaultMaxConnectionsPerClient)
	num(&o.MaxPendingPerConnection, DefaultMaxPendingPerConnection)
	if o.WaitLimit == nil {
		o.WaitLimit = limit.NewWaitLimit(DefaultMaxPending)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Stats == nil {
		o.Stats = new(resolver.Stats)
	}
	return o
}

// Stats are a Listener's own figures at one moment; totals count from its start.
type Stats struct {
	Pending     int    // queries that wait now
	Connections int    // TCP connections open now
	Accepted    uint64 // TCP connections admitted
	Refused     uint64 // TCP connections closed at once, for a limit
	Evicted     uint64 // idle TCP connections closed in favour of new ones
	TimedOut    uint64 // TCP connections closed because a message or an answer took too long
	Shed        uint64 // queries that found no room to wait
	Oversized   uint64 // UDP queries of more than 4096 octets
	SendErrors  uint64 // answers that the system would not send
	ReadErrors  uint64 // errors of UDP sockets and of accepting connections
	Panics      uint64 // queries given up because the handler panicked
	Lost        uint64 // datagrams that the system let go because they were not read in time; 0 where it does not tell
	Shielded    uint64 // datagrams that it has let go since there was a Shield
	// Backlog is how full the fullest UDP socket is, from 0 to 1; 0 where the
	// system does not tell.
	Backlog float64
}

type counts struct {
	accepted, refused, evicted, timedOut, shed, oversized, sendErrors, readErrors, panics atomic.Uint64
}

// The phases of a Listener's life, in order.
const (
	bound    int32 = iota
	serving        // until the context ends
	draining       // connections are read no more; UDP sockets are, see Serve
	sweeping       // UDP sockets are read until they are empty, for the last time
	closed
)

// Listener serves DNS over UDP and TCP on some addresses.
type Listener struct {
	h     Handler
	o     Options
	log   throttle
	phase atomic.Int32
	// drainBegan is when draining began, in Unix nanoseconds.
	drainBegan atomic.Int64
	count      counts

	addrs []netip.AddrPort
	udp   []packetConn
	tcp   []*net.TCPListener
	conns connTable
	jobs  jobPool
	pages pages

	workers []*worker // one for each of udp
}

// packetConn is a UDP socket that answers what it reads.
type packetConn interface {
	// serve reads and answers on behalf of w until l.phase is sweeping and
	// nothing is left to read, or l.phase is closed.
	serve(w *worker)
	// detach has the kernel bring no more queries, where it can: what it
	// brought is still read, and answers are still sent.
	detach() error
	// losses says what datagrams the system has let go.
	losses() losses
	// shield has the system let go of datagrams; nil has it take all.
	shield(s *limit.Shield) error
	// interrupt wakes serve to look at l.phase.
	interrupt()
	Close() error
}

// losses are datagrams that the system has let go.
type losses struct {
	room    uint64  // for want of room
	shield  uint64  // while there was a shield, which the system counts alike
	backlog float64 // how full the socket is
}

// Shield has the system let go of some datagrams of networks that flood, before
// they cost anything; nil has it take all again. It is
// safe for concurrent use.
func (l *Listener) Shield(s *limit.Shield) error {
	var err error
	for _, u := range l.udp {
		err = cmp.Or(err, u.shield(s))
	}
	return err
}

// ErrServed is what Serve returns when it was called before.
var ErrServed = errors.New("listener: served or closed before")

// Listen binds all addresses of o, or none.
func Listen(h Handler, o Options) (*Listener, error) {
	l := &Listener{h: h, o: o.withDefaults()}
	l.log.to = l.o.Logger
	l.conns.init(&l.o)
	l.jobs.init(l)
	if err := l.bind(); err != nil {
		l.closeSockets()
		return nil, err
	}
	for range l.udp {
		l.workers = append(l.workers, &worker{l: l})
	}
	return l, nil
}

// waiting is how many queries wait, wherever they do.
func (l *Listener) waiting() int {
	n := l.jobs.active()
	for _, w := range l.workers {
		n += int(w.waiting.Load())
	}
	return n
}

// Addrs are the addresses that are bound, with their ports.
func (l *Listener) Addrs() []netip.AddrPort { return l.addrs }

// Addr is the first of Addrs.
func (l *Listener) Addr() netip.AddrPort { return l.addrs[0] }

// Stats returns the figures of this moment.
func (l *Listener) Stats() Stats {
	c := &l.count
	var lost losses
	for _, u := range l.udp {
		n := u.losses()
		lost.room, lost.shield, lost.backlog = lost.room+n.room, lost.shield+n.shield, max(lost.backlog, n.backlog)
	}
	return Stats{
		Lost:        lost.room,
		Shielded:    lost.shield,
		Backlog:     lost.backlog,
		Pending:     l.waiting(),
		Connections: l.conns.len(),
		Accepted:    c.accepted.Load(),
		Refused:     c.refused.Load(),
		Evicted:     c.evicted.Load(),
		TimedOut:    c.timedOut.Load(),
		Shed:        c.shed.Load(),
		Oversized:   c.oversized.Load(),
		SendErrors:  c.sendErrors.Load(),
		ReadErrors:  c.readErrors.Load(),
		Panics:      c.panics.Load(),
	}
}

// Close gives up the sockets of a Listener that is not served.
// One that is served ends with its context, and Close does nothing.
func (l *Listener) Close() {
	if l.phase.CompareAndSwap(bound, closed) {
		l.closeSockets()
	}
}

func (l *Listener) closeSockets() {
	for _, t := range l.tcp {
		t.Close()
	}
	for _, u := range l.udp {
		u.Close()
	}
}

// Serve answers queries until ctx ends; then it drains and closes the sockets.
//
// Draining lets the queries that wait have their answers, for as long as
// Options.Drain. Connections are read no more, but for what has come on them
// and for the first query of the newest. UDP sockets are taken out of
// the kernel's sight at once, so that new queries go to the Listener that
// takes over (Options.ReusePort), if any; but what has reached them is
// answered. Where the system cannot do that, they are served to the end.
func (l *Listener) Serve(ctx context.Context) error {
	if !l.phase.CompareAndSwap(bound, serving) {
		return ErrServed
	}
	jobsCtx, cancelJobs := context.WithCancel(context.WithoutCancel(ctx))
	defer cancelJobs()
	l.jobs.ctx = jobsCtx

	var workers, streams, accepting sync.WaitGroup
	counters := make([]*resolver.Counters, l.o.Workers)
	for i := range counters {
		counters[i] = l.o.Stats.NewCounters()
	}
	for i, u := range l.udp {
		w := l.workers[i]
		w.counters = counters[i%len(counters)]
		workers.Go(func() { u.serve(w) })
	}
	for _, t := range l.tcp {
		accepting.Go(func() { l.accept(t, counters, &streams) })
	}

	trim := time.NewTicker(trimInterval)
	defer trim.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-trim.C:
			l.jobs.trim()
		}
	}
	l.drain(cancelJobs, &workers, &streams, &accepting)
	return nil
}

// closeGrace is how long sockets are swept, and how long a handler may take
// to heed the end of its context.
const closeGrace = 100 * time.Millisecond

// kernelGrace is for datagrams that the kernel was about to queue for a
// socket when that was detached.
const kernelGrace = 5 * time.Millisecond

// handshakeGrace is for clients that were about to connect when their
// listening socket was detached.
const handshakeGrace = 50 * time.Millisecond

// acceptGrace is for accepting those, on a machine that has much to do.
const acceptGrace = time.Second

func (l *Listener) drain(cancelJobs func(), workers, streams, accepting *sync.WaitGroup) {
	end := time.Now().Add(l.o.Drain)
	quiet := func() bool { return l.waiting() == 0 && l.conns.len() == 0 }

	l.drainBegan.Store(time.Now().UnixNano())
	l.phase.Store(draining)
	grace := handshakeGrace
	for _, t := range l.tcp {
		if detachTCP(t) != nil {
			grace = 0 // who connects meanwhile would only come too late
		}
	}
	for _, t := range l.tcp {
		t.SetDeadline(time.Now().Add(max(grace, kernelGrace)))
	}
	for _, u := range l.udp {
		if err := u.detach(); err != nil {
			l.o.Logger.Warn("a socket could not be detached; queries may be lost as it is closed", "error", err)
		}
	}
	if !awaitGroup(accepting, acceptGrace) { // one may sleep, see accept
		for _, t := range l.tcp {
			t.Close()
		}
	}
	l.conns.stopReading()
	// Half of the time at most: new queries may keep coming, and those that
	// wait by then shall have time as well.
	await(time.Now().Add(l.o.Drain/2), quiet)

	l.phase.Store(sweeping)
	for _, u := range l.udp {
		u.interrupt()
	}
	if !awaitGroup(workers, max(time.Until(end), closeGrace)) {
		l.phase.Store(closed)
		for _, u := range l.udp {
			u.interrupt()
		}
		workers.Wait()
	}
	await(end, quiet)

	l.phase.Store(closed)
	cancelJobs()
	await(time.Now().Add(closeGrace), func() bool { return l.jobs.active() == 0 })
	l.jobs.close()
	l.conns.closeAll()
	awaitGroup(streams, 10*closeGrace)
	l.closeSockets()
	awaitGroup(&l.jobs.running, 10*closeGrace)
}

// await looks until done says so or the time has come.
func await(until time.Time, done func() bool) {
	for !done() && time.Now().Before(until) {
		time.Sleep(2 * time.Millisecond)
	}
}

// awaitGroup reports whether g was done in time. If not, a goroutine goes on
// waiting with it.
func awaitGroup(g *sync.WaitGroup, limit time.Duration) bool {
	done := make(chan struct{})
	go func() {
		g.Wait()
		close(done)
	}()
	select {
	case <-done:
		return true
	case <-time.After(limit):
		return false
	}
}
