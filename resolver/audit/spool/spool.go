// Package spool keeps events that could not be delivered, in order, until they
// are: in memory, or in a folder.
//
// # Files
//
// A folder holds segments, named by their number: 0000000001.spool. A segment is
// a sequence of entries: the length of the event in four octets, the CRC-32C of
// the event in four, both little endian, and the event. The file delivered says
// how far events were delivered: the number of a segment and an offset in it, as
// text. A segment all of whose events were delivered is removed.
//
// After a crash the last segment may end within an entry. What cannot be read is
// cut off when the folder is opened, and Open says how many octets that were. The
// file delivered may then be older than what was delivered: some events are
// delivered twice, never none.
//
// There are libraries for queues on disk. Those that are kept up either count an
// event as delivered when it is read, or refuse to open a folder whose last entry
// is incomplete; neither is right here.
package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
)

const (
	header      = 8       // octets before each event
	segmentSize = 4 << 20 // a segment that has reached it is followed by another
	suffix      = ".spool"
	cursorFile  = "delivered"
	// MaxEvent is the length of the longest event.
	MaxEvent = 1 << 20
)

// ErrFull is the error of an event for which the bound leaves no space.
var ErrFull = errors.New("the spool has its largest size")

// Spool is a queue of events in a folder. It is safe for concurrent use; two
// Spools must not use one folder.
type Spool struct {
	dir string
	max int64

	mu       sync.Mutex
	segments []segment // guarded by mu: oldest first; the last one is written
	file     *os.File  // guarded by mu: the last segment, nil until it is written
	read     *os.File  // guarded by mu: the first segment, nil until it is read
	offset   int64     // guarded by mu: in the first segment, of the first event that was not delivered
	events   int       // guarded by mu: not delivered
	buf      []byte    // guarded by mu
}

type segment struct {
	number uint64
	size   int64
	events int
}

// Open opens a folder, which is made if it does not exist. The spool takes up to
// max octets. cut is how many octets at the end of it could not be read.
func Open(dir string, max int64) (s *Spool, cut int64, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, 0, err
	}
	s = &Spool{dir: dir, max: max}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, 0, err
	}
	for _, e := range entries {
		var n uint64
		name, ok := strings.CutSuffix(e.Name(), suffix)
		if !ok || len(name) != 10 {
			continue
		}
		if _, err := fmt.Sscanf(name, "%d", &n); err == nil {
			s.segments = append(s.segments, segment{number: n})
		}
	}
	sort.Slice(s.segments, func(i, j int) bool { return s.segments[i].number < s.segments[j].number })
	if err := s.position(); err != nil {
		return nil, 0, err
	}
	for i := range s.segments {
		from := int64(0)
		if i == 0 {
			from = s.offset
		}
		n, err := s.measure(&s.segments[i], from)
		if err != nil {
			return nil, 0, err
		}
		cut += n
		s.events += s.segments[i].events
	}
	return s, cut, nil
}

