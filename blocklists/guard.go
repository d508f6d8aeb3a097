package blocklists

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"rideau/blocklists/format"
	"rideau/resolver/wire"
)

// Guards are the bounds that a list is held to beside MaxSkipped and MaxShrink. The zero value has none.
type Guards struct {
	// MaxGrowth is how many times as many entries the list may have as before, once it has more than [GrowthFloor]; 0 for any.
	MaxGrowth float64
	// MaxEntries is how many entries the list may have; 0 for any.
	MaxEntries int
	// NotEmpty refuses the list without entries, whatever it was before.
	NotEmpty bool
	// SHA256 is the digest of the only content that is right; zero for any.
	SHA256 [sha256.Size]byte
	// Protected are names that no entry of the list may block; nil for none.
	Protected *Protected
	// Before is what the list was when it was last found good, for a process that has no Snapshot with it yet. It counts if its Options are those of the list.
	Before Baseline
	// Serial is the number of this version, if something other than the content says so. Forward refuses a version with a lower one than before, and
	// RequireSerial one without. SameSerial refuses a version without such a number where there was one, or whose number is of another kind:
	// whoever can choose among old versions that are signed could choose such a one.
	Serial        Serial
	Forward       bool
	RequireSerial bool
	SameSerial    bool
}

// Baseline is what versions of a list are compared with.
type Baseline struct {
	Options string // from [ListInfo.Options]
	Entries int    // 0: not known
	Serial  Serial
}

// Serial is a number that grows with each version of a list. The zero Serial is none.
type Serial struct {
	// Kind says where the number was found. Numbers of different kinds do not compare, and those of [SOASerial] compare by RFC 1982.
	Kind  string
	Value uint64
}

// SOASerial is the Kind of the serials of zones.
const SOASerial = "soa"

// older reports whether the serial is one of an earlier version.
func (s Serial) older(than Serial) bool {
	switch {
	case s.Kind != than.Kind:
		return false
	case s.Kind == SOASerial:
		return int32(uint32(s.Value)-uint32(than.Value)) < 0
	}
	return s.Value < than.Value
}

// signed reports whether something other than the content said the number.
func (s Serial) signed() bool { return s.Kind != "" && s.Kind != SOASerial && s.Kind != listSerial }

// GrowthFloor is the number of entries up to which a list may grow at once.
const GrowthFloor = 1000

// Errors of the guards.
var (
	ErrGrew       = errors.New("grew more than max_growth allows")
	ErrMaxEntries = errors.New("more entries than max_entries allows")
	ErrNoEntries  = errors.New("no entries")
	ErrProtected  = errors.New("it would block protected names")
	ErrDigest     = errors.New("it is not the content whose SHA-256 was given")
	ErrSerial     = errors.New("an older version than the last good one")
	ErrNoSerial   = errors.New("it has no serial, and require_serial is set")
)

// check holds what was read to the guards that need the whole; before is the list's last good version.
func (g *Guards) check(l *List, info *ListInfo, before Baseline) error {
	const remedy = "if that is meant, reload with force"
	switch {
	case g.NotEmpty && info.Entries == 0:
		return fmt.Errorf("%s: %w; see what the source sends, or %s", l.Source, ErrNoEntries, remedy)
	case g.RequireSerial && info.Serial.Kind == "":
		return fmt.Errorf("%s: %w; have its publisher add one, or take require_serial out", l.Source, ErrNoSerial)
	case g.RequireSerial && before.Serial.Kind != "" && before.Serial.Kind != info.Serial.Kind,
		g.SameSerial && before.Serial.signed() && before.Serial.Kind != info.Serial.Kind:
		return fmt.Errorf("%s: %w, for all that can be told: its number is of the kind %q, and that was a %s; %s", l.Source, ErrSerial, info.Serial.Kind, before.Serial.Kind, remedy)
	case g.Forward && info.Serial.older(before.Serial):
		return fmt.Errorf("%s: %w: %s %d, and that had %d; %s", l.Source, ErrSerial, info.Serial.Kind, info.Serial.Value, before.Serial.Value, remedy)
	case g.MaxGrowth > 0 && before.Entries > 0 && info.Entries > GrowthFloor && float64(info.Entries) > g.MaxGrowth*float64(before.Entries):
		return fmt.Errorf("%s: %w: %d entries, %d before, max_growth %g; %s", l.Source, ErrGrew, info.Entries, before.Entries, g.MaxGrowth, remedy)
	}
	return nil
}

