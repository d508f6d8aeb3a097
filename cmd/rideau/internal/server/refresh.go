package server

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"rideau/blocklists/compile"
	"rideau/blocklists/fetch"
	"rideau/cmd/rideau/internal/setup"
	"rideau/config"
	"rideau/resolver/ops"
)

// samePolicy reports whether two configurations make the same policy of the same lists.
func samePolicy(a, b *config.Config) bool {
	return a.File == b.File && !slices.ContainsFunc(config.Changed(a, b), func(k string) bool { return config.Applies(k) == config.Lists })
}

// absent are the lists with a URL of which there is neither a good copy nor a download.
func (s *Sources) absent(cfg *config.Config) []*config.List {
	var out []*config.List
	for i := range cfg.Lists {
		l := &cfg.Lists[i]
		if l.URL == "" {
			continue
		}
		if newest, _ := s.newest(l); newest != nil {
			continue
		}
		if s.copyFault(cfg, l) != nil {
			out = append(out, l)
		}
	}
	return out
}

// copyFault is why there is no last good copy of a list with a URL; nil if there is one.
func (s *Sources) copyFault(cfg *config.Config, l *config.List) error {
	if cfg.State.Dir == "" {
		return fetch.ErrNoCopy
	}
	st, err := fetch.OpenStore(cfg.State.Dir, false)
	if err != nil {
		return err
	}
	facts, err := st.Facts(l.ID)
	switch {
	case err != nil:
		return err
	case facts.Origin != origin(l):
		return fetch.ErrNoCopy
	}
	f, err := st.Open(l.ID, facts)
	if err != nil {
		return err
	}
	return f.Close()
}

// ensure fetches the lists without which there is no policy: once, and again
// until the time is up.
func (s *Sources) ensure(ctx context.Context, cfg *config.Config, known []netip.AddrPort, patience time.Duration) error {
	if !cfg.Remote() {
		return nil
	}
	lists := s.absent(cfg)
	if len(lists) == 0 {
		return nil
	}
	if _, err := s.OpenStore(cfg); err != nil {
		return err
	}
	plan, err := setup.PlanUpstreams(cfg, known)
	if err != nil {
		return err
	}
	for _, l := range lists {
		if err := s.copyFault(cfg, l); !errors.Is(err, fetch.ErrNoCopy) && err != nil {
			s.log.Warn("the last good copy of a list cannot be used", "list", l.ID, "error", err)
		}
	}
	end := time.Now().Add(patience)
	for pause := time.Second; ; pause *= 2 {
		round, cancel := ctx, context.CancelFunc(func() {})
		if patience > 0 {
			round, cancel = context.WithDeadline(ctx, end)
		}
		visits := s.fetch(round, cfg, bootstrap(cfg, plan), lists, false)
		cancel()
		if lists = s.absent(cfg); len(lists) == 0 {
			return nil
		}
		// The last round is to have time too, or all that is known would be that it had none.
		left := time.Until(end) - patience/4
		if left <= 0 || ctx.Err() != nil {
			return errors.Join(s.notFetched(cfg, visits)...)
		}
		select {
		case <-ctx.Done():
		case <-time.After(min(pause, left)):
		}
	}
}

// notFetched are the errors of the lists that a start or a command lacks.
func (s *Sources) notFetched(cfg *config.Config, visits []Visit) []error {
	var out []error
	for _, v := range visits {
		if v.Err != nil {
			out = append(out, &compile.ListError{List: v.List.ID, Source: v.List.Name(), Err: fmt.Errorf("%s: %w", v.List.Name(), s.noCopy(cfg, v.List, v.Err))})
		}
	}
	return out
}

// refresh looks at lists with a URL whenever one is due, until ctx ends, and
// reloads when there is something new.
func (s *Server) refresh(ctx context.Context) {
	for {
		cfg, ups := s.now()
		due, next := s.sources.due(cfg, time.Now())
		if len(due) > 0 {
			if plan, err := setup.PlanUpstreams(cfg, ups.System); err == nil {
				s.sources.fetch(ctx, cfg, bootstrap(cfg, plan), due, false)
				if s.sources.pending() && ctx.Err() == nil {
					s.reloadAndLog(ctx, "a list has a new version")
				}
			}
			_, next = s.sources.due(cfg, time.Now())
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(time.Until(next), time.Second)):
		case <-s.sources.wake:
		}
	}
}

// fetchNow looks at every list with a URL, for who asked for it, and says what failed.
func (s *Server) fetchNow(ctx context.Context, force bool) []ops.Problem {
	cfg, err := setup.Load(s.path)
	if err != nil {
		return nil // the reload says so
	}
	_, ups := s.now()
	plan, err := setup.PlanUpstreams(cfg, ups.System)
	if err != nil {
		return nil
	}
	var out []ops.Problem
	for _, v := range s.sources.fetch(ctx, cfg, bootstrap(cfg, plan), RemoteLists(cfg), force) {
		var still *stillRefused
		if v.Err != nil && !(force && errors.As(v.Err, &still)) {
			message, remedy := v.Err.Error(), ""
			if i := strings.LastIndex(message, "; "); i >= 0 {
				message, remedy = message[:i], message[i+2:]
			}
			out = append(out, ops.Problem{List: v.List.ID, File: v.List.Name(), Message: message, Remedy: remedy})
		}
	}
	return out
}
