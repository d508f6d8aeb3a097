// Package rule is the compiled form of what lists say about a name or an
// address. Package compile writes it, package blocklists reads it, and nobody
// else needs it.
//
// A name in the suffix trie, and a prefix in the table of addresses, has the
// number of a [Value]: which lists name it, and the number of a set of rules.
// Names of plain lists have no rules, and a decision about them reads none.
package rule

import (
	"slices"

	"rideau/blocklists/entry"
	"rideau/resolver/wire"
)

// Value is what the lists say about one name or prefix.
type Value struct {
	Self  Set    // the lists that name it
	Below Set    // the lists that name everything below it
	Rules uint32 // the number of a set of rules; 0 is the empty one
}

// Rule is an entry that says more than that a name or a prefix is listed: an
// entry of a policy zone, or an adblock rule with modifiers. Equal rules
// compare equal.
type Rule struct {
	List    uint8
	Trigger entry.Trigger
	Action  entry.Action // Listed if the entry is of no policy zone
	Covers  Cover
	Kind    Kind
	Bits    uint8  // the length of its prefix; of a name, the entry's Spelling
	Types   uint16 // the number of a TypeSet; 0 is all types
	Data    uint32 // the number of local data, if Action is Local
	// Cancel removes the rule that is equal but for Cancel. If that rule would
	// be a plain entry, it removes the plain entry; see CancelsPlain.
	Cancel bool
}

// Cover says which names a rule is about, as bits.
type Cover uint8

// Covers.
const (
	Self  Cover = 1 << iota // the name that has the rule
	Below                   // the names below it
)

// Kind is what a rule does.
type Kind uint8

// Kinds.
const (
	Ordinary        Kind = iota // puts the names on the list
	Except                      // takes the names off the list, unless an important rule names them
	Important                   // puts the names on the list, against Except
	ExceptImportant             // takes the names off the list in any case
	// Empty marks an empty non-terminal of a policy zone: a name without a
	// rule, above one that has a rule. A wildcard above it ends there (RFC 4592
	// section 3.3.1).
	Empty
)

// OfZone reports whether the rule is an entry of a policy zone.
func (r *Rule) OfZone() bool { return r.Action != entry.Listed || r.Kind == Empty }

// About reports whether a rule of the name with that many labels covers a name
// of so many labels, which is the same name or one below it.
func (r *Rule) About(labels, of int) bool {
	if labels == of {
		return r.Covers&Self != 0
	}
	return r.Covers&Below != 0
}

// Cancelled reports whether one of the rules, which have the same name,
// cancels r.
func (r *Rule) Cancelled(by []Rule) bool {
	twin := *r
	twin.Cancel = true
	return slices.Contains(by, twin)
}

// CancelsPlain reports whether r cancels what its list says about the name without a rule. That has to cover the same names.
func (r *Rule) CancelsPlain(v *Value) bool {
	var covers Cover
	if v.Self.Has(int(r.List)) {
		covers |= Self
	}
	if v.Below.Has(int(r.List)) {
		covers |= Below
	}
	return r.Cancel && r.Kind == Ordinary && r.Types == 0 && r.Bits == 0 && !r.OfZone() && r.Covers == covers
}

// TypeSet is the query types that a rule is about. The zero TypeSet is all.
type TypeSet struct {
	Types []uint16
	Not   bool // all types but Types
}

// Has reports whether the set has the type; the type 0, which is no particular
// one, is in all sets.
func (t *TypeSet) Has(q wire.Type) bool {
	return q == 0 || len(t.Types) == 0 || slices.Contains(t.Types, uint16(q)) != t.Not
}
