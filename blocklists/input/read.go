package input

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"rideau/blocklists/entry"
	"rideau/blocklists/format"
	"rideau/resolver/wire"
)

// Content is what [List.Read] found out about a list's content.
type Content struct {
	Stats    format.Stats
	SHA256   [32]byte // see [Digest]
	Entries  Sum      // of the entries that the guards admit
	Serial   Serial
	Wide     int      // the entries that cover names below theirs
	Blocking int      // the entries that can keep a name or an address from being resolved
	Included []string // the files that a zone includes, by the names it gives them, in order
}

// Read reads the list, one file after the other, as [format.Read] reads one.
// It calls f for each entry that the guards admit, until f returns an error.
// An entry is valid until f returns. The Content holds what was found up to an
// error.
//
// Guards that compare with an earlier version are not applied; see [List.Check].
func (l *List) Read(f func(entry.Entry) error) (c Content, err error) {
	parts, err := l.Files()
	if err != nil {
		return c, err
	}
	r := reader{list: l, until: time.Now().Add(maxTime)}
	for _, p := range parts {
		one, err := r.file(p, &c, f)
		c.Stats = joined(c.Stats, one)
		if err != nil {
			return c, err
		}
	}
	r.addProtected(&c.Stats)
	r.tellWildcards(&c.Stats)
	c.SHA256 = r.digest.Sum(l.Parts != nil)
	c.Serial = l.Guards.Serial
	if c.Serial.Kind == "" && c.Stats.HasSerial && len(parts) == 1 {
		c.Serial = Serial{Kind: listSerial, Value: c.Stats.Serial}
		if c.Stats.Format == format.RPZ {
			c.Serial.Kind = SOASerial
		}
	}
	if err = r.tooManyProtected(c.Stats.Entries); err == nil {
		err = l.Guards.checkDigest(l, c.SHA256)
	}
	return c, err
}

// maxTime bounds how long the reading of a list may take. Ten million names take seconds.
const maxTime = 2 * time.Minute

// reader reads the files of one list.
type reader struct {
	list      *List
	until     time.Time
	digest    Digest
	scratch   []byte           // for the sum of the entries
	entries   int              // admitted
	protected int              // refused, since they are about protected names
	problems  []format.Problem // the first of those
	wildcards int              // entries *.NAME
	wildcard  format.Problem   // of the first of those
}

// noteWildcard counts entries *.NAME, and describes the first.
func (r *reader) noteWildcard(file string, e *entry.Entry) {
	if e.Name == nil || e.Match != entry.Below {
		return
	}
	if r.wildcards++; r.wildcards == 1 {
		name := wire.NameString(e.Name)
		r.wildcard = format.Problem{File: file, Line: e.Line,
			Reason: fmt.Sprintf("every entry of list %s is as *.%s, which does not cover %s itself", r.list.ID, name, name),
			Remedy: "set wildcard_includes_name for the list: true if the names are meant, too, and false if they are not"}
	}
}

// tellWildcards tells of a plain list that has no other entries than *.NAME.
func (r *reader) tellWildcards(s *format.Stats) {
	l := r.list
	if r.wildcards > 0 && r.wildcards == s.Entries && s.Format == format.Plain && !l.WildcardMeant && !l.Unguarded && len(s.Problems) < format.MaxProblems {
		s.Problems = append(s.Problems, r.wildcard)
	}
}

// file reads one file.
func (r *reader) file(p Part, c *Content, f func(entry.Entry) error) (format.Stats, error) {
	file, err := p.Open()
	if err != nil {
		return format.Stats{}, err
	}
	defer file.Close()
	o := r.list.readOptions(p.Name)
	o.Until = r.until
	if r.list.Include != nil {
		o.Include = func(name string) (io.ReadCloser, error) { return r.include(c, name) }
	}
	admitted := 0
	// What the format does not read, such as what follows a compressed file, is part of the digest, too.
	all := io.TeeReader(file, r.digest.Begin(p))
	stats, err := format.Read(all, o, func(e entry.Entry) error {
		if ok, err := r.admits(p.Name, &e); !ok || err != nil {
			return err
		}
		admitted++
		r.scratch = c.Entries.add(&e, r.scratch)
		if blocks(e.Rule) {
			c.Blocking++
			if e.Name != nil && e.Match != entry.Exact {
				c.Wide++
			}
		}
		r.noteWildcard(p.Name, &e)
		return f(e)
	})
	stats.Entries = admitted
	if err == nil {
		_, err = io.Copy(io.Discard, all)
	}
	return stats, err
}

