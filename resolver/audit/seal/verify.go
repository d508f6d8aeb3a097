package seal

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// Kind is the kind of a Finding.
type Kind string

// Kinds.
const (
	Cut        Kind = "cut"        // lines are missing
	Inserted   Kind = "inserted"   // there are lines that were not sealed
	Reordered  Kind = "reordered"  // lines have another order
	Changed    Kind = "changed"    // lines are others
	Missing    Kind = "missing"    // seals are missing, with the lines that they cover
	Forged     Kind = "forged"     // a signature is wrong
	WrongKey   Kind = "wrong_key"  // the key of a seal was not given
	Twice      Kind = "twice"      // a seal is there more than once
	Unsealed   Kind = "unsealed"   // lines where none can be without a seal
	Unreadable Kind = "unreadable" // a file cannot be read to its end

	Tail  Kind = "tail"  // lines that no seal covers yet, or that had none for a time
	Gap   Kind = "gap"   // time without seals
	Begin Kind = "begin" // what was before the files is not known
	End   Kind = "end"   // what was after the files is not known
	Chain Kind = "chain" // there is more than one chain
)

// Finding is something that Verify found.
type Finding struct {
	Kind Kind `json:"kind"`
	// Fault says that the files are not as they were written. Otherwise the
	// finding is about what is not known, or about time without seals.
	Fault bool   `json:"fault"`
	File  string `json:"file,omitempty"`
	Line  int    `json:"line,omitempty"`
	Seal  uint64 `json:"seal,omitempty"`
	Text  string `json:"text"`
}

// Report is what Verify found.
type Report struct {
	// Intact says that there is no fault.
	Intact bool `json:"intact"`
	Files  int  `json:"files"`
	Seals  int  `json:"seals"`
	// Events are the lines that a seal covers and that are as they were.
	Events int `json:"events"`
	// From and To are the times of the first and the last seal.
	From     time.Time `json:"from,omitzero"`
	To       time.Time `json:"to,omitzero"`
	Findings []Finding `json:"findings"`
	// NotProved says what no check of the files can show.
	NotProved []string `json:"not_proved"`
}

// verification is one Verify.
type verification struct {
	keys  []Public
	since time.Time
	heads []Head // held outside, and after the first outer of them those beside the files
	outer int
	files []*read
	r     Report
}

func (v *verification) fault(k Kind, at *found, format string, args ...any) {
	v.add(Finding{Kind: k, Fault: true}, at, format, args...)
}

func (v *verification) note(k Kind, at *found, format string, args ...any) {
	v.add(Finding{Kind: k}, at, format, args...)
}

func (v *verification) add(f Finding, at *found, format string, args ...any) {
	f.Text, f.File, f.Line = fmt.Sprintf(format, args...), at.file, at.line
	if at.Seal != nil {
		f.Seal = at.Number
	}
	v.r.Findings = append(v.r.Findings, f)
}

// Request is what Verify is to look at.
type Request struct {
	// Keys are the public keys of the seals.
	Keys []Public
	// Files are the paths of sealed files, in any order, which gzip or zstd may
	// have compressed, and of the files beside them, whose names end in
	// StateSuffix.
	Files []string
	// Heads are what is held outside.
	Heads []Head
	// Since is the time from which on nothing may be missing; the zero Time: the
	// files may begin whenever they do, since old ones are removed.
	Since time.Time
}

// Verify tells in which way files are not what was written. The error is about a
// file that cannot be opened.
func Verify(q Request) (*Report, error) {
	v := &verification{keys: q.Keys, since: q.Since, heads: slices.Clone(q.Heads), outer: len(q.Heads)}
	v.r.Findings = []Finding{}
	for _, path := range q.Files {
		if strings.HasSuffix(path, StateSuffix) {
			if err := v.readHeads(path); err != nil {
				return nil, err
			}
			continue
		}
		if err := v.readFile(path); err != nil {
			return nil, err
		}
	}
	chains := map[string][]*read{}
	var names []string
	for _, f := range v.files {
		switch {
		case len(f.seals) > 0:
			c := f.seals[0].Chain
			if chains[c] == nil {
				names = append(names, c)
			}
			chains[c] = append(chains[c], f)
		case f.lines > 0:
			v.fault(Unsealed, &found{file: f.path, line: 1}, "%s has no seal with a good signature: none of its %d lines is proved", f.path, f.lines)
		default:
			v.note(Tail, &found{file: f.path}, "%s is empty", f.path)
		}
	}
	for _, c := range names {
		v.chain(c, chains[c])
	}
	if len(names) > 1 {
		v.note(Chain, &found{}, "the files are of %d chains, of several sinks or nodes, or of one whose last seal was lost: that nothing is missing between chains is not proved", len(names))
	}
	v.finish()
	return &v.r, nil
}

// readHeads reads the file that holds the last seal of a Writer.
func (v *verification) readHeads(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	n := 0
	err = eachLine(f, func(l *line) {
		if s := parse(l.text); s != nil && v.signed(&found{s, path, 1}) {
			v.heads = append(v.heads, s.head())
			n++
		}
	})
	if n == 0 && err == nil {
		v.fault(Forged, &found{file: path}, "%s holds no seal with a good signature", path)
	}
	return err
}

