package seal

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

// recover reads what earlier runs have written, and says which seal is due. mu is
// held.
func (w *Writer) recover() error {
	state, err := readState(w.o.File.Path + StateSuffix)
	if err != nil {
		return err
	}
	w.last, w.segment, w.split, w.newline, w.size = nil, newSegment(), splitter{}, false, 0
	w.opened = w.o.Now()
	f, err := os.Open(w.o.File.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil {
		defer f.Close()
		if err := w.read(f); err != nil {
			return err
		}
	}
	tail := w.segment.n > 0 || w.split.pending()
	switch {
	case state == nil:
	case w.last == nil || w.last.Chain != state.Chain && state.Time.After(w.last.Time):
		w.last = state // the file before was renamed
	case w.last.Chain == state.Chain && w.last.Number < state.Number:
		w.o.Logger.Warn("the end of the sealed file is missing: seals were written that it does not hold", "sink", w.o.Sink, "file", w.o.File.Path,
			"last_written", state.Number, "last_found", w.last.Number)
		w.last = state
	}
	switch {
	case tail:
		w.o.Logger.Warn("events at the end of the file were not sealed when the program ended; they are sealed now, with a note", "sink", w.o.Sink, "file", w.o.File.Path)
		w.due = Resumed
	case w.size == 0:
		w.due = Opened
	default:
		w.due = Started
	}
	return nil
}

// read reads the file: its last seal, and the lines after it. mu is held.
func (w *Writer) read(f *os.File) error {
	first := true
	found := func(s *Seal) {
		if first {
			w.opened, first = s.Time, false
		}
		w.last, w.segment = s, newSegment()
	}
	buf := make([]byte, 64<<10)
	for {
		n, err := f.Read(buf)
		w.size += int64(n)
		w.split.feed(buf[:n], func(l *line) {
			if s := parse(l.text); s != nil {
				found(s)
			} else {
				w.segment.add(l)
			}
		})
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if s := parse(w.split.text); w.split.pending() && s != nil {
		found(s) // only its line feed is missing
		w.split, w.newline = splitter{}, true
	}
	return nil
}

// readState reads the last seal that was kept beside the file; nil if there is
// none.
func readState(path string) (*Seal, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var s *Seal
	err = eachLine(f, func(l *line) {
		if p := parse(l.text); p != nil {
			s = p
		}
	})
	return s, err
}
