package seal

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"rideau/resolver/audit/lines"
)

// StateSuffix is how the name of the file with the last seal ends.
const StateSuffix = ".seal"

// Options configure a Writer.
type Options struct {
	// File says where the file is and when it ends. Compression and removal of
	// old files are those of package lines.
	File lines.Options
	Key  *Key
	// Node and Sink are told in seals.
	Node, Sink string
	// Every is the longest time between two seals, Lines the number of lines
	// after which there is one.
	Every time.Duration
	Lines int
	// Tail is the longest time that a line has no seal; 0: Every. Until its seal, a
	// line can be cut off unseen.
	Tail time.Duration
	// Sealed is told each seal. It must not wait. nil: nobody is.
	Sealed func(Head)
	Logger *slog.Logger
	// Now is the time; nil: the system's.
	Now func() time.Time
}

// Writer writes each event as a line of a sealed file. It implements
// [rideau/resolver/audit/sink.Writer].
type Writer struct {
	o    Options
	log  *lines.Log
	text *lines.Writer // writes to tee
	stop chan struct{}
	done chan struct{} // closed when the goroutine of timed seals has ended
	tail chan struct{} // gets a token when there are lines without a seal

	mu      sync.Mutex
	begun   bool      // guarded by mu: the file was read
	split   splitter  // guarded by mu: finds lines in what was written
	segment segment   // guarded by mu: the lines since the last seal
	last    *Seal     // guarded by mu: nil before the first
	due     string    // guarded by mu: why a seal must come before anything else; empty for none
	newline bool      // guarded by mu: the last seal lacks its line feed
	size    int64     // guarded by mu: of the file
	opened  time.Time // guarded by mu: when the file began
	patient time.Time // guarded by mu: the file is not ended before
}

// tee writes to the file of a Writer, and adds what was written to the segment.
type tee struct{ w *Writer }

// NewWriter makes a Writer. It fails if the file cannot be appended to. What is in
// the file is read by the first Write: until then another Writer may end it.
func NewWriter(o Options) (*Writer, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	w := &Writer{o: o, segment: newSegment(), stop: make(chan struct{}), done: make(chan struct{}), tail: make(chan struct{}, 1)}
	file := o.File
	file.MaxBytes, file.Every = 0, 0 // here, so that a seal comes before
	var err error
	if w.log, _, err = lines.Open(file); err != nil {
		return nil, err
	}
	w.text = lines.To(tee{w})
	return w, nil
}

// Write implements sink.Writer.
func (w *Writer) Write(ctx context.Context, events [][]byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.ready(); err != nil {
		return 0, err
	}
	octets := int64(0)
	for _, e := range events {
		octets += int64(len(e)) + 1
	}
	if err := w.rotate(octets); err != nil {
		return 0, err
	}
	n, err := w.text.Write(ctx, events)
	if err == nil && w.segment.n >= w.o.Lines {
		w.sealOrDue(Counted)
	}
	if w.segment.n > 0 {
		select {
		case w.tail <- struct{}{}:
		default:
		}
	}
	return n, err
}

// ready reads the file if that was not done, and writes a seal that is due. mu is
// held.
func (w *Writer) ready() error {
	if !w.begun {
		if err := w.recover(); err != nil {
			return err
		}
		w.begun = true
		go w.time()
	}
	if w.due == "" {
		return nil
	}
	return w.seal(w.due)
}

// time makes the seals that time asks for.
func (w *Writer) time() {
	defer close(w.done)
	if w.o.Every <= 0 {
		return
	}
	tick := time.NewTicker(w.o.Every)
	defer tick.Stop()
	var tail <-chan time.Time // nil: no line waits for a seal
	for {
		always := false
		select {
		case <-w.stop:
			return
		case <-w.tail:
			if tail == nil && w.o.Tail > 0 {
				tail = time.After(w.o.Tail)
			}
			continue
		case <-tail:
			tail = nil
		case <-tick.C:
			always = true
		}
		w.mu.Lock()
		if always || w.segment.n > 0 {
			w.sealOrDue(Timed)
		}
		w.mu.Unlock()
	}
}