// position reads how far events were delivered, and removes the segments before.
func (s *Spool) position() error {
	text, err := os.ReadFile(filepath.Join(s.dir, cursorFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var number uint64
	var offset int64
	if n, _ := fmt.Sscanf(string(text), "%d %d", &number, &offset); n != 2 {
		return nil // all that is there is delivered again
	}
	for len(s.segments) > 0 && s.segments[0].number < number {
		if err := os.Remove(s.path(s.segments[0].number)); err != nil {
			return err
		}
		s.segments = s.segments[1:]
	}
	if len(s.segments) > 0 && s.segments[0].number == number {
		s.offset = offset
	}
	return nil
}

// measure counts the events of a segment from an offset on, and cuts off what
// cannot be read.
func (s *Spool) measure(g *segment, from int64) (cut int64, err error) {
	f, err := os.OpenFile(s.path(g.number), os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if from < 0 || from > info.Size() {
		from = 0
	}
	if _, err := readEntry(f, from, info.Size(), &s.buf); err != nil && from < info.Size() {
		from = 0 // not where an event begins: rather deliver twice than lose
	}
	if g == &s.segments[0] {
		s.offset = from
	}
	at := from
	for {
		event, err := readEntry(f, at, info.Size(), &s.buf)
		if err != nil {
			break
		}
		at += header + int64(len(event))
		g.events++
	}
	g.size = at
	if cut = info.Size() - at; cut > 0 {
		return cut, f.Truncate(at)
	}
	return 0, nil
}

var errEnd = errors.New("no whole event")

// readEntry reads the event at an offset of a file of a size. It is valid until
// buf is used again.
func readEntry(f *os.File, at, size int64, buf *[]byte) ([]byte, error) {
	var h [header]byte
	if at+header > size {
		return nil, errEnd
	}
	if _, err := f.ReadAt(h[:], at); err != nil {
		return nil, err
	}
	n := int64(binary.LittleEndian.Uint32(h[:]))
	if n > MaxEvent || at+header+n > size {
		return nil, errEnd
	}
	if int64(cap(*buf)) < n {
		*buf = make([]byte, n, 2*n)
	}
	b := (*buf)[:n]
	if _, err := f.ReadAt(b, at+header); err != nil {
		return nil, err
	}
	if crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) != binary.LittleEndian.Uint32(h[4:]) {
		return nil, errEnd
	}
	return b, nil
}

func (s *Spool) path(number uint64) string {
	return filepath.Join(s.dir, fmt.Sprintf("%010d%s", number, suffix))
}

// Append keeps events, in order. It returns how many it kept: fewer than all with
// ErrFull, or with the error of the disk.
func (s *Spool) Append(events [][]byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := 0
	for kept < len(events) {
		n, err := s.append(events[kept:])
		kept += n
		if err != nil {
			return kept, err
		}
	}
	return kept, nil
}

// append writes some events to one segment. mu is held.
func (s *Spool) append(events [][]byte) (int, error) {
	if err := s.writable(); err != nil {
		return 0, err
	}
	g := &s.segments[len(s.segments)-1]
	space, b, n := s.max-s.size(), s.buf[:0], 0
	var err error
	for _, e := range events {
		if len(e) > MaxEvent {
			err = fmt.Errorf("an event of %d octets is longer than %d", len(e), MaxEvent)
			break
		}
		if int64(len(b)+header+len(e)) > space {
			err = ErrFull
			break
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(len(e)))
		b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(e, crc32.MakeTable(crc32.Castagnoli)))
		b = append(b, e...)
		n++
		if g.size+int64(len(b)) >= segmentSize {
			break
		}
	}
	s.buf = b
	if n == 0 {
		return 0, err
	}
	if _, werr := s.file.WriteAt(b, g.size); werr != nil {
		_ = s.file.Truncate(g.size) // Open would cut it off as well
		return 0, werr
	}
	g.size += int64(len(b))
	g.events += n
	s.events += n
	return n, err
}

// writable makes sure that the last segment can be written. mu is held.
func (s *Spool) writable() error {
	last := len(s.segments) - 1
	if last < 0 || s.segments[last].size >= segmentSize {
		number := uint64(1)
		if last >= 0 {
			number = s.segments[last].number + 1
		} else if n := s.delivered(); n > 0 {
			number = n + 1
		}
		f, err := os.OpenFile(s.path(number), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		if s.file != nil {
			s.file.Close()
		}
		s.file = f
		s.segments = append(s.segments, segment{number: number})
		return nil
	}
	if s.file != nil {
		return nil
	}
	var err error
	s.file, err = os.OpenFile(s.path(s.segments[last].number), os.O_RDWR, 0)
	return err
}

// delivered returns the number of the segment in the file delivered; 0 if there
// is none. mu is held.
func (s *Spool) delivered() uint64 {
	text, err := os.ReadFile(filepath.Join(s.dir, cursorFile))
	var n uint64
	if err == nil {
		fmt.Sscanf(string(text), "%d", &n)
	}
	return n
}

// size is how many octets the segments take. mu is held.
func (s *Spool) size() int64 {
	n := int64(0)
	for i := range s.segments {
		n += s.segments[i].size
	}
	return n
}

// Next returns the events that are to be delivered next: at most most, and at
// most about octets. It returns none if none are kept. They are copies, and are
// returned again until Delivered is called.
func (s *Spool) Next(most, octets int) ([][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out [][]byte
	for len(out) == 0 && s.events > 0 {
		g := &s.segments[0]
		if s.read == nil {
			f, err := os.Open(s.path(g.number))
			if err != nil {
				return nil, err
			}
			s.read = f
		}
		at := s.offset
		for len(out) < most && (octets > 0 || len(out) == 0) {
			e, err := readEntry(s.read, at, g.size, &s.buf)
			if errors.Is(err, errEnd) {
				break
			}
			if err != nil {
				return nil, err
			}
			out = append(out, append([]byte(nil), e...))
			at += header + int64(len(e))
			octets -= len(e)
		}
		if len(out) == 0 {
			s.events -= g.events // damaged since it was opened; Open would cut it off
			g.events = 0
			if err := s.drop(); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// Delivered says that the first events that Next returned were delivered. They
// are not returned again.
func (s *Spool) Delivered(events [][]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(events) == 0 || len(s.segments) == 0 {
		return nil
	}
	g := &s.segments[0]
	for _, e := range events {
		s.offset += header + int64(len(e))
	}
	g.events -= len(events)
	s.events -= len(events)
	if s.offset >= g.size && (len(s.segments) > 1 || g.size >= segmentSize || s.events == 0) {
		return s.drop()
	}
	return s.save(g.number, s.offset)
}

// drop removes the first segment. mu is held.
func (s *Spool) drop() error {
	g := s.segments[0]
	if s.read != nil {
		s.read.Close()
		s.read = nil
	}
	if len(s.segments) == 1 && s.file != nil {
		s.file.Close()
		s.file = nil
	}
	s.segments, s.offset = s.segments[1:], 0
	err := s.save(g.number+1, 0)
	if e := os.Remove(s.path(g.number)); err == nil {
		err = e
	}
	return err
}

// save writes the file delivered. mu is held.
func (s *Spool) save(number uint64, offset int64) error {
	path := filepath.Join(s.dir, cursorFile)
	if err := os.WriteFile(path+".new", fmt.Appendf(nil, "%d %d\n", number, offset), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// Sync writes what was appended to the disk, so that it outlives a loss of power.
func (s *Spool) Sync() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	return s.file.Sync()
}

// Events is how many events wait, and Bytes how many octets they take on disk,
// with those of the first segment that were delivered.
func (s *Spool) Events() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.events
}

// Bytes is how many octets the spool takes.
func (s *Spool) Bytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size()
}

// Max is the bound on Bytes.
func (s *Spool) Max() int64 { return s.max }

// Close closes the files. What waits stays in the folder.
func (s *Spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	if s.file != nil {
		err = s.file.Sync()
		s.file.Close()
	}
	if s.read != nil {
		s.read.Close()
	}
	s.file, s.read = nil, nil
	return err
}
