// Package pages serves the pages for operators: HTML that the server renders, which
// works without a script, with one style sheet and one small script that keeps pages
// up to date. Nothing is inline and nothing is loaded from elsewhere, so that a strict
// Content-Security-Policy holds.
//
// Charts are SVG that the server draws, with the same figures in a table below. No
// library draws them: they need no script, can be printed, cost two kilobytes, and
// have text that a screen reader and a zoomed page show as they show other text.
//
// What a page shows comes from package view, which bounds what takes long. Streams of
// events are bounded, too: see [Options.MaxStreams].
package pages

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"time"

	"rideau/cmd/rideau/internal/view"
	"rideau/resolver/ops"
	"rideau/resolver/ops/access"
)

// Options say what pages show, and what they may do.
type Options struct {
	View *view.View
	// Reload is the server's; nil: there is no button.
	Reload func(ctx context.Context) (ops.ReloadResult, error)
	// SignIn reports whether there is somebody who can sign in, at
	// [access.SignInPath]. It is safe for concurrent use; nil for nobody.
	SignIn func() bool
	// Done is closed when the server ends, and all streams with it.
	Done <-chan struct{}
	// MaxStreams is how many streams of events are open at a time; 0: 32.
	MaxStreams int
	// Interval is the time between two looks of a stream; 0: 5 seconds.
	Interval time.Duration
	// WriteTimeout is how long the reader of a stream or of CSV may take for one part;
	// then it is dropped; 0: 10 seconds.
	WriteTimeout time.Duration
	// Zone is the time zone where a browser does not say its own; nil: the system's.
	Zone   *time.Location
	Logger *slog.Logger
}

//go:embed assets templates
var embedded embed.FS

// Pages serves the pages. It is safe for concurrent use.
type Pages struct {
	o         Options
	version   string // of the assets
	templates map[string]*template.Template
	streams   chan struct{} // holds a token for each stream that is open
	reloading chan struct{} // holds a token while a reload or a dry run goes on
}

// New makes Pages.
func New(o Options) (*Pages, error) {
	if o.MaxStreams == 0 {
		o.MaxStreams = 32
	}
	if o.Interval == 0 {
		o.Interval = 5 * time.Second
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = 10 * time.Second
	}
	if o.Zone == nil {
		o.Zone = time.Local
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Pages{o: o, templates: map[string]*template.Template{}, streams: make(chan struct{}, o.MaxStreams), reloading: make(chan struct{}, 1)}
	base, err := template.New("base.html").Funcs(functions()).ParseFS(embedded, "templates/base.html")
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"now", "bans", "ban", "events", "lists", "clients", "explain", "changes", "exceptions", "system", "problem"} {
		t, err := base.Clone()
		if err == nil {
			_, err = t.ParseFS(embedded, "templates/"+name+".html")
		}
		if err != nil {
			return nil, err
		}
		p.templates[name] = t
	}
	h := sha256.New()
	for _, name := range []string{"rideau.css", "rideau.js"} {
		text, err := fs.ReadFile(embedded, "assets/"+name)
		if err != nil {
			return nil, err
		}
		h.Write(text)
	}
	p.version = hex.EncodeToString(h.Sum(nil)[:6])
	return p, nil
}

// content makes what a page shows, as the value of its template. Err is shown by the
// page, with a status.
type content struct {
	data   any
	title  string // empty: that of the page
	status int    // 0: 200
	once   bool   // it does not change by itself
}

// place is a page: where it is, who may see it, and what it shows.
type place struct {
	path, name string // the template; also the text of its title
	menu       string // the entry of the menu that it belongs to
	needs      access.Role
	live       bool
	make       func(*page, *http.Request) (content, error)
}

func (p *Pages) places() []place {
	return []place{
		{"/now", "now", "now", access.Viewer, true, p.now},
		{"/bans", "bans", "bans", access.Viewer, true, p.bans},
		{"/bans/{id}", "ban", "bans", access.Viewer, true, p.ban},
		{"/events", "events", "events", access.Analyst, true, p.events},
		{"/clients", "clients", "clients", access.Viewer, true, p.clients},
		{"/lists", "lists", "lists", access.Viewer, true, p.lists},
		{"/exceptions", "exceptions", "exceptions", access.Viewer, true, p.exceptions},
		{"/explain", "explain", "explain", access.Viewer, false, p.explain},
		{"/changes", "changes", "changes", access.Operator, false, p.changes},
		{"/system", "system", "system", access.Viewer, false, p.system},
	}
}

// menu are the pages of the menu, in its order.
func menu() []string {
	return []string{"now", "bans", "events", "clients", "lists", "exceptions", "explain", "changes", "system"}
}

// Routes returns the requests that the pages answer.
func (p *Pages) Routes() []access.Route {
	out := []access.Route{{Method: "GET", Path: "/assets/{name}", Open: true, Handler: http.HandlerFunc(p.asset)}}
	for _, x := range p.places() {
		out = append(out, access.Route{Method: "GET", Path: x.path, Needs: x.needs, Page: true, Handler: p.serve(x)})
		if x.live {
			out = append(out, access.Route{Method: "GET", Path: "/stream" + x.path, Needs: x.needs, Handler: p.stream(x)})
		}
	}
	out[1].What = "pages for people: what the server does now, and the other pages"
	return append(out,
		access.Route{Method: "GET", Path: "/events.csv", Needs: access.Analyst, Handler: http.HandlerFunc(p.csv)},
		access.Route{Method: "POST", Path: "/changes", Needs: access.Operator, Page: true, Handler: p.serve(place{"/changes", "changes", "changes", access.Operator, false, p.apply})})
}

// asset serves the style sheet, the script and the icon. Their addresses change with
// their content.
func (p *Pages) asset(w http.ResponseWriter, r *http.Request) {
	types := map[string]string{"rideau.css": "text/css; charset=utf-8", "rideau.js": "text/javascript; charset=utf-8", "rideau.svg": "image/svg+xml"}
	name := r.PathValue("name")
	text, err := embedded.ReadFile("assets/" + name)
	if err != nil || types[name] == "" {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", types[name])
	if r.URL.RawQuery == p.version {
		w.Header().Set("Cache-Control", "private, max-age=31536000, immutable")
	}
	_, _ = w.Write(text)
}
