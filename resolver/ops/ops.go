// Package ops serves the operators of a Rideau over HTTP: whether it lives and
// is ready, its metrics, the policy it enforces, and requests to reload that
// policy and to flush the cache. It changes nothing but through
// [Options.Reload] and [Options.Flush], and it names no client and no queried
// name.
//
// It gets all facts from its [metrics.Sources] and [Options], which are
// functions and plain values, and so imports none of the packages that do the
// work.
package ops

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"rideau/blocklists/input"
	"rideau/resolver/ops/access"
	"rideau/resolver/ops/metrics"
)

// Options are the parameters of [New].
type Options struct {
	// Sources are the functions that return the facts.
	Sources metrics.Sources
	// Ready returns the reasons why queries are not served, beside those found
	// from Sources (no policy, no upstream that answers); nil for none. It is
	// called at each request, also concurrently.
	Ready func() []string
	// ReadyWithin is how long ago the last answer of an upstream may be; 0
	// means a minute. If clients ask less often, something else must query the
	// upstreams.
	ReadyWithin time.Duration
	// Reload reads the policy again and puts it in force as a whole, or changes
	// nothing. It gives up when the context ends. The result has Problems with
	// an error, too. Calls do not overlap. If it is nil, there is no such
	// endpoint.
	Reload func(ctx context.Context, o ReloadOptions) (ReloadResult, error)
	// DryRun reports what Reload would change, and changes nothing; nil if
	// there is no such function.
	DryRun func(ctx context.Context, force input.Forced) (DryRun, error)
	// Flush removes cached answers, and returns how many; its error wraps
	// ErrName if the name is invalid. If it is nil, there is no such endpoint.
	Flush func(ctx context.Context, f Flush) (entries int, err error)
	// Denied is told of each request that is refused because of who sent it. It
	// must not wait, and bounds what it makes of them. It may be nil.
	Denied func(Denial)
	// Test tests the bans now; nil if there is no such function.
	Test func(ctx context.Context) SelfTest
	// Guard finds out who sends a request. If it is nil, only this machine may
	// change something or read profiles, and requests name this server by its
	// addresses and localhost.
	Guard *access.Guard
	// Routes are further requests that are answered. New panics if one of them
	// says nothing about who may send it.
	Routes []access.Route
	// Home is the path of the first page; browsers that ask for / are sent there. It
	// may be empty.
	Home string
	// Pprof serves Go's profiles to the clients that may reload.
	Pprof bool
	// Timeout bounds the time to read a request and to write a reply; 0 means
	// ten seconds.
	Timeout time.Duration
	// Grace is the time that requests in progress have once Serve is to end; 0
	// means two seconds.
	Grace time.Duration
	// Logger receives refused reloads and failures to serve; nil for none.
	Logger *slog.Logger
	// Clock returns the time for readiness; nil means time.Now.
	Clock func() time.Time
}

// Limits that need no setting.
const (
	idleTimeout = 2 * time.Minute
	maxHeader   = 16 << 10
)

// Server serves the operators. Listen is called before Serve; all other methods
// are safe for concurrent use.
type Server struct {
	o         Options
	http      *http.Server
	listeners []net.Listener
	draining  atomic.Bool
	reloading chan struct{} // holds a token while a reload runs
	started   time.Time
	conns     *conns
	refusedAt atomic.Int64  // when a refused request was last logged, in Unix nanoseconds
	unlogged  atomic.Uint64 // refused requests since then
	denied    atomic.Uint64 // refused requests since the start
}

// New returns a Server. It starts no goroutine and binds no address.
func New(o Options) *Server {
	if o.ReadyWithin <= 0 {
		o.ReadyWithin = time.Minute
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Grace <= 0 {
		o.Grace = 2 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Guard == nil {
		o.Guard = access.NewGuard(new(access.Settings))
	}
	s := &Server{o: o, reloading: make(chan struct{}, 1), started: o.Clock(), conns: &conns{open: map[*opsConn]struct{}{}}}
	s.o.Sources.OpsDenied = s.denied.Load
	s.http = &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: o.Timeout,
		ReadTimeout:       o.Timeout,
		WriteTimeout:      o.Timeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ConnContext:       withConn,
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelWarn),
	}
	return s
}

