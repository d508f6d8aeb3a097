package ops

import (
	"context"
	"net/http"
	"time"
)

// maxTest is how long a test that is asked for may take.
const maxTest = time.Minute

// SelfTest is the result of a test of the bans.
type SelfTest struct {
	OK     bool
	Report any      // for JSON
	Lines  []string // for people
}

// selfTest tests the bans: 200 if all decide as they should, or else 503.
func (s *Server) selfTest(w http.ResponseWriter, r *http.Request) {
	if reason := s.mayChange(r); reason != "" {
		s.refuseAccess(w, r, "self-test", reason)
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(maxTest)) // it may take as long as all sockets are silent
	ctx, cancel := context.WithTimeout(r.Context(), maxTest-time.Second)
	defer cancel()
	result := s.o.Test(ctx)
	status := http.StatusOK
	if !result.OK {
		status = http.StatusServiceUnavailable
	}
	if wantsJSON(r) {
		writeJSON(w, status, result.Report)
		return
	}
	writeText(w, status, result.Lines...)
}
