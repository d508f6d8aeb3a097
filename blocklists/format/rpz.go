package format

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/miekg/dns"
)

var (
	faultInclude   = fault{reason: "$INCLUDE reads other files, which this list must not", remedy: "put the records into this file, or make the other a list of its own"}
	faultIncludes  = fault{reason: "$INCLUDE of files within files goes too deep", remedy: "put the records into one file"}
	faultGenerate  = fault{reason: "$GENERATE is not read", remedy: "write the records out"}
	faultNoSOA     = fault{reason: "a trigger before the zone's SOA record, which says where the zone begins", remedy: "begin the file with the SOA record"}
	faultRecord    = fault{reason: "not a record", remedy: "correct it; the syntax is that of zone files (RFC 1035 section 5)"}
	faultNoOwner   = fault{reason: "a record without an owner after one that could not be read", remedy: "correct the record before it"}
	faultOutside   = fault{reason: "an owner outside the zone", remedy: "end owners without a dot, or correct the origin"}
	faultAction    = fault{reason: "an action that is not known", remedy: "use CNAME with ., *., rpz-passthru., rpz-drop. or rpz-tcp-only., or local data"}
	faultSOA       = fault{reason: "an SOA record of another zone", remedy: "give each zone a list of its own"}
	faultDNAME     = fault{reason: "a DNAME record, which policy zones do not have", remedy: "write a CNAME with a wildcard owner and target"}
	faultData      = fault{reason: "local data that cannot be written into a response", remedy: "correct the record"}
	faultIPTrigger = fault{reason: "not the address of a trigger", remedy: "write the length and then the address backwards: 24.0.2.0.192.rpz-ip"}
)

// zone reads a response policy zone (draft-vixie-dnsop-dns-rpz-00): all its
// triggers with their actions.
//
// The parser of records stops for good at the first error. It is fed by lines,
// so that a bad record costs itself alone: another parser goes on after it.
func (l *reader) zone() error {
	z := zoneReader{reader: l, origin: ".", ttl: -1}
	for {
		zp := dns.NewZoneParser(&z, z.origin, "")
		zp.SetDefaultTTL(3600)
		if z.ttl >= 0 { // to a parser that follows upon an error this is news
			z.rest = append(fmt.Appendf(nil, "$TTL %d\n", z.ttl), z.rest...)
		}
		for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
			if z.swallow {
				z.swallow = false
				continue
			}
			if z.start != 0 { // else one more record of the line before
				z.at = z.start - z.base
			}
			if err := z.record(rr); err != nil {
				return err
			}
			z.start = 0
		}
		if z.err != nil && z.err != io.EOF {
			return z.err
		}
		if err := zp.Err(); err != nil {
			z.unread(err)
		} else if z.err == io.EOF {
			return nil
		}
	}
}

// zoneReader feeds lines to a parser of records, octet by octet as that asks,
// so that it never has more than the line where the record in hand ends.
type zoneReader struct {
	*reader
	line   []byte // the line in hand
	rest   []byte // of it, what the parser has not taken
	err    error  // from reading; final
	origin string // as $ORIGIN directives set it
	ttl    int64  // as $TTL directives set it; -1 before
	zone   string // the SOA record's owner, in lower case; "" before it

	start     int    // the line, of all that was read, where the record in hand begins; 0 between records
	text      []byte // that line, as far as messages quote it
	directive bool   // that line is a directive, so that no record has begun

	rule   Rule // lent to add
	packed []byte

	// past is the last line, if the parser has not seen it since it was read
	// in passing: then the owner of a line without one, and what a directive
	// changes, depend on it. swallow has the record go that comes of showing it to the parser.
	past    []byte
	swallow bool

	// What the file in hand was included from, and at which line of all that
	// was read it began.
	base     int
	outer    []included
	includes int
}

// included is what is gone on with at the end of an included file.
type included struct {
	br     *bufio.Reader
	file   string
	closer io.Closer
	base   int    // of the outer file, as if the lines of the inner were not there
	origin string // which the inner file does not change
	at     int    // lines read when the inner file began
}

const (
	maxIncludeDepth = 8
	maxIncludes     = 1000
)

