package policyzone

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/miekg/dns"

	"rideau/blocklists/format/syntax"
)

// included is the state to restore at the end of an included file.
type included struct {
	file   string
	closer io.Closer
	base   int    // of the outer file
	origin string // of the outer file: the inner does not change it (RFC 1035 section 5.1)
	at     int    // lines read when the inner file began
}

const (
	maxIncludeDepth = 8
	maxIncludes     = 1000
)

// feed gives the parser of records its octets one by one, as it asks for them,
// so that it never has more than the line where the record at hand ends.
type feed struct{ *Reader }

// ReadByte implements io.ByteReader, which keeps the parser from reading ahead.
func (z feed) ReadByte() (byte, error) {
	for len(z.rest) == 0 {
		if z.err != nil {
			return 0, z.err
		}
		z.nextLine()
	}
	b := z.rest[0]
	z.rest = z.rest[1:]
	return b, nil
}

// Read implements io.Reader, which the parser's signature asks for.
func (z feed) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	b, err := z.ReadByte()
	if err != nil {
		return 0, err
	}
	p[0] = b
	return 1, nil
}

// newline is what the parser gets instead of a line that it must not see.
var newline = []byte("\n")

// nextLine reads the next line. It replaces a line that must not reach the parser by an empty one.
func (z *Reader) nextLine() {
	z.bad = false
	line, long, err := z.lines.Next()
	if err == io.EOF && len(z.outer) > 0 {
		z.leave()
		return
	}
	z.at = z.lines.N - z.base
	if err != nil {
		z.err = err
		return
	}
	z.line, z.rest = line, newline
	text := syntax.Trim(line)
	if len(text) == 0 || text[0] == ';' {
		return
	}
	z.Content++
	if z.start == 0 && !long && z.shortcut(line, text) {
		return
	}
	directive, argument := syntax.Field(syntax.Trim(unmarked(text)))
	switch {
	case long:
		z.skip(text, syntax.FaultLongLine)
		return
	case bytes.EqualFold(directive, []byte("$INCLUDE")):
		z.include(text, argument)
		z.rest = z.withPast(z.rest)
		return
	case bytes.EqualFold(directive, []byte("$GENERATE")):
		z.skip(text, faultGenerate)
		return
	case bytes.EqualFold(directive, []byte("$ORIGIN")):
		z.setOrigin(argument)
	case bytes.EqualFold(directive, []byte("$TTL")):
		z.setTTL(argument)
	}
	z.rest = line
	switch {
	case len(z.past) == 0:
	case syntax.IsSpace(line[0]) || bytes.HasPrefix(directive, []byte("$")):
		z.rest = z.withPast(line)
	default:
		z.past = z.past[:0]
	}
	if z.start == 0 || z.directive {
		z.begin(text)
	}
}

// withPast returns what the parser gets next: the line that shortcut read, if there is one, and
// next.
func (z *Reader) withPast(next []byte) []byte {
	if len(z.past) == 0 {
		return next
	}
	out := append(bytes.TrimRight(z.past, "\r\n"), '\n')
	out = append(out, next...)
	z.past, z.swallow = nil, true
	return out
}

// include continues with another file, and tells the parser the origin
// that the directive gives for it (RFC 1035 section 5.1).
func (z *Reader) include(text, argument []byte) {
	name, origin := syntax.Field(argument)
	name, _, _ = bytes.Cut(name, []byte(";"))
	origin, _, _ = bytes.Cut(origin, []byte(";"))
	origin, _ = syntax.Field(syntax.Trim(origin))
	z.rest = nil
	switch {
	case z.opt.Include == nil:
		z.err = &syntax.Error{Text: text, Fault: faultInclude}
		return
	case len(z.outer) >= maxIncludeDepth || z.includes >= maxIncludes:
		z.err = &syntax.Error{Text: text, Fault: faultIncludes}
		return
	}
	file := strings.Trim(string(name), `"`)
	f, err := z.opt.Include(file)
	if err != nil {
		z.err = fmt.Errorf("%s:%d: $INCLUDE: %w; the file has to be in the list's own folder", z.opt.File, z.at, err)
		return
	}
	z.includes++
	z.outer = append(z.outer, included{z.opt.File, f, z.base, z.origin, z.lines.N})
	z.lines.Enter(f)
	z.base = z.lines.N
	z.opt.File = filepath.Join(filepath.Dir(z.opt.File), file)
	if len(origin) > 0 {
		z.setOrigin(origin)
		z.rest = []byte("$ORIGIN " + z.origin + "\n")
	}
}