// chain checks the seals of one chain.
func (v *verification) chain(name string, files []*read) {
	slices.SortStableFunc(files, func(a, b *read) int { return cmp.Compare(a.seals[0].Number, b.seals[0].Number) })
	var all []*found
	for i, f := range files {
		for j := range f.seals {
			all = append(all, &f.seals[j])
		}
		v.end(f, i == len(files)-1)
	}
	v.r.Seals += len(all)
	first := all[0]
	switch {
	case first.Number == 1:
	case !v.since.IsZero() && first.Time.After(v.since):
		v.fault(Missing, first, "the files begin with seal %d of chain %s, of %s: what was before, since %s, is missing", first.Number, name, stamp(first.Time), stamp(v.since))
	default:
		v.note(Begin, first, "the files begin with seal %d of chain %s, of %s: what was before is not in them", first.Number, name, stamp(first.Time))
	}
	held := map[uint64]*found{}
	var last *found
	for _, s := range all {
		if before := held[s.Number]; before != nil {
			v.fault(Twice, s, "seal %d is in %s and again in %s", s.Number, before, s)
			continue
		}
		held[s.Number] = s
		if last != nil {
			v.follows(last, s)
		}
		if last == nil || s.Number > last.Number {
			last = s
		}
	}
	v.outside(name, held, first, last)
	if v.r.From.IsZero() || first.Time.Before(v.r.From) {
		v.r.From = first.Time
	}
	if last.Time.After(v.r.To) {
		v.r.To = last.Time
	}
}

// end checks what comes after the last seal of a file.
func (v *verification) end(f *read, newest bool) {
	s := &f.seals[len(f.seals)-1]
	at := &found{s.Seal, f.path, s.line + 1}
	ended := s.Why == Rotated || s.Why == Stopped
	switch {
	case f.tail > 0 && (ended || !newest):
		v.fault(Unsealed, at, "%s: %d lines after seal %d, with which the file ends, are not sealed", f.path, f.tail, s.Number)
	case f.tail > 0:
		v.note(Tail, at, "%s: the last %d lines, from line %d on, are not sealed yet: nothing is proved of them", f.path, f.tail, s.line+1)
	}
	if f.torn {
		v.note(Tail, at, "%s ends within a line", f.path)
	}
}

// follows checks that one seal follows another.
func (v *verification) follows(a, b *found) {
	switch {
	case b.Chain != a.Chain:
		v.fault(Missing, b, "seal %d at %s is of another chain, %s", b.Number, b, b.Chain)
		return
	case b.Number < a.Number:
		v.fault(Reordered, b, "seal %d at %s comes after seal %d", b.Number, b, a.Number)
		return
	case b.Number == a.Number+2:
		v.fault(Missing, b, "seal %d is missing, with the lines that it covers, between %s and %s", a.Number+1, a, b)
	case b.Number > a.Number+1:
		v.fault(Missing, b, "seals %d to %d are missing, with the lines that they cover, between %s and %s", a.Number+1, b.Number-1, a, b)
	case b.Previous != fmt.Sprintf("%x", a.hash):
		v.fault(Changed, b, "seal %d at %s follows another seal %d than the one at %s", b.Number, b, a.Number, a)
	}
	passed := b.Time.Sub(a.Time)
	switch limit := time.Duration(a.Every) * time.Second; {
	case passed < -time.Second:
		v.note(Gap, b, "seal %d at %s has a time %v before that of seal %d: the clock was set", b.Number, b, (-passed).Round(time.Second), a.Number)
	case a.Why == Stopped:
		v.note(Gap, b, "the program was stopped from %s to %s (%v)", stamp(a.Time), stamp(b.Time), passed.Round(time.Second))
	case b.Why == Resumed || b.Why == Started || b.Why == Opened && a.Why != Rotated:
		v.note(Gap, b, "the program ended without a stop after %s, and sealed again at %s (%v later)", stamp(a.Time), stamp(b.Time), passed.Round(time.Second))
	case limit > 0 && passed > limit+limit/2+time.Minute:
		v.note(Gap, b, "there is no seal from %s to %s (%v), and one was due every %v: the machine slept, or the clock was set", stamp(a.Time), stamp(b.Time), passed.Round(time.Second), limit)
	}
}

// outside compares a chain with what is held outside of it.
func (v *verification) outside(name string, held map[uint64]*found, first, last *found) {
	proved := false
	told := map[uint64]bool{}
	for i, h := range v.heads {
		if h.Chain != name || told[h.Number] {
			continue
		}
		s := held[h.Number]
		switch {
		case s != nil && s.hash != h.Hash:
			v.fault(Changed, s, "seal %d at %s is not the one that is held outside", h.Number, s)
			told[h.Number] = true
		case s != nil:
			proved = proved || h.Number == last.Number && i < v.outer
		case h.Number > last.Number:
			v.fault(Missing, last, "seal %d of chain %s is held outside, and the files end with seal %d: their end is missing", h.Number, name, last.Number)
			told[h.Number] = true
		case h.Number > first.Number:
			v.fault(Missing, first, "seal %d of chain %s is held outside and is not in the files", h.Number, name)
			told[h.Number] = true
		}
	}
	if !proved {
		v.note(End, last, "the files end with seal %d of chain %s, of %s, which is not held outside. That nothing came after it is proved only as far as nobody replaced the file %s: give what a syslog server holds with --heads",
			last.Number, name, stamp(last.Time), StateSuffix)
	}
}

// finish says what the report as a whole shows.
func (v *verification) finish() {
	v.r.Files = len(v.files)
	v.r.Intact = !slices.ContainsFunc(v.r.Findings, func(f Finding) bool { return f.Fault })
	if v.r.Seals == 0 && v.r.Intact {
		v.fault(Unsealed, &found{}, "there is no seal in the files: nothing is proved")
		v.r.Intact = false
	}
	v.r.NotProved = []string{
		"that every event was written: what was dropped before is counted in rideau_sink_dropped_total, and missing numbers in the ids of events tell of it",
		"that times are right: they are those of the server's clock",
		"that nobody with the private key made the files anew; seals that a syslog server elsewhere holds (--heads) rule that out up to the last of them",
	}
}
