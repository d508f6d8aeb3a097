package ops

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"rideau/blocklists/enforced"
	"rideau/resolver/ops/metrics"
)

// healthz reports that the process lives. It checks nothing else, so that it
// never causes a restart that would not help.
func (s *Server) healthz(w http.ResponseWriter, r *http.Request) {
	if wantsJSON(r) {
		writeJSON(w, http.StatusOK, struct {
			OK bool `json:"ok"`
		}{true})
		return
	}
	writeText(w, http.StatusOK, "ok")
}

// readyz reports whether queries are served, and if not, every reason.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	reasons, notes := s.notReady(), s.o.Notes()
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
			Notes   []string `json:"notes,omitempty"`
		}{len(reasons) == 0, append([]string{}, reasons...), notes}) // never null
	case len(reasons) > 0:
		writeText(w, status, reasons...)
	default:
		writeText(w, status, append([]string{"ready"}, notes...)...)
	}
}

// Notes returns what the operator should know although queries are served. It needs
// Sources.
func (o *Options) Notes() []string {
	var out []string
	if o.Sources.Distrusted != nil {
		if why := o.Sources.Distrusted(); why != "" {
			out = append(out, oneLine("the clock is distrusted, and no ban ends by it: "+why))
		}
	}
	if snap := o.Sources.Snapshot(); snap != nil && !enforced.Any(snap) {
		out = append(out, enforced.None)
	}
	if o.Sources.Encrypted != nil {
		e := o.Sources.Encrypted()
		for _, why := range e.Hidden {
			out = append(out, oneLine(why))
		}
		for _, c := range e.Certificates {
			if c.Fault != "" {
				out = append(out, oneLine(c.Fault))
			}
		}
	}
	for _, l := range o.lastGood() {
		out = append(out, oneLine(fmt.Sprintf("the last good copy of list %s serves: %s", l.List, l.LastGood)))
	}
	return out
}

// lastGood returns the lists whose last good copy is in use because their
// source cannot be used.
func (o *Options) lastGood() []metrics.ListSource {
	if o.Sources.Lists == nil {
		return nil
	}
	return slices.DeleteFunc(o.Sources.Lists(), func(l metrics.ListSource) bool { return l.LastGood == "" })
}

func (s *Server) notReady() []string {
	if s.draining.Load() {
		return []string{"shutting down"}
	}
	return s.o.NotReady()
}

// NotReady returns the reasons why queries are not served, as /readyz tells them;
// nil if they are. It needs Sources, Ready, ReadyWithin and Clock.
func (o *Options) NotReady() []string {
	var reasons []string
	if o.Sources.Snapshot() == nil {
		reasons = append(reasons, "no policy is loaded")
	}
	if r := o.unanswered(); r != "" {
		reasons = append(reasons, r)
	}
	if o.Ready != nil {
		reasons = append(reasons, o.Ready()...)
	}
	return reasons
}

// unanswered returns why the upstreams are not expected to answer, or an empty
// string if they are.
func (o *Options) unanswered() string {
	if o.Sources.Upstreams == nil {
		return ""
	}
	all := o.Sources.Upstreams()
	if len(all) == 0 {
		return "no upstream is configured"
	}
	var last metrics.Upstream
	for _, u := range all {
		if u.LastAnswer.After(last.LastAnswer) {
			last = u
		}
	}
	if last.LastAnswer.IsZero() {
		return "no upstream has answered yet"
	}
	if ago := o.Clock().Sub(last.LastAnswer); ago > o.ReadyWithin {
		return fmt.Sprintf("no upstream has answered within %v; the last was %s, %v ago",
			o.ReadyWithin, last.Name, ago.Round(time.Second))
	}
	return ""
}
