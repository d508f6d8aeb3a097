package server

import (
	"context"
	"errors"
	"time"

	"rideau/blocklists"
	"rideau/cmd/rideau/internal/evidence"
	"rideau/resolver/audit/act"
	"rideau/resolver/ops"
	"rideau/resolver/ops/metrics"
)

// record records an act, with what is in force now.
func (s *Server) record(a act.Act) {
	cfg, _ := s.current()
	reading := s.clock.Read()
	good := map[string]bool{}
	for _, l := range s.sources.Status() {
		good[l.List] = l.LastGood != ""
	}
	s.evidence.Add(a, evidence.Moment{Now: reading.Now(), Distrusted: reading.Distrusted != "", Policy: s.resolver.State().Policy(),
		LastGood: func(id string) bool { return good[id] }, Config: cfg.Text()})
}

// tell logs the result of a reload, and records the acts that it was.
func (s *Server) tell(actor act.Actor, why string, asked bool, result ops.ReloadResult, err error) {
	s.told.Reload(s.log, why, asked, result, err)
	if s.shown != nil {
		s.shown.Reloaded(why, result, err)
	}
	if s.evidence == nil || errors.Is(err, errStopping) {
		return
	}
	for _, a := range evidence.Reloaded(actor, why, asked, result, err) {
		s.record(a)
	}
	if err == nil {
		s.follow(actor)
	}
}

// follow records what became of exceptions and certificates since it was called last. The first call records nothing.
func (s *Server) follow(actor act.Actor) {
	cfg, _ := s.current()
	for _, a := range s.evidence.Follow(actor, s.resolver.State().Policy(), cfg) {
		s.record(a)
	}
}

// notReady returns why the server is not ready, as /readyz tells it, while it does not stop.
func (s *Server) notReady() []string {
	o := ops.Options{Sources: metrics.Sources{Policy: func() *blocklists.Snapshot { return s.resolver.State().Policy() }, Upstreams: s.upstreamFacts},
		Ready: s.notServing, ReadyWithin: readyWithin, Clock: time.Now}
	return o.NotReady()
}

// watchActs records what happens by itself.
func (s *Server) watchActs(ctx context.Context) {
	certificates := func() []act.Act { cfg, _ := s.current(); return s.evidence.FollowCertificates(cfg) }
	s.evidence.Watch(ctx, evidence.Watched{NotReady: s.notReady, Distrusted: s.distrusted, Certificates: certificates, Lists: s.listFacts, Record: s.record})
}
