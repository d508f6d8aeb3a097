package ops

import (
	"fmt"
	"html"
	"net/http"
	"net/http/pprof"
	"strings"

	"rideau/resolver/ops/metrics"
)

// endpoint is a method and a path that the Server answers.
type endpoint struct {
	method, path string
	what         string // for the index; empty for what is not listed
	handler      http.HandlerFunc
}

// endpoints returns all but the index.
func (s *Server) endpoints() []endpoint {
	out := []endpoint{
		{"GET", "/healthz", "whether the process lives", s.healthz},
		{"GET", "/readyz", "whether queries are answered; if not, why", s.readyz},
		{"GET", "/metrics", "Prometheus metrics", metrics.Handler(s.o.Sources, s.o.Logger).ServeHTTP},
		{"GET", "/version", "version, fingerprint of the policy, bans and lists", s.version},
	}
	if s.o.Reload != nil {
		out = append(out, endpoint{"POST", "/reload", "reload configuration and lists; ?dry-run=true says what would change", s.reload})
	}
	if s.o.Flush != nil {
		out = append(out, endpoint{"POST", "/cache/flush", "remove ?name=NAME from the cache, with &tree=true all below it, too, or ?all=true", s.flush})
	}
	if s.o.Test != nil {
		out = append(out, endpoint{"POST", "/selftest", "ask for a name of each ban, and compare the answers with the policy", s.selfTest})
	}
	if s.o.Pprof {
		// The package also registers its handlers on the default mux, which
		// nothing here serves. It extends the write deadline of long profiles
		// itself.
		out = append(out,
			endpoint{"GET", "/debug/pprof/", "Go's profiles", s.profile(pprof.Index)},
			endpoint{"GET", "/debug/pprof/cmdline", "", s.profile(pprof.Cmdline)},
			endpoint{"GET", "/debug/pprof/profile", "", s.profile(pprof.Profile)},
			endpoint{"GET", "/debug/pprof/symbol", "", s.profile(pprof.Symbol)},
			endpoint{"POST", "/debug/pprof/symbol", "", s.profile(pprof.Symbol)},
			endpoint{"GET", "/debug/pprof/trace", "", s.profile(pprof.Trace)})
	}
	return out
}

// index lists the endpoints, for browsers in HTML and otherwise in text or JSON.
func (s *Server) index(w http.ResponseWriter, r *http.Request) {
	type line struct {
		Method string `json:"method"`
		Path   string `json:"path"`
		What   string `json:"what"`
	}
	var all []line
	for _, e := range s.endpoints() {
		if e.what != "" {
			all = append(all, line{e.method, e.path, e.what})
		}
	}
	w.Header().Set("Vary", "Accept")
	if wantsJSON(r) {
		writeJSON(w, http.StatusOK, all)
		return
	}
	var b strings.Builder
	if prefers(r, "text/html") {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		b.WriteString("<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Rideau</title>\n<h1>Rideau, for operators</h1>\n<ul>\n")
		for _, l := range all {
			name := html.EscapeString(l.Method + " " + l.Path)
			if l.Method == http.MethodGet {
				name = fmt.Sprintf("GET <a href=%q>%s</a>", l.Path, html.EscapeString(l.Path))
			}
			fmt.Fprintf(&b, "<li>%s: %s</li>\n", name, html.EscapeString(l.What))
		}
		b.WriteString("</ul>\n</html>\n")
	} else {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		b.WriteString("Rideau, for operators\n\n")
		for _, l := range all {
			fmt.Fprintf(&b, "%-4s %-14s %s\n", l.Method, l.Path, l.What)
		}
	}
	_, _ = w.Write([]byte(b.String())) // the client may have gone
}
