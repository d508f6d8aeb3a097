package format

import (
	"bytes"
	"cmp"
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"

	"rideau/blocklists/entry"
	"rideau/blocklists/format/syntax"
	"rideau/resolver/wire"
)

var (
	faultNUL    = syntax.Fault{Reason: "a NUL octet", Remedy: "remove it"}
	faultBinary = syntax.Fault{Reason: "looks like a binary file, not a list (it has a NUL octet)", Remedy: "check what the list's address delivers; it must be uncompressed UTF-8 text"}
	faultUTF16  = syntax.Fault{Reason: "text in UTF-16", Remedy: "save the file as UTF-8"}
)

const (
	// headSize is how many octets at the beginning of a list tell its format.
	headSize = 64 << 10
	// binarySize is how many octets at the beginning of a list must not contain a NUL. One further
	// on makes its line unusable, no more.
	binarySize = 512

	defaultMaxBytes = 1 << 30
)

// reader is the state of one [Read].
type reader struct {
	lines syntax.Lines
	names syntax.Names
	opt   Options
	f     func(entry.Entry) error
	stats Stats
	at    int // the line that entries and problems are of, from 1

	content int // lines that are neither blank nor comment
	// detected says that the format is what most lines seem to have.
	detected bool

	bad   bool    // the line at hand is counted as skipped
	first Problem // of all skipped lines

	reasons map[syntax.Fault]int // lines skipped or aside, by why

	tiers [len(allTiers)]bool // of a pack, those whose rows count
}

func newReader(r io.Reader, opt Options, f func(entry.Entry) error) *reader {
	return &reader{lines: *syntax.NewLines(r), opt: opt, f: f, reasons: map[syntax.Fault]int{}}
}

// begin looks at how the input begins, and decides on the format.
func (l *reader) begin(f Format) error {
	l.at, l.lines.Max, l.lines.Until = 1, l.opt.MaxLines, l.opt.Until
	if err := l.lines.Decompress(l.maxBytes()); err != nil {
		return l.fail(err)
	}
	head := l.lines.Peek(headSize)
	switch {
	case bytes.HasPrefix(head, []byte("\xff\xfe")) || bytes.HasPrefix(head, []byte("\xfe\xff")):
		return l.problem(nil, faultUTF16)
	case bytes.IndexByte(head[:min(len(head), binarySize)], 0) >= 0:
		l.at = 1 + bytes.Count(head[:bytes.IndexByte(head, 0)], []byte("\n"))
		return l.problem(nil, faultBinary)
	case f == Auto:
		f, l.detected = Detect(head), true
	}
	l.opt.Format, l.stats.Format = f, f
	return nil
}

func (l *reader) maxBytes() int64 { return cmp.Or(l.opt.MaxBytes, defaultMaxBytes) }

