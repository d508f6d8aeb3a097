package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/compile"
	"rideau/blocklists/fetch"
	"rideau/blocklists/input"
	"rideau/cmd/rideau/internal/setup"
	"rideau/config"
)

// Sources find the content of lists: where the configuration says, what was
// fetched, and the last good copies of both.
//
// What is fetched is a candidate. It becomes the last good copy when a policy was made
// of it; if it is at fault that none can be made, it is put aside, and what was
// good before goes on: nobody elsewhere can keep this rideau from a change of its own
// configuration.
type Sources struct {
	log   *slog.Logger
	agent string // for servers of lists
	write bool   // the state folder may be written
	Temp  string // where downloads go; empty for the state folder

	// files is held while lists are read and kept, and while one download takes the place of
	// another, so that no file goes while it is read.
	files sync.Mutex
	// round lets one round of downloads run at a time.
	round sync.Mutex
	// wake ends the wait for the next download, since there may be new lists.
	wake chan struct{}

	mu     sync.Mutex        // guards what follows, for a moment only
	feeds  map[string]*feed  // by list, of those with a URL
	copies map[string]string // the lists whose last good copy serves, and why
}

// NewSources makes sources. log may be nil. agent is what the servers of lists see as User-Agent.
func NewSources(log *slog.Logger, write bool, agent string) *Sources {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Sources{log: log, write: write, agent: agent, wake: make(chan struct{}, 1), feeds: map[string]*feed{}}
}

// candidate is a download that passed what can be told without reading what it says.
type candidate struct {
	file    string
	facts   fetch.Facts
	refused bool  // it cannot be used, save by force
	why     error // if it is refused
}

// origin is what a copy of a list depends on: where it comes from, and what vouches for it.
func origin(l *config.List) string {
	switch {
	case l.URL != "":
		return strings.Join([]string{"url", l.URL, l.PublicKey, l.SHA256}, " ")
	case l.Folder != "":
		return "folder " + filepath.Join(l.Folder, l.Match)
	case l.File != "":
		return strings.Join([]string{"file", l.File, l.PublicKey, l.SHA256}, " ")
	}
	return ""
}

// OpenStore opens the state folder; nil if there is none to be used.
func (s *Sources) OpenStore(cfg *config.Config) (*fetch.Store, error) {
	if cfg.State.Dir == "" {
		if cfg.Remote() {
			return nil, errors.New("a list has a url, and there is no folder for its last good copy; set state.dir")
		}
		return nil, nil
	}
	st, err := fetch.OpenStore(cfg.State.Dir, s.write)
	switch {
	case err == nil:
	case !cfg.Remote():
		s.log.Warn("no last good copies of lists are kept", "error", err)
		return nil, nil
	case s.loaded() || s.covered(cfg):
		// A disk that is full or broken must keep nobody from changing a ban, nor from a start that can do without it.
		s.log.Warn("last good copies of lists cannot be written; the old ones stay", "error", err)
		return fetch.OpenStore(cfg.State.Dir, false)
	}
	return st, err
}

// covered reports whether all lists with a URL have a last good copy.
func (s *Sources) covered(cfg *config.Config) bool {
	return !slices.ContainsFunc(RemoteLists(cfg), func(l *config.List) bool { return s.copyFault(cfg, l) != nil })
}

// loaded reports whether a policy was made before.
func (s *Sources) loaded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.copies != nil
}

// prepared is a policy whose lists have their content.
type prepared struct {
	cfg    *config.Config
	policy blocklists.Policy
	store  *fetch.Store
	from   []content // of the configuration's lists
	// missing are lists with a URL that have none.
	missing []*config.List
}

// content is where a list is read from.
type content struct {
	candidate *candidate
	facts     fetch.Facts // of the last good copy
	known     bool        // there is one
	copied    bool        // it is read although the list is a file or a folder
}

// LoadOptions say how to load.
type LoadOptions struct {
	Force bool
	// Start reads the last good copies of files that cannot be used.
	Start bool
	// Lenient takes lists that were never fetched for empty, and notes them in Missing.
	Lenient bool
	Missing *[]*config.List
	// Same says that the configuration says of policy what it said of the Snapshot before; if its lists are unchanged too, it stays, and Report is what
	// was said of it.
	Same   bool
	Report compile.Report
}

