// Package querylog reads the queries of clients: query logs of Rideau, dnsmasq, BIND
// and Unbound, and captures of packets.
//
// It returns questions, in the order of the log, and nothing about
// answers. Lines that cannot be read are counted and shown, never guessed at.
package querylog

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"rideau/resolver/wire"
)

// Format is a notation of logs.
type Format string

// Formats.
const (
	Rideau  Format = "rideau"  // JSON lines, as log.queries writes them
	Dnsmasq Format = "dnsmasq" // log-queries, also extra
	BIND    Format = "bind"    // the category queries
	Unbound Format = "unbound" // log-queries, or log-replies alone
	Pcap    Format = "pcap"    // pcap and pcapng; always detected
)

// Formats are the formats' names.
func Formats() []string {
	return []string{string(Rideau), string(Dnsmasq), string(BIND), string(Unbound), string(Pcap)}
}

// Query is one query of a client.
type Query struct {
	Name   wire.Name
	Type   wire.Type
	Client netip.Addr // without zone, IPv4 as IPv4
	TCP    bool       // the log says that it came over a stream
}

// Options say how to read.
type Options struct {
	// File is what the log is called in messages.
	File string
	// Format is the log's; empty detects it for each line.
	Format Format
	// Type gives the number of a query type's name, such as AAAA or TYPE65.
	Type func(name string) (wire.Type, bool)
}

// MaxProblems bounds Stats.Problems.
const MaxProblems = 5

// MaxLine is the longest line that is read, in octets.
const MaxLine = 64 << 10

// Problem is a line, or a packet, that could not be read.
type Problem struct {
	Line   int // or number of the packet, from 1
	Text   string
	Reason string
}

// Stats is what was read of a log: Lines is the sum of Queries, Other and
// Unread, except in captures, where a stream's packet can hold several queries.
type Stats struct {
	Formats  []Format // those of queries, in the order of the first query of each
	Lines    int      // or packets
	Queries  int
	Other    int       // understood, and not a query of a client
	Unread   int       // not understood
	Problems []Problem // the first of these
}

// ErrNothing is in the error of a log that holds lines and no query.
var ErrNothing = errors.New("no query in it can be read")

// Read reads a log, which may be compressed by gzip, to its end, and calls each for every query. The
// Query is valid until each returns. Read fails if the content cannot
// be read or is cut off, if each fails, and if there are lines and none is a query.
func Read(r io.Reader, o Options, each func(*Query) error) (Stats, error) {
	s := reader{Options: o, each: each, types: map[string]wire.Type{}}
	if err := s.read(r); err != nil {
		return s.Stats, fmt.Errorf("%s: %w", o.File, err)
	}
	if s.Lines > 0 && s.Queries == 0 {
		return s.Stats, fmt.Errorf("%s: %w%s; %s", o.File, ErrNothing, s.first(), s.remedy())
	}
	return s.Stats, nil
}

// reader is the state of one Read.
type reader struct {
	Options
	Stats
	each  func(*Query) error
	q     Query
	types map[string]wire.Type // by the names that were read so far
	last  int                  // the index of the parser that understood the line before
	asked bool                 // Unbound logs queries, so replies repeat them
	text  []byte               // scratch: a name with its backslashes escaped
}

