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
	"rideau/resolver/listener/datagram"
	"rideau/resolver/listener/inherited"
	"rideau/resolver/listener/proxied"
	"rideau/resolver/listener/session"
	"rideau/resolver/listener/stream"
)

// Defaults of Options.
const (
	DefaultDrain                   = 3 * time.Second
	DefaultMaxConnections          = 2048
	DefaultMaxConnectionsPerClient = 128
	DefaultMaxPendingPerConnection = 128
	DefaultIdleTimeout             = 10 * time.Second
	DefaultMessageTimeout          = 5 * time.Second
	DefaultWriteTimeout            = 5 * time.Second
	// DefaultMaxPending is how many queries may wait if no WaitLimit is given.
	// A query that waits costs a goroutine and its buffers, in all some 10 KiB.
	DefaultMaxPending = 4096
)

// Options are fixed when a Listener is made. A zero field has the default.
type Options struct {
	// Addrs are the addresses to serve on, each as address and port, over
	// both UDP and TCP. One without address (":53") means 0.0.0.0 and, where
	// the host has IPv6, [::]; [::] alone is IPv6 alone. Port 0 lets the
	// kernel choose one that is free for both transports.
	Addrs []string
	// TLS makes a connection by TLS of one by TCP: the addresses are served over TLS
	// alone (RFC 7858), and not over UDP. nil serves UDP and TCP. See package dot.
	TLS func(stream.Stream) stream.Stream
	// Workers is the number of UDP goroutines for each address, each with a
	// socket of its own; GOMAXPROCS if 0.
	Workers int
	// Portable uses the system's plain UDP calls, one for each datagram, also
	// where datagrams could be read in batches: for sandboxes that forbid that.
	Portable bool
	// ReusePort lets the addresses be shared with a Listener of this process
	// or user that has them already, so that one can take over from another
	// without a gap. Without it, Listen fails if anyone has them. Linux only.
	ReusePort bool
	// Proxies are those that say for which clients they speak; nil for none.
	Proxies *proxied.Sources
	// Inherited has sockets that are bound already. Those for Addrs are used, what is
	// missing is bound. It may be nil.
	Inherited *inherited.Sockets
	// WaitLimit bounds the queries that wait. If nil the Listener has one of
	// its own, for DefaultMaxPending.
	WaitLimit *limit.WaitLimit
	// Drain is how long queries may still wait after the context of Serve has
	// ended.
	Drain time.Duration

	// Connections are bounded together with those of the other Listeners that have
	// them, see NewConnections. If nil the Listener has some of its own.
	Connections *Connections
	// MaxConnections, MaxConnectionsPerClient and Resolver are those of
	// stream.Limits, if Connections is nil.
	MaxConnections          int
	MaxConnectionsPerClient int
	Resolver                func(netip.Addr) bool
	// MaxPendingPerConnection and the timeouts are those of stream.Options.
	MaxPendingPerConnection int
	IdleTimeout             time.Duration
	MessageTimeout          time.Duration
	WriteTimeout            time.Duration

	// Busy gets a token, if it has space, when a worker has found as many datagrams
	// as it can read at once. Before that has happened no datagram is lost for want
	// of space. It may be nil. Portable sockets do not tell.
	Busy chan<- struct{}

	// Logger gets what an operator should know, each kind of trouble once a
	// second at most; slog.Default() if nil.
	Logger *slog.Logger
	// Stats counts the queries. If nil nobody can read the counts.
	Stats *resolver.Stats
}

// Connections are the TCP connections of Listeners, which are bounded together.
type Connections = stream.Table

// NewConnections makes Connections for the options of many Listeners, of which it
// uses MaxConnections, MaxConnectionsPerClient and Resolver.
func NewConnections(o Options) *Connections { return o.withDefaults().Connections }

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
	if o.Connections == nil {
		o.Connections = stream.NewTable(stream.Limits{MaxConnections: o.MaxConnections, MaxConnectionsPerClient: o.MaxConnectionsPerClient, Resolver: o.Resolver})
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Stats == nil {
		o.Stats = new(resolver.Stats)
	}
	return o
}

// Stats are a Listener's figures at one moment; totals count from its start.
// See session.Stats, stream.Stats and datagram.Stats for what they say.
type Stats struct {
	Pending, Connections                 int // now
	Shed, SendErrors, ReadErrors, Panics uint64
	Accepted, Refused, Evicted, TimedOut uint64
	Oversized, Lost, Shielded            uint64
	Backlog                              float64 // of the fullest UDP socket
}

// Listener serves DNS over UDP and TCP on some addresses.
type Listener struct {
	core *session.Core
	o    Options

	addrs   []netip.AddrPort
	udp     []*datagram.Worker
	tcp     []*net.TCPListener
	streams *stream.Server
	last    atomic.Bool // see Last
	held    atomic.Bool // see Held
}

