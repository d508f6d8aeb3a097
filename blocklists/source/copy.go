package source

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"rideau/blocklists/fetch"
	"rideau/blocklists/input"
)

// errNoFolder is the error of a plan with a URL and without a folder.
var errNoFolder = errors.New("a list has a url, and there is no folder for its last good copy; set state.dir")

// Writable returns an error if downloads of a plan cannot be written.
func (s *Sources) Writable(p *Plan) error {
	_, err := s.writable(p)
	return err
}

// writable returns the store of the last good copies, for downloads. If the store cannot be written but no list needs a download, it logs
// that and returns the store: with a full or broken disk Rideau still starts and still reloads.
func (s *Sources) writable(p *Plan) (*fetch.Store, error) {
	if p.Dir == "" {
		return nil, errNoFolder
	}
	st := fetch.NewStore(p.Dir)
	if s.readOnly {
		return st, nil
	}
	err := st.EnsureWritable()
	if err != nil && (s.serving() || s.covered(p)) {
		s.log.Warn(copiesStay, "error", err)
		err = nil
	}
	return st, err
}

const copiesStay = "last good copies of lists cannot be written; the old ones stay"

// serving reports whether a plan was committed.
func (s *Sources) serving() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current != nil
}

// covered reports whether every list with a URL has a last good copy.
func (s *Sources) covered(p *Plan) bool {
	return !slices.ContainsFunc(p.Remote(), func(l *List) bool { return p.copyFault(l) != nil })
}

// copyFault returns why there is no last good copy of a list with a URL; nil if there is one.
func (p *Plan) copyFault(l *List) error {
	if p.Dir == "" {
		return fetch.ErrNoCopy
	}
	st := fetch.NewStore(p.Dir)
	facts, err := st.Facts(l.ID)
	switch {
	case err != nil:
		return err
	case facts.Origin != l.origin():
		return fetch.ErrNoCopy
	}
	f, _, err := l.openCopy(st, facts)
	if err != nil {
		return err
	}
	return f.Close()
}

// openCopy opens the last good copy of the list and verifies its digest and, if the list has a public key, the signature that is kept with
// it. It returns the serial: of a signature that of the signature, whatever the facts say. The caller closes the file.
func (l *List) openCopy(st *fetch.Store, facts fetch.Facts) (*os.File, fetch.Serial, error) {
	f, err := st.Open(l.ID, facts)
	if err != nil || l.PublicKey == "" {
		return f, facts.Serial, err
	}
	serial, err := fetch.VerifyCopy(f, facts, l.PublicKey)
	if err != nil {
		f.Close()
		return nil, serial, err
	}
	if serial.Kind == "" {
		serial = facts.Serial // one that the list itself has
	}
	return f, serial, nil
}

// noCopy returns the error of a list that could not be downloaded and has no last good copy. why says why it could not; it may be nil.
func (p *Plan) noCopy(l *List, why error) error {
	const remedy = `; run "rideau fetch" where there is a network and bring that folder here, or take the list out of the configuration`
	if why == nil {
		why = errors.New("it was not fetched yet")
	}
	fault := p.copyFault(l)
	if fault == nil || errors.Is(fault, fetch.ErrNoCopy) {
		return fmt.Errorf("%w: %w in %s%s", why, fetch.ErrNoCopy, p.Dir, remedy)
	}
	return fmt.Errorf("%w: %w%s", why, fault, remedy)
}

// readCopy makes the list read its last good copy, which is verified when it is opened. why says what is wrong with the list itself.
func (l *List) readCopy(b *input.List, st *fetch.Store, facts fetch.Facts, why string) {
	open := func() (*os.File, error) {
		f, serial, err := l.openCopy(st, facts)
		if err == nil && l.PublicKey != "" && serial != facts.Serial {
			err = fmt.Errorf("%w: its record says another serial than its signature; fetch the list again", fetch.ErrCorrupt)
			f.Close()
		}
		if err == nil && len(facts.Parts) > 0 {
			err = checkSize(f, facts)
		}
		if err != nil && why != "" {
			err = fmt.Errorf("%s; and %w", why, err)
		}
		return f, err
	}
	b.Guards.Serial = input.Serial(facts.Serial)
	if len(facts.Parts) == 0 {
		b.Open = func() (io.ReadCloser, error) { return open() }
		return
	}
	var parts []input.Part
	at := int64(0)
	for _, part := range facts.Parts {
		begin := at
		at += max(part.Size, 0)
		parts = append(parts, input.Part{Name: part.Name, Open: func() (io.ReadCloser, error) {
			f, err := open()
			if err != nil {
				return nil, err
			}
			return section{io.NewSectionReader(f, begin, part.Size), f}, nil
		}})
	}
	own := max(len(parts)-len(facts.Included), 0) // before those that are included
	b.Include = func(name string) (input.Part, error) {
		if i := slices.Index(facts.Included, name); i >= 0 && own+i < len(parts) {
			return parts[own+i], nil
		}
		return input.Part{}, fmt.Errorf("%s is not in the last good copy", name)
	}
	switch {
	case b.Parts != nil:
		b.Parts = func() ([]input.Part, error) { return parts[:own], nil }
	case own == 1:
		b.Open = parts[0].Open
	default:
		b.Open = func() (io.ReadCloser, error) {
			return nil, fmt.Errorf("%w: its record has %d parts, and the list is one file; fetch the list again", fetch.ErrCorrupt, own)
		}
	}
}

// checkSize compares the size of a copy with that of its parts. It closes a file of another size.
func checkSize(f *os.File, facts fetch.Facts) error {
	sum := int64(0)
	for _, p := range facts.Parts {
		sum += p.Size
	}
	info, err := f.Stat()
	if err == nil && info.Size() != sum {
		err = fmt.Errorf("%w: %s is not as long as its parts; mend the list", fetch.ErrCorrupt, f.Name())
	}
	if err != nil {
		f.Close()
	}
	return err
}

// section is a part of a file. Close closes the file.
type section struct {
	io.Reader
	io.Closer
}

// keepFiles copies the files of a list into the store.
func keepFiles(st *fetch.Store, b *input.List, f fetch.Facts) error {
	files, err := b.AllFiles(f.Included)
	if err != nil {
		return err
	}
	var from []fetch.Source
	for _, p := range files {
		from = append(from, fetch.Source(p))
	}
	return st.Keep(b.ID, from, f, b.Parts != nil || len(files) > 1, func(sums [][32]byte) string {
		d := input.DigestOf(files, sums, b.Parts != nil)
		return hex.EncodeToString(d[:])
	})
}
