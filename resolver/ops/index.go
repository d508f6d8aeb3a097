package ops

import (
	"fmt"
	"html"
	"net/http"
	"net/http/pprof"
	"strings"

	"rideau/resolver/ops/access"
	"rideau/resolver/ops/metrics"
)

// Routes returns all requests that the Server answers.
func (s *Server) Routes() []access.Route {
	open := func(method, path, what string, h http.HandlerFunc) access.Route {
		return access.Route{Method: method, Path: path, What: what, Open: true, Handler: h}
	}
	out := []access.Route{
		open("GET", "/{$}", "", s.index),
		open("GET", "/healthz", "whether the process lives", s.healthz),
		open("GET", "/readyz", "whether queries are answered; if not, why", s.readyz),
		open("GET", "/metrics", "Prometheus metrics", metrics.Handler(s.o.Sources, s.o.Logger).ServeHTTP),
		open("GET", "/version", "version, fingerprint of the policy, bans and lists", s.version),
	}
	// These answer whom mayChange allows: beside operators, programs of this machine
	// if there are no credentials.
	if s.o.Reload != nil {
		out = append(out, open("POST", "/reload", "reload configuration and lists; ?dry-run=true says what would change", s.reload))
	}
	if s.o.Flush != nil {
		out = append(out, open("POST", "/cache/flush", "remove ?name=NAME from the cache, with &tree=true all below it, too, or ?all=true", s.flush))
	}
	if s.o.Test != nil {
		out = append(out, open("POST", "/selftest", "ask for a name of each ban, and compare the answers with the policy", s.selfTest))
	}
	if s.o.Pprof {
		// The package also registers its handlers on the default mux, which
		// nothing here serves. It extends the write deadline of long profiles
		// itself.
		out = append(out,
			open("GET", "/debug/pprof/", "Go's profiles", s.profile(pprof.Index)),
			open("GET", "/debug/pprof/cmdline", "", s.profile(pprof.Cmdline)),
			open("GET", "/debug/pprof/profile", "", s.profile(pprof.Profile)),
			open("GET", "/debug/pprof/symbol", "", s.profile(pprof.Symbol)),
			open("POST", "/debug/pprof/symbol", "", s.profile(pprof.Symbol)),
			open("GET", "/debug/pprof/trace", "", s.profile(pprof.Trace)))
	}
	return append(out, s.o.Routes...)
}

// index lists the endpoints, for browsers in HTML and otherwise in text or JSON.
func (s *Server) index(w http.ResponseWriter, r *http.Request) {
	type line struct {
		Method string `json:"method"`
		Path   string `json:"path"`
		What   string `json:"what"`
	}
	var all []line
	for _, e := range s.Routes() {
		if e.What != "" {
			all = append(all, line{e.Method, e.Path, e.What})
		}
	}
	w.Header().Set("Vary", "Accept")
	if wantsJSON(r) {
		writeJSON(w, http.StatusOK, all)
		return
	}
	var b strings.Builder
	if prefers(r, "text/html") && s.o.Home != "" {
		http.Redirect(w, r, s.o.Home, http.StatusSeeOther)
		return
	}
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