// Shield has the system drop some datagrams of networks that flood, before
// they cost anything; nil has it drop none. It is safe for concurrent use.
func (l *Listener) Shield(s *limit.Shield) error {
	var err error
	for _, w := range l.udp {
		err = cmp.Or(err, w.Shield(s))
	}
	return err
}

// ErrServed is what Serve returns when it was called before.
var ErrServed = errors.New("listener: served or closed before")

// Listen binds all addresses of o, or none. From now on the system queues what clients
// send. h may be nil if Use is called before Serve.
func Listen(h session.Handler, o Options) (*Listener, error) {
	o = o.withDefaults()
	l := &Listener{core: session.New(h, o.WaitLimit, session.NewLog(o.Logger)), o: o}
	l.core.Full, l.core.Proxies = o.Busy, o.Proxies
	transport := resolver.TCP
	if o.TLS != nil {
		transport = resolver.DoT
	}
	l.streams = stream.NewServer(l.core, stream.Options{
		Transport: transport, Wrap: o.TLS, Table: o.Connections, MaxPending: o.MaxPendingPerConnection,
		IdleTimeout: o.IdleTimeout, MessageTimeout: o.MessageTimeout, WriteTimeout: o.WriteTimeout, Drain: o.Drain,
	})
	if err := l.bind(); err != nil {
		l.closeSockets()
		return nil, err
	}
	return l, nil
}

// waiting is how many queries wait, as jobs or on workers' goroutines.
func (l *Listener) waiting() int {
	n := l.core.Waiting()
	for _, w := range l.udp {
		n += w.Waiting()
	}
	return n
}

// Addrs are the addresses that are bound, with their ports.
func (l *Listener) Addrs() []netip.AddrPort { return l.addrs }

// Addr is the first of Addrs.
func (l *Listener) Addr() netip.AddrPort { return l.addrs[0] }

// Stats returns the figures of this moment.
func (l *Listener) Stats() Stats {
	c, t := l.core.Stats(), l.streams.Stats()
	s := Stats{
		Pending: l.waiting(), Connections: t.Connections,
		Shed: c.Shed, SendErrors: c.SendErrors, ReadErrors: c.ReadErrors, Panics: c.Panics,
		Accepted: t.Accepted, Refused: t.Refused, Evicted: t.Evicted, TimedOut: t.TimedOut,
	}
	for _, w := range l.udp {
		n := w.Stats()
		s.Oversized += n.Oversized
		s.Lost += n.Lost
		s.Shielded += n.Shielded
		s.Backlog = max(s.Backlog, n.Backlog)
	}
	return s
}

// Use sets what answers, and what counts the queries. It may be called before Serve.
func (l *Listener) Use(h session.Handler, stats *resolver.Stats) {
	l.core.Use(h)
	l.o.Stats = stats
}

// Last says that no other Listener takes over when Serve drains: the addresses are served
// until nothing waits, and clients that come after that get no answer. It may be called
// at any time.
func (l *Listener) Last() { l.last.Store(true) }

// Held says that another process has the sockets open, too, and gives them to the one
// that serves them next. When Serve drains, it neither detaches them nor reads them to
// the end: what comes after the last query that is read waits in the system for that
// process. It may be called at any time.
func (l *Listener) Held(by bool) { l.held.Store(by) }

// Descriptors calls f with each socket, "udp" or "tcp", and its address, until f returns
// an error. The descriptor is valid during the call only.
func (l *Listener) Descriptors(f func(network string, a netip.AddrPort, fd int) error) error {
	for _, w := range l.udp {
		if err := w.Descriptor(func(a netip.AddrPort, fd int) error { return f("udp", a, fd) }); err != nil {
			return err
		}
	}
	for _, t := range l.tcp {
		if err := session.Descriptor("tcp", t, t.Addr().(*net.TCPAddr).AddrPort(), f); err != nil {
			return err
		}
	}
	return nil
}

// Close closes the sockets of a Listener that is not served.
// One that is served ends with its context, and Close does nothing.
func (l *Listener) Close() {
	if l.core.Abandon() {
		l.closeSockets()
	}
}

func (l *Listener) closeSockets() {
	for _, t := range l.tcp {
		t.Close()
	}
	for _, w := range l.udp {
		w.Close()
	}
}

