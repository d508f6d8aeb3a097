package listener

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"rideau/resolver"
)

// A handler's panic costs the query that caused it, never the process: each
// call of a handler goes through one of these. The queries that are given up
// are counted in Stats.Panics alone, as there is no outcome to count.

// answer calls Handler.Answer. It reports whether that returned.
func (l *Listener) answer(dst []byte, q *resolver.Query) (ans []byte, o resolver.Outcome, ok bool) {
	defer func() {
		if !ok {
			l.panicked(recover(), "answer")
			ans, o = nil, resolver.Outcome{}
		}
	}()
	ans, o = l.h.Answer(dst, q)
	return ans, o, true
}

// resolve calls Handler.Resolve, and Shed in its stead if that panicked: the
// query was sound enough to wait, so its client is told.
func (l *Listener) resolve(ctx context.Context, dst []byte, q *resolver.Query) (ans []byte, o resolver.Outcome) {
	returned := false
	defer func() {
		if !returned {
			l.panicked(recover(), "resolve")
			ans, o, _ = l.callShed(dst[:0], q)
		}
	}()
	ans, o = l.h.Resolve(ctx, dst, q)
	returned = true
	return ans, o
}

// shed counts a query that there is no room for and makes its answer.
func (l *Listener) shed(dst []byte, q *resolver.Query) (ans []byte, o resolver.Outcome, ok bool) {
	l.count.shed.Add(1)
	return l.callShed(dst, q)
}

func (l *Listener) callShed(dst []byte, q *resolver.Query) (ans []byte, o resolver.Outcome, ok bool) {
	defer func() {
		if !ok {
			l.panicked(recover(), "shed")
			ans, o = nil, resolver.Outcome{}
		}
	}()
	ans, o = l.h.Shed(dst, q)
	return ans, o, true
}

func (l *Listener) panicked(value any, where string) {
	l.count.panics.Add(1)
	if l.log.allow(&l.log.panics) {
		l.log.to.LogAttrs(context.Background(), slog.LevelError, "a query was given up: panic",
			slog.String("in", where), slog.String("panic", fmt.Sprint(value)), slog.String("stack", string(debug.Stack())))
	}
}

// throttle is a logger that says each kind of thing once a second at most.
type throttle struct {
	to                                      *slog.Logger
	panics, sends, reads, accepts, refusals atomic.Int64 // when last said, in Unix nanoseconds
}

// allow reports whether the kind of thing may be said now, and notes that it is.
func (*throttle) allow(last *atomic.Int64) bool {
	now, was := time.Now().UnixNano(), last.Load()
	return now-was >= int64(time.Second) && last.CompareAndSwap(was, now)
}

// warn logs err under msg if that kind of thing may be said now.
func (t *throttle) warn(last *atomic.Int64, msg string, err error) {
	if t.allow(last) {
		t.to.LogAttrs(context.Background(), slog.LevelWarn, msg, slog.String("error", err.Error()))
	}
}
