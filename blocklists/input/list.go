// Package input reads lists: where a list's content is opened, how it is read
// entry by entry, and the bounds that it is held to.
//
// A [List] is a description; it holds no file open and no content. Package
// compile makes a Snapshot of what List.Read gives, and package source decides
// what Open opens.
package input

import (
	"fmt"
	"io"

	"rideau/blocklists/entry"
	"rideau/blocklists/format"
)

// List is a source of entries.
type List struct {
	ID string
	// Source names the content in messages: a path, or where it is embedded.
	// The guards do not compare two versions whose Source or reading options
	// differ.
	Source string
	// Open opens the content. The caller closes it.
	Open func() (io.ReadCloser, error)
	// Parts, if it is not nil, returns the files of a list that is a folder, in order; Open is not used then.
	Parts func() ([]Part, error)
	// Include finds a file that a policy zone includes, by the name that the zone gives it; nil refuses such zones.
	Include func(name string) (Part, error)
	// MaxBytes bounds the content after decompression; 0 leaves that to format.Read.
	MaxBytes int64
	Format   format.Format
	// Tiers are the tiers of a ban pack whose rows count.
	Tiers    []string
	AllowTLD bool
	// EmptyOK lets the list have no entry that blocks, though a ban uses it.
	EmptyOK bool
	// WildcardIncludesName has an entry *.NAME of a plain list cover NAME, too. WildcardMeant says that somebody decided it: nothing is
	// told of a list that has no other entries.
	WildcardIncludesName, WildcardMeant bool
	// MaxSkipped is the share of lines that may be unusable.
	MaxSkipped float64
	// MaxShrink is the share of its entries that the list may lose in one
	// reload; 1 lets it lose all but the last.
	MaxShrink float64
	// Unguarded lists may shrink to nothing: those written in the configuration itself.
	Unguarded bool
	Guards    Guards
}

// Part is one file of a list.
type Part struct {
	Name string // in messages, such as a path
	Open func() (io.ReadCloser, error)
}

// Files returns the files that the list consists of, in order: one, unless
// Parts is set.
func (l *List) Files() ([]Part, error) {
	if l.Parts == nil {
		return []Part{{l.Source, l.Open}}, nil
	}
	return l.Parts()
}

// AllFiles returns the files of the list, and after them those that it is known to include.
func (l *List) AllFiles(included []string) ([]Part, error) {
	parts, err := l.Files()
	for _, name := range included {
		if err != nil || l.Include == nil {
			break
		}
		var p Part
		p, err = l.Include(name)
		parts = append(parts, p)
	}
	return parts, err
}

// Options tells the reading options that decide, beside the content, how many
// entries there are. The numbers of two versions of a list compare if it is the
// same for both.
func (l *List) Options() string {
	s := fmt.Sprint(l.Source, " ", l.Format, " ", l.Tiers)
	if l.WildcardIncludesName {
		s += " wildcard_includes_name"
	}
	return s
}

// Each reads the list's files and calls f for each entry, with the name of the file that
// holds it, until f returns an error. Unusable lines are skipped, and the guards are not applied. The entry is valid
// until f returns, as with format.Read.
func (l *List) Each(f func(file string, e *entry.Entry) error) error {
	parts, err := l.Files()
	if err != nil {
		return err
	}
	for _, p := range parts {
		if err := l.eachOf(p, f); err != nil {
			return err
		}
	}
	return nil
}

func (l *List) eachOf(p Part, f func(file string, e *entry.Entry) error) error {
	r, err := p.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	o := l.readOptions(p.Name)
	o.MaxSkipped = 1
	if l.Include != nil {
		o.Include = func(name string) (io.ReadCloser, error) {
			p, err := l.Include(name)
			if err != nil {
				return nil, err
			}
			return p.Open()
		}
	}
	_, err = format.Read(r, o, func(e entry.Entry) error {
		file := p.Name
		if e.File != "" {
			file = e.File
		}
		return f(file, &e)
	})
	return err
}

// usualEntries are as many entries as the default bound of lines has space for, with comments.
const usualEntries = 20_000_000

// readOptions returns the options to read one of the list's files with.
func (l *List) readOptions(file string) format.Options {
	o := format.Options{File: file, Format: l.Format, Tiers: l.Tiers, AllowTLD: l.AllowTLD, MaxSkipped: l.MaxSkipped, MaxBytes: l.MaxBytes, WildcardIncludesName: l.WildcardIncludesName}
	if l.Guards.MaxEntries > usualEntries {
		o.MaxLines = 2 * l.Guards.MaxEntries
	}
	return o
}
