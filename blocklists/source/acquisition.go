package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/compile"
	"rideau/blocklists/fetch"
	"rideau/blocklists/input"
)

// Acquisition acquires the lists of one plan. Its steps are Ensure or Fetch, which are optional; Prepare; and Commit. The caller calls Close
// at the end, also after Commit or an error. An Acquisition is for one goroutine.
//
// From Prepare to Commit or Close no download of its Sources replaces another.
type Acquisition struct {
	s       *Sources
	plan    *Plan
	fetched []feedKey         // feeds that did not exist before this Acquisition downloaded them
	found   map[string]string // by the ID of the list, the candidate that its URL had in this Acquisition: see Visit
	locked  bool              // it holds files
	done    bool

	missing []*List // see Missing
	// What Prepare found, for Commit.
	ready    *attempt // nil before Prepare has succeeded
	snapshot *blocklists.Snapshot
	report   compile.Report
	refusals []refusal
}

// refusal is a candidate of which no policy could be made.
type refusal struct {
	list      *List
	candidate *candidate
	err       error
}

// Begin returns an Acquisition of the lists of a plan. Nothing is read yet.
func (s *Sources) Begin(p *Plan) *Acquisition {
	return &Acquisition{s: s, plan: p, found: map[string]string{}}
}

// PrepareOptions go with [Acquisition.Prepare].
type PrepareOptions struct {
	// Previous is the Snapshot that serves, which lists are compared with; nil for none.
	Previous *blocklists.Snapshot
	// Slots numbers the bans; required.
	Slots *blocklists.Slots
	// Now are the instants that decide which bans and exceptions are in force, see [blocklists.Snapshot.At]; the first is that of the
	// system's clock. None: the system's clock alone.
	Now []time.Time
	// Force are the lists that are accepted though the guards refuse them, for example because they became empty. Of a list with a URL that
	// is only what this Acquisition has just downloaded, or the last good copy. A digest or a signature that is wrong is refused all the same.
	Force input.Forced
	// Start reads the last good copies of files and folders that cannot be used.
	Start bool
	// SamePolicy says that the plan makes the same policy of the same lists as the current one. If the contents of the lists are the same
	// too, the result is the previous Snapshot, and the report of its commit.
	SamePolicy bool
	// Lenient reads lists that were never downloaded as empty lists, see [Acquisition.Missing].
	Lenient bool
}

// Prepare reads the lists and makes a policy of them. It changes nothing on disk and nothing that others see.
//
// A candidate that is refused is left out, and the last good copy is read in its place. The report of a success has the errors of such
// candidates in Failed.
func (a *Acquisition) Prepare(ctx context.Context, o PrepareOptions) (*blocklists.Snapshot, compile.Report, error) {
	a.lock()
	if len(o.Now) == 0 {
		o.Now = []time.Time{time.Now()}
	}
	instead := substitutes{aside: map[string]bool{}, copied: map[string]string{}}
	for {
		t, err := a.attempt(o, instead)
		if err != nil {
			return nil, compile.Report{}, err
		}
		a.missing = t.missing
		if o.SamePolicy && o.Previous != nil && t.unchanged(a.plan, o.Previous) {
			return a.prepared(t, confirmed(o.Previous, o.Now), a.s.lastReport())
		}
		snap, report, err := compile.Load(ctx, t.policy, o.Previous, compile.Options{Now: o.Now[0], Others: o.Now[1:], Force: a.forced(t, o.Force), Slots: o.Slots})
		if err == nil {
			return a.prepared(t, snap, report)
		}
		if ctx.Err() != nil || !a.substitute(t, report.Failed, o, instead) {
			return nil, report, err
		}
	}
}

// forced returns the lists that are forced. Of a list with a URL that is what the URL has now, or the last good copy, which another process
// may have written: a candidate that came before may be wrong by now.
func (a *Acquisition) forced(t *attempt, f input.Forced) input.Forced {
	var out input.Forced
	for i := range a.plan.Lists {
		if l := &a.plan.Lists[i]; f.Has(l.ID) && a.present(l, t.from[i].candidate) {
			out = append(out, l.ID)
		}
	}
	return out
}

// present reports whether what a list is read from is there now: a candidate, nil for none, only if this Acquisition has found it.
func (a *Acquisition) present(l *List, c *candidate) bool {
	return l.URL == "" || c == nil || a.found[l.ID] == c.facts.SHA256
}

// Missing returns the lists that Prepare read as empty lists.
func (a *Acquisition) Missing() []*List { return a.missing }

func (a *Acquisition) lock() {
	if !a.locked {
		a.s.files.Lock()
		a.locked = true
	}
}