// Handler returns the handler of all requests. The ServeMux answers 404 for an
// unknown path, and 405 with the allowed methods for a wrong method.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, e := range s.Routes() {
		if err := e.Check(); err != nil {
			panic("ops: " + err.Error())
		}
		mux.Handle(e.Pattern(), e.Guarded(s.roleRefused))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		access.Protect(w.Header())
		if c := connOf(r); c != nil {
			c.busy.Add(1) // a connection by HTTP/2 has many requests
			defer c.busy.Add(-1)
		}
		r, reason := s.o.Guard.Admit(r, bySocket(r))
		r = withCaller(r)
		if reason != "" {
			s.refuseAccess(w, r, "request", reason)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// Listen binds an address in the form that net.Listen takes, where 0.0.0.0 is
// all addresses of IPv4 alone, and [::] all of IPv6 alone. Without a host it is
// both. It may be called more than once.
func (s *Server) Listen(addr string) error {
	l, err := listen(addr)
	if err != nil {
		return err
	}
	s.listeners = append(s.listeners, boundedListener{Listener: l, conns: s.conns})
	return nil
}

// Try reports whether Listen can bind an address: it binds it, and closes it at once.
func Try(addr string) error {
	l, err := listen(addr)
	if err != nil {
		return err
	}
	return l.Close()
}

func listen(addr string) (net.Listener, error) {
	network := "tcp"
	if a, err := netip.ParseAddrPort(addr); err == nil {
		if network = "tcp6"; a.Addr().Unmap().Is4() {
			network = "tcp4" // by "tcp", 0.0.0.0 would be IPv6, too
		}
	}
	l, err := net.Listen(network, addr)
	if err == nil {
		return l, nil
	}
	remedy := bindRemedy(err)
	if remedy != "" {
		remedy = "; " + remedy
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err // the rest repeats what is said here
	}
	return nil, fmt.Errorf("listen on tcp %s: %w%s", addr, err, remedy)
}

func bindRemedy(err error) string {
	var dns *net.DNSError
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "stop what listens there, or set ops.listen to another port"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "set ops.listen to an address of this machine"
	case errors.Is(err, syscall.EACCES):
		return "set ops.listen to a port above 1023, or grant CAP_NET_BIND_SERVICE"
	case errors.As(err, &dns):
		return "set ops.listen to an IP address and a port, such as 127.0.0.1:5380"
	}
	return ""
}

// Close closes what is bound, of a Server that is not served.
func (s *Server) Close() {
	for _, l := range s.listeners {
		l.Close()
	}
}

// Addrs returns the bound addresses, in the order of the calls of Listen.
func (s *Server) Addrs() []net.Addr {
	var out []net.Addr
	for _, l := range s.listeners {
		out = append(out, l.Addr())
	}
	return out
}

// Drain makes the Server report that it is not ready because the process is
// about to end, so that load balancers send clients elsewhere. All other
// requests are served as before.
func (s *Server) Drain() { s.draining.Store(true) }

// Serve serves the addresses that Listen bound until ctx ends, which is no
// error. Requests in progress may finish within [Options.Grace]. It closes the
// listeners before it returns, and cannot be called again.
func (s *Server) Serve(ctx context.Context) error {
	if len(s.listeners) == 0 {
		return errors.New("ops: nothing to serve; Listen comes first")
	}
	// Requests may outlive ctx, but not Serve.
	base, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	s.http.BaseContext = func(net.Listener) context.Context { return base }
	ended := make(chan error, len(s.listeners))
	for _, l := range s.listeners {
		go func() { ended <- s.http.Serve(l) }()
	}

	var failure error
	running := len(s.listeners)
	select {
	case <-ctx.Done():
	case err := <-ended:
		running--
		failure = fmt.Errorf("ops: %w", err)
	}
	s.Drain()
	grace, done := context.WithTimeout(base, s.o.Grace)
	defer done()
	if err := s.http.Shutdown(grace); err != nil {
		end()
		_ = s.http.Close() // the grace is over
	}
	for range running {
		<-ended
	}
	return failure
}
