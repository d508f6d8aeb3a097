package source

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"

	"rideau/blocklists"
	"rideau/blocklists/fetch"
	"rideau/blocklists/format"
	"rideau/blocklists/input"
)

// attempt is a policy whose lists have their content.
type attempt struct {
	policy  blocklists.Policy
	from    []content // of the lists of the plan
	missing []*List   // taken for empty
}

// content is what a list is read from.
type content struct {
	candidate *candidate  // nil unless it is a download
	facts     fetch.Facts // of the last good copy
	known     bool        // there is a last good copy
	signature string      // of a file
	copied    bool        // it is read though the list is a file or a folder, because of why
	why       string
}

// attempt finds what each list is read from, and its guards.
func (a *Acquisition) attempt(o PrepareOptions, instead substitutes) (*attempt, error) {
	p := a.plan
	if p.Dir == "" && len(p.Remote()) > 0 {
		return nil, errNoFolder
	}
	protected, err := input.NewProtected(p.Protected, "take the entry out of the list; for a file, may_block_protected lets it in")
	if err != nil {
		return nil, err
	}
	t := &attempt{policy: p.Policy, from: make([]content, len(p.Lists))}
	t.policy.Lists = make([]input.List, len(p.Lists))
	st := fetch.NewStore(p.Dir)
	for i := range p.Lists {
		l, b, c := &p.Lists[i], &t.policy.Lists[i], &t.from[i]
		*b = l.opened()
		if l.origin() == "" {
			continue
		}
		l.guard(b)
		if !l.MayBlockProtected && p.banned(l.ID) {
			b.Guards.Protected = protected
		}
		if f, err := st.Facts(l.ID); err == nil && f.Origin == l.origin() {
			c.facts, c.known = f, true
			b.Guards.Before = input.Baseline{Options: f.Options, Entries: f.Entries, Serial: input.Serial(f.Serial), Wide: f.Wide, Format: format.Format(f.Format)}
		}
		switch why, again := instead.copied[l.ID]; {
		case l.URL != "":
			a.openDownload(t, i, st, o, instead.aside[l.ID])
		case again:
			c.copied, c.why = true, why
			l.readCopy(b, st, c.facts, why)
		case l.PublicKey != "":
			c.signature = openSigned(b, l)
		}
	}
	return t, nil
}

// guard sets the guards that depend on where the content comes from.
func (l *List) guard(b *input.List) {
	g := &b.Guards
	g.Forward = l.URL != "" || l.PublicKey != "" || g.RequireSerial
	g.SameSerial = l.PublicKey != ""
	g.NotEmpty = l.URL != ""
	g.SHA256 = digestOf(l.SHA256)
}

// openDownload makes the list read what was downloaded: the candidate, unless it was put aside, or else the last good copy.
func (a *Acquisition) openDownload(t *attempt, i int, st *fetch.Store, o PrepareOptions, aside bool) {
	l, b, c := &a.plan.Lists[i], &t.policy.Lists[i], &t.from[i]
	newest, why := a.s.newest(l)
	switch {
	case newest != nil && !aside && (!newest.refused || o.Force.Has(l.ID) && a.present(l, newest)):
		c.candidate = newest
		b.Guards.Serial = input.Serial(newest.facts.Serial)
		if l.PublicKey != "" && l.SHA256 == "" {
			b.Guards.SHA256 = digestOf(newest.facts.SHA256) // what was signed, if the file was written since
		}
		b.Open = func() (io.ReadCloser, error) { return os.Open(newest.file) }
	case c.known:
		l.readCopy(b, st, c.facts, "")
	case o.Lenient:
		t.missing = append(t.missing, l)
		b.EmptyOK, b.Guards.RequireSerial, b.Guards.SHA256 = true, false, [sha256.Size]byte{}
		b.Open = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("")), nil }
	default:
		err := a.plan.noCopy(l, why)
		b.Open = func() (io.ReadCloser, error) { return nil, err }
	}
}

// openSigned verifies the signature of a file, and has the digest of what was signed compared with what is read later. It returns the signature.
func openSigned(b *input.List, l *List) string {
	signature, serial, digest, err := l.verifyFile()
	if err != nil {
		b.Open = func() (io.ReadCloser, error) { return nil, err }
		return ""
	}
	b.Guards.Serial = input.Serial(serial)
	if b.Guards.SHA256 == ([sha256.Size]byte{}) {
		b.Guards.SHA256 = digest
	}
	return string(signature)
}

// verifyFile verifies the signature of the list's file, and returns the signature, its serial and the digest of the file.
func (l *List) verifyFile() (sig []byte, serial fetch.Serial, digest [sha256.Size]byte, err error) {
	if err := regular(l.SignatureFile); err != nil {
		return nil, serial, digest, fmt.Errorf("its signature: %v; put it there, or correct signature_file", err)
	}
	sig, err = readSignature(l.SignatureFile)
	if err != nil {
		return nil, serial, digest, err
	}
	f, err := openFile(l.File)
	if err != nil {
		return nil, serial, digest, err
	}
	defer f.Close()
	sum := sha256.New()
	serial, err = fetch.Verify(io.TeeReader(f, sum), l.PublicKey, sig)
	if err != nil {
		return nil, serial, digest, fmt.Errorf("%s: %w; sign it again, or correct public_key", l.SignatureFile, err)
	}
	sum.Sum(digest[:0])
	return sig, serial, digest, nil
}

// readSignature reads at most as much of a file as a signature may have.
func readSignature(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, fetch.MaxSignature))
}

// unchanged reports whether the contents of all lists are those of a Snapshot.
func (t *attempt) unchanged(p *Plan, prev *blocklists.Snapshot) bool {
	before := prev.Lists()
	if len(before) != len(p.Lists) {
		return false
	}
	for i := range p.Lists {
		l, c := &p.Lists[i], &t.from[i]
		sum := hex.EncodeToString(before[i].SHA256[:])
		switch {
		case before[i].ID != l.ID:
			return false
		case c.candidate != nil:
			if c.candidate.facts.SHA256 != sum {
				return false
			}
		case l.URL != "":
			if c.facts.Digest != sum {
				return false
			}
		case l.origin() != "":
			now, err := t.policy.Lists[i].ReadDigest(before[i].Included)
			if err != nil || now != before[i].SHA256 {
				return false
			}
		}
	}
	return true
}
