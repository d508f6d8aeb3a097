package upstream

import (
	"context"
	"errors"
	"fmt"

	"rideau/resolver/upstream/acceptance"
	"rideau/resolver/wire"
)

// settle returns the best that a race without a winner has: the fallback, or
// the error that says most.
func (r *race) settle(ctx context.Context, dst []byte) ([]byte, error) {
	switch {
	case r.fallback != nil:
		return r.deliver(dst, r.fallback), nil
	case errors.Is(ctx.Err(), context.Canceled):
		return dst, fmt.Errorf("upstream group %s: %w", r.g.name, context.Canceled)
	case r.busy && len(r.attempts) == 0:
		return dst, fmt.Errorf("upstream group %s: %w", r.g.name, ErrBusy)
	case r.silent || r.open > 0 || r.err == nil:
		return dst, fmt.Errorf("upstream group %s: %w", r.g.name, ErrTimeout)
	case errors.Is(r.err, ErrNetwork):
		return dst, r.err
	}
	return dst, fmt.Errorf("upstream group %s: %w: %w", r.g.name, ErrNetwork, r.err)
}

// deliver appends msg to dst under the query's id, or returns msg itself where
// dst has no use.
func (r *race) deliver(dst, msg []byte) []byte {
	wire.SetID(msg, wire.ID(r.query))
	if len(dst) == 0 && cap(dst) < len(msg) {
		return msg
	}
	return append(dst, msg...)
}

// good is the rank of a response that ends a race.
const good = 4

// judge returns what is wrong with a response, and its rank among those that
// another may better. SERVFAIL is worth most: it may be the name's own fault,
// and may carry the reason.
func judge(resp []byte) (Reason, int) {
	if !acceptance.Readable(resp) {
		return Malformed, 0
	}
	switch code, result := wire.HeaderRcode(resp), acceptance.Judge(resp); {
	case code == wire.ServFail:
		return ServFail, 3
	case code == wire.Refused:
		return Refused, 2
	case code == wire.NotImp:
		return NotImp, 1
	case result == acceptance.RefusesEDNS:
		return FormErr, 1
	}
	return 0, good
}