func (s *reader) read(r io.Reader) error {
	in := bufio.NewReaderSize(r, MaxLine)
	if head, _ := in.Peek(2); bytes.Equal(head, []byte{0x1F, 0x8B}) {
		z, err := gzip.NewReader(in)
		if err != nil {
			return err
		}
		in = bufio.NewReaderSize(z, MaxLine)
	}
	head, err := in.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch {
	case isCapture(head):
		if s.Format != "" && s.Format != Pcap {
			return fmt.Errorf("this is a capture of packets, and no log of %s; leave the format out", s.Format)
		}
		return s.capture(in, head)
	case s.Format == Pcap:
		return errors.New("this is neither pcap nor pcapng; leave the format out")
	case s.Format != "" && !slices.Contains(Formats(), string(s.Format)):
		return fmt.Errorf("unknown format %q; use one of %s", s.Format, strings.Join(Formats(), ", "))
	}
	for {
		line, err := in.ReadSlice('\n')
		if err == bufio.ErrBufferFull {
			if err := s.tooLong(in, line); err != nil {
				return err
			}
			continue
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) > 0 {
			if err := s.line(line); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// tooLong skips the rest of a line that is too long.
func (s *reader) tooLong(in *bufio.Reader, line []byte) error {
	s.Lines++
	s.unread(line, "the line is longer than 65536 octets")
	for {
		switch _, err := in.ReadSlice('\n'); err {
		case nil, io.EOF:
			return nil
		case bufio.ErrBufferFull:
		default:
			return err
		}
	}
}

// result is what a parser finds in a line.
type result uint8

const (
	foreign result = iota // not of this format
	other                 // of this format, and not a query
	broken                // a query that cannot be read
	asked                 // a query, which is in reader.q
)

// parsers are in the order in which they are tried on a line of unknown format.
var parsers = [...]struct {
	format Format
	parse  func(*reader, []byte) (result, string)
}{
	{Rideau, (*reader).rideau},
	{BIND, (*reader).bind},
	{Dnsmasq, (*reader).dnsmasq},
	{Unbound, (*reader).unbound},
}

// line reads one line. The parser that understood the line before is tried
// first.
func (s *reader) line(line []byte) error {
	s.Lines++
	last := s.last
	for i := -1; i < len(parsers); i++ {
		at := i
		if i < 0 {
			at = last
		} else if i == last {
			continue
		}
		p := &parsers[at]
		if s.Format != "" && s.Format != p.format {
			continue
		}
		f, why := p.parse(s, line)
		switch f {
		case foreign:
			continue
		case other:
			s.Other++
		case broken:
			s.unread(line, why)
		case asked:
			s.last = at
			return s.count(p.format)
		}
		s.last = at
		return nil
	}
	s.unread(line, "not a line of "+s.wanted())
	return nil
}

// count counts the query in s.q, and calls each.
func (s *reader) count(f Format) error {
	s.Queries++
	if !slices.Contains(s.Formats, f) {
		s.Formats = append(s.Formats, f)
	}
	return s.each(&s.q)
}

// wanted is what messages call the expected format.
func (s *reader) wanted() string {
	if s.Format != "" {
		return string(s.Format)
	}
	return "a known format"
}

// unread counts a line or packet that cannot be read.
func (s *reader) unread(text []byte, reason string) { s.unreadAt(s.Lines, text, reason) }

// unreadAt is unread for a line or packet that came earlier.
func (s *reader) unreadAt(line int, text []byte, reason string) {
	const enough = 200
	s.Unread++
	if len(s.Problems) < MaxProblems {
		if len(text) > enough {
			text = text[:enough]
		}
		s.Problems = append(s.Problems, Problem{line, strings.ToValidUTF8(string(text), "?"), reason})
	}
}

// first describes the first line that was not understood.
func (s *reader) first() string {
	if len(s.Problems) == 0 {
		return ""
	}
	p := s.Problems[0]
	if p.Text == "" {
		return fmt.Sprintf("; packet %d: %s", p.Line, p.Reason)
	}
	return fmt.Sprintf("; line %d is %q: %s", p.Line, p.Text, p.Reason)
}

// remedy is what to do about a log without queries.
func (s *reader) remedy() string {
	switch {
	case s.Problems == nil && s.Formats == nil && s.Other == s.Lines && parsers[s.last].format == Unbound:
		return "set log-queries: yes in Unbound"
	case s.Other > 0:
		return "let the resolver log queries: log.queries (Rideau), log-queries (dnsmasq, Unbound), querylog yes (BIND); or give a capture of port 53 (UDP or TCP)"
	}
	return "give a query log of Rideau, dnsmasq, BIND or Unbound, or a capture in pcap or pcapng; name the format if it was found out wrong"
}

// name parses a query name, and returns what is wrong with it. A backslash escapes if escapes is set.
func (s *reader) name(text []byte, escapes bool) string {
	if !escapes && bytes.IndexByte(text, '\\') >= 0 {
		s.text = s.text[:0]
		for _, b := range text {
			if b == '\\' {
				s.text = append(s.text, b)
			}
			s.text = append(s.text, b)
		}
		text = s.text
	}
	var buf [wire.MaxName + 1]byte
	w, err := wire.AppendName(buf[:0], text)
	if err == nil {
		err = s.q.Name.Set(w)
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// typeOf parses a query type, and reports whether it is known.
func (s *reader) typeOf(text []byte) bool {
	t, known := s.types[string(text)]
	if !known {
		if t, known = s.Type(string(text)); !known {
			return false
		}
		if len(s.types) < 1<<10 {
			s.types[string(text)] = t
		}
	}
	s.q.Type = t
	return true
}

// client parses a client's address, and reports whether it is one.
func (s *reader) client(text []byte) bool {
	var a netip.Addr
	if err := a.UnmarshalText(text); err != nil || !a.IsValid() {
		return false
	}
	s.q.Client = a.WithZone("").Unmap()
	return true
}