// Serve answers queries until ctx ends; then it drains and closes the sockets.
//
// While it drains, queries that wait get their responses, for as long as
// Options.Drain. Connections are read no more, except for what has come on them
// and for the first query of the newest. UDP sockets are detached at once, so
// that new queries go to the Listener that takes over (Options.ReusePort), if
// there is one; but what has reached them is answered. Where the system cannot
// detach them, they are served to the end. If there is none, see Last, all are
// served until nothing waits, and only then detached, swept and closed. If another
// process holds the sockets, see Held, they are left to it instead.
func (l *Listener) Serve(ctx context.Context) error {
	if !l.core.Begin(ctx) {
		return ErrServed
	}
	var workers, accepting sync.WaitGroup
	counters := make([]*resolver.Counters, l.o.Workers)
	for i := range counters {
		counters[i] = l.o.Stats.NewCounters()
	}
	for i, w := range l.udp {
		workers.Go(func() { w.Serve(counters[i%len(counters)]) })
	}
	for _, t := range l.tcp {
		accepting.Go(func() { l.streams.Accept(t, counters) })
	}

	trim := time.NewTicker(trimInterval)
	defer trim.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-trim.C:
			l.core.Trim()
		}
	}
	l.drain(&workers, &accepting)
	return nil
}

// trimInterval is how long a job is idle before its goroutine ends.
const trimInterval = 30 * time.Second

// closeGrace is how long sockets are swept, and how long a handler may take
// to return when its context has ended.
const closeGrace = 100 * time.Millisecond

// handshakeGrace is for clients that were about to connect when their
// listening socket was detached.
const handshakeGrace = 50 * time.Millisecond

// acceptGrace is for accepting those, on a machine that has much to do.
const acceptGrace = time.Second

// drain ends what Serve has started, in the order that Serve promises.
func (l *Listener) drain(workers, accepting *sync.WaitGroup) {
	end := time.Now().Add(l.o.Drain)
	// Half of the time at most: new queries may keep coming, and those that
	// wait then are to have time as well.
	half := end.Add(-l.o.Drain / 2)
	quiet := func() bool { return l.waiting() == 0 && l.streams.Connections() == 0 }

	held := l.held.Load()
	if held || l.last.Load() {
		await(half, func() bool { return l.waiting() == 0 })
		l.core.DrainLast()
		l.endAccepting(0)
		l.stopAccepting(accepting)
		l.streams.StopReading()
		await(half, func() bool { return l.streams.Connections() == 0 })
		if held {
			l.core.Leave()
		} else {
			l.detachUDP()
		}
	} else {
		l.core.Drain()
		l.detachTCP()
		l.detachUDP()
		l.stopAccepting(accepting)
		l.streams.StopReading()
		await(half, quiet)
	}

	l.core.Sweep()
	l.interrupt()
	if !awaitGroup(workers.Wait, max(time.Until(end), closeGrace)) {
		l.core.Close()
		l.interrupt()
		workers.Wait()
	}
	await(end, quiet)

	l.core.Close()
	l.core.Cancel(closeGrace)
	l.streams.CloseAll()
	awaitGroup(l.streams.Wait, 10*closeGrace)
	l.closeSockets()
	awaitGroup(l.core.Wait, 10*closeGrace)
}

// stopAccepting waits until the connections that the kernel has accepted are admitted.
func (l *Listener) stopAccepting(accepting *sync.WaitGroup) {
	if !awaitGroup(accepting.Wait, acceptGrace) { // one may sleep, see stream.Server.Accept
		for _, t := range l.tcp {
			t.Close()
		}
	}
}

// detachTCP has the kernel deliver no more connections. It sets the time until which
// connections that are being made are accepted.
func (l *Listener) detachTCP() {
	grace := handshakeGrace
	for _, t := range l.tcp {
		if stream.Detach(t) != nil {
			grace = 0 // clients that connect meanwhile would be too late
		}
	}
	l.endAccepting(max(grace, session.KernelGrace))
}

func (l *Listener) endAccepting(in time.Duration) {
	for _, t := range l.tcp {
		t.SetDeadline(time.Now().Add(in))
	}
}

// detachUDP has the kernel deliver no more datagrams.
func (l *Listener) detachUDP() {
	for _, w := range l.udp {
		if err := w.Detach(); err != nil {
			l.o.Logger.Warn("a socket could not be detached; queries may be lost as it is closed", "error", err)
		}
	}
}

func (l *Listener) interrupt() {
	for _, w := range l.udp {
		w.Interrupt()
	}
}

// await polls until done reports true, or until that time.
func await(until time.Time, done func() bool) {
	for !done() && time.Now().Before(until) {
		time.Sleep(2 * time.Millisecond)
	}
}

// awaitGroup reports whether wait returned in time. If it did not, a goroutine
// goes on waiting.
func awaitGroup(wait func(), limit time.Duration) bool {
	done := make(chan struct{})
	go func() {
		wait()
		close(done)
	}()
	select {
	case <-done:
		return true
	case <-time.After(limit):
		return false
	}
}
