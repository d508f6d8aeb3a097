package session

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"

	"rideau/resolver"
)

// Each call of the handler goes through one of these methods. A query that is
// given up is counted in Stats.Panics alone: it has no outcome, and no response.

// answer calls Handler.Answer. It reports whether that returned.
func (c *Core) answer(dst []byte, q *resolver.Query) (ans []byte, o resolver.Outcome, ok bool) {
	defer func() {
		if !ok {
			c.Panicked(recover(), "answer")
			ans, o = dst, resolver.Outcome{}
		}
	}()
	ans, o = c.handler.Answer(dst, q)
	return ans, o, true
}

// resolve calls Handler.Resolve, and Handler.Shed instead if that panics: the
// query is well formed, so its client gets a response.
func (c *Core) resolve(ctx context.Context, dst []byte, q *resolver.Query) (ans []byte, o resolver.Outcome) {
	returned := false
	defer func() {
		if !returned {
			c.Panicked(recover(), "resolve")
			ans, o = c.callShed(dst, q)
		}
	}()
	ans, o = c.handler.Resolve(ctx, dst, q)
	returned = true
	return ans, o
}

// shedQuery counts a query that may not wait and appends its response.
func (c *Core) shedQuery(dst []byte, q *resolver.Query) ([]byte, resolver.Outcome) {
	c.shed.Add(1)
	return c.callShed(dst, q)
}

// callShed calls Handler.Shed. If that panics there is no response.
func (c *Core) callShed(dst []byte, q *resolver.Query) (ans []byte, o resolver.Outcome) {
	returned := false
	defer func() {
		if !returned {
			c.Panicked(recover(), "shed")
			ans, o = dst, resolver.Outcome{}
		}
	}()
	ans, o = c.handler.Shed(dst, q)
	returned = true
	return ans, o
}

// Panicked counts and logs a panic. value is what recover returned, and where
// says what panicked.
func (c *Core) Panicked(value any, where string) {
	c.panics.Add(1)
	if c.Log.allow(logPanic) {
		c.Log.to.LogAttrs(context.Background(), slog.LevelError, "a query was given up: panic",
			slog.String("in", where), slog.String("panic", fmt.Sprint(value)), slog.String("stack", string(debug.Stack())))
	}
}
