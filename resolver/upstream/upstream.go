// Package upstream asks other resolvers.
//
// An [Upstream] is one of them; [Do53] is the one that speaks DNS over UDP and
// TCP. A [Group] is several, asked in order, by weight, or the fastest first,
// with health and failover: a server that does not answer costs the first few
// queries a wait, and the others nothing.
//
// How long a wait is, a group learns from the answers. There are three times:
// after the 95th percentile another may be asked too, so long as that is rare;
// after SRTT + 4 RTTVAR (RFC 6298), within bounds, the request is taken for
// lost, the next is asked, and it is held against the server; and after the
// group's timeout all is over. Nobody is asked but those in the group.
//
// There are two ways to ask. [Group.Exchange] blocks a goroutine and does
// everything: other upstreams, TCP, a server without EDNS. A [Mux] asks the
// upstream that the group chooses once, for a goroutine with many questions in hand,
// and costs neither a goroutine nor garbage; what does not go smoothly there
// is gone on with by [Group.Resume].
//
// Bytes go in and bytes come out. The query belongs to the caller and is
// neither kept nor written; the response is appended to the caller's slice,
// which nobody else ever writes, however late another answer comes.
package upstream

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// Upstream is one resolver we forward to. It is safe for concurrent use.
type Upstream interface {
	// Exchange sends query, a message with one uncompressed question and at
	// most one OPT record, and appends the response to it to dst, under the
	// query's own id. It keeps neither slice and does not write to query.
	// It waits until ctx ends, and no longer.
	Exchange(ctx context.Context, dst, query []byte) ([]byte, error)
	// Addr is what operators call it by. Two upstreams of one address are
	// the same server.
	Addr() string
}

// Errors of an exchange. Just one of ErrTimeout, ErrNetwork, ErrNoUpstream
// and ErrBusy is found in an error by errors.Is, unless the caller's
// context was cancelled, when the error is context.Canceled.
var (
	// ErrTimeout means that nobody answered in time.
	ErrTimeout = errors.New("no answer in time")
	// ErrNetwork means that nobody could be asked, or that what came back
	// cannot be read.
	ErrNetwork = errors.New("network error")
	// ErrNoUpstream means that there is nobody to ask.
	ErrNoUpstream = errors.New("no upstream")
	// ErrBusy means that nobody was asked, since so many requests are under
	// way already. It says nothing of the question.
	ErrBusy = errors.New("too many requests under way")
)

// ErrorOf is the error of an exchange with addr that ended in err, as Upstream has it.
func ErrorOf(ctx context.Context, addr string, err error) error {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return fmt.Errorf("upstream %s: %w", addr, context.Canceled)
	case ctx.Err() != nil, errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("upstream %s: %w", addr, ErrTimeout)
	}
	return fmt.Errorf("upstream %s: %w: %w", addr, ErrNetwork, err)
}