// ReadByte implements io.ByteReader, which keeps the parser from reading ahead.
func (z *zoneReader) ReadByte() (byte, error) {
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
func (z *zoneReader) Read(p []byte) (int, error) {
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

// newline is what the parser gets for a line that it is not to see.
var newline = []byte("\n")

// nextLine takes the next line. What must not reach the parser, it empties.
func (z *zoneReader) nextLine() {
	line, long, err := z.next()
	if err == io.EOF && len(z.outer) > 0 {
		z.leave()
		return
	}
	z.at = z.stats.Lines - z.base
	if err != nil {
		z.err = err
		return
	}
	z.line, z.rest = line, newline
	text := trim(line)
	if len(text) == 0 || text[0] == ';' {
		return
	}
	z.content++
	if z.start == 0 && !long && z.inPassing(line, text) {
		return
	}
	directive, argument := field(trim(unmarked(text)))
	switch {
	case long:
		z.skip(text, faultLongLine)
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
	case isSpace(line[0]) || bytes.HasPrefix(directive, []byte("$")):
		z.rest = z.withPast(line)
	default:
		z.past = z.past[:0]
	}
	if z.start == 0 || z.directive {
		z.begin(text)
	}
}

// withPast puts the line that was read in passing before what the parser gets
// next.
func (z *zoneReader) withPast(next []byte) []byte {
	if len(z.past) == 0 {
		return next
	}
	out := append(bytes.TrimRight(z.past, "\r\n"), '\n')
	out = append(out, next...)
	z.past, z.swallow = nil, true
	return out
}

// include goes on with another file, and has the parser take over the origin
// that is given for it (RFC 1035 section 5.1).
func (z *zoneReader) include(text, argument []byte) {
	name, origin := field(argument)
	name, _, _ = bytes.Cut(name, []byte(";"))
	origin, _, _ = bytes.Cut(origin, []byte(";"))
	origin, _ = field(trim(origin))
	z.rest = nil
	switch {
	case z.opt.Include == nil:
		z.err = z.problem(text, faultInclude)
		return
	case len(z.outer) >= maxIncludeDepth || z.includes >= maxIncludes:
		z.err = z.problem(text, faultIncludes)
		return
	}
	file := strings.Trim(string(name), `"`)
	f, err := z.opt.Include(file)
	if err != nil {
		z.err = fmt.Errorf("%s:%d: $INCLUDE: %w; the file has to be in the list's own folder", z.opt.File, z.at, err)
		return
	}
	z.includes++
	z.outer = append(z.outer, included{z.br, z.opt.File, f, z.base, z.origin, z.stats.Lines})
	z.br, z.base = newBuffer(f), z.stats.Lines
	z.opt.File = filepath.Join(filepath.Dir(z.opt.File), file)
	if len(origin) > 0 {
		z.setOrigin(origin)
		z.rest = []byte("$ORIGIN " + z.origin + "\n")
	}
}

// leave goes on with the file that included the one that ended.
func (z *zoneReader) leave() {
	o := z.outer[len(z.outer)-1]
	z.outer = z.outer[:len(z.outer)-1]
	o.closer.Close()
	z.br, z.opt.File, z.origin = o.br, o.file, o.origin
	z.base = o.base + z.stats.Lines - o.at
	z.rest = []byte("\n$ORIGIN " + z.origin + "\n")
}

// unmarked is a line without the octets that the parser passes over even in
// the midst of a word, so that no directive hides behind them.
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

func isDirective(text []byte) bool { return bytes.HasPrefix(trim(unmarked(text)), []byte("$")) }

// begin notes that a record begins on the line in hand.
func (z *zoneReader) begin(text []byte) {
	z.start = z.stats.Lines
	z.text = append(z.text[:0], text[:min(len(text), maxText+1)]...)
	z.directive = isDirective(text)
}

// setOrigin keeps what an $ORIGIN directive says, for the parser that follows
// upon an error.
func (z *zoneReader) setOrigin(argument []byte) {
	name, _ := field(argument)
	name, _, _ = bytes.Cut(name, []byte(";"))
	origin := string(name)
	switch {
	case origin == "" || origin == "@":
		return
	case !dns.IsFqdn(origin):
		origin += "." + strings.TrimPrefix(z.origin, ".")
	}
	// The parser must be able to begin with it, or reading would never end.
	if _, ok := dns.IsDomainName(origin); ok && dns.IsFqdn(origin) {
		z.origin = origin
	}
}

// setTTL keeps what a $TTL directive says (RFC 2308 section 4), for the parser
// that follows upon an error: seconds, or numbers with units. What it cannot read is for
// the parser at hand to complain of.
func (z *zoneReader) setTTL(argument []byte) {
	text, _ := field(argument)
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

// unread counts the record that stopped the parser. If the parser went on into
// another line, that is read again: it may be a record of its own. (Not so a
// directive, which has been heeded.) Otherwise the rest of the line is dropped.
func (z *zoneReader) unread(err error) {
	f := faultRecord
	var p *dns.ParseError
	if errors.As(err, &p) && len(z.stats.Problems) < MaxProblems {
		// The parser counts lines from where it began, not from the file's start.
		why, _, _ := strings.Cut(strings.TrimPrefix(p.Error(), "dns: "), " at line: ")
		f.reason += " (" + quotable([]byte(why)) + ")"
	}
	again := z.start != 0 && z.start < z.stats.Lines
	if z.start != 0 {
		z.at = z.start - z.base
	}
	z.skip(z.text, f)
	z.start, z.rest = 0, nil
	if text := trim(z.line); again && len(text) > 0 && text[0] != ';' && !isDirective(text) {
		z.rest, z.bad = z.line, false
		z.begin(text)
	}
}

// record takes one record.
func (z *zoneReader) record(rr dns.RR) error {
	owner := strings.ToLower(rr.Header().Name)
	switch rr := rr.(type) {
	case *dns.SOA:
		switch {
		case z.zone == "":
			z.zone = owner
			z.stats.Serial, z.stats.HasSerial = uint64(rr.Serial), true
		case owner != z.zone: // at the end of a transfer it stands once more
			z.skip(z.text, faultSOA)
		}
		return nil
	case *dns.RRSIG, *dns.NSEC, *dns.NSEC3, *dns.NSEC3PARAM, *dns.DNSKEY, *dns.ZONEMD:
		return nil // the zone's own machinery
	}
	switch {
	case owner == "":
		z.skip(z.text, faultNoOwner)
		return nil
	case z.zone == "":
		if _, ok := rr.(*dns.NS); ok {
			return nil
		}
		return z.problem(z.text, faultNoSOA)
	case owner == z.zone:
		return nil // the zone's own data, such as a TXT record about the feed
	}
	trigger, ok := strings.CutSuffix(owner, "."+strings.TrimPrefix(z.zone, "."))
	if !ok {
		z.skip(z.text, faultOutside)
		return nil
	}
	if f := z.action(rr, trigger); !f.ok() {
		z.skip(z.text, f)
		return nil
	}
	return z.trigger(trigger)
}
