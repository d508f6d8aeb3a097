// Package signin has the pages by which people sign in to the operators' HTTP, with a
// password, and sign out.
//
// The pages have no script and nothing inline. They work without a style sheet.
package signin

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"rideau/resolver/ops/access"
	"rideau/resolver/ops/access/attempt"
	"rideau/resolver/ops/access/password"
	"rideau/resolver/ops/access/session"
	"rideau/resolver/ops/printable"
)

// Event is a sign-in or a sign-out.
type Event struct {
	Out     bool
	Name    string // who; empty if that is not known: what is typed as a name may be a password
	Way     access.Way
	Role    access.Role
	Address string // where the request came from
	Failed  bool
	Reason  string // why it failed, or why a session ended
}

// Options are the parameters of New.
type Options struct {
	Guard *access.Guard
	// Record is told of each Event, but for failures that are too many. It must not wait.
	// It may be nil.
	Record func(Event)
	// Style is the path of a style sheet; empty for none.
	Style string
	// Clock returns the time for waits after failures; nil means time.Now.
	Clock func() time.Time
}

// Pages are the pages to sign in and out. They are safe for concurrent use.
type Pages struct {
	o       Options
	checker *password.Checker
	limiter *attempt.Limiter

	mu       sync.Mutex
	of       *access.Settings // whose nobody is; guarded by mu
	nobody   password.Hash    // guarded by mu
	failures int              // that may be told now; guarded by mu
	toldAt   time.Time        // when failures was less than maxTold last; guarded by mu
	untold   int              // failures that were not told; guarded by mu
}

// After maxTold failures at once, there is an Event of one each tellInterval, which counts
// the others: a flood of attempts is no flood of records.
const (
	maxTold      = 10
	tellInterval = 10 * time.Second
)

// record tells of an Event.
func (p *Pages) record(e Event) {
	if e.Failed {
		now := p.o.Clock()
		p.mu.Lock()
		for ; p.failures < maxTold && now.Sub(p.toldAt) >= tellInterval; p.toldAt = p.toldAt.Add(tellInterval) {
			p.failures++
		}
		if p.failures == 0 {
			p.untold++
			p.mu.Unlock()
			return
		}
		if p.failures == maxTold {
			p.toldAt = now
		}
		if p.failures--; p.untold > 0 {
			e.Reason += fmt.Sprintf(" (%d more sign-ins failed before this one)", p.untold)
			p.untold = 0
		}
		p.mu.Unlock()
	}
	p.o.Record(e)
}

// New returns Pages. It starts no goroutine.
func New(o Options) *Pages {
	if o.Record == nil {
		o.Record = func(Event) {}
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	return &Pages{o: o, checker: password.NewChecker(), limiter: attempt.New(o.Clock), failures: maxTold}
}

// OutPath is where the form to sign out is sent.
const OutPath = "/signout"

// Routes returns the routes of the pages.
func (p *Pages) Routes() []access.Route {
	page := func(method, path string, h http.HandlerFunc) access.Route {
		return access.Route{Method: method, Path: path, Open: true, Page: true, Handler: h}
	}
	return []access.Route{
		page("GET", access.SignInPath, p.form), page("POST", access.SignInPath, p.signIn), page("POST", OutPath, p.signOut),
	}
}

// form shows the form to sign in.
func (p *Pages) form(w http.ResponseWriter, r *http.Request) {
	p.show(w, r, http.StatusOK, view{Next: access.Local(r.URL.Query().Get("next"))})
}

// plain reports whether a password would cross the network in plain text. A proxy on this
// machine that speaks TLS with browsers is none of our business.
func plain(r *http.Request) bool {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	return r.TLS == nil && (err != nil || !a.Addr().Unmap().IsLoopback())
}

// signIn checks a name and a password.
func (p *Pages) signIn(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, access.MaxForm)
	if err := r.ParseForm(); err != nil {
		p.show(w, r, http.StatusBadRequest, view{Next: "/", Problem: unreadable})
		return
	}
	next := access.Local(r.PostForm.Get("next"))
	failed := func(status int, what message, event Event) {
		event.Way, event.Address, event.Failed = access.ByPassword, r.RemoteAddr, true
		p.record(event)
		p.show(w, r, status, view{Next: next, Problem: what})
	}
	switch {
	case !p.o.Guard.SameOrigin(r):
		failed(http.StatusForbidden, otherSite, Event{Reason: "a page of another site sent the form"})
		return
	case plain(r):
		failed(http.StatusForbidden, noTLS, Event{Reason: "the password would cross the network in plain text"})
		return
	}
	name, secret := r.PostForm.Get("name"), r.PostForm.Get("password")
	user, known := p.user(name)
	if !known {
		name = ""
	}
	from := address(r)
	if wait := p.limiter.Begin(from, name); wait > 0 {
		seconds := strconv.Itoa(int(wait/time.Second) + 1)
		w.Header().Set("Retry-After", seconds)
		failed(http.StatusTooManyRequests, tooOften, Event{Name: name, Reason: "too many attempts failed; the next may come in " + seconds + "s"})
		return
	}
	right, err := p.checker.Check(r.Context(), user.Hash, secret)
	switch {
	case err != nil:
		p.limiter.Unknown(from, name)
		w.Header().Set("Retry-After", "5")
		failed(http.StatusServiceUnavailable, busy, Event{Name: name, Reason: err.Error()})
	case !right || !known:
		reason := "a wrong password"
		if !known {
			reason = "no user has the name"
		}
		failed(http.StatusUnauthorized, wrong, Event{Name: name, Reason: reason})
	default:
		p.limiter.Succeeded(from, name)
		p.admit(w, r, session.Subject{Name: user.Name, Way: string(access.ByPassword), Mark: user.Mark()}, user.Role)
		http.Redirect(w, r, next, http.StatusSeeOther)
	}
}

