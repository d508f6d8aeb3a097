// Package format reads blocklists as people publish them: plain lists of
// names, Rideau's own ban packs, hosts files, the part of adblock syntax that
// means something to DNS, dnsmasq's options, and response policy zones; as they are or
// compressed by gzip.
//
// [Read] streams: it holds one line at a time and passes each entry to a
// function, so that a list of any length costs the same memory. A line that
// cannot be used is counted and described, never guessed at. A file that is no
// list at all (a web page, a binary) fails as a whole.
package format

import (
	"fmt"
	"io"
	"strings"
	"time"

	"rideau/blocklists/entry"
)

// Format names a syntax of lists. The zero value means [Plain].
type Format string

// The formats, by the names that the configuration uses.
const (
	Plain   Format = "plain"
	Pack    Format = "pack"
	Hosts   Format = "hosts"
	Adblock Format = "adblock"
	RPZ     Format = "rpz"
	Dnsmasq Format = "dnsmasq"
	// Auto is the format that the list seems to have; see [Detect].
	Auto Format = "auto"
)

// notation is what there is to know about a format.
type notation struct {
	name Format
	read func(*reader) error
	// marks reports whether a line looks like one of the format.
	marks func(line []byte) bool
	// turn is when Detect tries the format on a line: the one with turn 1 is first.
	turn int
}

// notations is the table of formats. A new format is a new line here, in
// the order in which messages name them.
var notations = [...]notation{
	{name: Plain, read: (*reader).plain, marks: isPlain, turn: 6},
	{name: Pack, read: (*reader).pack, marks: isPackRow, turn: 1},
	{name: Hosts, read: (*reader).hosts, marks: isHosts, turn: 5},
	{name: Adblock, read: (*reader).adblock, marks: isAdblock, turn: 2},
	{name: Dnsmasq, read: (*reader).dnsmasq, marks: isDnsmasq, turn: 4},
	{name: RPZ, read: (*reader).policyZone, marks: isZoneLine, turn: 3},
}

// Names returns the names of the formats, as messages list them.
func Names() []Format {
	out := []Format{Auto}
	for i := range notations {
		out = append(out, notations[i].name)
	}
	return out
}

// find returns the format's row of the table; nil if there is none.
func (f Format) find() *notation {
	for i := range notations {
		if notations[i].name == f {
			return &notations[i]
		}
	}
	return nil
}

// ParseFormat returns the format of that name; the empty string is [Plain].
func ParseFormat(s string) (Format, error) {
	switch f := Format(s); {
	case f == "":
		return Plain, nil
	case f == Auto || f.find() != nil:
		return f, nil
	}
	var names []string
	for _, f := range Names() {
		names = append(names, string(f))
	}
	last := len(names) - 1
	return "", fmt.Errorf("format %q is unknown; use %s or %s", s, strings.Join(names[:last], ", "), names[last])
}

// Options say what to read and how much to forgive.
type Options struct {
	// File is the file's name or URL, for messages only.
	File   string
	Format Format
	// Tiers are the tiers whose rows of a ban pack count; none means service, web and
	// cdn. The other formats have no tiers and ignore them.
	Tiers []string
	// AllowTLD allows entries that cover a whole top-level domain, or
	// another suffix under which anybody can have a name (a public suffix).
	AllowTLD bool
	// WildcardIncludesName has *.NAME in a plain list cover NAME, too.
	WildcardIncludesName bool
	// MaxBytes bounds what a compressed list may expand to; 0 is 1 GiB.
	MaxBytes int64
	// MaxLines bounds the lines, blank ones and those of included files too; 0 is [syntax.MaxLines]. Until is when reading has
	// to have ended; zero for no bound.
	MaxLines int
	Until    time.Time
	// MaxSkipped is the share, 0 to 1, of lines that may be unusable, among
	// those that are neither blank nor comment. With 0 none may be.
	MaxSkipped float64
	// Include opens a file that a policy zone includes, by the name that the
	// zone gives it. The name may be anything: Include has to make sure that the
	// file is one that may be read. nil refuses such zones.
	Include func(name string) (io.ReadCloser, error)
}

// Stats tell what was read.
type Stats struct {
	// Lines counts all lines, blank ones and comments too.
	Lines int
	// Format is how the list was read.
	Format Format
	// Entries counts the entries.
	Entries int
	// Skipped counts the lines that could not be used, in whole or part.
	Skipped int
	// NotDNS counts the lines that are about something else than names, and
	// correct: rules for browsers, settings of a server.
	NotDNS int
	// Reasons says how many lines were skipped, or were not about DNS, and why, most frequent
	// first.
	Reasons []Reason
	// OtherTier counts a pack's rows of tiers that do not count.
	OtherTier int
	// Serial is the version that the list itself tells, if HasSerial is set:
	// that of a zone's SOA record, or in other formats a comment that says
	// "Serial:" or "Version:" and a number.
	Serial    uint64
	HasSerial bool
	// Problems describe the first skipped lines, [MaxProblems] at most.
	Problems []Problem
}

// Reason is why lines were skipped, and how many.
type Reason struct {
	Reason string
	Lines  int
	NotDNS bool
}

// MaxProblems bounds Stats.Problems.
const MaxProblems = 20

// Read reads a list from r and calls f for each entry, in the order of the
// file. It does not remove duplicates.
//
// Read fails, and the caller must discard what f was given, if r fails,
// if f returns an error (reading stops there), if the input is no list, or
// if more lines are unusable than opt.MaxSkipped allows. Errors name the file
// and line, and what to do. The Stats count what was read up to there in any case.
//
// Read keeps nothing after it returns, and starts no goroutine. It calls f
// on the caller's goroutine; an entry is valid until f returns.
func Read(r io.Reader, opt Options, f func(entry.Entry) error) (Stats, error) {
	name, err := ParseFormat(string(opt.Format))
	if err != nil {
		return Stats{}, fmt.Errorf("%s: %w", opt.File, err)
	}
	l := newReader(r, opt, f)
	if err = l.begin(name); err == nil {
		err = l.opt.Format.find().read(l)
		l.sumReasons()
		if err == nil {
			err = l.tooManySkipped()
		}
	}
	l.stats.Lines = l.lines.N
	return l.stats, err
}
