package ops

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"rideau/blocklists/input"
)

// DryRun is the result of a dry run: what a reload would change.
type DryRun struct {
	// Changed reports whether the policy would change.
	Changed bool
	// Diff is what would change, as a value for JSON, and Write writes it as
	// text. Both are nil if the reload would be refused.
	Diff  any
	Write func(io.Writer)
	// Forced are the lists and bans that force would let through.
	Forced []Forced
	// Problems are the reasons of an error, or else what would be skipped.
	Problems []Problem
}

// dryRunReply is a DryRun as JSON.
type dryRunReply struct {
	OK       bool      `json:"ok"`
	DryRun   bool      `json:"dry_run"`
	Error    string    `json:"error,omitempty"`
	Changed  bool      `json:"changed"`
	Diff     any       `json:"diff,omitempty"`
	Forced   []Forced  `json:"forced,omitempty"`
	Problems []Problem `json:"problems"`
}

// dryRun replies with what a reload would change. The statuses are those of a
// reload.
func (s *Server) dryRun(w http.ResponseWriter, r *http.Request, force input.Forced) {
	if s.o.DryRun == nil {
		refuse(w, r, http.StatusBadRequest, "this server has no dry run")
		return
	}
	d, err := s.o.DryRun(r.Context(), force)
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.o.Timeout))
	status := http.StatusOK
	switch {
	case err != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)):
		refuse(w, r, http.StatusServiceUnavailable, errUnfinished)
		return
	case err != nil:
		status = http.StatusUnprocessableEntity
	}
	reply := dryRunReply{OK: err == nil, DryRun: true, Changed: d.Changed, Diff: d.Diff, Forced: d.Forced, Problems: append([]Problem{}, d.Problems...)}
	if err != nil {
		reply.Error = oneLine(err.Error())
	}
	if wantsJSON(r) {
		writeJSON(w, status, reply)
		return
	}
	lines := []string{"nothing was changed; a reload would change this:"}
	if err != nil {
		lines[0] = "nothing was changed; a reload would be refused:"
	}
	if d.Write != nil {
		var b bytes.Buffer
		d.Write(&b)
		lines = append(lines, strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")...)
	}
	for _, f := range d.Forced {
		lines = append(lines, f.String())
	}
	for _, p := range d.Problems {
		lines = append(lines, p.String())
	}
	if err != nil && len(d.Problems) == 0 {
		lines = append(lines, oneLine(err.Error()))
	}
	writeText(w, status, lines...)
}
