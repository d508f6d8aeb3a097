// Package try says, in a context, which of several tries an exchange with a server
// is, and takes note of what the server has said before the exchange ends.
package try

import (
	"context"
	"slices"
	"sync/atomic"
	"time"
)

// Try is which of several tries a query is.
type Try uint8

// Tries.
const (
	First   Try = iota // the server has not been sent the query yet
	Again              // it has, and has not answered
	Probing            // it is to be found out whether, and how, the server answers
)

// tryKey is the key of a context's Try.
type tryKey struct{}

// With is a context for a query that is such a try.
func With(ctx context.Context, t Try) context.Context { return context.WithValue(ctx, tryKey{}, t) }

// Of is which try a context is for.
func Of(ctx context.Context) Try {
	t, _ := ctx.Value(tryKey{}).(Try)
	return t
}

// refusedKey is the key of a context's notice of a refusal.
type refusedKey struct{}

// WithRefused is a context for an exchange that calls refused when an ICMP message
// says that the server's host has refused a datagram, and goes on waiting for the
// response: the message may be forged, by whoever guesses a port. refused returns
// at once and may be called again.
func WithRefused(ctx context.Context, refused func(error)) context.Context {
	return context.WithValue(ctx, refusedKey{}, refused)
}

// NoteRefused tells the exchange of ctx of a refusal, and reports whether it goes on.
func NoteRefused(ctx context.Context, err error) bool {
	refused, ok := ctx.Value(refusedKey{}).(func(error))
	if ok {
		refused(err)
	}
	return ok
}

// Part is what a server has said by UDP, with TC; nil as long as it has not. It is
// safe for concurrent use.
type Part struct{ atomic.Pointer[[]byte] }

// tookKey is the key of a context's time.
type tookKey struct{}

// WithTook is a context for an exchange over connections that notes in took, in
// nanoseconds, how long the server took: since the query was given to the connection
// that brought the response. That one before it brought nothing says how the server
// treats connections, and not how long it takes.
func WithTook(ctx context.Context, took *atomic.Int64) context.Context {
	return context.WithValue(ctx, tookKey{}, took)
}

// NoteTook tells the exchange of ctx how long its server took.
func NoteTook(ctx context.Context, d time.Duration) {
	if took, ok := ctx.Value(tookKey{}).(*atomic.Int64); ok {
		took.Store(int64(d))
	}
}

// partKey is the key of a context's Part.
type partKey struct{}

// WithPart is a context for an exchange that notes in p that it was truncated.
func WithPart(ctx context.Context, p *Part) context.Context {
	return context.WithValue(ctx, partKey{}, p)
}

// NoteTruncated tells the exchange of ctx that its server has answered by UDP, with
// TC, so that it is there whatever TCP brings. msg is copied; it may be empty.
func NoteTruncated(ctx context.Context, msg []byte) {
	if p, ok := ctx.Value(partKey{}).(*Part); ok {
		msg = slices.Clone(msg)
		p.Store(&msg)
	}
}