// Load makes the policy of a configuration. The report of success has in
// Failed the candidates that were put aside.
func (s *Sources) Load(ctx context.Context, cfg *config.Config, prev *blocklists.Snapshot, slots *blocklists.Slots, o LoadOptions) (*blocklists.Snapshot, compile.Report, error) {
	s.files.Lock()
	defer s.files.Unlock()
	aside, copied := map[string]bool{}, map[string]string{}
	var refused []*compile.ListError
	for {
		p, err := s.prepare(cfg, o, aside, copied)
		if err != nil {
			return nil, compile.Report{}, err
		}
		if o.Missing != nil {
			*o.Missing = p.missing
		}
		if o.Same && p.unchanged(prev) {
			now := time.Now()
			if next := prev.NextChange(); !next.IsZero() && !now.Before(next) {
				prev = prev.At(now)
			}
			snap := prev.Confirmed(now)
			s.keep(p, snap, copied)
			o.Report.Failed = refused
			return snap, o.Report, nil
		}
		snap, report, err := compile.Load(ctx, p.policy, prev, compile.Options{Now: time.Now(), Force: o.Force, Slots: slots})
		if err == nil {
			s.keep(p, snap, copied)
			report.Failed = refused
			return snap, report, nil
		}
		if ctx.Err() != nil || !s.instead(p, report.Failed, o, aside, copied, &refused) {
			return nil, report, err
		}
	}
}

// instead finds, for each list that was refused, what to read instead. It
// reports false if one has nothing else.
func (s *Sources) instead(p *prepared, failed []*compile.ListError, o LoadOptions, aside map[string]bool, copied map[string]string, refused *[]*compile.ListError) bool {
	all := len(failed) > 0
	for _, e := range failed {
		i := slices.IndexFunc(p.cfg.Lists, func(l config.List) bool { return l.ID == e.List })
		if i < 0 { // of an exception
			all = false
			continue
		}
		switch c := &p.from[i]; {
		case c.candidate != nil:
			aside[e.List] = true
			s.refuse(&p.cfg.Lists[i], c.candidate, e.Err)
			*refused = append(*refused, e)
			all = all && c.known
		case o.Start && c.known && !c.copied && p.cfg.Lists[i].URL == "":
			copied[e.List] = e.Err.Error()
		default:
			all = false
		}
	}
	return all
}

// prepare finds the content of each list, and its guards.
func (s *Sources) prepare(cfg *config.Config, o LoadOptions, aside map[string]bool, copied map[string]string) (*prepared, error) {
	p := &prepared{cfg: cfg, policy: policy(cfg), from: make([]content, len(cfg.Lists))}
	var err error
	if p.store, err = s.OpenStore(cfg); err != nil {
		return nil, err
	}
	protected, err := input.NewProtected(cfg.Protected.All(), "take the entry out of the list; for a file, may_block_protected lets it in")
	if err != nil {
		return nil, err
	}
	for i := range cfg.Lists {
		l, b, c := &cfg.Lists[i], &p.policy.Lists[i], &p.from[i]
		b.Guards = input.Guards{MaxGrowth: l.MaxGrowth, MaxEntries: l.MaxEntries, Forward: l.URL != "" || l.PublicKey != "" || l.RequireSerial,
			RequireSerial: l.RequireSerial, SameSerial: l.PublicKey != "", NotEmpty: l.URL != ""}
		if d, err := hex.DecodeString(l.SHA256); err == nil && len(d) == sha256.Size {
			b.Guards.SHA256 = [sha256.Size]byte(d)
		}
		if (l.URL != "" || l.File != "" || l.Folder != "") && !l.MayBlockProtected && banned(cfg, l.ID) {
			b.Guards.Protected = protected
		}
		if p.store != nil && origin(l) != "" {
			f, err := p.store.Facts(l.ID)
			c.facts, c.known = f, err == nil && f.Origin == origin(l)
		}
		if c.known {
			b.Guards.Before = input.Baseline{Options: c.facts.Options, Entries: c.facts.Entries, Serial: input.Serial(c.facts.Serial)}
		}
		switch why, again := copied[l.ID]; {
		case l.URL != "":
			s.prepareURL(p, i, o, aside[l.ID])
		case again:
			c.copied = true
			p.fromCopy(i, why)
		case l.PublicKey != "":
			prepareSigned(b, l)
		}
	}
	return p, nil
}

// banned reports whether a ban uses the list.
func banned(cfg *config.Config, id string) bool {
	return slices.ContainsFunc(cfg.Bans, func(b config.Ban) bool { return slices.Contains(b.Lists, id) })
}

