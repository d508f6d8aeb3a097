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
	line     line          // guarded by mu
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
		l.out.Write(l.line.query(r)) // Flush returns the error
		lines++
	})
	if lost := l.Lost(); lost > l.reported {
		l.out.Write(l.line.loss(time.Now(), lost-l.reported))
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

// line makes lines of JSON. What its methods return is valid until the next
// call.
type line struct {
	b []byte
	// Most lines have the second of the line before in common.
	second int64  // Unix time
	date   []byte // second as text
}

// begin begins a line with a time, in UTC and to the microsecond (RFC 3339).
func (l *line) begin(t time.Time) []byte {
	if s := t.Unix(); s != l.second || l.date == nil {
		l.second, l.date = s, t.UTC().AppendFormat(l.date[:0], "2006-01-02T15:04:05.")
	}
	b := append(l.b[:0], `{"time":"`...)
	b = append(b, l.date...)
	micro := t.Nanosecond() / 1000
	for unit := 100000; unit > 0; unit /= 10 {
		b = append(b, byte('0'+micro/unit%10))
	}
	return append(b, `Z"`...)
}

// loss is the line that says how many queries the log lacks.
func (l *line) loss(t time.Time, queries uint64) []byte {
	l.b = fmt.Appendf(l.begin(t), `,"lost":%d}`+"\n", queries)
	return l.b
}

// query is the line of a query. The ids of groups and bans are those of the
// configuration, and may hold any text.
func (l *line) query(r *audit.Record) []byte {
	b := l.begin(r.Time)
	b = append(b, `,"client":"`...)
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
	l.b = append(b, '}', '\n')
	return l.b
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
