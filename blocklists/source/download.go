package source

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"rideau/blocklists/compile"
	"rideau/blocklists/fetch"
	"rideau/blocklists/input"
)

// Visit is what the download of one list came to.
type Visit struct {
	List   *List
	Result string // Updated says that there is a candidate
	Err    error
	// found is the SHA-256 of the candidate that the URL has, whether or not it was refused before; empty if it has none.
	found string
}

// Fetch downloads lists of a plan, some of them at the same time. Of the lists in again it also downloads what did not change.
func (s *Sources) Fetch(ctx context.Context, p *Plan, lists []*List, again input.Forced) []Visit {
	s.round.Lock()
	defer s.round.Unlock()
	out := make([]Visit, len(lists))
	st, err := s.writable(p)
	var client *fetch.Client
	if err == nil {
		client, err = fetch.New(p.Fetch) // one for each round, so that certificates are read again
	}
	if err == nil {
		defer client.Close()
	}
	var all sync.WaitGroup
	slots := make(chan struct{}, 4)
	for i, l := range lists {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			out[i] = Visit{List: l, Result: Failed, Err: err}
			if err == nil {
				out[i].Result, out[i].Err = s.download(ctx, client, st, l, again.Has(l.ID))
			}
			out[i].found = s.found(&out[i])
			s.schedule(&out[i])
		})
	}
	all.Wait()
	return out
}

// found returns which candidate a download has found at its URL, for Visit. No other download runs meanwhile.
func (s *Sources) found(v *Visit) string {
	var still *StillRefused
	if v.Err != nil && !errors.As(v.Err, &still) {
		return ""
	}
	if newest, _ := s.newest(v.List); newest != nil {
		return newest.facts.SHA256
	}
	return ""
}

// Fetch downloads those of the plan's lists with a URL that are wanted, see [Sources.Fetch].
func (a *Acquisition) Fetch(ctx context.Context, wanted func(*List) bool, again input.Forced) []Visit {
	return a.fetch(ctx, slices.DeleteFunc(a.plan.Remote(), func(l *List) bool { return !wanted(l) }), again)
}

// note stores what downloads have found, for Prepare.
func (a *Acquisition) note(visits []Visit) {
	for i := range visits {
		a.found[visits[i].List.ID] = visits[i].found
	}
}

// fetch downloads lists, and notes which of them have no feed yet.
func (a *Acquisition) fetch(ctx context.Context, lists []*List, again input.Forced) []Visit {
	if len(lists) == 0 {
		return nil // and wait for no other downloads
	}
	a.s.mu.Lock()
	for _, l := range lists {
		if k := l.feed(); a.s.feeds[k] == nil {
			a.fetched = append(a.fetched, k)
		}
	}
	a.s.mu.Unlock()
	visits := a.s.Fetch(ctx, a.plan, lists, again)
	a.note(visits)
	return visits
}

// Ensure downloads the lists without which no policy can be made: those of which there is neither a good copy nor a download. It tries
// until all are here, at least once, and no longer than patience.
func (a *Acquisition) Ensure(ctx context.Context, patience time.Duration) error {
	lists := a.absent()
	if len(lists) == 0 {
		return nil
	}
	if _, err := a.s.writable(a.plan); err != nil {
		return err
	}
	for _, l := range lists {
		if err := a.plan.copyFault(l); !errors.Is(err, fetch.ErrNoCopy) && err != nil {
			a.s.log.Warn("the last good copy of a list cannot be used", "list", l.ID, "error", err)
		}
	}
	end := time.Now().Add(patience)
	for pause := time.Second; ; pause *= 2 {
		round, cancel := ctx, context.CancelFunc(func() {})
		if patience > 0 {
			round, cancel = context.WithDeadline(ctx, end)
		}
		visits := a.fetch(round, lists, nil)
		cancel()
		if lists = a.absent(); len(lists) == 0 {
			return nil
		}
		// The last round gets some time too: otherwise its errors would only say that there was none.
		left := time.Until(end) - patience/4
		if left <= 0 || ctx.Err() != nil {
			return a.notFetched(visits)
		}
		select {
		case <-ctx.Done():
		case <-time.After(min(pause, left)):
		}
	}
}

