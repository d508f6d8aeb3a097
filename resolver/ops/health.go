package ops

import (
	"fmt"
	"net/http"
	"time"
)

// healthz says that the process lives. It looks at nothing, so that nothing
// a restart cannot mend leads to one.
func (s *Server) healthz(w http.ResponseWriter, r *http.Request) {
	if wantsJSON(r) {
		writeJSON(w, http.StatusOK, struct {
			OK bool `json:"ok"`
		}{true})
		return
	}
	writeText(w, http.StatusOK, "ok")
}

// readyz says whether queries are served, and if not, every reason.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	reasons := s.notReady()
	status := http.StatusOK
	if len(reasons) > 0 {
		status = http.StatusServiceUnavailable
	}
	switch {
	case wantsJSON(r):
		for i := range reasons {
			reasons[i] = oneLine(reasons[i])
		}
		writeJSON(w, status, struct {
			Ready   bool     `json:"ready"`
			Reasons []string `json:"reasons"`
		}{len(reasons) == 0, append([]string{}, reasons...)}) // never null
	case len(reasons) > 0:
		writeText(w, status, reasons...)
	default:
		writeText(w, status, "ready")
	}
}

func (s *Server) notReady() []string {
	if s.draining.Load() {
		return []string{"shutting down"}
	}
	var reasons []string
	if s.o.Sources.policy() == nil {
		reasons = append(reasons, "no policy is loaded")
	}
	if r := s.unanswered(); r != "" {
		reasons = append(reasons, r)
	}
	if s.o.Ready != nil {
		reasons = append(reasons, s.o.Ready()...)
	}
	return reasons
}

// unanswered is why the upstreams are not taken to answer; empty if they are.
func (s *Server) unanswered() string {
	if s.o.Sources.Upstreams == nil {
		return ""
	}
	all := s.o.Sources.Upstreams()
	if len(all) == 0 {
		return "no upstream is configured"
	}
	var last Upstream
	for _, u := range all {
		if u.LastAnswer.After(last.LastAnswer) {
			last = u
		}
	}
	if last.LastAnswer.IsZero() {
		return "no upstream has answered yet"
	}
	if ago := s.o.Clock().Sub(last.LastAnswer); ago > s.o.ReadyWithin {
		return fmt.Sprintf("no upstream has answered within %v; the last was %s, %v ago",
			s.o.ReadyWithin, last.Name, ago.Round(time.Second))
	}
	return ""
}
