package input

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/dustin/go-humanize/english"

	"rideau/blocklists/format"
)

// Guards are the bounds that a list is held to beside MaxSkipped and MaxShrink. The zero Guards has none.
type Guards struct {
	// MaxGrowth is how many times as many entries the list may have as before, once it has more than [GrowthFloor]; 0 for any.
	MaxGrowth float64
	// MaxEntries is how many entries the list may have; 0 for any.
	MaxEntries int
	// NotEmpty refuses a list without entries, whatever it was before.
	NotEmpty bool
	// SHA256 is the digest of the only content that is accepted; zero for any.
	SHA256 [sha256.Size]byte
	// Protected are names that no entry of the list may block; nil for none.
	Protected *Protected
	// Before is the last good version of the list, for a process that has no Snapshot with it yet. It counts if its Options are those of the list.
	Before Baseline
	// Serial is the number of this version, if something other than the content says so. Forward refuses a version with a lower number than before, and
	// RequireSerial one without a number. SameSerial refuses a version without such a number if there was one before, or whose number is of another kind:
	// an attacker who can choose among old versions that are signed could choose such a one.
	Serial        Serial
	Forward       bool
	RequireSerial bool
	SameSerial    bool
}

// Baseline is what a version of a list is compared with.
type Baseline struct {
	Options string // from [List.Options]
	Entries int    // 0: not known
	Serial  Serial
	Wide    int           // from [Content]; 0: not known
	Format  format.Format // as it was read; empty: not known
}

// GrowthFloor is the number of entries up to which a list may grow at once.
const GrowthFloor = 1000

// Errors of the guards.
var (
	ErrEmpty      = errors.New("no entries, and there were some before")
	ErrShrank     = errors.New("lost more of its entries than max_shrink allows")
	ErrGrew       = errors.New("grew more than max_growth allows")
	ErrMaxEntries = errors.New("more entries than max_entries allows")
	ErrNoEntries  = errors.New("no entries")
	ErrIdle       = errors.New("it has no entry that counts")
	ErrFormat     = errors.New("it looks like another format than before")
	ErrNarrowed   = errors.New("names lose what is below them, more than max_shrink allows")
	ErrProtected  = errors.New("it would block protected names")
	ErrDigest     = errors.New("it is not the content whose SHA-256 was given")
	ErrSerial     = errors.New("an older version than the last good one")
	ErrNoSerial   = errors.New("it has no serial, and require_serial is set")
)

// IsGuard reports whether a guard refused the list, and the error's text ends
// with "; " and the remedy. [ErrProtected] is not such an error: it is in a
// format.Problem, which has the remedy as a field.
func IsGuard(err error) bool {
	guards := [...]error{ErrEmpty, ErrShrank, ErrGrew, ErrMaxEntries, ErrNoEntries, ErrIdle, ErrFormat, ErrNarrowed, ErrDigest, ErrSerial, ErrNoSerial}
	return slices.ContainsFunc(guards[:], func(guard error) bool { return errors.Is(err, guard) })
}

// Check holds what was read to the guards that need the whole, or that
// compare it with before, the last good version; the zero Baseline if there is none.
// A list that is [Forced] is taken all the same.
func (l *List) Check(c *Content, before Baseline) error {
	if err := l.Guards.check(l, c, before); err != nil {
		return err
	}
	if err := l.checkShrink(c.Stats.Entries, before); err != nil {
		return err
	}
	return l.checkReading(c, before)
}

// checkReading refuses a list that would be read otherwise than before: in another format than was detected then, or with names that no longer
// cover what is below them. The number of entries does not show that.
func (l *List) checkReading(c *Content, before Baseline) error {
	if l.Unguarded || before.Entries == 0 {
		return nil
	}
	now := c.Stats.Format
	if l.Format == format.Auto && l.Parts == nil && before.Format != "" && now != before.Format {
		return fmt.Errorf("%s: %w: %s, and that was %s; set the list's format, or if that is meant, reload with force=%s", l.Source, ErrFormat, now, before.Format, l.ID)
	}
	gone := max(before.Entries-c.Stats.Entries, 0)
	if narrowed := before.Wide - c.Wide - gone; narrowed > 0 && float64(narrowed) > l.MaxShrink*float64(before.Wide) {
		return fmt.Errorf("%s: %w: names below %s are covered, below %d before, max_shrink %g; set the list's format, or if that is meant, reload with force=%s",
			l.Source, ErrNarrowed, english.Plural(c.Wide, "entry", ""), before.Wide, l.MaxShrink, l.ID)
	}
	return nil
}

func (g *Guards) check(l *List, c *Content, before Baseline) error {
	remedy := "if that is meant, reload with force=" + l.ID
	entries := c.Stats.Entries
	switch {
	case g.NotEmpty && entries == 0 && !l.EmptyOK:
		return fmt.Errorf("%s: %w; see what the source sends, or %s", l.Source, ErrNoEntries, remedy)
	case g.RequireSerial && c.Serial.Kind == "":
		return fmt.Errorf("%s: %w; have its publisher add one, or take require_serial out", l.Source, ErrNoSerial)
	case g.RequireSerial && before.Serial.Kind != "" && before.Serial.Kind != c.Serial.Kind,
		g.SameSerial && before.Serial.signed() && before.Serial.Kind != c.Serial.Kind:
		return fmt.Errorf("%s: %w, for all that can be told: its number is of the kind %q, and that was a %s; %s", l.Source, ErrSerial, c.Serial.Kind, before.Serial.Kind, remedy)
	case g.Forward && c.Serial.older(before.Serial):
		return fmt.Errorf("%s: %w: %s %d, and that had %d; %s", l.Source, ErrSerial, c.Serial.Kind, c.Serial.Value, before.Serial.Value, remedy)
	case g.MaxGrowth > 0 && before.Entries > 0 && entries > GrowthFloor && float64(entries) > g.MaxGrowth*float64(before.Entries):
		return fmt.Errorf("%s: %w: %s, %d before, max_growth %g; %s", l.Source, ErrGrew, english.Plural(entries, "entry", ""), before.Entries, g.MaxGrowth, remedy)
	}
	return nil
}

func (l *List) checkShrink(entries int, before Baseline) error {
	if l.Unguarded || before.Entries == 0 {
		return nil
	}
	remedy := "if that is meant, reload with force=" + l.ID + ", or switch the ban off in the configuration"
	if entries == 0 {
		return fmt.Errorf("%s: %w (%d); %s", l.Source, ErrEmpty, before.Entries, remedy)
	}
	if lost := before.Entries - entries; float64(lost) > l.MaxShrink*float64(before.Entries) {
		return fmt.Errorf("%s: %w: %s, %d before, max_shrink %g; %s",
			l.Source, ErrShrank, english.Plural(entries, "entry", ""), before.Entries, l.MaxShrink, remedy)
	}
	return nil
}

// checkDigest holds a list to its digest, which no force overrides.
func (g *Guards) checkDigest(l *List, digest [sha256.Size]byte) error {
	if g.SHA256 == [sha256.Size]byte{} || g.SHA256 == digest {
		return nil
	}
	return fmt.Errorf("%s: %w: it has %x, and %x is right; see where the content comes from, or correct sha256", l.Source, ErrDigest, digest, g.SHA256)
}
