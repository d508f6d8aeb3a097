package dnstap

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"time"

	framestream "github.com/farsightsec/golang-framestream"

	"rideau/resolver/audit/lines"
)

// File is a Writer of files that hold a Frame Stream each, as fstrm_capture writes
// them. It is for one goroutine. It implements
// [rideau/resolver/audit/sink.Writer].
//
// A file ends by size and by age, and when the Writer is closed; it has another
// name then. What a full disk left of a frame is removed before anything else is
// written. A file whose program was killed lacks the end of the stream, and may end
// within a frame; what comes before that can be read.
type File struct {
	o      lines.Options
	log    *lines.Log
	frames *framestream.Writer // writes to text; nil: the file has no stream yet
	text   bytes.Buffer        // what is to be written
	size   int64               // of the file: whole frames
	opened time.Time
	torn   bool // the file has more than size
}

// NewFile makes a File. It fails if the file cannot be appended to. What is in the
// file is renamed by the first Write: until then another Writer may end it.
func NewFile(o lines.Options) (*File, error) {
	log, err := open(o)
	if err != nil {
		return nil, err
	}
	return &File{o: o, log: log}, nil
}

// open opens the file. It ends by Rotate alone.
func open(o lines.Options) (*lines.Log, error) {
	o.MaxBytes, o.Every = 0, 0
	log, _, err := lines.Open(o)
	return log, err
}

// Write implements sink.Writer.
func (f *File) Write(_ context.Context, events [][]byte) (int, error) {
	if err := f.mend(); err != nil {
		return 0, err
	}
	octets := int64(0)
	for _, e := range events {
		octets += 4 + int64(len(e))
	}
	full := f.o.MaxBytes > 0 && f.size+octets > f.o.MaxBytes
	if old := f.o.Every > 0 && time.Since(f.opened) >= f.o.Every; f.frames != nil && (full || old) {
		if err := f.end(); err != nil {
			return 0, err
		}
	}
	if f.frames == nil {
		if err := f.begin(); err != nil {
			return 0, err
		}
	}
	for _, e := range events {
		if _, err := f.frames.WriteFrame(e); err != nil {
			return 0, err // never: text takes everything
		}
	}
	if err := f.flush(); err != nil {
		return 0, err
	}
	return len(events), nil
}

// begin begins a stream in an empty file: what the file holds is renamed.
func (f *File) begin() error {
	info, err := os.Stat(f.o.Path)
	if err == nil && info.Size() > 0 {
		err = f.log.Rotate()
	}
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	f.text.Reset()
	frames, err := framestream.NewWriter(&f.text, &framestream.WriterOptions{ContentTypes: [][]byte{[]byte(ContentType)}})
	if err != nil {
		return err
	}
	f.size, f.opened = 0, time.Now()
	if err := f.flush(); err != nil {
		return err
	}
	f.frames = frames
	return nil
}

// flush writes what is in text, all or nothing: what was written of it counts as
// torn off otherwise.
func (f *File) flush() error {
	if f.frames != nil {
		if err := f.frames.Flush(); err != nil {
			return err
		}
	}
	n, err := f.log.Write(f.text.Bytes())
	f.text.Reset()
	if err != nil {
		f.torn = f.torn || n > 0
		return err
	}
	f.size += int64(n)
	return nil
}

// mend removes what the file has more than whole frames.
func (f *File) mend() error {
	if !f.torn {
		return nil
	}
	// A file that was opened new is not appended to, and would get a hole.
	if err := f.log.Close(); err != nil {
		return err
	}
	err := os.Truncate(f.o.Path, f.size)
	log, again := open(f.o)
	if again != nil {
		return again
	}
	f.log = log
	if err != nil {
		return fmt.Errorf("what a full disk left of a frame cannot be removed: %w", err)
	}
	f.torn = false
	return nil
}

// end ends the stream.
func (f *File) end() error {
	err := f.frames.Close()
	if err == nil {
		err = f.flush()
	}
	f.frames = nil
	return err
}

// Close implements sink.Writer. It ends the stream.
func (f *File) Close() error {
	var err error
	if f.frames != nil {
		if err = f.mend(); err == nil {
			err = f.end()
		}
	}
	if e := f.log.Close(); err == nil {
		err = e
	}
	return err
}
