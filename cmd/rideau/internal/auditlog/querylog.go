package auditlog

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
	"rideau/resolver/audit"
	"rideau/resolver/wire"
)

// maxQueries is how many records may wait to be written: what a fast server
// answers while a disk stalls for a tenth of a second.
const maxQueries = 1 << 15

// QueryLog writes every query that ended to a file, a line of JSON for each.
// Queries of different workers may stand in any order. Queries that come faster
// than they can be written are lost, and are counted.
type QueryLog struct {
	records *audit.Log
	reader  *audit.Reader
	log     *slog.Logger
	// unwritten counts the lines that could not be written.
	unwritten atomic.Uint64

	mu       sync.Mutex
	file     *os.File      // guarded by mu; nil: off
	out      *bufio.Writer // guarded by mu, to file
	line     []byte        // guarded by mu
	reported uint64        // guarded by mu: losses that the file reports
	warned   time.Time     // guarded by mu: when a failure was last logged
}

// NewQueryLog makes a QueryLog that is off.
func NewQueryLog(records *audit.Log, log *slog.Logger) *QueryLog {
	return &QueryLog{records: records, reader: records.NewReader(maxQueries), log: log}
}

// Use writes all queries that have ended to the file in use, closes it, and
// writes those that end from now on to f; with nil, nowhere. It owns f.
func (l *QueryLog) Use(f *os.File) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records.Drain()
	l.write()
	if l.file != nil {
		l.file.Close()
	}
	l.file = f
	want := resolver.Marks(0)
	if f != nil {
		l.out = bufio.NewWriterSize(f, 64<<10)
		want = resolver.Finished
	}
	l.reader.Want(want)
}

// Run writes until ctx ends. [QueryLog.Use] writes what is left then.
func (l *QueryLog) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.reader.Ready():
			l.mu.Lock()
			l.write()
			l.mu.Unlock()
		}
	}
}

// Lost counts the queries that the log lacks.
func (l *QueryLog) Lost() uint64 { return l.reader.Lost() + l.unwritten.Load() }

// write writes the records that are queued. mu is held.
func (l *QueryLog) write() {
	if l.file == nil {
		return
	}
	lines := uint64(0)
	l.reader.Read(func(r *audit.Record) {
		l.line = appendQuery(l.line[:0], r)
		l.out.Write(l.line) // Flush returns the error
		lines++
	})
	if lost := l.Lost(); lost > l.reported {
		fmt.Fprintf(l.out, "{\"time\":%q,\"lost\":%d}\n", time.Now().UTC().Format(timeFormat), lost-l.reported)
		l.reported = lost
	}
	if err := l.out.Flush(); err != nil {
		l.unwritten.Add(lines)
		l.out.Reset(l.file) // a bufio.Writer keeps its error
		if now := time.Now(); now.Sub(l.warned) > time.Minute {
			l.warned = now
			l.log.Error("the log of queries cannot be written; what is not written is counted as lost", "file", l.file.Name(), "error", err)
		}
	}
}

// timeFormat is how the log writes a time, in UTC.
const timeFormat = "2006-01-02T15:04:05.000000Z07:00"

// appendQuery appends a query as a line of JSON. The ids of groups and bans are
// those of the configuration, and may hold any text.
func appendQuery(b []byte, r *audit.Record) []byte {
	b = append(b, `{"time":"`...)
	b = r.Time.UTC().AppendFormat(b, timeFormat)
	b = append(b, `","client":"`...)
	b = r.Client.AppendTo(b)
	b = append(b, `","group":`...)
	b = appendJSON(b, r.Group)
	b = append(b, `,"name":`...)
	b = appendJSON(b, wire.NameString(r.Name()))
	b = append(b, `,"type":"`...)
	b = append(b, text.TypeName(uint16(r.Type))...)
	b = append(b, `","transport":"`...)
	b = append(b, r.Transport.String()...)
	b = append(b, `","outcome":"`...)
	b = append(b, r.Outcome.String()...)
	b = append(b, '"')
	if r.Ban != "" {
		b = append(b, `,"ban":`...)
		b = appendJSON(b, r.Ban)
	}
	if r.Monitored {
		b = append(b, `,"monitored":true`...)
	}
	if r.Exception != nil {
		b = append(b, `,"excepted":true`...)
	}
	return append(b, '}', '\n')
}

// appendJSON appends s as a JSON string.
func appendJSON(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			text, _ := json.Marshal(s) // never fails for a string
			return append(b, text...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
