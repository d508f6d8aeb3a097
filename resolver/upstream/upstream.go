// Package upstream forwards queries to other resolvers.
//
// A [Server] is one of them; packages do53 and encrypted have the kinds. A
// [Group] is several that can stand in for one another, asked in order, by
// weight, or the fastest first, with health and failover: a server that does
// not answer costs the first few queries a wait, and the others nothing.
//
// How long a server is waited for, a group learns from its responses. There
// are three times. After the 95th percentile another server may be asked too,
// as long as that is rare. After SRTT + 4 RTTVAR (RFC 6298), within bounds, the
// request counts as lost and the next server is asked. After the group's
// timeout the exchange is over. Only servers of the group are ever asked. These
// rules stand in [Attempt] and [Group], for both ways to ask:
//
// [Group.Exchange] blocks a goroutine and does everything: other servers, TCP,
// a server without EDNS. A multiplexer (package mux) sends one datagram to the
// server that the group chooses, for a goroutine with many queries in hand,
// without garbage. What does not go well there, [Group.Resume] finishes.
//
// Bytes go in and bytes come out. The query belongs to the caller and is
// neither kept nor written. The response is appended to the caller's slice,
// which nobody else writes, however late another response arrives.
package upstream

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"rideau/resolver/limit"
	"rideau/resolver/upstream/acceptance"
)

// Upstream is what the resolver forwards queries to; a [Group] is one. It is
// safe for concurrent use.
type Upstream interface {
	// Exchange sends query, a message with one uncompressed question and at
	// most one OPT record, and appends the response to dst, under the query's
	// own id. It keeps neither slice and does not write to query. It returns
	// when ctx ends, or in bounded time.
	Exchange(ctx context.Context, dst, query []byte) ([]byte, error)
	// Begin makes a an attempt to ask one server by datagram, for a
	// multiplexer that sends the query itself. It reports false where only
	// Exchange will do.
	Begin(a *Attempt, now time.Time) bool
	// Resume finishes an exchange that began as such an attempt: it is
	// Exchange with s for its first request. s may be used once.
	Resume(ctx context.Context, dst, query []byte, s *Started) ([]byte, error)
	// Identity is the same for two Upstreams that are one, across reloads. nil
	// is the same as none.
	Identity() *Identity
}

// Identity tells one upstream from others, by its address in memory.
type Identity struct{ _ byte }

// Server is one resolver that queries are forwarded to. It is safe for
// concurrent use.
type Server interface {
	// Exchange is as in [Upstream].
	Exchange(ctx context.Context, dst, query []byte) ([]byte, error)
	// ExchangeStream is Exchange for a query to which UDP has brought no
	// response: it uses TCP, or is Exchange for a server that is never asked by
	// UDP.
	ExchangeStream(ctx context.Context, dst, query []byte) ([]byte, error)
	// Addr is what operators call the server. Two with one address are the
	// same server.
	Addr() string
	// Endpoint is where to ask the server by UDP; nil if it is not asked so.
	Endpoint() *acceptance.Endpoint
	// TrustsAD reports whether the server is trusted to validate, over a path
	// on which nobody can change a bit.
	TrustsAD() bool
	// Mismatches counts the messages that were no response to what was asked.
	Mismatches() uint64
	// Close closes idle connections, and from now on none is kept. Exchanges
	// go on.
	Close()
}

// Learner is a [Server] that finds out how it is to be asked. [Group.Run] lets it.
type Learner interface {
	// LearnDue reports whether there is something to find out now.
	LearnDue() bool
	// Suspects reports whether a query was answered in another way than the usual
	// one, so that the time it took says nothing, and Learn has not looked into it.
	Suspects() bool
	// Learn sends queries of its own, beside those of clients, until it is found
	// out, or ctx ends. probe is a query that every server can answer.
	Learn(ctx context.Context, probe []byte)
}

// Errors of an exchange. Exactly one of ErrTimeout, ErrNetwork, ErrNoUpstream
// and ErrBusy is found in an error by errors.Is, unless the caller's context
// was cancelled, when the error is context.Canceled.
var (
	// ErrTimeout means that no server answered in time.
	ErrTimeout = errors.New("no answer in time")
	// ErrNetwork means that no server could be asked, or that the response
	// cannot be parsed.
	ErrNetwork = errors.New("network error")
	// ErrNoUpstream means that there is no server to ask.
	ErrNoUpstream = errors.New("no upstream")
	// ErrBusy means that no server was asked, since too many requests are
	// under way already. It says nothing about the question.
	ErrBusy = errors.New("too many requests under way")
)

// ErrorOf is the error of an exchange with addr that ended in err, in the form
// that Upstream promises.
func ErrorOf(ctx context.Context, addr string, err error) error {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return fmt.Errorf("upstream %s: %w", addr, context.Canceled)
	case ctx.Err() != nil, errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("upstream %s: %w", addr, ErrTimeout)
	}
	return fmt.Errorf("upstream %s: %w: %w", addr, ErrNetwork, err)
}

// shareKey is the key of a context's Share.
type shareKey struct{}

// WithShare is a context for an exchange whose requests take the places of s.
func WithShare(ctx context.Context, s limit.Share) context.Context {
	return context.WithValue(ctx, shareKey{}, s)
}

func shareOf(ctx context.Context) limit.Share {
	s, _ := ctx.Value(shareKey{}).(limit.Share)
	return s
}