// rotate ends the file if it has its size or its age, and begins a new one. mu is
// held.
func (w *Writer) rotate(octets int64) error {
	now := w.o.Now()
	full := w.o.File.MaxBytes > 0 && w.size+octets+maxSeal > w.o.File.MaxBytes
	old := w.o.File.Every > 0 && now.Sub(w.opened) >= w.o.File.Every
	if !full && !old || w.last.Why == Opened && w.segment.n == 0 || now.Before(w.patient) {
		return nil
	}
	if err := w.seal(Rotated); err != nil {
		return err
	}
	if err := w.endLine(); err != nil {
		return err
	}
	if err := w.log.Rotate(); err != nil {
		w.o.Logger.Warn("the sealed file is too large or too old and cannot be renamed; it goes on", "sink", w.o.Sink, "error", err)
		w.patient = now.Add(time.Minute)
		w.due = Started
		return w.seal(w.due)
	}
	w.size, w.due = 0, Opened
	w.opened = now
	return w.seal(w.due)
}

// sealOrDue writes a seal, or notes that one is due. mu is held.
func (w *Writer) sealOrDue(why string) {
	if !w.begun {
		return
	}
	if w.due != "" {
		why = w.due
	}
	if err := w.seal(why); err != nil {
		w.due = why
		w.o.Logger.Warn("events could not be sealed; that is tried again with the next event", "sink", w.o.Sink, "error", err)
	}
}

// endLine writes the line feed that a seal lacks. mu is held.
func (w *Writer) endLine() error {
	if !w.newline {
		return nil
	}
	n, err := w.log.Write([]byte{'\n'})
	w.size += int64(n)
	w.newline = n == 0
	return err
}

// seal writes a seal. mu is held.
func (w *Writer) seal(why string) error {
	if w.split.pending() { // what a full disk or a crash left of a line is a line
		if _, err := (tee{w}).Write([]byte{'\n'}); err != nil {
			return err
		}
		w.text = lines.To(tee{w})
	}
	if err := w.endLine(); err != nil {
		return err
	}
	s := &Seal{Schema: "rideau-seal/1", Number: 1, Time: w.o.Now().UTC().Truncate(time.Microsecond), Node: w.o.Node, Sink: w.o.Sink, Why: why,
		Every: int64(w.o.Every / time.Second), Key: w.o.Key.Public().ID()}
	if w.last == nil {
		var chain [8]byte
		rand.Read(chain[:])
		s.Chain = hex.EncodeToString(chain[:])
	} else {
		s.Chain, s.Number, s.Previous = w.last.Chain, w.last.Number+1, hex.EncodeToString(w.last.hash[:])
	}
	w.segment.fill(s)
	text, err := s.sign(w.o.Key)
	if err != nil {
		return err
	}
	n, err := w.log.Write(append(text, '\n'))
	w.size += int64(n)
	if n < len(text) {
		w.split.feed(text[:n], w.segment.add)
		if err == nil {
			err = errors.New("a seal was not written to its end")
		}
		return err
	}
	w.newline = n == len(text)
	w.last, w.segment, w.due = s, newSegment(), ""
	w.save(text)
	if w.o.Sealed != nil {
		w.o.Sealed(s.head())
	}
	return nil
}

// save keeps the last seal beside the file, after the file is on the disk. Without
// it, the chain goes on from what the file holds. mu is held.
func (w *Writer) save(text []byte) {
	path := w.o.File.Path + StateSuffix
	err := w.log.Sync()
	if err == nil {
		err = replace(path, append(text, '\n'))
	}
	if err != nil {
		w.o.Logger.Warn("the last seal could not be kept beside the file", "sink", w.o.Sink, "file", path, "error", err)
	}
}

// replace writes a file that is there as a whole or as it was.
func replace(path string, text []byte) error {
	// Not a name that evidence* would match for rideau verify, if a kill leaves it behind.
	fresh := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
	f, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(fresh, path)
}

// Write implements io.Writer. The Writer's mu is held.
func (t tee) Write(b []byte) (int, error) {
	w := t.w
	if err := w.endLine(); err != nil {
		return 0, err
	}
	n, err := w.log.Write(b)
	w.size += int64(n)
	w.split.feed(b[:n], w.segment.add)
	return n, err
}

// Close implements sink.Writer. It seals what was written.
func (w *Writer) Close() error {
	w.mu.Lock()
	begun := w.begun
	w.mu.Unlock()
	close(w.stop)
	if begun {
		<-w.done
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var err error
	if begun {
		if err = w.seal(Stopped); err == nil {
			err = w.endLine()
		}
	}
	return errors.Join(err, w.log.Close())
}