// prepared stores the result of Prepare for Commit, and returns it.
func (a *Acquisition) prepared(t *attempt, snap *blocklists.Snapshot, report compile.Report) (*blocklists.Snapshot, compile.Report, error) {
	report.Failed = nil
	for _, r := range a.refusals {
		report.Failed = append(report.Failed, &compile.ListError{List: r.list.ID, Source: r.list.Source, Err: r.err})
	}
	a.ready, a.snapshot, a.report = t, snap, report
	return snap, report, nil
}

// confirmed returns a Snapshot whose lists were found unchanged, with the bans that are in force now.
func confirmed(s *blocklists.Snapshot, now []time.Time) *blocklists.Snapshot {
	if s.ChangesAt(now...) {
		s = s.At(now...)
	}
	return s.Confirmed(now[0])
}

// lastReport returns what the last commit reported.
func (s *Sources) lastReport() compile.Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.report
}

// substitutes says which lists are read from their last good copy. Both maps are by the ID of the list.
type substitutes struct {
	aside  map[string]bool   // the candidate was refused
	copied map[string]string // the file or folder cannot be used, and why
}

// substitute finds, for each list that was refused, what to read in its place. It reports false if there is nothing for one of them.
func (a *Acquisition) substitute(t *attempt, failed []*compile.ListError, o PrepareOptions, instead substitutes) bool {
	all := len(failed) > 0
	for _, e := range failed {
		i := slices.IndexFunc(a.plan.Lists, func(l List) bool { return l.ID == e.List })
		if i < 0 {
			return false
		}
		l, c := &a.plan.Lists[i], &t.from[i]
		switch {
		case c.candidate != nil:
			instead.aside[e.List] = true
			a.refusals = append(a.refusals, refusal{l, c.candidate, e.Err})
			all = all && c.known
		case o.Start && c.known && !c.copied && l.URL == "":
			instead.copied[e.List] = e.Err.Error()
		default:
			all = false
		}
	}
	return all
}

// Commit writes the last good copies and makes the plan the current one. Prepare must have succeeded. If a copy cannot be written, that is
// logged, and the old copy stays.
func (a *Acquisition) Commit() {
	s := a.s
	s.mu.Lock()
	for _, r := range a.refusals {
		s.refuse(r)
	}
	s.current, s.copies, s.report = a.plan, a.copies(), compile.Report{Problems: a.report.Problems}
	s.forget(func(k feedKey) bool { return !a.plan.has(k) })
	s.mu.Unlock()
	a.keep()
	a.end()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// copies returns which lists serve from their last good copy in place of their file, and why.
func (a *Acquisition) copies() map[string]string {
	out := map[string]string{}
	for i := range a.plan.Lists {
		if c := &a.ready.from[i]; c.copied {
			out[a.plan.Lists[i].ID] = c.why
		}
	}
	return out
}

// Close ends the Acquisition. Without Commit everything is then as it was before Begin: it removes what was downloaded for lists that the
// current plan does not have.
func (a *Acquisition) Close() {
	if a.done {
		return
	}
	if len(a.fetched) > 0 {
		a.lock()
		s := a.s
		s.mu.Lock()
		s.forget(func(k feedKey) bool { return slices.Contains(a.fetched, k) && !s.current.has(k) })
		for _, k := range a.fetched {
			if !s.current.hasID(k.list) {
				delete(s.counts, k.list)
			}
		}
		s.mu.Unlock()
	}
	a.end()
}

func (a *Acquisition) end() {
	a.done = true
	if a.locked {
		a.locked = false
		a.s.files.Unlock()
	}
}

// keep writes the last good copies: the contents of which the policy was made.
func (a *Acquisition) keep() {
	s, p := a.s, a.plan
	if p.Dir == "" || s.readOnly {
		return
	}
	st := fetch.NewStore(p.Dir)
	switch err := st.EnsureWritable(); {
	case err == nil:
		st.Sweep(s.downloads())
	case len(p.Remote()) == 0:
		s.log.Warn("no last good copies of lists are kept", "error", err)
		return
	default:
		s.log.Warn(copiesStay, "error", err)
	}
	for i := range p.Lists {
		err := a.keepList(st, i)
		if err != nil && !errors.Is(err, fetch.ErrChanged) { // the next reload keeps what changed meanwhile
			s.log.Warn("the last good copy of a list cannot be written; the old one stays", "list", p.Lists[i].ID, "folder", st.Dir(), "error", err)
		}
	}
}

// keepList writes the last good copy of one list, unless it is there already.
func (a *Acquisition) keepList(st *fetch.Store, i int) error {
	l, c, info := &a.plan.Lists[i], &a.ready.from[i], &a.snapshot.Lists()[i]
	f := fetch.Facts{Origin: l.origin(), Options: info.Options, Entries: info.Entries, Wide: info.Wide, Format: string(info.Format), Serial: fetch.Serial(info.Serial),
		Digest: hex.EncodeToString(info.SHA256[:]), Accepted: time.Now().UTC()}
	switch {
	case f.Origin == "" || c.copied:
		return nil
	case c.candidate != nil:
		return a.s.accept(st, l, c.candidate, f)
	case c.known && c.facts.Digest == f.Digest:
		old := c.facts
		old.Options, old.Entries, old.Wide, old.Format, old.Serial = f.Options, f.Entries, f.Wide, f.Format, f.Serial
		if c.signature != "" {
			old.Signature = c.signature
		}
		if old.Signature == c.facts.Signature && old.Options == c.facts.Options && old.Entries == c.facts.Entries && old.Wide == c.facts.Wide && old.Format == c.facts.Format && old.Serial == c.facts.Serial {
			return nil
		}
		return st.Note(l.ID, old)
	case l.URL == "":
		f.Fetched, f.Included, f.Signature = f.Accepted, info.Included, c.signature
		return keepFiles(st, &a.ready.policy.Lists[i], f)
	}
	return nil
}

// accept makes a candidate the last good copy.
func (s *Sources) accept(st *fetch.Store, l *List, c *candidate, f fetch.Facts) error {
	f.SHA256, f.ETag, f.LastModified, f.Fetched, f.Signature = c.facts.SHA256, c.facts.ETag, c.facts.LastModified, c.facts.Fetched, c.facts.Signature
	if err := st.Commit(l.ID, c.file, f); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count(l.ID, Updated)
	d := s.change(l)
	d.err = nil
	if d.newest == c {
		d.newest = nil
	}
	return nil
}

// refuse puts a candidate aside. Its file stays: force can use it, and the server need not send it again. files and mu are held.
func (s *Sources) refuse(r refusal) {
	f := s.change(r.list)
	if f.newest != r.candidate || r.candidate.refused {
		return
	}
	r.candidate.refused, r.candidate.why = true, r.err
	f.err = r.err
	f.due = time.Now().Add(wait(fetch.Schedule{Refresh: r.list.Refresh}))
	s.count(r.list.ID, Refused)
	s.log.Error("the new version of a list is refused; the last good one goes on serving", "list", r.list.ID, "error", r.err)
}

// downloads returns the files of all candidates.
func (s *Sources) downloads() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, f := range s.feeds {
		if f.newest != nil {
			out = append(out, f.newest.file)
		}
	}
	return out
}

