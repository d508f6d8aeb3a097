package session

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

// LogKind is a kind of trouble that may come with each query.
type LogKind uint8

// Kinds of trouble.
const (
	LogSend    LogKind = iota // a response was not sent
	LogRead                   // reading queries failed
	LogAccept                 // accepting connections failed
	LogRefusal                // a connection was refused
	logPanic
	logKinds
)

// Log logs each kind of trouble once a second at most. It is safe for
// concurrent use.
type Log struct {
	to   *slog.Logger
	last [logKinds]atomic.Int64 // when a kind was last logged, in Unix nanoseconds
}

// NewLog makes a Log that writes to l.
func NewLog(l *slog.Logger) *Log { return &Log{to: l} }

// Warn logs err under msg, unless that kind was logged within the last second.
func (l *Log) Warn(k LogKind, msg string, err error) {
	if l.allow(k) {
		l.to.LogAttrs(context.Background(), slog.LevelWarn, msg, slog.String("error", err.Error()))
	}
}

// allow reports whether a kind may be logged now, and takes it as logged.
func (l *Log) allow(k LogKind) bool {
	last := &l.last[k]
	now, was := time.Now().UnixNano(), last.Load()
	return now-was >= int64(time.Second) && last.CompareAndSwap(was, now)
}
