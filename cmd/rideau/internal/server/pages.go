package server

import (
	"context"
	"time"

	"rideau/cmd/rideau/internal/api"
	"rideau/cmd/rideau/internal/evidence"
	"rideau/cmd/rideau/internal/pages"
	"rideau/cmd/rideau/internal/view"
	"rideau/config"
	"rideau/resolver/ops"
	"rideau/resolver/ops/access"
)

// pages makes what the operators' pages show, and returns the requests that they
// answer.
func (s *Server) pages() ([]access.Route, error) {
	sources := s.metrics()
	ready := ops.Options{Sources: sources, Ready: s.notServing, ReadyWithin: readyWithin, Clock: time.Now}
	s.shown = view.New(view.Options{
		Sources:      sources,
		Readiness:    func() (reasons, notes []string) { return ready.NotReady(), ready.Notes() },
		Config:       func() *config.Config { cfg, _ := s.current(); return cfg },
		Now:          s.now,
		Certificates: s.shownCertificates,
		SelfTest:     s.tester.Last,
		DryRun:       func(ctx context.Context) (ops.DryRun, error) { return s.dryRun(ctx, nil) },
		Addresses: func() []string {
			var out []string
			for _, e := range s.tested() {
				out = append(out, e.String())
			}
			return out
		},
		Background: background,
		Node:       s.evidence.Node(),
	})
	p, err := pages.New(pages.Options{View: s.shown, SignIn: s.hasUsers, Done: s.ctx.Done(), Logger: s.log,
		Reload: func(ctx context.Context) (ops.ReloadResult, error) { return s.reloadAsked(ctx, ops.ReloadOptions{}) }})
	if err != nil {
		return nil, err
	}
	return append(p.Routes(), api.Routes(s.shown)...), nil
}

// hasUsers reports whether somebody can sign in.
func (s *Server) hasUsers() bool { return len(s.access.Guard.Settings().Users) > 0 }

// reloadAsked reloads because an operator asks for it.
func (s *Server) reloadAsked(ctx context.Context, o ops.ReloadOptions) (ops.ReloadResult, error) {
	result, err := s.reload(ctx, o)
	s.tell(evidence.Actor(ops.CallerOf(ctx)), "POST /reload", true, result, err)
	return result, err
}

// countForPages counts for pages until ctx ends.
func (s *Server) countForPages(ctx context.Context) {
	if s.shown == nil {
		<-ctx.Done()
		return
	}
	s.shown.Run(ctx)
}

// shownCertificates returns the certificates that clients see.
func (s *Server) shownCertificates() []view.Certificate {
	var out []view.Certificate
	for _, c := range s.secured.Certificates() {
		names := append([]string{}, c.Names...)
		for _, a := range c.Addresses {
			names = append(names, a.String())
		}
		out = append(out, view.Certificate{File: c.File, Use: "listen.encrypted", Names: names, NotBefore: c.NotBefore, Expires: c.Expires, Self: c.SelfSigned, Fault: c.Fault(time.Now())})
	}
	return out
}
