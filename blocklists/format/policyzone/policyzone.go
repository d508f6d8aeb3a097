// Package policyzone reads response policy zones
// (draft-vixie-dnsop-dns-rpz-00): all their triggers with their actions.
//
// A record that cannot be used is skipped, and what follows it is read.
package policyzone

import (
	"fmt"
	"io"
	"strings"

	"github.com/miekg/dns"

	"rideau/blocklists/entry"
	"rideau/blocklists/format/syntax"
)

var (
	faultInclude   = syntax.Fault{Reason: "$INCLUDE reads other files, which this list must not", Remedy: "put the records into this file, or make the other a list of its own"}
	faultIncludes  = syntax.Fault{Reason: "$INCLUDE of files within files goes too deep", Remedy: "put the records into one file"}
	faultGenerate  = syntax.Fault{Reason: "$GENERATE is not read", Remedy: "write the records out"}
	faultNoSOA     = syntax.Fault{Reason: "a trigger before the zone's SOA record, which says where the zone begins", Remedy: "begin the file with the SOA record"}
	faultRecord    = syntax.Fault{Reason: "not a record", Remedy: "correct it; the syntax is that of zone files (RFC 1035 section 5)"}
	faultNoOwner   = syntax.Fault{Reason: "a record without an owner after one that could not be read", Remedy: "correct the record before it"}
	faultOutside   = syntax.Fault{Reason: "an owner outside the zone", Remedy: "end owners without a dot, or correct the origin"}
	faultAction    = syntax.Fault{Reason: "an action that is not known", Remedy: "use CNAME with ., *., rpz-passthru., rpz-drop. or rpz-tcp-only., or local data"}
	faultSOA       = syntax.Fault{Reason: "an SOA record of another zone", Remedy: "give each zone a list of its own"}
	faultDNAME     = syntax.Fault{Reason: "a DNAME record, which policy zones do not have", Remedy: "write a CNAME with a wildcard owner and target"}
	faultData      = syntax.Fault{Reason: "local data that cannot be written into a response", Remedy: "correct the record"}
	faultIPTrigger = syntax.Fault{Reason: "not the address of a trigger", Remedy: "write the length and then the address backwards: 24.0.2.0.192.rpz-ip"}
)

// Handler receives what is read.
type Handler interface {
	// Entry receives an entry of a file. It is valid until Entry returns. An error ends the reading.
	Entry(file string, e entry.Entry) error
	// Skip receives a text that cannot be used, and why. again is set if the line was
	// skipped before, for another reason.
	Skip(file string, line int, text []byte, f syntax.Fault, again bool)
}

// Options say what to read.
type Options struct {
	// File is the zone's file, for messages only.
	File string
	// AllowTLD allows entries that cover a public suffix.
	AllowTLD bool
	// Include opens a file that the zone includes, by the name that it gives it; nil refuses such zones.
	Include func(name string) (io.ReadCloser, error)
}

// Reader reads one zone.
type Reader struct {
	// Content is the number of lines that are neither blank nor comment.
	Content int
	// Serial is that of the SOA record, if HasSerial is set.
	Serial    uint32
	HasSerial bool

	lines *syntax.Lines
	names syntax.Names
	opt   Options
	h     Handler

	at   int  // the line that entries and faults are of, in its file, from 1
	bad  bool // that line was skipped
	line []byte
	rest []byte // of line, what the parser has not read yet
	err  error  // from reading; final

	origin string // as $ORIGIN directives set it
	ttl    int64  // as $TTL directives set it; -1 before
	zone   string // the SOA record's owner, in lower case; "" before it

	start     int    // the line, of all that was read, where the record at hand begins; 0 between records
	text      []byte // that line, as far as messages quote it
	directive bool   // that line is a directive, so that no record has begun

	rule    entry.Rule // of the entry at hand
	encoded []byte     // the record that rule.Data is in

	// past is the last line, if shortcut read it and the parser has not seen it: the owner of a
	// line without one, and what a directive changes, depend on it. It is
	// shown to the parser when that matters, and swallow drops the record that comes of it.
	past    []byte
	swallow bool

	// What the file at hand was included from, and at which line of all that
	// was read it began.
	base     int
	outer    []included
	includes int
}

// New returns a Reader of lines.
func New(lines *syntax.Lines, o Options, h Handler) *Reader {
	return &Reader{lines: lines, opt: o, h: h, origin: ".", ttl: -1}
}

// Place returns the file and the line of it that is being read.
func (z *Reader) Place() (file string, line int) { return z.opt.File, z.at }

// Read reads the zone to its end. It returns errors of the Handler, and a syntax.Error, at Place, for what ends the reading.
//
// The parser of records stops for good at the first error. It is fed line by line,
// and another parser continues after the record that could not be read.
func (z *Reader) Read() error {
	for {
		zp := dns.NewZoneParser(feed{z}, z.origin, "")
		zp.SetDefaultTTL(3600)
		if z.ttl >= 0 { // a parser that follows another after an error does not know it
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

// skip tells the Handler of a text that cannot be used.
func (z *Reader) skip(text []byte, f syntax.Fault) {
	z.h.Skip(z.opt.File, z.at, text, f, z.bad)
	z.bad = true
}

// emit gives the Handler an entry with the rule.
func (z *Reader) emit(e entry.Entry) error {
	e.Line, e.Rule = z.at, &z.rule
	if len(z.outer) > 0 {
		e.File = z.opt.File
	}
	return z.h.Entry(z.opt.File, e)
}

// record reads one record of the zone.
func (z *Reader) record(rr dns.RR) error {
	owner := unescaped(rr.Header().Name)
	switch rr := rr.(type) {
	case *dns.SOA:
		switch {
		case z.zone == "":
			z.zone = owner
			z.Serial, z.HasSerial = rr.Serial, true
		case owner != z.zone: // the last record of a zone transfer is the SOA record, too
			z.skip(z.text, faultSOA)
		}
		return nil
	case *dns.RRSIG, *dns.NSEC, *dns.NSEC3, *dns.NSEC3PARAM, *dns.DNSKEY, *dns.ZONEMD:
		return nil // about the zone, not part of the policy
	}
	switch {
	case owner == "":
		z.skip(z.text, faultNoOwner)
		return nil
	case z.zone == "":
		if _, ok := rr.(*dns.NS); ok {
			return nil
		}
		return &syntax.Error{Text: z.text, Fault: faultNoSOA}
	case owner == z.zone:
		return nil // data of the zone itself, such as a TXT record about the feed
	}
	trigger, ok := strings.CutSuffix(owner, "."+strings.TrimPrefix(z.zone, "."))
	if !ok {
		z.skip(z.text, faultOutside)
		return nil
	}
	if f := z.action(rr, trigger); !f.OK() {
		z.skip(z.text, f)
		return nil
	}
	return z.trigger(trigger)
}
