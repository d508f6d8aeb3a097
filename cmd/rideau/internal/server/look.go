package server

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"rideau/blocklists/fetch"
	"rideau/blocklists/input"
	"rideau/config"
)

// look asks for one list, and makes a candidate of what is new.
func (s *Sources) look(ctx context.Context, client *fetch.Client, st *fetch.Store, l *config.List, again bool) (string, error) {
	newest, _ := s.newest(l)
	facts, err := st.Facts(l.ID)
	known := err == nil && facts.Origin == origin(l)
	if known {
		if f, err := st.Open(l.ID, facts); err != nil {
			known = false
		} else {
			f.Close()
		}
	}
	r := fetch.Request{URL: l.URL, Insecure: l.InsecureHTTP, MaxBytes: l.MaxBytes, Dir: st.Dir()}
	if s.Temp != "" {
		r.Dir = s.Temp
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
		return s.sameAgain(ctx, client, l, newest, res)
	case res.NotModified:
		s.fresh(st, l, facts, now)
		return fetchUnchanged, nil
	case known && facts.SHA256 == sum:
		os.Remove(res.File)
		facts.ETag, facts.LastModified = res.ETag, res.LastModified
		s.fresh(st, l, facts, now)
		s.replace(l, nil)
		return fetchUnchanged, nil
	}
	c := &candidate{file: res.File, facts: fetch.Facts{Origin: origin(l), ETag: res.ETag, LastModified: res.LastModified, SHA256: sum, Digest: sum, Fetched: now}}
	if err := verifyDownload(ctx, client, l, c); err != nil {
		os.Remove(res.File)
		return resultOf(err), err
	}
	s.replace(l, c)
	return fetchUpdated, nil
}

// sameAgain is for a server that has what we downloaded before. If that was
// put aside, a new signature may vouch for it now.
func (s *Sources) sameAgain(ctx context.Context, client *fetch.Client, l *config.List, c *candidate, res fetch.Result) (string, error) {
	s.mu.Lock()
	again := *c // others may be reading c
	s.mu.Unlock()
	if !res.NotModified {
		again.facts.ETag, again.facts.LastModified = res.ETag, res.LastModified
	}
	again.facts.Fetched = time.Now().UTC()
	if again.refused && l.PublicKey != "" {
		if err := verifyDownload(ctx, client, l, &again); err != nil {
			return resultOf(err), err
		}
		again.refused = again.facts.Serial == c.facts.Serial
	}
	s.files.Lock()
	defer s.files.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.feed(l); f.newest == c {
		f.newest = &again
	}
	if again.refused {
		return fetchUnchanged, &stillRefused{c.why}
	}
	return fetchUpdated, nil
}

// stillRefused is the error of a look that finds what was put aside before.
type stillRefused struct{ why error }

func (e *stillRefused) Error() string {
	return "the server still has the version that was refused: " + e.why.Error()
}

func (e *stillRefused) Unwrap() error { return e.why }

// fresh notes that the last good copy is what the server has.
func (s *Sources) fresh(st *fetch.Store, l *config.List, f fetch.Facts, now time.Time) {
	f.Fetched = now
	if !s.write || s.Temp != "" {
		return
	}
	s.files.Lock()
	defer s.files.Unlock()
	if err := st.Note(l.ID, f); err != nil {
		s.log.Warn("the state of a list cannot be written", "list", l.ID, "folder", st.Dir(), "error", err)
	}
}

// replace puts a download in the place of the one before.
func (s *Sources) replace(l *config.List, c *candidate) {
	s.files.Lock()
	defer s.files.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.feed(l)
	f.drop()
	f.newest = c
}

// verifyDownload holds a download to its digest and its signature.
func verifyDownload(ctx context.Context, client *fetch.Client, l *config.List, c *candidate) error {
	if l.SHA256 != "" && c.facts.SHA256 != l.SHA256 {
		return fmt.Errorf("%w: it has %s, and %s is right; see where the content comes from, or correct sha256", input.ErrDigest, c.facts.SHA256, l.SHA256)
	}
	if l.PublicKey == "" {
		return nil
	}
	where := fetch.Display(l.SignatureURL)
	res, err := client.Get(ctx, fetch.Request{URL: l.SignatureURL, Insecure: l.InsecureHTTP, MaxBytes: fetch.MaxSignature, Dir: filepath.Dir(c.file)})
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
	return nil
}

// resultOf tells what failed from what was refused.
func resultOf(err error) string {
	for _, refusal := range []error{fetch.ErrWebPage, fetch.ErrEmpty, fetch.ErrTooLarge, fetch.ErrRedirect, fetch.ErrSignature, input.ErrDigest} {
		if errors.Is(err, refusal) {
			return fetchRefused
		}
	}
	return fetchFailed
}