// Load prepares a plan and commits nothing, for commands that only read lists.
func Load(ctx context.Context, p *Plan, o PrepareOptions) (*blocklists.Snapshot, compile.Report, error) {
	a := New(Options{ReadOnly: true}).Begin(p)
	defer a.Close()
	return a.Prepare(ctx, o)
}

// Accept makes a download the last good copy of its list if a policy can be made of it. The other lists of the plan are not read. forced says
// what was taken only by force; nil for nothing.
func (s *Sources) Accept(ctx context.Context, p *Plan, v Visit, force input.Forced) (info blocklists.ListInfo, forced []input.ForcedList, err error) {
	if v.Err != nil {
		return info, nil, v.Err
	}
	a := s.Begin(p.only(v.List))
	a.note([]Visit{v})
	defer a.Close()
	snap, report, err := a.Prepare(ctx, PrepareOptions{Slots: new(blocklists.Slots), Force: force})
	if err == nil {
		a.keep() // also if an older copy was read
	}
	for _, e := range report.Failed {
		return info, nil, e.Err
	}
	if err != nil {
		return info, nil, err
	}
	return snap.Lists()[0], report.Forced, nil
}

// only returns a plan of one list, with the bans and exceptions that use it.
func (p *Plan) only(l *List) *Plan {
	out := *p
	out.Lists, out.Policy.Bans, out.Policy.Exceptions = []List{*l}, nil, nil
	for _, b := range p.Policy.Bans {
		switch {
		case slices.Contains(b.Lists, l.ID):
			b.Lists = []string{l.ID}
		case slices.Contains(b.AllBut, l.ID):
			b.AllBut = []string{l.ID}
		default:
			continue
		}
		out.Policy.Bans = append(out.Policy.Bans, b)
	}
	for _, e := range p.Policy.Exceptions {
		if slices.Contains(e.Lists, l.ID) {
			e.Lists = []string{l.ID}
			out.Policy.Exceptions = append(out.Policy.Exceptions, e)
		}
	}
	return &out
}

// digestOf decodes a SHA-256 in hex; it is zero for anything else.
func digestOf(hexDigits string) (out [sha256.Size]byte) {
	if d, err := hex.DecodeString(hexDigits); err == nil && len(d) == len(out) {
		copy(out[:], d)
	}
	return out
}
