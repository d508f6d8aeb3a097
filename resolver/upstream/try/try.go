// Package try says, in a context, which of several tries an exchange with a server
// is, and takes note of what the server has said before the exchange ends.
package try

import (
	"context"
	"slices"
	"sync/atomic"
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

// Part is what a server has said by UDP, with TC; nil as long as it has not. It is
// safe for concurrent use.
type Part struct{ atomic.Pointer[[]byte] }

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