// pinned holds a list to its digest, which no force overrides.
func (g *Guards) pinned(l *List, digest [sha256.Size]byte) error {
	if g.SHA256 == [sha256.Size]byte{} || g.SHA256 == digest {
		return nil
	}
	return fmt.Errorf("%s: %w: it has %x, and %x is right; see where the content comes from, or correct sha256", l.Source, ErrDigest, digest, g.SHA256)
}

// gate lets a list's entries in one by one.
type gate struct {
	list      *List
	digest    Digest
	entries   int
	protected int
	problems  []format.Problem // the first of them
}

// admits reports whether an entry counts. One about a protected name does not; one too many ends the reading.
func (g *gate) admits(file string, e *format.Entry) (bool, error) {
	guards := &g.list.Guards
	if p := guards.Protected; p != nil && e.Name != nil && blocks(e.Rule) {
		if name := p.meets(e.Name, e.Match); name != "" {
			g.refuse(file, e, name)
			return false, nil
		}
	}
	if g.entries++; guards.MaxEntries > 0 && g.entries > guards.MaxEntries {
		return false, fmt.Errorf("%s:%d: %w (%d); see what the source sends, or raise max_entries", file, e.Line, ErrMaxEntries, guards.MaxEntries)
	}
	return true, nil
}

// blocks reports whether an entry can keep a name from being resolved.
func blocks(r *format.Rule) bool { return r == nil || !r.Except && r.Action != format.Passthru }

func (g *gate) refuse(file string, e *format.Entry, protected string) {
	if g.protected++; len(g.problems) >= format.MaxProblems {
		return
	}
	g.problems = append(g.problems, format.Problem{File: file, Line: e.Line, Text: wire.NameString(e.Name),
		Reason: fmt.Sprintf("the name %s is protected from this list", protected), Remedy: g.list.Guards.Protected.remedy})
}

// report adds the protected names to what was skipped.
func (g *gate) report(s *format.Stats) {
	s.Skipped += g.protected
	s.Problems = append(s.Problems, g.problems[:min(len(g.problems), format.MaxProblems-len(s.Problems))]...)
}

// protectedFloor is how many entries about protected names are a slip, however short the list.
const protectedFloor = 10

// tooManyProtected refuses a list that is about protected names more than about others, or about many.
func (g *gate) tooManyProtected(entries int) error {
	all := entries + g.protected
	if g.protected == 0 || entries > 0 && (g.protected <= protectedFloor || float64(g.protected) <= g.list.MaxSkipped*float64(all)) {
		return nil
	}
	p := g.problems[0]
	p.Reason = fmt.Sprintf("%v: %d of its %d entries, the first being this one", ErrProtected, g.protected, all)
	return protectedError{p}
}

// protectedError is a Problem that is ErrProtected.
type protectedError struct{ format.Problem }

func (e protectedError) Unwrap() []error { return []error{e.Problem, ErrProtected} }

// Protected is a set of names that some lists may not block. It is immutable.
type Protected struct {
	names  map[string]string // in wire form, to what messages call them
	above  map[string]string // names above those, to one of them
	remedy string
}

// NewProtected makes a set of names in presentation form; remedy is what messages tell to do.
func NewProtected(names []string, remedy string) (*Protected, error) {
	p := &Protected{map[string]string{}, map[string]string{}, remedy}
	for _, text := range names {
		var n wire.Name
		if err := n.SetText(text); err != nil {
			return nil, fmt.Errorf("protected.names: %q: %w", text, err)
		}
		w := n.Bytes()
		p.names[string(w)] = n.String()
		for up := w; len(up) > 1; {
			up = up[1+int(up[0]):]
			if _, ok := p.above[string(up)]; !ok {
				p.above[string(up)] = n.String()
			}
		}
	}
	return p, nil
}

// meets is the protected name that an entry is about: it is that name, lies below it, or covers it from above; empty if there is none.
func (p *Protected) meets(name []byte, m format.Match) string {
	for up := name; len(up) > 1; up = up[1+int(up[0]):] {
		if s, ok := p.names[string(up)]; ok {
			return s
		}
	}
	if m == format.Exact {
		return ""
	}
	return p.above[string(name)]
}

// holds reports whether a name is protected, or lies below one that is.
func (p *Protected) holds(name *wire.Name) bool {
	for up := name.Bytes(); len(up) > 1; up = up[1+int(up[0]):] {
		if _, ok := p.names[string(up)]; ok {
			return true
		}
	}
	return false
}

// spares reports whether a list may not keep a name from being resolved: not
// by an entry of its own, which it is read without, and not by what the name leads to either.
func (s *Snapshot) spares(list uint8, name *wire.Name) bool {
	p := s.policy.Lists[list].Guards.Protected
	return p != nil && p.holds(name)
}
