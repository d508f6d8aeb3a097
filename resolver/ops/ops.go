// Package ops is what the operators of a Rideau see over HTTP: whether it
// lives and serves, its metrics, which policy it enforces, and ways to reload
// that and to flush the cache. It changes nothing but by [Options.Reload] and
// [Options.Flush], and it names no client and no queried name.
//
// It is told everything by its [Sources] and [Options], which are functions
// and plain values, and so knows none of the packages that do the work but the
// one whose counters it reads.
package ops

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync/atomic"
	"syscall"
	"time"

	"rideau/resolver/ops/metrics"
)

// Options go with [New].
type Options struct {
	// Sources is where the facts come from.
	Sources metrics.Sources
	// Ready gives the reasons why queries are not served, beside those that
	// the Sources tell by themselves (no policy, no upstream that answers); nil
	// for none. It is called for each request, by many at a time.
	Ready func() []string
	// ReadyWithin is how long ago an upstream may have answered last; 0 for a
	// minute. Something must ask the upstreams more often than that when
	// clients do not.
	ReadyWithin time.Duration
	// Reload reads the policy again and puts it in force as a whole, or
	// changes nothing. It gives up when the context ends. The result has
	// Problems with an error, too. One call is made at a time. nil: there is
	// no such endpoint.
	Reload func(ctx context.Context, o ReloadOptions) (ReloadResult, error)
	// DryRun says what Reload would change, and changes nothing; nil if there
	// is no such thing.
	DryRun func(ctx context.Context, force bool) (DryRun, error)
	// Flush forgets cached answers, and returns how many; its error wraps
	// ErrName where the name is none. nil: there is no such endpoint.
	Flush func(Flush) (entries int, err error)
	// Token lets clients on other machines reload and flush; empty for none, so
	// that only this machine may.
	Token string
	// Pprof serves Go's profiles to everyone who reaches the address.
	Pprof bool
	// Timeout bounds the reading of a request, and the writing of an
	// answer; 0 for ten seconds.
	Timeout time.Duration
	// Grace is how long requests under way may take once Serve is to end; 0
	// for two seconds.
	Grace time.Duration
	// Logger hears of refused reloads and of failures to serve; nil for none.
	Logger *slog.Logger
	// Clock is the time for readiness; nil for time.Now.
	Clock func() time.Time
}

// Limits that nobody needs to set.
const (
	idleTimeout = 2 * time.Minute
	maxHeader   = 16 << 10
)

// Server serves the operators. Listen is called before Serve; all else is
// safe for concurrent use.
type Server struct {
	o         Options
	http      *http.Server
	listeners []net.Listener
	draining  atomic.Bool
	reloading chan struct{} // holds a token while a reload runs
	origins   *http.CrossOriginProtection
	started   time.Time
}

// New makes a Server. It starts nothing.
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
	s := &Server{o: o, reloading: make(chan struct{}, 1),
		origins: http.NewCrossOriginProtection(), started: o.Clock()}
	s.http = &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: o.Timeout,
		ReadTimeout:       o.Timeout,
		WriteTimeout:      o.Timeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelWarn),
	}
	return s
}

// Handler is what the Server serves. What no pattern takes is answered 404,
// and a wrong method 405 with the right ones, by the ServeMux itself.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.Handle("GET /metrics", metrics.Handler(s.o.Sources, s.o.Logger))
	mux.HandleFunc("GET /version", s.version)
	if s.o.Reload != nil {
		mux.HandleFunc("POST /reload", s.reload)
	}
	if s.o.Flush != nil {
		mux.HandleFunc("POST /cache/flush", s.flush)
	}
	if s.o.Pprof {
		// That package registers itself on the default mux too, which nobody
		// serves, and gives long profiles the time to write that they need.
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		mux.ServeHTTP(w, r)
	})
}

// Listen binds an address as net.Listen takes it, and may be called more than
// once.
func (s *Server) Listen(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		if remedy := bindRemedy(err); remedy != "" {
			return fmt.Errorf("ops: %w; %s", err, remedy)
		}
		return fmt.Errorf("ops: %w", err)
	}
	s.listeners = append(s.listeners, l)
	return nil
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

// Addrs are the addresses bound, in the order of the calls of Listen.
func (s *Server) Addrs() []net.Addr {
	var out []net.Addr
	for _, l := range s.listeners {
		out = append(out, l.Addr())
	}
	return out
}

// Drain makes the Server tell that the process is about to end, so that
// whoever sends clients here sends them elsewhere. All else goes on.
func (s *Server) Drain() { s.draining.Store(true) }

// Serve serves what Listen bound until ctx ends, which is no error. Requests
// under way may finish within [Options.Grace]. The listeners are closed when it
// returns, and it cannot be called again.
func (s *Server) Serve(ctx context.Context) error {
	if len(s.listeners) == 0 {
		return errors.New("ops: nothing to serve; Listen comes first")
	}
	// Requests outlive ctx, but not Serve.
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
		_ = s.http.Close() // what is cut off now has had its time
	}
	for range running {
		<-ended
	}
	return failure
}
