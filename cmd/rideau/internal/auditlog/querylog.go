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
// than they can be written, or than the bound on lines allows, are lost, and are counted.
type QueryLog struct {
	records *audit.Log
	reader  *audit.Reader
	log     *slog.Logger
	// unwritten counts the lines that could not be written.
	unwritten atomic.Uint64

	mu       sync.Mutex
	file     *os.File      // guarded by mu; nil: off
	bounds   Bounds        // guarded by mu
	size     int64         // guarded by mu: of file
	tokens   float64       // guarded by mu: lines that may be written now
	filled   time.Time     // guarded by mu: when tokens were last added
	out      *bufio.Writer // guarded by mu, to file
	line     line          // guarded by mu
	reported uint64        // guarded by mu: losses that the file reports
	told     time.Time     // guarded by mu: when the file last reported losses
	warned   time.Time     // guarded by mu: when a failure was last logged
	failed   time.Time     // guarded by mu: when rotate last failed
}

// Bounds say how much is written.
type Bounds struct {
	// Bytes is the size at which the file is renamed, with the suffix [Old], and a new one begins: at most twice as much is on disk. 0 is no bound.
	Bytes int64
	// PerSecond is how many lines a second are written. 0 is no bound.
	PerSecond int
	// Clients is how much of clients' addresses is written.
	Clients Clients
	// Open opens the new file. It is required with Bytes.
	Open func() (*os.File, error)
}

// Old is what the name of a file that reached its size ends with.
const Old = ".old"

// NewQueryLog makes a QueryLog that is off.
func NewQueryLog(records *audit.Log, log *slog.Logger) *QueryLog {
	return &QueryLog{records: records, reader: records.NewReader(maxQueries), log: log}
}

// Use writes all queries that have ended to the file in use, closes it, and
// writes those that end from now on to f; with nil, nowhere. It owns f.
func (l *QueryLog) Use(f *os.File, b Bounds) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records.Drain()
	l.told = time.Time{} // whatever is lost is told before the file is closed
	l.write()
	if b.PerSecond != l.bounds.PerSecond || l.file == nil {
		l.tokens, l.filled = float64(b.PerSecond), time.Now()
	}
	l.bounds = b
	want := resolver.Marks(0)
	if l.replace(f); f != nil {
		want = resolver.Finished
	}
	l.reader.Want(want)
}

// replace closes the file in use, and uses f, which may be nil. mu is held.
func (l *QueryLog) replace(f *os.File) {
	if l.file != nil {
		l.file.Close()
	}
	if l.file, l.size = f, 0; f == nil {
		return
	}
	l.out = bufio.NewWriterSize(f, 64<<10)
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		l.size = info.Size()
	}
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
	now := time.Now()
	most := float64(l.bounds.PerSecond)
	l.tokens, l.filled = min(l.tokens+most*now.Sub(l.filled).Seconds(), most), now
	lines := uint64(0)
	l.reader.Read(func(r *audit.Record) {
		if l.bounds.PerSecond > 0 {
			if l.tokens < 1 {
				l.unwritten.Add(1)
				return
			}
			l.tokens--
		}
		text := l.line.query(r, l.bounds.Clients)
		if l.bounds.Bytes > 0 && l.size+int64(len(text)) > l.bounds.Bytes && !l.rotate() {
			l.unwritten.Add(1)
			return
		}
		l.out.Write(text) // Flush returns the error
		l.size += int64(len(text))
		lines++
	})
	if lost := l.Lost(); lost > l.reported && now.Sub(l.told) >= time.Second {
		text := l.line.loss(now, lost-l.reported)
		l.out.Write(text)
		l.size += int64(len(text))
		l.reported, l.told = lost, now
	}
	if err := l.out.Flush(); err != nil {
		l.unwritten.Add(lines)
		l.out.Reset(l.file) // a bufio.Writer keeps its error
		l.warn("the log of queries cannot be written; what is not written is counted as lost", err)
	}
}

// rotate renames the file and begins a new one. If the path leads to another file already, it is opened, since somebody else
// renamed this one. rotate reports false if nothing more can be written. mu is held.
func (l *QueryLog) rotate() bool {
	if time.Since(l.failed) < time.Second {
		return false
	}
	err := l.out.Flush()
	path := l.file.Name()
	mine, e := l.file.Stat()
	if there, e2 := os.Stat(path); err == nil && e == nil && e2 == nil && os.SameFile(mine, there) {
		err = os.Rename(path, path+Old)
	}
	var f *os.File
	if err == nil {
		f, err = l.bounds.Open()
	}
	if err != nil {
		l.failed = time.Now()
		l.out.Reset(l.file)
		l.warn("the log of queries has its largest size, and cannot be renamed; what is not written is counted as lost."+
			" Let the user that rideau runs as write to its folder, or rotate it", err)
		return false
	}
	l.replace(f)
	return true
}

// warn logs a failure, once a minute. mu is held.
func (l *QueryLog) warn(message string, err error) {
	if now := time.Now(); now.Sub(l.warned) > time.Minute {
		l.warned = now
		l.log.Error(message, "file", l.file.Name(), "error", err)
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
func (l *line) query(r *audit.Record, clients Clients) []byte {
	b := l.begin(r.Time)
	if clients != Nobody {
		b = append(b, `,"client":"`...)
		b = clients.appendTo(b, r.Client)
		b = append(b, '"')
	}
	b = append(b, `,"group":`...)
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
