// Package lines writes events as lines: to a file that begins anew by size and by
// age, or to the standard output.
//
// Rotation, removal and compression of files are timberjack's: it is kept up, has
// both bounds, and names files by the time at which they ended.
package lines

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/DeRuina/timberjack"
)

// Options say how a file is kept.
type Options struct {
	Path string
	// MaxBytes is the size at which a file ends and a new one begins, in whole
	// mebibytes; 0: size does not matter.
	MaxBytes int64
	// Every is the age at which it does; 0: age does not matter.
	Every time.Duration
	// Files and Days bound how many old files are kept, and for how long; 0: there
	// is no such bound.
	Files, Days int
	// Compress compresses old files: gzip, zstd, or empty.
	Compress string
}

// Writer writes each event as a line. It is for one goroutine. It implements
// [rideau/resolver/audit/sink.Writer].
type Writer struct {
	out  io.Writer
	end  func() error
	torn bool // the last line has no end
	buf  []byte
}

// Log is a file that is appended to until it ends, by size, by age or by Rotate.
// Then it has another name, and a new one begins.
type Log struct{ l *timberjack.Logger }

// Write appends to the file.
func (g *Log) Write(b []byte) (int, error) { return g.l.Write(b) }

// Rotate ends the file and begins a new one.
func (g *Log) Rotate() error { return g.l.RotateWithReason("size") }

// Sync waits until what was written is on the disk.
func (g *Log) Sync() error { return g.l.Sync() }

// Close closes the file.
func (g *Log) Close() error { return g.l.Close() }

// File makes a Writer to a file. It fails if the file cannot be appended to.
func File(o Options) (*Writer, error) {
	l, torn, err := Open(o)
	if err != nil {
		return nil, err
	}
	return &Writer{out: l, end: l.Close, torn: torn}, nil
}

// Open opens a file to append to, and reports whether it ends within a line. It
// fails if the file cannot be appended to.
func Open(o Options) (l *Log, torn bool, err error) {
	if err := os.MkdirAll(filepath.Dir(o.Path), 0o750); err != nil {
		return nil, false, err
	}
	f, err := os.OpenFile(o.Path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return nil, false, err
	}
	torn, err = endsTorn(o.Path)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return nil, false, err
	}
	j := &timberjack.Logger{Filename: o.Path, MaxSize: int(max(o.MaxBytes>>20, 1)), MaxAge: o.Days, MaxBackups: o.Files,
		RotationInterval: o.Every, Compression: o.Compress, FileMode: 0o640}
	if o.Compress == "" {
		j.Compression = "none"
	}
	if o.MaxBytes == 0 {
		j.MaxSize = 1 << 40 // mebibytes
	}
	return &Log{j}, torn, nil
}

// endsTorn reports whether a file ends within a line.
func endsTorn(path string) (bool, error) {
	f, err := os.Open(path)
	if os.IsPermission(err) {
		return false, nil // a file that may be written and not read
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return false, err
	}
	var last [1]byte
	if _, err := f.ReadAt(last[:], info.Size()-1); err != nil {
		return false, err
	}
	return last[0] != '\n', nil
}

// To makes a Writer to w, which is not closed.
func To(w io.Writer) *Writer { return &Writer{out: w, end: func() error { return nil }} }

// Write implements sink.Writer. If the disk is full in the middle of a line, the
// line is offered again, and the rest of it in the file is a line of its own.
func (w *Writer) Write(_ context.Context, events [][]byte) (int, error) {
	b := w.buf[:0]
	if w.torn {
		b = append(b, '\n')
	}
	begin := len(b)
	for _, e := range events {
		if bytes.IndexByte(e, '\n') >= 0 {
			return 0, fmt.Errorf("an event has more than one line: %.40q", e)
		}
		b = append(b, e...)
		b = append(b, '\n')
	}
	w.buf = b
	n, err := w.out.Write(b)
	if err == nil {
		w.torn = false
		return len(events), nil
	}
	if n > 0 {
		w.torn = b[n-1] != '\n'
	}
	taken := bytes.Count(b[begin:max(n, begin)], []byte("\n"))
	if n > begin && n < len(b) && b[n] == '\n' && w.torn {
		taken++ // only its end is missing, which the next Write begins with
	}
	return taken, err
}

// Close implements sink.Writer.
func (w *Writer) Close() error { return w.end() }
