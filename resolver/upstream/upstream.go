// Package upstream forwards queries to other resolvers.
//
// A [member.Server] is one of them; packages do53 and encrypted have the kinds. A
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

// doubtKey is the key of a context's doubt.
type doubtKey struct{}

// WithDoubt is a context for an exchange in which an NXDOMAIN that doubt reports
// true for is returned only if no other server that is up says something else.
// doubt does not write to the response.
func WithDoubt(ctx context.Context, doubt func(resp []byte) bool) context.Context {
	return context.WithValue(ctx, doubtKey{}, doubt)
}

// answeredKey is the key of where a context's exchange says who answered.
type answeredKey struct{}

// WithAnswered is a context for an exchange that sets answered to 1 plus the index of
// the server whose response it returns, and leaves it where it has none.
func WithAnswered(ctx context.Context, answered *uint16) context.Context {
	return context.WithValue(ctx, answeredKey{}, answered)
}

// Several is an [Upstream] that asks one of several servers.
type Several interface {
	// Servers are what operators call the servers, by their indexes.
	Servers() []string
}

func shareOf(ctx context.Context) limit.Share {
	s, _ := ctx.Value(shareKey{}).(limit.Share)
	return s
}