// absent returns the lists with a URL of which there is neither a good copy nor a download.
func (a *Acquisition) absent() []*List {
	var out []*List
	for _, l := range a.plan.Remote() {
		if newest, _ := a.s.newest(l); newest == nil && a.plan.copyFault(l) != nil {
			out = append(out, l)
		}
	}
	return out
}

// notFetched joins the errors of the lists that could not be downloaded.
func (a *Acquisition) notFetched(visits []Visit) error {
	var out []error
	for _, v := range visits {
		if v.Err != nil {
			out = append(out, &compile.ListError{List: v.List.ID, Source: v.List.Source, Err: fmt.Errorf("%s: %w", v.List.Source, a.plan.noCopy(v.List, v.Err))})
		}
	}
	return errors.Join(out...)
}

// schedule notes the result of a download and when the next one is due.
func (s *Sources) schedule(v *Visit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, f := v.List, s.change(v.List)
	now := time.Now()
	next := fetch.Schedule{Refresh: l.Refresh}
	switch v.Result {
	case Updated: // counted once it is known whether a policy can be made of it
		f.last, f.failures = now, 0
	case Unchanged:
		s.count(l.ID, Unchanged)
		f.last, f.failures = now, 0
		if f.newest == nil {
			f.err = nil
		}
	default:
		s.count(l.ID, v.Result)
		f.err = v.Err
		f.failures++
		next.Failures = f.failures
		var status *fetch.StatusError
		if errors.As(v.Err, &status) {
			next.After = status.After
		}
	}
	f.due = now.Add(wait(next))
	if v.Err == nil {
		s.log.Debug("looked at a list", "list", l.ID, "url", l.Source, "result", v.Result)
		return
	}
	message := "a list could not be fetched; the last good copy goes on serving"
	if s.current == nil {
		message = "a list could not be fetched"
	}
	s.log.Warn(message, "list", l.ID, "url", l.Source, "result", v.Result, "error", v.Err, "next", f.due.Round(time.Second))
}

// wait returns the time to wait, spread at random.
func wait(s fetch.Schedule) time.Duration { return s.Next(rand.Float64()) }

// download downloads one list, and makes a new version the candidate.
func (s *Sources) download(ctx context.Context, client *fetch.Client, st *fetch.Store, l *List, again bool) (string, error) {
	newest, _ := s.newest(l)
	facts, err := st.Facts(l.ID)
	known := err == nil && facts.Origin == l.origin()
	if known {
		if f, _, err := l.openCopy(st, facts); err != nil { // the server must not confirm it
			known = false
		} else {
			f.Close()
		}
	}
	r := fetch.Request{URL: l.URL, Insecure: l.Insecure, MaxBytes: l.MaxBytes, Dir: st.Dir()}
	if s.temp != "" {
		r.Dir = s.temp
	}
	switch {
	case again:
	case newest != nil:
		r.ETag, r.LastModified = newest.facts.ETag, newest.facts.LastModified
	case known:
		r.ETag, r.LastModified = facts.ETag, facts.LastModified
	}
	res, err := client.Get(ctx, r)
	if err != nil {
		return resultOf(err), err
	}
	now := time.Now().UTC()
	sum := hex.EncodeToString(res.SHA256[:])
	switch {
	case newest != nil && (res.NotModified || newest.facts.SHA256 == sum):
		if !res.NotModified {
			os.Remove(res.File)
		}
		return s.sameCandidate(ctx, client, l, newest, res)
	case res.NotModified:
		s.confirmCopy(st, l, facts, now)
		return Unchanged, nil
	case known && facts.SHA256 == sum:
		os.Remove(res.File)
		facts.ETag, facts.LastModified = res.ETag, res.LastModified
		s.confirmCopy(st, l, facts, now)
		s.replace(l, nil)
		return Unchanged, nil
	}
	c := &candidate{file: res.File, facts: fetch.Facts{Origin: l.origin(), ETag: res.ETag, LastModified: res.LastModified, SHA256: sum, Digest: sum, Fetched: now}}
	if err := verifyDownload(ctx, client, l, c); err != nil {
		os.Remove(res.File)
		return resultOf(err), err
	}
	s.replace(l, c)
	return Updated, nil
}

