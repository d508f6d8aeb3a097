package access

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"rideau/resolver/ops/printable"
)

// Route is a request that the operators' HTTP answers, and who may send it.
type Route struct {
	// Method and Path are as in a pattern of http.ServeMux.
	Method, Path string
	// Needs is the lowest role that may send it. None is an error unless Open is set,
	// so that nobody forgets it.
	Needs Role
	Open  bool
	// Page says that people look at it with a browser: without the role it redirects
	// to the sign-in.
	Page bool
	// What says in a few words what it is, for the list of endpoints; empty for what is
	// not listed.
	What    string
	Handler http.Handler
}

// Pattern is what http.ServeMux takes.
func (r *Route) Pattern() string { return r.Method + " " + r.Path }

// Check returns an error for a Route that says nothing about who may send it, or both
// that all may and that some may.
func (r *Route) Check() error {
	switch {
	case r.Method == "" || r.Path == "" || r.Handler == nil:
		return fmt.Errorf("the route %q has no method, no path or no handler", r.Pattern())
	case r.Needs == None && !r.Open:
		return fmt.Errorf("the route %s says nothing about who may send it; set Needs, or Open", r.Pattern())
	case r.Needs != None && r.Open:
		return fmt.Errorf("the route %s is open, and needs a role; set only one of them", r.Pattern())
	}
	return nil
}

// SignInPath is the path of the page to sign in.
const SignInPath = "/signin"

// Guarded returns the handler of the route, which asks for the role first. refused is
// told of each viewer that has too low a role; it may be nil.
func (r *Route) Guarded(refused func(*http.Request, Role)) http.Handler {
	route := *r
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		v := From(req.Context())
		if v.Role >= route.Needs {
			route.Handler.ServeHTTP(w, req)
			return
		}
		if refused != nil {
			refused(req, route.Needs)
		}
		route.refuse(w, req, v)
	})
}

func (r *Route) refuse(w http.ResponseWriter, req *http.Request, v Who) {
	if v.Way != ByNothing {
		detail := fmt.Sprintf("this needs the role %s, and yours is %s; ask whoever gives out roles", r.Needs, v.Role)
		if r.Page {
			http.Error(w, printable.Text(detail), http.StatusForbidden)
			return
		}
		Problem(w, http.StatusForbidden, detail)
		return
	}
	if r.Page && req.Method == http.MethodGet {
		http.Redirect(w, req, SignInPath+"?next="+url.QueryEscape(Local(req.URL.RequestURI())), http.StatusSeeOther)
		return
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="rideau"`)
	Problem(w, http.StatusUnauthorized, fmt.Sprintf("this needs the role %s; sign in, or send a token: Authorization: Bearer TOKEN", r.Needs))
}

// Local returns a path of this server, with its query, or / if s is anything else: no
// address that leads a browser to another server.
func Local(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.IsAbs() || u.Host != "" || u.User != nil || len(s) > 1024 ||
		!strings.HasPrefix(s, "/") || strings.HasPrefix(s, "//") || strings.ContainsAny(s, "\\\x00\r\n\t") || strings.HasPrefix(u.Path, "//") {
		return "/"
	}
	return s
}

// Problem answers with problem details (RFC 9457) of the type about:blank. detail
// says what to do.
func Problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	e := json.NewEncoder(printable.NewWriter(w))
	e.SetEscapeHTML(false)
	_ = e.Encode(struct { // an error means that the client has gone
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
	}{"about:blank", http.StatusText(status), status, detail})
}