// each reads lines that have one of the shapes, and calls f for each other
// line that is not blank, without its end and the white space around it, until
// something fails. The line counts as content unless f says that it is a
// comment.
func (l *reader) each(shapes []shape, f func(line []byte) error) error {
	for {
		if err := l.quick(shapes); err != nil {
			return err
		}
		l.bad = false
		line, long, err := l.lines.Next()
		if err == io.EOF {
			return nil
		}
		l.at = l.lines.N
		if err != nil {
			return l.fail(err)
		}
		if line = syntax.Trim(line); len(line) == 0 {
			l.lines.SkipBlank()
			continue
		}
		l.content++
		if long && (line[0] == '#' || line[0] == '!' && l.opt.Format == Adblock) {
			l.comment()
			continue
		}
		if long {
			l.skip(line, syntax.FaultLongLine)
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

// noteSerial stores the version that a comment tells.
func (l *reader) noteSerial(line []byte) {
	if l.stats.HasSerial || l.at > 100 || line[0] != '#' && line[0] != '!' {
		return
	}
	text := bytes.ToLower(bytes.TrimLeft(line, "#! \t"))
	for _, word := range [...]string{"serial:", "version:"} {
		digits, ok := bytes.CutPrefix(text, []byte(word))
		if !ok {
			continue
		}
		digits, _ = syntax.Field(syntax.Trim(digits))
		var n uint64
		for _, d := range digits {
			if d < '0' || d > '9' || n > (1<<63)/10 {
				return
			}
			n = n*10 + uint64(d-'0')
		}
		l.stats.Serial, l.stats.HasSerial = n, len(digits) > 0
	}
}

// aside counts the line at hand as one that is not about DNS.
func (l *reader) aside(f syntax.Fault) {
	l.content--
	l.stats.NotDNS++
	l.reasons[f]++
}

// comment says that the line at hand is no content.
func (l *reader) comment() { l.content-- }

// skip counts the line at hand as unusable, once, and stores the fault.
func (l *reader) skip(text []byte, f syntax.Fault) {
	if !l.bad {
		l.bad = true
		// A line may be read twice, and is one line all the same.
		l.stats.Skipped = min(l.stats.Skipped+1, l.lines.N)
		why := f
		why.Detail = ""
		l.reasons[why]++
	}
	if len(l.stats.Problems) < MaxProblems {
		p := l.problem(text, f)
		if len(l.stats.Problems) == 0 {
			l.first = p
		}
		l.stats.Problems = append(l.stats.Problems, p)
	}
}

func (l *reader) problem(text []byte, f syntax.Fault) Problem {
	p := Problem{File: l.opt.File, Line: l.at, Text: syntax.Quote(text), Reason: f.String(), Remedy: f.Remedy}
	if l.detected && f.Mixed != "" {
		p.Remedy = f.Mixed
	}
	return p
}

// fail returns the error for what ended the reading.
func (l *reader) fail(err error) error {
	var e *syntax.Error
	switch {
	case !errors.As(err, &e):
		return err
	case e.Err == nil:
		return l.problem(e.Text, e.Fault)
	}
	return l.readError(e.Err)
}

// readError tells where reading failed, and what to do.
func (l *reader) readError(err error) error {
	if errors.Is(err, syntax.ErrTooLarge) {
		return fmt.Errorf("%s:%d: the compressed list %w (%d octets); check what it is, or raise max_bytes for the list",
			l.opt.File, l.at, err, l.maxBytes())
	}
	if errors.Is(err, syntax.ErrTooManyLines) || errors.Is(err, syntax.ErrTooSlow) {
		return fmt.Errorf("%s:%d: %w; check what it is, or divide it into several lists", l.opt.File, l.lines.N, err)
	}
	var corrupt flate.CorruptInputError
	if errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &corrupt) {
		return fmt.Errorf("%s:%d: the compressed list is cut off or damaged (%w); fetch it again, or compress it anew", l.opt.File, l.at, err)
	}
	return fmt.Errorf("%s:%d: read: %w", l.opt.File, l.at, err)
}

// tooManySkipped is the error of a list with too many unusable lines.
func (l *reader) tooManySkipped() error {
	if l.stats.Skipped == 0 || float64(l.stats.Skipped) <= l.opt.MaxSkipped*float64(l.content) {
		return nil
	}
	return fmt.Errorf("%s: %d of %d lines (%.1f %%) are unusable, more than the %.1f %% allowed; the first: %w",
		l.opt.File, l.stats.Skipped, l.content, 100*float64(l.stats.Skipped)/float64(l.content), 100*l.opt.MaxSkipped, l.first)
}

// sumReasons makes Stats.Reasons of reasons.
func (l *reader) sumReasons() {
	for f, n := range l.reasons {
		l.stats.Reasons = append(l.stats.Reasons, Reason{f.Reason, n, f.Aside})
	}
	slices.SortFunc(l.stats.Reasons, func(a, b Reason) int {
		return cmp.Or(b.Lines-a.Lines, cmp.Compare(a.Reason, b.Reason))
	})
}

// emit emits the entry of a name. If text is no name, it is skipped, and quote
// is what the problem shows.
func (l *reader) emit(quote, text []byte, m entry.Match) error {
	name, f := l.names.Parse(text, l.opt.AllowTLD)
	if !f.OK() {
		l.skip(quote, f)
		return nil
	}
	return l.emitName(name, m)
}

// emitEither is emit for a text that may also be an address or a block of addresses.
func (l *reader) emitEither(quote, text []byte, m entry.Match) error {
	if !syntax.LikeAddress(text) {
		return l.emit(quote, text, m)
	}
	p, f := syntax.ParsePrefix(text)
	if !f.OK() {
		l.skip(quote, f)
		return nil
	}
	return l.emitPrefix(p)
}

// emitName emits the entry of a name in wire form.
func (l *reader) emitName(name []byte, m entry.Match) error { return l.emitRule(name, m, nil) }

// emitRule is emitName for an entry that has a rule, unless it is nil.
func (l *reader) emitRule(name []byte, m entry.Match, r *entry.Rule) error {
	if m != entry.Exact && !l.opt.AllowTLD && syntax.MayBePublicSuffix(name) && (r == nil || !r.Except) && syntax.IsPublicSuffix(name) {
		l.skip([]byte(wire.NameString(name)), syntax.FaultPublicSuffix)
		return nil
	}
	l.stats.Entries++
	if err := l.f(entry.Entry{Name: name, Match: m, Line: l.at, Rule: r}); err != nil {
		return l.stopped(err)
	}
	return nil
}

// emitPrefix emits the entry of a block of addresses.
func (l *reader) emitPrefix(p netip.Prefix) error {
	l.stats.Entries++
	if err := l.f(entry.Entry{Prefix: p, Line: l.at}); err != nil {
		return l.stopped(err)
	}
	return nil
}

// stopped is the error of a reading that f ended with err.
func (l *reader) stopped(err error) error {
	return fmt.Errorf("%s:%d: %w", l.opt.File, l.at, err)
}
