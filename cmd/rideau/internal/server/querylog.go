package server

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"rideau/cmd/rideau/internal/text"
	"rideau/resolver"
	"rideau/resolver/wire"
)

// queryLog writes the queries that ended to a file, a line of JSON for each. Lines
// of one moment may stand in any order.
// What comes faster than it is written is lost, and counted.
type queryLog struct {
	stats *resolver.Stats
	log   *slog.Logger
	// unwritten counts the lines that could not be written.
	unwritten atomic.Uint64

	mu     sync.Mutex
	file   *os.File      // guarded by mu; nil: off
	out    *bufio.Writer // guarded by mu, to file
	line   []byte        // guarded by mu
	told   uint64        // guarded by mu: losses that the file tells of
	warned time.Time     // guarded by mu: when a failure was last logged
}

func newQueryLog(stats *resolver.Stats, log *slog.Logger) *queryLog {
	return &queryLog{stats: stats, log: log}
}

// use goes on with another file, or with none, and closes the one before. It owns f.
func (l *queryLog) use(f *os.File) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drain()
	if l.file != nil {
		l.file.Close()
	}
	l.file = f
	if f != nil {
		l.out = bufio.NewWriterSize(f, 64<<10)
	}
	l.stats.LogQueries(f != nil)
}

// run writes until ctx ends.
func (l *queryLog) run(ctx context.Context) {
	// Often enough that a worker's ring holds what it answers meanwhile.
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			l.mu.Lock()
			l.drain()
			l.mu.Unlock()
		}
	}
}

// lost counts the queries that the log lacks.
func (l *queryLog) lost() uint64 { return l.stats.QueriesNotLogged() + l.unwritten.Load() }

// drain writes what has come. mu is held.
func (l *queryLog) drain() {
	if l.file == nil {
		return
	}
	lines := uint64(0)
	l.stats.LoggedQueries(func(q *resolver.LoggedQuery) {
		l.line = appendQuery(l.line[:0], q)
		l.out.Write(l.line) // an error stays until Flush
		lines++
	})
	if lost := l.lost(); lost > l.told {
		fmt.Fprintf(l.out, "{\"time\":%q,\"lost\":%d}\n", time.Now().UTC().Format(logTime), lost-l.told)
		l.told = lost
	}
	if err := l.out.Flush(); err != nil {
		l.unwritten.Add(lines)
		l.out.Reset(l.file) // else it would fail for good
		if now := time.Now(); now.Sub(l.warned) > time.Minute {
			l.warned = now
			l.log.Error("the log of queries cannot be written; what is not written is counted as lost", "file", l.file.Name(), "error", err)
		}
	}
}

// logTime is how the log writes instants.
const logTime = "2006-01-02T15:04:05.000000Z07:00"

// appendQuery appends a query as a line of JSON. Names of groups and bans are
// those of the configuration, and may hold any text.
func appendQuery(b []byte, q *resolver.LoggedQuery) []byte {
	b = append(b, `{"time":"`...)
	b = q.Received.UTC().AppendFormat(b, logTime)
	b = append(b, `","client":"`...)
	b = q.Client.AppendTo(b)
	b = append(b, `","group":`...)
	b = appendJSON(b, q.Group)
	b = append(b, `,"name":`...)
	b = appendJSON(b, []byte(wire.NameString(q.Name)))
	b = append(b, `,"type":"`...)
	b = append(b, text.TypeName(uint16(q.Type))...)
	b = append(b, `","transport":"`...)
	b = append(b, q.Transport.String()...)
	b = append(b, `","outcome":"`...)
	b = append(b, q.Kind.String()...)
	b = append(b, '"')
	if len(q.Ban) > 0 {
		b = append(b, `,"ban":`...)
		b = appendJSON(b, q.Ban)
	}
	if q.Monitored {
		b = append(b, `,"monitored":true`...)
	}
	if q.Excepted {
		b = append(b, `,"excepted":true`...)
	}
	return append(b, '}', '\n')
}

// appendJSON appends text as a JSON string.
func appendJSON(b, text []byte) []byte {
	for _, c := range text {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			s, _ := json.Marshal(string(text)) // of a string there is always one
			return append(b, s...)
		}
	}
	b = append(b, '"')
	b = append(b, text...)
	return append(b, '"')
}
