package format

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/netip"

	"golang.org/x/net/idna"

	"rideau/resolver/wire"
)

// maxLine is the longest line, in octets, its end aside.
const maxLine = 64 << 10

// reader is the state of one [Read].
type reader struct {
	br    *bufio.Reader
	opt   Options
	add   func(Entry) error
	stats Stats
	at    int // the line that entries and problems are of, from 1

	content int     // lines neither blank nor comment
	bad     bool    // the line in hand is counted as skipped
	first   Problem // of all skipped lines

	passed map[fault]int // lines passed over, by why

	tiers [len(allTiers)]bool // of a pack, those to take
	idn   *idna.Profile       // made when first needed
	name  [wire.MaxName + 1]byte
}

func newReader(r io.Reader, opt Options, add func(Entry) error) *reader {
	return &reader{br: newBuffer(r), opt: opt, add: add, passed: map[fault]int{}}
}

// newBuffer is a buffer with room for the longest line and its end, "\r\n".
func newBuffer(r io.Reader) *bufio.Reader { return bufio.NewReaderSize(r, maxLine+2) }

// each reads lines that have one of the shapes, and calls f for each other
// line that is not blank, without its end and the white space around it, until
// something fails. The line counts as content unless f says that it is a
// comment.
func (l *reader) each(shapes []shape, f func(line []byte) error) error {
	for {
		if err := l.quick(shapes); err != nil {
			return err
		}
		line, long, err := l.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if line = trim(line); len(line) == 0 {
			continue
		}
		l.content++
		if long && (line[0] == '#' || line[0] == '!' && l.opt.Format == Adblock) {
			l.comment()
			continue
		}
		if long {
			l.skip(line, faultLongLine)
			continue
		}
		if bytes.IndexByte(line, 0) >= 0 {
			l.skip(line, faultNUL)
			continue
		}
		l.noteSerial(line)
		if err := f(line); err != nil {
			return err
		}
	}
}

// next returns the next line with its end still on it, borrowed until the
// following call; of a line that is too long, the beginning. The error is
// io.EOF at the end, and otherwise has file and line.
func (l *reader) next() (line []byte, long bool, err error) {
	l.bad = false
	line, err = l.br.ReadSlice('\n')
	if err == io.EOF && len(line) == 0 {
		return nil, false, io.EOF
	}
	l.stats.Lines++
	l.at = l.stats.Lines
	switch {
	case err == bufio.ErrBufferFull:
		if err = l.refuse(line); err != nil {
			return nil, true, err
		}
		start := bytes.Clone(line[:maxText+1])
		return start, true, l.discardLine()
	case err != nil && err != io.EOF:
		return nil, false, l.readError(err)
	}
	if l.at == 1 {
		line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
	}
	// The buffer has room for the longer of the two line ends, so that a line
	// with the shorter may be an octet too long and yet fit.
	return line, len(trimEnd(line)) > maxLine, l.refuse(line)
}

// discardLine reads to the end of the line in hand.
func (l *reader) discardLine() error {
	for {
		_, err := l.br.ReadSlice('\n')
		switch {
		case err == nil || err == io.EOF:
			return nil
		case err != bufio.ErrBufferFull:
			return l.readError(err)
		}
	}
}

var (
	faultNUL     = fault{reason: "a NUL octet", remedy: "remove it"}
	faultBinary  = fault{reason: "looks like a binary file, not a list (it has a NUL octet)", remedy: "check what the list's address delivers; it must be uncompressed UTF-8 text"}
	faultWebPage = fault{reason: "looks like a web page, not a list", remedy: "check the list's address: it may ask to sign in, or have moved"}
)

// refuse reports what shows that the input is no list at all.
func (l *reader) refuse(line []byte) error {
	for _, b := range line {
		if b == ' ' || b == '\t' {
			continue
		}
		if b == '<' && isHTML(trim(line)) {
			return l.problem(trim(line), faultWebPage)
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

// aside counts the line in hand as one that is not about DNS.
func (l *reader) aside(f fault) {
	l.content--
	l.stats.NotDNS++
	l.passed[f]++
}

// comment takes back the count of the line in hand as content.
func (l *reader) comment() { l.content-- }

// skip counts the line in hand as unusable, once, and keeps the fault.
func (l *reader) skip(text []byte, f fault) {
	if !l.bad {
		l.bad = true
		// A line may be read twice, and is one line all the same.
		l.stats.Skipped = min(l.stats.Skipped+1, l.stats.Lines)
		l.passed[f.base()]++
	}
	if len(l.stats.Problems) < MaxProblems {
		p := l.problem(text, f)
		if len(l.stats.Problems) == 0 {
			l.first = p
		}
		l.stats.Problems = append(l.stats.Problems, p)
	}
}

func (l *reader) problem(text []byte, f fault) Problem {
	return Problem{File: l.opt.File, Line: l.at, Text: quotable(text), Reason: f.reason, Remedy: f.remedy}
}

// tooManySkipped is the error of a list of which too little can be used.
func (l *reader) tooManySkipped() error {
	if l.stats.Skipped == 0 || float64(l.stats.Skipped) <= l.opt.MaxSkipped*float64(l.content) {
		return nil
	}
	return fmt.Errorf("%s: %d of %d lines (%.1f %%) are unusable, more than the %.1f %% allowed; the first: %w",
		l.opt.File, l.stats.Skipped, l.content, 100*float64(l.stats.Skipped)/float64(l.content), 100*l.opt.MaxSkipped, l.first)
}

// emitName gives add a name, in wire form.
func (l *reader) emitName(name []byte, m Match) error { return l.emitRule(name, m, nil) }

// emitRule is emitName with what the entry says beyond.
func (l *reader) emitRule(name []byte, m Match, r *Rule) error {
	if m != Exact && !l.opt.AllowTLD && mayBeSuffix(name) && (r == nil || !r.Except) && isPublicSuffix(name) {
		l.skip([]byte(wire.NameString(name)), faultPublic)
		return nil
	}
	l.stats.Entries++
	if err := l.add(Entry{Name: name, Match: m, Line: l.at, Rule: r}); err != nil {
		return fmt.Errorf("%s:%d: %w", l.opt.File, l.at, err)
	}
	return nil
}

// emitPrefix gives add a block of addresses.
func (l *reader) emitPrefix(p netip.Prefix) error {
	l.stats.Entries++
	if err := l.add(Entry{Prefix: p, Line: l.at}); err != nil {
		return fmt.Errorf("%s:%d: %w", l.opt.File, l.at, err)
	}
	return nil
}

// trimEnd removes the end of a line.
func trimEnd(line []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
}

// trim removes ASCII white space and line ends at both ends.
func trim(b []byte) []byte {
	for len(b) > 0 && isSpace(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	for len(b) > 0 && isSpace(b[0]) {
		b = b[1:]
	}
	return b
}

func isSpace(b byte) bool { return b == ' ' || '\t' <= b && b <= '\r' }

// uncomment cuts a comment: a # at the start of a line or after white space.
func uncomment(line []byte) []byte {
	for from := 0; ; {
		i := bytes.IndexByte(line[from:], '#')
		if i < 0 {
			return line
		}
		if i += from; i == 0 || isSpace(line[i-1]) {
			return trim(line[:i])
		}
		from = i + 1
	}
}

// field cuts the first field off, as white space divides them.
func field(line []byte) (first, rest []byte) {
	for i, b := range line {
		if isSpace(b) {
			return line[:i], trim(line[i:])
		}
	}
	return line, nil
}