// leave continues with the file that included the one that ended.
func (z *Reader) leave() {
	o := z.outer[len(z.outer)-1]
	z.outer = z.outer[:len(z.outer)-1]
	o.closer.Close()
	z.lines.Leave()
	z.opt.File, z.origin = o.file, o.origin
	z.base = o.base + z.lines.N - o.at
	z.rest = []byte("\n$ORIGIN " + z.origin + "\n")
}

// unmarked returns a line without the octets that the parser ignores even
// within a word, so that they hide no directive.
func unmarked(text []byte) []byte {
	if !bytes.ContainsAny(text, "\r()") {
		return text
	}
	return bytes.Map(func(r rune) rune {
		if r == '\r' || r == '(' || r == ')' {
			return -1
		}
		return r
	}, text)
}

func isDirective(text []byte) bool { return bytes.HasPrefix(syntax.Trim(unmarked(text)), []byte("$")) }

// begin notes that a record begins on the line at hand.
func (z *Reader) begin(text []byte) {
	z.start = z.lines.N
	z.text = append(z.text[:0], text[:min(len(text), syntax.MaxQuote+1)]...)
	z.directive = isDirective(text)
}

// setOrigin stores what an $ORIGIN directive says, for the parser that follows
// after an error.
func (z *Reader) setOrigin(argument []byte) {
	name, _ := syntax.Field(argument)
	name, _, _ = bytes.Cut(name, []byte(";"))
	origin := string(name)
	switch {
	case origin == "" || origin == "@":
		return
	case !dns.IsFqdn(origin):
		origin += "." + strings.TrimPrefix(z.origin, ".")
	}
	// The parser must accept it, or reading would never end.
	if _, ok := dns.IsDomainName(origin); ok && dns.IsFqdn(origin) {
		z.origin = origin
	}
}

// setTTL stores what a $TTL directive says (RFC 2308 section 4), for the parser
// that follows after an error: seconds, or numbers with units. If it is wrong, the
// parser at hand reports that.
func (z *Reader) setTTL(argument []byte) {
	text, _ := syntax.Field(argument)
	text, _, _ = bytes.Cut(text, []byte(";"))
	var sum, n uint64
	digits := false
	for _, c := range bytes.ToLower(text) {
		if '0' <= c && c <= '9' {
			n, digits = n*10+uint64(c-'0'), true
			continue
		}
		unit := map[byte]uint64{'s': 1, 'm': 60, 'h': 3600, 'd': 86400, 'w': 7 * 86400}[c]
		if unit == 0 || !digits || n > 1<<31 {
			return
		}
		sum, n, digits = sum+n*unit, 0, false
	}
	if sum += n; len(text) > 0 && sum < 1<<31 {
		z.ttl = int64(sum)
	}
}

// unread skips the record that stopped the parser. If the parser had read on into
// another line, that line is read again: it may be a record of its own. A
// directive is not, because it was obeyed already. Otherwise the rest of the line is dropped.
func (z *Reader) unread(err error) {
	f := faultRecord
	var p *dns.ParseError
	if errors.As(err, &p) {
		// The parser counts lines from where it began, not from the file's start.
		why, _, _ := strings.Cut(strings.TrimPrefix(p.Error(), "dns: "), " at line: ")
		f.Detail = syntax.Quote([]byte(why))
	}
	again := z.start != 0 && z.start < z.lines.N
	if z.start != 0 {
		z.at = z.start - z.base
	}
	z.skip(z.text, f)
	z.start, z.rest = 0, nil
	if text := syntax.Trim(z.line); again && len(text) > 0 && text[0] != ';' && !isDirective(text) {
		z.rest, z.bad = z.line, false
		z.begin(text)
	}
}