// sameCandidate handles a server that still has the version of the candidate. If that was put aside, a new signature may vouch for it now.
func (s *Sources) sameCandidate(ctx context.Context, client *fetch.Client, l *List, c *candidate, res fetch.Result) (string, error) {
	s.mu.Lock()
	next := *c // c may be in use: it is replaced, not written
	s.mu.Unlock()
	if !res.NotModified {
		next.facts.ETag, next.facts.LastModified = res.ETag, res.LastModified
	}
	next.facts.Fetched = time.Now().UTC()
	if next.refused && l.PublicKey != "" {
		if err := verifyDownload(ctx, client, l, &next); err != nil {
			return resultOf(err), err
		}
		next.refused = next.facts.Serial == c.facts.Serial
	}
	s.files.Lock()
	defer s.files.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.change(l); f.newest == c {
		f.newest = &next
	}
	if next.refused {
		return Unchanged, &StillRefused{c.why}
	}
	return Updated, nil
}

// StillRefused is the error of a download that found the version that was put aside before.
type StillRefused struct{ Why error }

func (e *StillRefused) Error() string {
	return "the server still has the version that was refused: " + e.Why.Error()
}

// Unwrap returns Why.
func (e *StillRefused) Unwrap() error { return e.Why }

// confirmCopy notes that the server has the last good copy.
func (s *Sources) confirmCopy(st *fetch.Store, l *List, f fetch.Facts, now time.Time) {
	if s.readOnly {
		return
	}
	f.Fetched = now
	s.files.Lock()
	defer s.files.Unlock()
	if err := st.Note(l.ID, f); err != nil {
		s.log.Warn("the state of a list cannot be written", "list", l.ID, "folder", st.Dir(), "error", err)
	}
}

// replace makes a download the candidate, nil for none, and removes the one before.
func (s *Sources) replace(l *List, c *candidate) {
	s.files.Lock()
	defer s.files.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.change(l)
	f.drop()
	f.newest = c
}

// verifyDownload compares a download with its digest and verifies its signature.
func verifyDownload(ctx context.Context, client *fetch.Client, l *List, c *candidate) error {
	if l.SHA256 != "" && c.facts.SHA256 != l.SHA256 {
		return fmt.Errorf("%w: it has %s, and %s is right; see where the content comes from, or correct sha256", input.ErrDigest, c.facts.SHA256, l.SHA256)
	}
	if l.PublicKey == "" {
		return nil
	}
	where := fetch.Display(l.SignatureURL)
	res, err := client.Get(ctx, fetch.Request{URL: l.SignatureURL, Insecure: l.Insecure, MaxBytes: fetch.MaxSignature, Dir: filepath.Dir(c.file)})
	if err != nil {
		return fmt.Errorf("its signature %s: %w", where, err)
	}
	defer os.Remove(res.File)
	sig, err := os.ReadFile(res.File)
	if err != nil {
		return err
	}
	f, err := os.Open(c.file)
	if err != nil {
		return err
	}
	defer f.Close()
	if c.facts.Serial, err = fetch.Verify(f, l.PublicKey, sig); err != nil {
		return fmt.Errorf("%s: %w; it is tried again, or correct public_key", where, err)
	}
	c.facts.Signature = string(sig)
	return nil
}

// resultOf returns Refused for content that is not used, and Failed for everything else.
func resultOf(err error) string {
	for _, refusal := range []error{fetch.ErrWebPage, fetch.ErrEmpty, fetch.ErrTooLarge, fetch.ErrRedirect, fetch.ErrSignature, input.ErrDigest} {
		if errors.Is(err, refusal) {
			return Refused
		}
	}
	return Failed
}
