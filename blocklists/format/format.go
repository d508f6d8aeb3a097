// Package format reads blocklists as people publish them: plain lists of
// names, Rideau's own ban packs, hosts files, the part of adblock syntax that
// means something to DNS, dnsmasq's options, and response policy zones; as they are or
// compressed by gzip.
//
// [Read] streams: it holds one line at a time and lends every entry to a
// callback, so that a list of any length costs the same memory. A line it
// cannot use is counted and described, never guessed at; a file that is no
// list at all (a web page, a binary) fails as a whole.
package format

import (
	"fmt"
	"io"
	"net/netip"
)

// Match says which names an entry is about.
type Match uint8

const (
	// Suffix is a name and every name below it.
	Suffix Match = iota
	// Exact is one name alone.
	Exact
	// Below is every name below a name, and not the name itself: what the
	// wildcard *.NAME covers (RFC 4592 section 2.1.1).
	Below
)

// String is the word that packs use for m.
func (m Match) String() string {
	switch m {
	case Suffix:
		return "suffix"
	case Exact:
		return "exact"
	case Below:
		return "below"
	}
	return fmt.Sprintf("match %d", uint8(m))
}

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
	// Auto is whatever the list seems to be; see [Detect].
	Auto Format = "auto"
)

// ParseFormat returns the format of that name; the empty string is [Plain].
func ParseFormat(s string) (Format, error) {
	switch f := Format(s); f {
	case "":
		return Plain, nil
	case Plain, Pack, Hosts, Adblock, RPZ, Dnsmasq, Auto:
		return f, nil
	}
	return "", fmt.Errorf("format %q is unknown; use auto, plain, pack, hosts, adblock, dnsmasq or rpz", s)
}

// An Entry is one name or one block of addresses.
type Entry struct {
	// Name is the name in wire form, uncompressed, in lower case. It is
	// lent: it changes after the callback returns. It is nil in an address
	// entry.
	Name []byte
	// Prefix is the block of addresses, host bits zero; the zero Prefix in
	// an entry that has a Name.
	Prefix netip.Prefix
	// Match says what Name covers. It means nothing in an address entry.
	Match Match
	// Line is where the entry begins in its file, from 1.
	Line int
	// File is set where that is a file which the list includes.
	File string
	// Rule is what the entry says beyond the plain "this is listed"; nil if
	// it says no more than that. It is lent like Name.
	Rule *Rule
}

// Options say what to read and how much to forgive.
type Options struct {
	// File is the file's name or URL, for messages only.
	File   string
	Format Format
	// Tiers are the tiers to take from a pack; none means service, web and
	// cdn. The other formats have no tiers and pay no attention.
	Tiers []string
	// AllowTLD lets through entries that cover a whole top-level domain, or
	// another suffix under which anybody can have a name (a public suffix).
	AllowTLD bool
	// MaxBytes bounds what a compressed list may expand to; 0 is 1 GiB.
	MaxBytes int64
	// MaxSkipped is the share, 0 to 1, of lines that may be unusable, among
	// those that are neither blank nor comment. With 0 none may be.
	MaxSkipped float64
	// Include opens a file that a policy zone includes, by the name that is
	// written there, which may be anything: whoever opens has to see to it that it
	// stays where it may. nil refuses such zones.
	Include func(name string) (io.ReadCloser, error)
}

// Stats count what a read went through.
type Stats struct {
	// Lines counts all lines, blank ones and comments too.
	Lines int
	// Format is how the list was read.
	Format Format
	// Entries counts the calls of add.
	Entries int
	// Skipped counts the lines that could not be used, in whole or part.
	Skipped int
	// NotDNS counts the lines that are about something else than names, and
	// none the worse for it: rules for browsers, settings of a server.
	NotDNS int
	// Reasons says how many lines were skipped, or were not about DNS, and why, most frequent
	// first.
	Reasons []Reason
	// OtherTier counts a pack's lines of tiers not asked for.
	OtherTier int
	// Serial is the version that the list itself tells, if HasSerial is set:
	// that of a zone's SOA record, or in other formats a comment that says
	// "Serial:" or "Version:" and a number.
	Serial    uint64
	HasSerial bool
	// Problems describe the first skipped lines, [MaxProblems] at most.
	Problems []Problem
}

// Reason is why lines were passed over, and how many.
type Reason struct {
	Reason string
	Lines  int
	NotDNS bool
}

// MaxProblems bounds Stats.Problems.
const MaxProblems = 20

// Read reads a list from r and calls add for each entry, in the order of the
// file. It does not remove duplicates.
//
// The read fails, and whatever add was given must be thrown away, if r fails,
// if add returns an error (the read stops there), if the input is no list, or
// if more lines are unusable than opt.MaxSkipped allows. Errors name the file
// and line, and what to do. Stats are valid up to there in any case.
//
// Read keeps nothing after it returns, and starts no goroutine; add is called
// from the caller's own.
func Read(r io.Reader, opt Options, add func(Entry) error) (Stats, error) {
	f, err := ParseFormat(string(opt.Format))
	if err != nil {
		return Stats{}, fmt.Errorf("%s: %w", opt.File, err)
	}
	l := newReader(r, opt, add)
	if err := l.begin(f); err != nil {
		return l.stats, err
	}
	switch l.opt.Format {
	case Plain:
		err = l.each(plainShapes, l.plainLine)
	case Pack:
		if err = l.setTiers(opt.Tiers); err == nil {
			err = l.each(nil, l.packLine)
		}
	case Hosts:
		err = l.each(hostsShapes, l.hostsLine)
	case Adblock:
		err = l.each(adblockShapes, l.adblockLine)
	case Dnsmasq:
		err = l.each(nil, l.dnsmasqLine)
	case RPZ:
		err = l.zone()
	}
	l.reasons()
	if err == nil {
		err = l.tooManySkipped()
	}
	return l.stats, err
}
