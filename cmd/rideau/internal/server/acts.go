package server

import (
	"errors"

	"rideau/cmd/rideau/internal/evidence"
	"rideau/resolver/audit/act"
	"rideau/resolver/ops"
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
func (s *Server) tell(way act.Way, why string, asked bool, result ops.ReloadResult, err error) {
	s.told.Reload(s.log, why, asked, result, err)
	if s.evidence == nil || errors.Is(err, errStopping) {
		return
	}
	for _, a := range evidence.Reloaded(way, why, asked, result, err) {
		s.record(a)
	}
}
