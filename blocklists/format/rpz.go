package format

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

var (
	faultInclude   = fault{"$INCLUDE reads other files, which a list must not", "put the records into this file, or make the other a list of its own"}
	faultGenerate  = fault{"$GENERATE is not read", "write the records out"}
	faultNoSOA     = fault{"a trigger before the zone's SOA record, which says where the zone begins", "begin the file with the SOA record"}
	faultRecord    = fault{"not a record", "correct it; the syntax is that of zone files (RFC 1035 section 5)"}
	faultNoOwner   = fault{"a record without an owner after one that could not be read", "correct the record before it"}
	faultOutside   = fault{"an owner outside the zone", "end owners without a dot, or correct the origin"}
	faultPassthru  = fault{"a passthru record, which lets a name through", "put the name into the list of an exception"}
	faultTCPOnly   = fault{"a record that asks for TCP, which is not a ban", "set the ban's action, or leave it out"}
	faultAction    = fault{"an action that is not known", "write CNAME . to ban the name"}
	faultRewrite   = fault{"a record that sends a name elsewhere", "write CNAME . to ban the name"}
	faultData      = fault{"local data other than addresses", "write CNAME . to ban the name"}
	faultClientIP  = fault{"a trigger on the client's address", "name the clients in the ban's groups; write an exception for clients to leave alone"}
	faultNSTrigger = fault{"a trigger on a zone's name servers, which a forwarder does not see", "ban the zone's name, or put what it lets through into the list of an exception"}
	faultIPTrigger = fault{"not the address of an rpz-ip trigger", "write the length and then the address backwards: 24.0.2.0.192.rpz-ip"}
)

// zone reads a response policy zone: the triggers on names and on addresses in
// answers whose action blocks. How they block is for the ban to say.
//
// The parser of records stops for good at the first error. It is fed by lines,
// so that a bad record costs itself alone: another parser goes on after it.
func (l *reader) zone() error {
	z := zoneReader{reader: l, origin: "."}
	for {
		zp := dns.NewZoneParser(&z, z.origin, "")
		zp.SetDefaultTTL(3600)
		for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
			if z.start != 0 { // else one more record of the line before
				z.at = z.start
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
	zone   string // the SOA record's owner, in lower case; "" before it

	start     int    // the line where the record in hand begins; 0 between records
	text      []byte // that line, as far as messages quote it
	directive bool   // that line is a directive, so that no record has begun

	// The name emitted last, in wire form, and its match: of several records
	// of one trigger the first is enough.
	owner []byte
	match Match
}

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

// nextLine takes the next line. What must not reach the parser, it empties.
func (z *zoneReader) nextLine() {
	line, long, err := z.next()
	if err != nil {
		z.err = err
		return
	}
	z.line, z.rest = line, []byte("\n")
	text := trim(line)
	if len(text) == 0 || text[0] == ';' {
		return
	}
	z.content++
	directive, argument := field(trim(unmarked(text)))
	switch {
	case long:
		z.skip(text, faultLongLine)
		return
	case bytes.EqualFold(directive, []byte("$INCLUDE")):
		z.err, z.rest = z.problem(text, faultInclude), nil
		return
	case bytes.EqualFold(directive, []byte("$GENERATE")):
		z.skip(text, faultGenerate)
		return
	case bytes.EqualFold(directive, []byte("$ORIGIN")):
		z.setOrigin(argument)
	}
	z.rest = line
	if z.start == 0 || z.directive {
		z.begin(text)
	}
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
		z.at = z.start
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
	switch rr.(type) {
	case *dns.SOA:
		if z.zone == "" {
			z.zone = owner
		}
		return nil
	case *dns.NS, *dns.RRSIG, *dns.NSEC, *dns.NSEC3, *dns.NSEC3PARAM, *dns.DNSKEY, *dns.ZONEMD:
		return nil // the zone's own machinery
	}
	switch {
	case owner == "":
		z.skip(z.text, faultNoOwner)
		return nil
	case z.zone == "":
		return z.problem(z.text, faultNoSOA)
	case owner == z.zone:
		return nil // the zone's own data, such as a TXT record about the feed
	}
	trigger, ok := strings.CutSuffix(owner, "."+strings.TrimPrefix(z.zone, "."))
	if !ok {
		z.skip(z.text, faultOutside)
		return nil
	}
	if f := actionFault(rr, trigger); !f.ok() {
		z.skip(z.text, f)
		return nil
	}
	return z.trigger(trigger)
}

// actionFault tells the records whose action is not to block.
func actionFault(rr dns.RR, trigger string) fault {
	switch rr := rr.(type) {
	case *dns.A:
		if rr.A == nil {
			return faultRecord
		}
		return fault{}
	case *dns.AAAA:
		if rr.AAAA == nil {
			return faultRecord
		}
		return fault{}
	case *dns.CNAME:
		target := strings.ToLower(rr.Target)
		switch {
		case target == "" || strings.Contains(target, "\n"):
			return faultRecord // the parser takes a line's end for a name
		case target == "." || target == "*." || target == "rpz-drop.":
			return fault{}
		case target == "rpz-passthru." || target == trigger+".":
			return faultPassthru // the second is how it was written once
		case target == "rpz-tcp-only.":
			return faultTCPOnly
		case strings.HasPrefix(target, "rpz-") && dns.CountLabel(target) == 1:
			return faultAction
		}
		return faultRewrite
	}
	return faultData
}

// trigger emits the entry of a trigger, given relative to the zone.
func (z *zoneReader) trigger(trigger string) error {
	head, kind := "", trigger
	if i := strings.LastIndexByte(trigger, '.'); i >= 0 {
		head, kind = trigger[:i], trigger[i+1:]
	}
	switch kind {
	case "rpz-ip":
		p, f := parseIPTrigger(head)
		if !f.ok() {
			z.skip(z.text, f)
			return nil
		}
		return z.emitPrefix(p)
	case "rpz-client-ip":
		z.skip(z.text, faultClientIP)
		return nil
	case "rpz-nsdname", "rpz-nsip":
		z.skip(z.text, faultNSTrigger)
		return nil
	}
	m := Exact
	if trigger == "*" {
		trigger = ""
	}
	if below, ok := strings.CutPrefix(trigger, "*."); ok {
		trigger, m = below, Below
	}
	name, f := z.parseName([]byte(trigger))
	if !f.ok() {
		z.skip(z.text, f)
		return nil
	}
	if m == z.match && bytes.Equal(name, z.owner) {
		return nil
	}
	z.owner, z.match = append(z.owner[:0], name...), m
	return z.emitName(name, m)
}

// parseIPTrigger reads LENGTH.ADDRESS with the address backwards; "zz" stands
// for the double colon of IPv6.
func parseIPTrigger(s string) (netip.Prefix, fault) {
	length, backwards, _ := strings.Cut(s, ".")
	bits, err := strconv.Atoi(length)
	if err != nil {
		return netip.Prefix{}, faultIPTrigger
	}
	parts := strings.Split(backwards, ".")
	slices.Reverse(parts)
	text := strings.Join(parts, ".")
	if len(parts) != 4 || slices.Contains(parts, "zz") {
		text = ":" + strings.Join(parts, ":") + ":"
		text = strings.Replace(text, ":zz:", "::", 1)
		if !strings.HasPrefix(text, "::") {
			text = text[1:]
		}
		if !strings.HasSuffix(text, "::") {
			text = text[:len(text)-1]
		}
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, faultIPTrigger
	}
	p := netip.PrefixFrom(a, bits)
	if !p.IsValid() {
		return netip.Prefix{}, faultIPTrigger
	}
	return checkPrefix(p)
}