// prepareURL gives a list the content that was fetched: the newest that is not put aside.
func (s *Sources) prepareURL(p *prepared, i int, o LoadOptions, aside bool) {
	l, b, c := &p.cfg.Lists[i], &p.policy.Lists[i], &p.from[i]
	newest, why := s.newest(l)
	switch {
	case newest != nil && !aside && (o.Force || !newest.refused):
		c.candidate = newest
		b.Guards.Serial = input.Serial(newest.facts.Serial)
		file := newest.file
		b.Open = func() (io.ReadCloser, error) { return os.Open(file) }
	case c.known:
		b.Guards.Serial = input.Serial(c.facts.Serial)
		p.fromCopy(i, "")
	case o.Lenient:
		p.missing = append(p.missing, l)
		b.Guards.NotEmpty, b.Guards.RequireSerial, b.Guards.SHA256 = false, false, [sha256.Size]byte{}
		b.Open = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("")), nil }
	default:
		err := s.noCopy(p.cfg, l, why)
		b.Open = func() (io.ReadCloser, error) { return nil, err }
	}
}

// noCopy is the error of a list that could not be fetched, of which there is no good copy either; why may be nil.
func (s *Sources) noCopy(cfg *config.Config, l *config.List, why error) error {
	const remedy = `; run "rideau fetch" where there is a network and bring that folder here, or take the list out of the configuration`
	if why == nil {
		why = errors.New("it was not fetched yet")
	}
	fault := s.copyFault(cfg, l)
	if fault == nil || errors.Is(fault, fetch.ErrNoCopy) {
		return fmt.Errorf("%w: %w in %s%s", why, fetch.ErrNoCopy, cfg.State.Dir, remedy)
	}
	return fmt.Errorf("%w: %w%s", why, fault, remedy)
}

// fromCopy gives a list its last good copy, which is made sure of when it is opened. why is what is wrong with the list itself.
func (p *prepared) fromCopy(i int, why string) {
	id, st, facts, b := p.cfg.Lists[i].ID, p.store, p.from[i].facts, &p.policy.Lists[i]
	open := func() (*os.File, error) {
		f, err := st.Open(id, facts)
		if err == nil && len(facts.Parts) > 0 {
			err = sized(f, facts)
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
	own := max(len(parts)-len(facts.Included), 0)
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
	}
}

// sized makes sure that a copy is as long as its parts. It closes one that is not.
func sized(f *os.File, facts fetch.Facts) error {
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

// section is a part of a file.
type section struct {
	io.Reader
	io.Closer
}

// prepareSigned holds a file to its signature, and what is read later to what was signed.
func prepareSigned(b *input.List, l *config.List) {
	serial, digest, err := verifyFile(l)
	if err != nil {
		b.Open = func() (io.ReadCloser, error) { return nil, err }
		return
	}
	b.Guards.Serial = input.Serial(serial)
	if b.Guards.SHA256 == ([sha256.Size]byte{}) {
		b.Guards.SHA256 = digest
	}
}

func verifyFile(l *config.List) (serial fetch.Serial, digest [sha256.Size]byte, err error) {
	if err := setup.Regular(l.SignatureFile); err != nil {
		return serial, digest, fmt.Errorf("its signature: %v; put it there, or correct signature_file", err)
	}
	sig, err := readSignature(l.SignatureFile)
	if err != nil {
		return serial, digest, err
	}
	f, err := openList(l.File)
	if err != nil {
		return serial, digest, err
	}
	defer f.Close()
	sum := sha256.New()
	serial, err = fetch.Verify(io.TeeReader(f, sum), l.PublicKey, sig)
	if err != nil {
		return serial, digest, fmt.Errorf("%s: %w; sign it again, or correct public_key", l.SignatureFile, err)
	}
	sum.Sum(digest[:0])
	return serial, digest, nil
}

// readSignature reads no more of a file than a signature has.
func readSignature(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, fetch.MaxSignature))
}

// unchanged reports whether the lists have what they had in the Snapshot.
func (p *prepared) unchanged(prev *blocklists.Snapshot) bool {
	before := prev.Lists()
	if len(before) != len(p.policy.Lists) {
		return false
	}
	for i := range p.cfg.Lists {
		l, c := &p.cfg.Lists[i], &p.from[i]
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
		case l.File != "" || l.Folder != "":
			now, err := p.policy.Lists[i].ReadDigest(before[i].Included)
			if err != nil || now != before[i].SHA256 {
				return false
			}
		}
	}
	return true
}

// nudge lets lists that are new be looked at.
func (s *Sources) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// warn tells, loudly, of lists that serve from their last good copies.
func (s *Sources) warn(cfg *config.Config) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, why := range s.copies {
		s.log.Warn("a list cannot be used; its last good copy serves instead. Mend the list; it is then read at once", "list", id, "folder", cfg.State.Dir, "problem", why)
	}
}