// user returns the user of a name. If there is none, the hash is one that no password
// has, and that takes as long to check as that of a user.
func (p *Pages) user(name string) (access.User, bool) {
	s := p.o.Guard.Settings()
	for _, u := range s.Users {
		if u.Name == name {
			return u, true
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of != s {
		p.of, p.nobody = s, password.Nobody()
		for i, u := range s.Users {
			if i == 0 {
				p.nobody = u.Hash
			}
			p.nobody = password.Costlier(p.nobody, u.Hash)
		}
		p.nobody = p.nobody.Unguessable()
	}
	return access.User{Hash: p.nobody}, false
}

// admit begins a session.
func (p *Pages) admit(w http.ResponseWriter, r *http.Request, of session.Subject, role access.Role) {
	p.o.Guard.Sessions.New(w, r, of)
	p.record(Event{Name: printable.Text(of.Name), Way: access.Way(of.Way), Role: role, Address: r.RemoteAddr})
}

// signOut ends the session of the request. The Guard has compared the form's csrf.
func (p *Pages) signOut(w http.ResponseWriter, r *http.Request) {
	who := access.From(r.Context())
	if who.SignedIn() {
		p.o.Guard.Sessions.End(p.o.Guard.Sessions.Find(r))
		p.record(Event{Out: true, Name: who.Name, Way: who.Way, Role: who.Role, Address: r.RemoteAddr})
	}
	http.SetCookie(w, session.Cookie(r, session.CookieName(r), ""))
	http.Redirect(w, r, access.SignInPath, http.StatusSeeOther)
}

// address is where an attempt comes from: the address that a proxy on this machine has
// added, if there is one. It decides about nothing but waits.
func address(r *http.Request) netip.Addr {
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.IPv6Unspecified()
	}
	if all := r.Header.Values("X-Forwarded-For"); remote.Addr().Unmap().IsLoopback() && len(all) > 0 {
		last := all[len(all)-1]
		last = strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:])
		if host, _, err := net.SplitHostPort(last); err == nil {
			last = host
		}
		if a, err := netip.ParseAddr(strings.Trim(last, "[]")); err == nil {
			return a.Unmap()
		}
	}
	return remote.Addr().Unmap()
}

// Ended records the sessions that a change of the settings ended.
func (p *Pages) Ended(all []*session.Session) {
	for _, x := range all {
		p.record(Event{Out: true, Name: printable.Text(x.Name), Way: access.Way(x.Way), Reason: "the configuration or the file of users changed"})
	}
}