// include opens a file that a zone includes. It is part of the list's digest.
func (r *reader) include(c *Content, name string) (io.ReadCloser, error) {
	p, err := r.list.Include(name)
	if err != nil {
		return nil, err
	}
	f, err := p.Open()
	if err != nil {
		return nil, err
	}
	c.Included = append(c.Included, name)
	return &included{io.TeeReader(f, r.digest.Begin(p)), f}, nil
}

// included is a file whose Close reads it to its end first, for the digest.
type included struct {
	io.Reader
	file io.Closer
}

func (i *included) Close() error {
	_, err := io.Copy(io.Discard, i.Reader)
	return errors.Join(err, i.file.Close())
}

// admits reports whether an entry counts. One about a protected name does not. It returns an
// error, which ends the reading, if there are too many entries.
func (r *reader) admits(file string, e *entry.Entry) (bool, error) {
	guards := &r.list.Guards
	if p := guards.Protected; p != nil && e.Name != nil && blocks(e.Rule) {
		if name := p.affected(e.Name, e.Match); name != "" {
			r.refuse(file, e, name)
			return false, nil
		}
	}
	if r.entries++; guards.MaxEntries > 0 && r.entries > guards.MaxEntries {
		return false, fmt.Errorf("%s:%d: %w (%d); see what the source sends, or raise max_entries", file, e.Line, ErrMaxEntries, guards.MaxEntries)
	}
	return true, nil
}

// blocks reports whether an entry can keep a name from being resolved.
func blocks(r *entry.Rule) bool {
	return r == nil || !r.Except && !r.Cancel && r.Action != entry.Passthru
}

// refuse counts an entry about a protected name.
func (r *reader) refuse(file string, e *entry.Entry, protected string) {
	if r.protected++; len(r.problems) >= format.MaxProblems {
		return
	}
	r.problems = append(r.problems, format.Problem{File: file, Line: e.Line, Text: wire.NameString(e.Name),
		Reason: fmt.Sprintf("the name %s is protected from this list", protected), Remedy: r.list.Guards.Protected.remedy})
}

// addProtected adds the entries about protected names to what was skipped.
func (r *reader) addProtected(s *format.Stats) {
	s.Skipped += r.protected
	s.Problems = append(s.Problems, r.problems[:min(len(r.problems), format.MaxProblems-len(s.Problems))]...)
}

// protectedFloor is how many entries about protected names are tolerated as a slip, however short the list.
const protectedFloor = 10

// tooManyProtected refuses a list with more than protectedFloor entries about protected names, if they are
// more than MaxSkipped of all, and a list that has no others.
func (r *reader) tooManyProtected(entries int) error {
	all := entries + r.protected
	if r.protected == 0 || entries > 0 && (r.protected <= protectedFloor || float64(r.protected) <= r.list.MaxSkipped*float64(all)) {
		return nil
	}
	p := r.problems[0]
	p.Reason = fmt.Sprintf("%v: %d of its %d entries, the first being this one", ErrProtected, r.protected, all)
	return protectedError{p}
}

// protectedError is a Problem that is ErrProtected.
type protectedError struct{ format.Problem }

func (e protectedError) Unwrap() []error { return []error{e.Problem, ErrProtected} }

// joined returns the stats of two files together.
func joined(a, b format.Stats) format.Stats {
	if a.Lines == 0 && a.Entries == 0 {
		return b
	}
	b.Lines += a.Lines
	b.Entries += a.Entries
	b.Skipped += a.Skipped
	b.NotDNS += a.NotDNS
	b.OtherTier += a.OtherTier
	b.Problems = append(a.Problems, b.Problems[:min(len(b.Problems), format.MaxProblems-len(a.Problems))]...)
	reasons := slices.Clone(a.Reasons)
	for _, r := range b.Reasons {
		if i := slices.IndexFunc(reasons, func(x format.Reason) bool { return x.Reason == r.Reason && x.NotDNS == r.NotDNS }); i >= 0 {
			reasons[i].Lines += r.Lines
			continue
		}
		reasons = append(reasons, r)
	}
	slices.SortStableFunc(reasons, func(x, y format.Reason) int { return y.Lines - x.Lines })
	b.Reasons = reasons
	return b
}
