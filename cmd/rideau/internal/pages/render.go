package pages

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"rideau/cmd/rideau/internal/pages/words"
	"rideau/cmd/rideau/internal/view"
	"rideau/resolver/ops/access"
)

// Cookies with what a viewer has chosen.
const (
	themeCookie = "rideau_theme"
	zoneCookie  = "rideau_zone"
)

// page is what a template gets: the viewer, the language, and what there is to show.
type page struct {
	format
	Who       access.Who
	Theme     string // light, dark, or auto
	Node      string
	Title     string
	Lead      string
	Assets    string
	Stream    string // the address of the stream; empty: there is none
	OtherLang string // the address of this page in the other language
	Here      string // the address of this page, escaped for a parameter
	MaySignIn bool
	Themes    []choice
	Menu      []entry
	CSRF      string
	At        time.Time
	Data      any
}

type entry struct {
	Path, Text string
	Current    bool
}

type choice struct {
	Link, Text string
	Other      bool // it is not the one that is chosen
}

// Analyst says that the viewer may see names and devices.
func (p *page) Analyst() bool { return p.Who.Role >= access.Analyst }

// T returns a text.
func (p *page) T(key string, args ...any) string { return p.format.T(key, args...) }

// newPage makes the page for a request.
func (p *Pages) newPage(r *http.Request, x place) *page {
	who := access.From(r.Context())
	out := &page{format: format{Lang: cmp.Or(who.Lang, "en"), zone: p.zone(r), now: time.Now()}, Who: who, Theme: "auto", Assets: p.version, At: time.Now(),
		CSRF: access.CSRF(r.Context()), MaySignIn: p.o.SignIn != nil && p.o.SignIn(), Node: p.o.View.Node()}
	if c, err := r.Cookie(themeCookie); err == nil && slices.Contains([]string{"light", "dark"}, c.Value) {
		out.Theme = c.Value
	}
	out.Title = out.T("title." + x.name)
	if words.Has("lead." + x.name) {
		out.Lead = out.T("lead." + x.name)
	}
	here := url.URL{Path: r.URL.Path, RawQuery: r.URL.Query().Encode()}
	out.Here = here.String()
	with := func(key, value string) string {
		q := r.URL.Query()
		q.Set(key, value)
		return (&url.URL{Path: r.URL.Path, RawQuery: q.Encode()}).String()
	}
	out.OtherLang = with("lang", out.T("other.lang"))
	for _, t := range []string{"light", "dark", "auto"} {
		out.Themes = append(out.Themes, choice{with("theme", t), out.T("theme." + t), t != out.Theme})
	}
	needs := map[string]access.Role{}
	for _, x := range p.places() {
		needs[x.name] = x.needs
	}
	for _, name := range menu() {
		if who.Role >= needs[name] || out.MaySignIn && !who.SignedIn() {
			out.Menu = append(out.Menu, entry{"/" + name, out.T("page." + name), name == x.menu})
		}
	}
	if x.live {
		out.Stream = "/stream" + here.String()
	}
	return out
}

// zone is the time zone of a viewer.
func (p *Pages) zone(r *http.Request) *time.Location {
	if c, err := r.Cookie(zoneCookie); err == nil && len(c.Value) < 64 {
		name, err := url.QueryUnescape(c.Value)
		// Local would be the server's, under a name that is none; names with dots are no zones.
		if err == nil && name != "" && name != "Local" && !strings.Contains(name, ".") {
			if zone, err := time.LoadLocation(name); err == nil {
				return zone
			}
		}
	}
	return p.o.Zone
}

// choose sets a cookie for what the query chooses, and sends the browser back to the
// page without it. It reports whether it did.
func choose(w http.ResponseWriter, r *http.Request) bool {
	q := r.URL.Query()
	chosen := false
	for _, c := range []struct {
		key, cookie string
		values      []string
	}{{"lang", access.LangCookie, []string{"en", "fr"}}, {"theme", themeCookie, []string{"light", "dark", "auto"}}} {
		if !q.Has(c.key) {
			continue
		}
		chosen = true
		if value := q.Get(c.key); slices.Contains(c.values, value) {
			http.SetCookie(w, &http.Cookie{Name: c.cookie, Value: value, Path: "/", MaxAge: 365 * 24 * 3600, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil})
		}
		q.Del(c.key)
	}
	if chosen {
		http.Redirect(w, r, (&url.URL{Path: r.URL.Path, RawQuery: q.Encode()}).String(), http.StatusSeeOther)
	}
	return chosen
}

// notFound is the error of something that a page is about and that there is not; its
// text is the key of what is said.
type notFound string

// Error implements error.
func (e notFound) Error() string { return string(e) }

// serve serves a page.
func (p *Pages) serve(x place) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && choose(w, r) {
			return
		}
		g := p.newPage(r, x)
		status, body := p.render(g, x, r)
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Language", g.Lang)
		h.Set("Content-Security-Policy", access.PagePolicy)
		h.Set("Vary", "Cookie, Accept-Language")
		if status == http.StatusServiceUnavailable {
			h.Set("Retry-After", "5")
		}
		w.WriteHeader(status)
		_, _ = w.Write(body) // the client may have gone
	})
}

// render makes a page.
func (p *Pages) render(g *page, x place, r *http.Request) (int, []byte) {
	name := x.name
	c, err := x.make(g, r)
	if err != nil {
		name, g.Stream = "problem", ""
		c = content{status: http.StatusServiceUnavailable, title: g.T("title.problem"), data: g.Error(err)}
		var none notFound
		if errors.As(err, &none) {
			c.status = http.StatusNotFound
		}
	}
	if c.title != "" {
		g.Title = c.title
	}
	if c.once {
		g.Stream = ""
	}
	g.Data = c.data
	var b bytes.Buffer
	if err := p.templates[name].Execute(&b, g); err != nil {
		p.o.Logger.Error("a page could not be made", "page", x.path, "error", err)
		return http.StatusInternalServerError, []byte("internal error\n")
	}
	return cmp.Or(c.status, http.StatusOK), b.Bytes()
}

// Error says an error in the viewer's language, as far as it has a text.
func (p *page) Error(err error) string {
	var none notFound
	switch {
	case errors.As(err, &none):
		return p.T(string(none))
	case errors.Is(err, view.ErrBusy):
		return p.T("error.busy")
	case errors.Is(err, view.ErrTooLong):
		return p.T("error.long")
	case errors.Is(err, view.ErrNoStore):
		return p.T("history.none")
	}
	return p.T("error.store", clean(err.Error()))
}

// functions are those of templates.
func functions() template.FuncMap {
	return template.FuncMap{
		"clean": clean,
		"undot": func(name string) string { return strings.TrimSuffix(name, ".") },
		"key":   func(kind string, value any) string { return kind + "." + fmt.Sprint(value) },
		"pair": func(p *page, c any) any {
			return struct {
				Page  *page
				Chart any
			}{p, c}
		},
	}
}
