package upstream

import (
	"context"
	"errors"
	"fmt"

	"rideau/resolver/wire"
)

// settle returns the best there is when nobody has won.
func (r *race) settle(ctx context.Context, dst []byte) ([]byte, error) {
	switch {
	case r.spare != nil:
		return r.give(dst, r.spare), nil
	case errors.Is(ctx.Err(), context.Canceled):
		return dst, fmt.Errorf("upstream group %s: %w", r.g.name, context.Canceled)
	case r.busy && len(r.begun) == 0:
		return dst, fmt.Errorf("upstream group %s: %w", r.g.name, ErrBusy)
	case r.silent || r.open > 0 || r.err == nil:
		return dst, fmt.Errorf("upstream group %s: %w", r.g.name, ErrTimeout)
	case errors.Is(r.err, ErrNetwork):
		return dst, r.err
	}
	return dst, fmt.Errorf("upstream group %s: %w: %w", r.g.name, ErrNetwork, r.err)
}

// give appends msg to dst under the query's id, or hands msg itself over where
// dst is of no use.
func (r *race) give(dst, msg []byte) []byte {
	wire.SetID(msg, wire.ID(r.query))
	if len(dst) == 0 && cap(dst) < len(msg) {
		return msg
	}
	return append(dst, msg...)
}

// good is the rank of a response that nobody else has to better.
const good = 4

// judge says what is wrong with a response, and how much it is worth if
// nobody has a better one. SERVFAIL is worth most: it may be the name's own
// fault, and may say why.
func judge(resp []byte) (Reason, int) {
	if len(resp) < wire.HeaderLen || !readable(resp) {
		return Malformed, 0
	}
	switch wire.HeaderRcode(resp) {
	case wire.ServFail:
		return ServFail, 3
	case wire.Refused:
		return Refused, 2
	}
	if refusesEDNS(resp) {
		if wire.HeaderRcode(resp) == wire.NotImp {
			return NotImp, 1
		}
		return FormErr, 1
	}
	return 0, good
}
