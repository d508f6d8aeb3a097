package syntax

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"io"
	"time"
)

// MaxLine is the longest line, in octets without its end.
const MaxLine = 64 << 10

// Errors of a list that takes more than it may.
var (
	// ErrTooLarge is the error of a compressed list that expands to more than it may.
	ErrTooLarge = errors.New("expands to more than the list may have")
	// ErrTooManyLines is the error of a list with more lines than it may have.
	ErrTooManyLines = errors.New("the list has more lines than it may have")
	// ErrTooSlow is the error of a list whose reading takes too long.
	ErrTooSlow = errors.New("reading the list takes too long")
)

// MaxLines is how many lines a list may have by default, blank ones and those of the files that it includes too. A few octets of a
// compressed list can expand to very many.
const MaxLines = 1 << 25

var (
	faultGzip    = Fault{Reason: "begins like a compressed file, and is none", Remedy: "check what the list's address delivers"}
	faultWebPage = Fault{Reason: "looks like a web page, not a list", Remedy: "check the list's address: it may ask to sign in, or have moved"}
)

// Lines reads lines of bounded length, and counts them.
type Lines struct {
	// N is the number of lines that were read: that of the last one, from 1.
	N int
	// Max is how many lines there may be; 0 is MaxLines. Until is when reading has to have ended; zero for no bound.
	Max   int
	Until time.Time
	timed int // the number of lines at which the time is compared with Until next
	br    *bufio.Reader
	outer []*bufio.Reader
}

// NewLines returns the lines of r.
func NewLines(r io.Reader) *Lines { return &Lines{br: newBuffer(r)} }

// newBuffer returns a buffer that holds the longest line and its end, "\r\n".
func newBuffer(r io.Reader) *bufio.Reader { return bufio.NewReaderSize(r, MaxLine+2) }

// Decompress has what follows decompressed, if it begins as gzip does, to max octets at
// most.
func (l *Lines) Decompress(max int64) error {
	if head, _ := l.br.Peek(2); string(head) != "\x1f\x8b" {
		return nil
	}
	z, err := gzip.NewReader(l.br)
	if err != nil {
		return &Error{Fault: faultGzip}
	}
	l.br = newBuffer(&limited{z, max})
	return nil
}

// limited is a reader that fails if there are more than left octets.
type limited struct {
	r    io.Reader
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left < 0 {
		return 0, ErrTooLarge
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.left+1)])
	if l.left -= int64(n); l.left < 0 {
		return max(n-1, 0), ErrTooLarge
	}
	return n, err
}

// Peek returns up to n octets of what follows, without reading them. It tells no error: that
// comes again with the first line.
func (l *Lines) Peek(n int) []byte {
	b, _ := l.br.Peek(n)
	return b
}

// Buffered returns what follows as far as it is in memory, without reading it. It is valid until the
// next call of a method.
func (l *Lines) Buffered() []byte { return l.Peek(l.br.Buffered()) }

// Discard skips octets that Buffered returned. The caller counts the lines in them.
func (l *Lines) Discard(octets int) {
	l.br.Discard(octets) // no error: it is in the buffer
}

// Enter reads the lines of another file before those that follow. Lines are numbered on.
func (l *Lines) Enter(r io.Reader) {
	l.outer = append(l.outer, l.br)
	l.br = newBuffer(r)
}

// Leave goes back to the file before the last Enter.
func (l *Lines) Leave() {
	l.br = l.outer[len(l.outer)-1]
	l.outer = l.outer[:len(l.outer)-1]
}

// Next returns the next line with its end, valid until the
// following call; of a line that is too long, the beginning, with long set. The error is
// io.EOF at the end, and otherwise an [Error].
func (l *Lines) Next() (line []byte, long bool, err error) {
	line, err = l.br.ReadSlice('\n')
	if err == io.EOF && len(line) == 0 {
		return nil, false, io.EOF
	}
	l.N++
	if tooMuch := l.bound(); tooMuch != nil {
		return nil, false, tooMuch
	}
	switch {
	case err == bufio.ErrBufferFull:
		if err = checkPage(line); err != nil {
			return nil, true, err
		}
		start := bytes.Clone(line[:MaxQuote+1])
		return start, true, l.discardLine()
	case err != nil && err != io.EOF:
		return nil, false, &Error{Err: err}
	}
	if l.N == 1 {
		line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
	}
	// The buffer is long enough for the longer of the two line ends, so that a line
	// with the shorter may be an octet too long and yet fit.
	return line, len(trimEnd(line)) > MaxLine, checkPage(line)
}

// bound returns an error if there were too many lines, or if reading takes too long.
func (l *Lines) bound() error {
	const often = 256
	switch {
	case l.N > cmp.Or(l.Max, MaxLines):
		return &Error{Err: ErrTooManyLines}
	case l.N < l.timed || l.Until.IsZero():
		return nil
	case time.Now().After(l.Until):
		return &Error{Err: ErrTooSlow}
	}
	l.timed = l.N + often
	return nil
}

// SkipBlank skips empty lines, as far as they are in memory, and counts them.
func (l *Lines) SkipBlank() {
	all := l.Buffered()
	n := 0
	for n < len(all) && all[n] == '\n' {
		n++
	}
	l.N += n
	l.Discard(n)
}

// discardLine reads to the end of the line at hand.
func (l *Lines) discardLine() error {
	for {
		_, err := l.br.ReadSlice('\n')
		switch {
		case err == nil || err == io.EOF:
			return nil
		case err != bufio.ErrBufferFull:
			return &Error{Err: err}
		}
	}
}

// checkPage returns an error if a line shows that this is a web page.
func checkPage(line []byte) error {
	for _, b := range line {
		if b == ' ' || b == '\t' {
			continue
		}
		if b == '<' && isHTML(Trim(line)) {
			return &Error{Text: bytes.Clone(Trim(line)), Fault: faultWebPage}
		}
		break
	}
	return nil
}

func isHTML(line []byte) bool {
	for _, tag := range [...]string{"<!doctype", "<html"} {
		if len(line) >= len(tag) && bytes.EqualFold(line[:len(tag)], []byte(tag)) {
			return true
		}
	}
	return false
}

// trimEnd removes the end of a line.
func trimEnd(line []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
}

// Trim removes ASCII white space and line ends at both ends.
func Trim(b []byte) []byte {
	for len(b) > 0 && IsSpace(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	for len(b) > 0 && IsSpace(b[0]) {
		b = b[1:]
	}
	return b
}

// IsSpace reports whether an octet is ASCII white space or a line end.
func IsSpace(b byte) bool { return b == ' ' || '\t' <= b && b <= '\r' }

// Uncomment removes a comment: a # at the start of a line or after white space.
func Uncomment(line []byte) []byte {
	for from := 0; ; {
		i := bytes.IndexByte(line[from:], '#')
		if i < 0 {
			return line
		}
		if i += from; i == 0 || IsSpace(line[i-1]) {
			return Trim(line[:i])
		}
		from = i + 1
	}
}

// Field cuts the first field off, as white space divides them.
func Field(line []byte) (first, rest []byte) {
	for i, b := range line {
		if IsSpace(b) {
			return line[:i], Trim(line[i:])
		}
	}
	return line, nil
}
