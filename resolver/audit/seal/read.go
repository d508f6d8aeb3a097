package seal

import (
	"bufio"
	"compress/gzip"
	"crypto/ed25519"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/klauspost/compress/zstd"
)

// found is a seal that stands in a file.
type found struct {
	*Seal
	file string
	line int // its number in the file
}

func (f *found) String() string { return fmt.Sprintf("%s:%d", f.file, f.line) }

// read is what is known of one file.
type read struct {
	path  string
	seals []found
	tail  int  // lines after the last seal
	torn  bool // it ends within a line
	lines int
}

// Open opens a file, which may be compressed.
func Open(path string) (r io.Reader, done func() error, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	b := bufio.NewReaderSize(f, 64<<10)
	magic, _ := b.Peek(4)
	switch {
	case len(magic) == 4 && string(magic[:2]) == "\x1f\x8b":
		z, err := gzip.NewReader(b)
		if err != nil {
			f.Close()
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		}
		return z, f.Close, nil
	case string(magic) == "\x28\xb5\x2f\xfd":
		z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(128<<20))
		if err != nil {
			f.Close()
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		}
		return z, func() error { z.Close(); return f.Close() }, nil
	}
	return b, f.Close, nil
}

// readFile reads a file, and compares each segment with its seal.
func (v *verification) readFile(path string) error {
	r, done, err := Open(path)
	if err != nil {
		return err
	}
	defer done()
	file := &read{path: path}
	v.files = append(v.files, file)
	g, begun := newSegment(), 1
	err = eachLine(r, func(l *line) {
		file.lines++
		file.torn = l.torn
		s := parse(l.text)
		if s == nil {
			g.add(l)
			return
		}
		at := found{s, path, file.lines}
		if v.signed(&at) {
			file.seals = append(file.seals, at)
			v.compare(&g, &at, begun)
		}
		g, begun = newSegment(), file.lines+1
	})
	file.tail = g.n
	if err != nil {
		v.fault(Unreadable, &found{file: path, line: file.lines}, "%s cannot be read beyond line %d: %v", path, file.lines, err)
	}
	return nil
}

// signed looks at the signature of a seal.
func (v *verification) signed(s *found) bool {
	for _, k := range v.keys {
		if k.ID() != s.Key {
			continue
		}
		if ed25519.Verify(ed25519.PublicKey(k), s.text, s.proof) {
			return true
		}
		v.fault(Forged, s, "seal %d does not have the signature of key %s: it was changed, or somebody else made it", s.Number, s.Key)
		return false
	}
	v.fault(WrongKey, s, "seal %d is signed with key %s, which is none of those given", s.Number, s.Key)
	return false
}

// compare compares the lines of a segment, which begins on a line, with its seal.
func (v *verification) compare(g *segment, s *found, begun int) {
	var is Seal
	g.fill(&is)
	if is.Head == s.Head && is.Lines == s.Lines {
		v.r.Events += s.Lines
		if s.Why == Resumed && s.Lines > 0 {
			v.note(Tail, s, "%d lines before seal %d had no seal when the program ended, before %s: until then they could be changed", s.Lines, s.Number, stamp(s.Time))
		}
		return
	}
	from, to := differ(&is, s.Seal)
	where := fmt.Sprintf("%s: lines %d to %d", s.file, begun, s.line-1)
	if from > 0 {
		where += fmt.Sprintf(", first between %d and %d", begun+from-1, min(begun+to-1, s.line))
	}
	switch {
	case g.n < s.Lines:
		v.fault(Cut, s, "%s: %d lines are missing of the %d that seal %d covers", where, s.Lines-g.n, s.Lines, s.Number)
	case g.n > s.Lines:
		v.fault(Inserted, s, "%s: there are %d lines more than the %d that seal %d covers", where, g.n-s.Lines, s.Lines, s.Number)
	case is.Sum == s.Sum:
		v.fault(Reordered, s, "%s: they are the lines that seal %d covers, in another order", where, s.Number)
	default:
		v.fault(Changed, s, "%s: they are not the lines that seal %d covers", where, s.Number)
	}
}

// differ returns the lines of a segment, from 1, among which is the first that
// differs from what was sealed; 0 if that is not known.
func differ(is, sealed *Seal) (from, to int) {
	if is.Step < 1 || sealed.Step < 1 {
		return 0, 0
	}
	step := max(is.Step, sealed.Step)
	mark := func(s *Seal, n int) string {
		i := 2 * markSize * (n/s.Step - 1)
		if i < 0 || i+2*markSize > len(s.Marks) || n%s.Step != 0 {
			return ""
		}
		return s.Marks[i:][:2*markSize]
	}
	for n := step; ; n += step {
		if a, b := mark(is, n), mark(sealed, n); a != b || a == "" {
			return n - step + 1, n
		}
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
