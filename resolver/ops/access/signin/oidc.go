package signin

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"sync"
	"time"

	"rideau/resolver/ops/access"
	"rideau/resolver/ops/access/session"
	"rideau/resolver/ops/printable"
)

// Identity is who has signed in with OpenID Connect.
type Identity struct {
	Name   string
	Groups []string
}

// Provider asks an issuer of OpenID Connect who somebody is. It is safe for concurrent
// use.
type Provider interface {
	// URL returns where the browser is sent. Verifier is that of PKCE (RFC 7636).
	URL(ctx context.Context, state, nonce, verifier string) (string, error)
	// Identity turns the code that the browser brings back into who it is.
	Identity(ctx context.Context, code, nonce, verifier string) (Identity, error)
}

const (
	// A sign-in has signInTime to come back from the issuer. Of more than maxPending the
	// oldest is forgotten.
	signInTime = 10 * time.Minute
	maxPending = 1024
	// issuerTime bounds what the issuer takes to answer.
	issuerTime = 8 * time.Second
	maxState   = 128
)

// pending are the sign-ins that are at the issuer. It is safe for concurrent use.
type pending struct {
	clock func() time.Time
	mu    sync.Mutex
	all   map[string]started // by state; guarded by mu
}

type started struct {
	browser         [sha256.Size]byte // of the cookie of the browser that began
	nonce, verifier string
	next            string
	at              time.Time
}

func (p *pending) add(state string, s started) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.at = p.clock()
	if p.all == nil {
		p.all = map[string]started{}
	}
	oldest, oldestAt := "", s.at
	for k, x := range p.all {
		if s.at.Sub(x.at) >= signInTime {
			delete(p.all, k)
		} else if !x.at.After(oldestAt) {
			oldest, oldestAt = k, x.at
		}
	}
	if len(p.all) >= maxPending {
		delete(p.all, oldest)
	}
	p.all[state] = s
}

// take returns what began with a state, once, and only for the browser that began it.
func (p *pending) take(state string, browser [sha256.Size]byte) (started, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, ok := p.all[state]
	if !ok || s.browser != browser {
		return started{}, false
	}
	delete(p.all, state)
	return s, p.clock().Sub(s.at) < signInTime
}

func random() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // it never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// stateCookie returns the name of the cookie that ties a sign-in to a browser.
func stateCookie(r *http.Request) string { return session.CookieName(r) + "-oidc" }

// begin sends the browser to the issuer.
func (p *Pages) begin(w http.ResponseWriter, r *http.Request) {
	next := access.Local(r.URL.Query().Get("next"))
	provider := p.o.OIDC()
	if provider == nil {
		p.show(w, r, http.StatusNotFound, view{Next: next, Problem: noAccount})
		return
	}
	if plain(r) { // what comes back would be readable on the network
		p.show(w, r, http.StatusForbidden, view{Next: next, Problem: noTLS})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), issuerTime)
	defer cancel()
	state, browser := random(), random()
	s := started{browser: sha256.Sum256([]byte(browser)), nonce: random(), verifier: random(), next: next}
	to, err := provider.URL(ctx, state, s.nonce, s.verifier)
	if err != nil {
		p.oidcFailed(w, r, http.StatusBadGateway, away, Identity{}, err)
		return
	}
	p.pending.add(state, s)
	c := session.Cookie(r, stateCookie(r), browser)
	c.SameSite = http.SameSiteLaxMode // the issuer's page brings the browser back
	c.MaxAge = int(signInTime / time.Second)
	http.SetCookie(w, c)
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// callback takes what the browser brings back from the issuer.
func (p *Pages) callback(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	var browser [sha256.Size]byte
	if c, err := r.Cookie(stateCookie(r)); err == nil {
		browser = sha256.Sum256([]byte(c.Value))
	}
	http.SetCookie(w, session.Cookie(r, stateCookie(r), ""))
	var s started
	begun := false
	if state := q.Get("state"); len(state) <= maxState {
		s, begun = p.pending.take(state, browser)
	}
	provider := p.o.OIDC()
	switch {
	case !begun || provider == nil:
		p.oidcFailed(w, r, http.StatusBadRequest, stale, Identity{}, errStale)
		return
	case q.Get("error") != "" || q.Get("code") == "":
		p.oidcFailed(w, r, http.StatusForbidden, declined, Identity{}, errDeclined)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), issuerTime)
	defer cancel()
	who, err := provider.Identity(ctx, q.Get("code"), s.nonce, s.verifier)
	if err != nil {
		p.oidcFailed(w, r, http.StatusBadGateway, declined, Identity{}, err)
		return
	}
	groups := p.o.Guard.Settings().OIDC
	if groups == nil || groups.Of(who.Groups) == access.None {
		p.oidcFailed(w, r, http.StatusForbidden, roleless, who, roleError(len(who.Groups)))
		return
	}
	p.admit(w, r, session.Subject{Name: who.Name, Way: string(access.ByOIDC), Mark: groups.Mark, Groups: who.Groups}, groups.Of(who.Groups))
	// The browser comes from another site: it would not send the new cookie where a
	// redirect leads. It does where a page of ours leads.
	p.show(w, r, http.StatusOK, view{Next: s.next, Done: true})
}

func (p *Pages) oidcFailed(w http.ResponseWriter, r *http.Request, status int, what message, who Identity, err error) {
	p.record(Event{Name: printable.Text(who.Name), Way: access.ByOIDC, Address: r.RemoteAddr, Failed: true, Reason: printable.Text(err.Error())})
	p.show(w, r, status, view{Next: "/", Problem: what})
}
