package access

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"

	"rideau/resolver/ops/access/password"
	"rideau/resolver/ops/access/session"
	"rideau/resolver/ops/printable"
)

// Token is a secret that a program sends as a bearer token, and what it may with it.
type Token struct {
	Name string // what records call it
	Role Role
	Sum  [sha256.Size]byte // of the secret
}

// NewToken returns the Token of a secret.
func NewToken(name string, role Role, secret string) Token {
	return Token{Name: name, Role: role, Sum: sha256.Sum256([]byte(secret))}
}

// User is somebody who signs in with a password.
type User struct {
	Name string
	Role Role
	Hash password.Hash
}

// Settings say who may do what. They are immutable once they are in use.
type Settings struct {
	Tokens []Token
	Users  []User
	// Hosts are the names that requests may use for this server, in lower case and
	// without final dot, beside its addresses and localhost.
	Hosts []string
}

// Guard finds out who sends a request. It is safe for concurrent use.
type Guard struct {
	// Sessions are those of people who have signed in.
	Sessions *session.Store
	settings atomic.Pointer[Settings]
	origins  *http.CrossOriginProtection
}

// NewGuard returns a Guard with these Settings. It starts no goroutine.
func NewGuard(s *Settings) *Guard {
	g := &Guard{Sessions: session.NewStore(nil), origins: http.NewCrossOriginProtection()}
	g.settings.Store(s)
	return g
}

// Settings returns what holds now.
func (g *Guard) Settings() *Settings { return g.settings.Load() }

// Use sets what holds for all further requests. It ends the sessions of those who may
// not sign in any more, or have to do so again, and returns them. A role that
// changed holds for sessions, too.
func (g *Guard) Use(s *Settings) []*session.Session {
	g.settings.Store(s)
	return g.Sessions.EndIf(func(x *session.Session) bool { return s.role(x) == None })
}

// Demands reports whether there is any credential that viewers can have, so that those
// without one may not act, not even from this machine.
func (g *Guard) Demands() bool {
	s := g.settings.Load()
	return len(s.Tokens) > 0 || len(s.Users) > 0
}

// role returns the role of a session; None if it is over.
func (s *Settings) role(x *session.Session) Role {
	for i := range s.Users {
		if u := &s.Users[i]; Way(x.Way) == ByPassword && u.Name == x.Name && u.Mark() == x.Mark {
			return u.Role
		}
	}
	return None
}

// Mark is a digest of the password's hash: a session ends with the password.
func (u *User) Mark() string {
	sum := sha256.Sum256([]byte(u.Hash.String()))
	return string(sum[:])
}

// Admit finds out who sends a request. It returns the request with its viewer in the
// context, and why it is refused whatever it asks for, with a remedy, or an empty
// string. socket says that it came by the Unix socket.
func (g *Guard) Admit(r *http.Request, socket bool) (*http.Request, string) {
	s := g.settings.Load()
	who := Who{Lang: language(r)}
	who.Loopback = !socket && Direct(r) && HostIsLocal(r.Host)
	var of *session.Session
	if socket {
		who.Way, who.Role = BySocket, Operator
	} else if t := s.token(r); t != nil {
		who.Way, who.Role, who.Name = ByToken, t.Role, printable.Text(t.Name)
	} else if of = g.Sessions.Find(r); of != nil && s.role(of) > None {
		who.Way, who.Role, who.Name, who.csrf = Way(of.Way), s.role(of), printable.Text(of.Name), of.CSRF()
	} else if who.Loopback {
		who.Role = Viewer
	}
	r = r.WithContext(With(r.Context(), who))
	switch {
	case who.Way == BySocket || who.Way == ByToken:
	case !s.named(r.Host):
		return r, BadHost + ", or the server's address, or add the name to ops.hosts"
	case who.SignedIn():
		if !safe(r.Method) && !(g.SameOrigin(r) && hasCSRF(r, who.csrf)) {
			return r, "this form is not one of your session; load the page again"
		}
		r = endsWith(r, of)
	}
	return r, ""
}

// safe reports whether a method only reads (RFC 9110 section 9.2.1).
func safe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// MaxForm bounds a form, in octets.
const MaxForm = 64 << 10

// hasCSRF reports whether a request has the text that shows that a page of the session
// sent it. It reads a form, and no other body.
func hasCSRF(r *http.Request, want string) bool {
	got := r.Header.Get("X-CSRF-Token")
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); got == "" && err == nil && kind == "application/x-www-form-urlencoded" {
		r.Body = http.MaxBytesReader(nil, r.Body, MaxForm)
		if r.ParseForm() != nil {
			return false
		}
		got = r.PostForm.Get("csrf")
	}
	return want != "" && subtle.ConstantTimeCompare([]byte(got), []byte(want)) == 1
}

// endsWith returns r with a context that ends with a session, too.
func endsWith(r *http.Request, of *session.Session) *http.Request {
	ctx, cancel := context.WithCancel(r.Context())
	stop := context.AfterFunc(of.Context, cancel)
	context.AfterFunc(r.Context(), func() { stop() })
	return r.WithContext(ctx)
}

// BadHost is why a request is refused that names this server as anybody can name it in
// the DNS.
const BadHost = "the Host header is a name that anybody may point at this machine in the DNS; use 127.0.0.1, [::1] or localhost"

// SameOrigin reports whether a request that may change something comes from a page of
// this server, or from no page.
func (g *Guard) SameOrigin(r *http.Request) bool { return g.origins.Check(r) == nil }

// named reports whether a Host header is one that DNS rebinding cannot produce, or one
// that is configured. A web page could read what its browser gets under another name
// that leads here.
func (s *Settings) named(host string) bool {
	if HostIsLocal(host) {
		return true
	}
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	for _, h := range s.Hosts {
		if strings.EqualFold(strings.TrimSuffix(host, "."), h) {
			return true
		}
	}
	return false
}

// token returns the Token of a request (RFC 6750 section 2.1), or nil. It compares with
// each, in a time that reveals nothing about any.
func (s *Settings) token(r *http.Request) *Token {
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return nil
	}
	sum := sha256.Sum256([]byte(strings.TrimSpace(secret)))
	var found *Token
	for i := range s.Tokens {
		if subtle.ConstantTimeCompare(sum[:], s.Tokens[i].Sum[:]) == 1 {
			found = &s.Tokens[i]
		}
	}
	return found
}

// Direct reports whether a request comes from this machine and through no proxy, whose
// loopback address would say nothing about the client.
func Direct(r *http.Request) bool {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && a.Addr().Unmap().IsLoopback() && !Proxied(r.Header)
}

// Proxied reports whether a request came through a proxy that says so.
func Proxied(h http.Header) bool {
	for _, k := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"} {
		if h.Get(k) != "" {
			return true
		}
	}
	return false
}

// HostIsLocal reports whether a Host header is one that DNS rebinding cannot produce:
// an address, or localhost.
func HostIsLocal(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if host == "" || strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return true
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}

// Protect sets the headers that keep browsers from harm. They hold for every answer of
// the operators' HTTP. A page sets a Content-Security-Policy with what it needs
// of 'self', by [PagePolicy]; none has anything inline.
func Protect(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
}

// PagePolicy is the Content-Security-Policy of pages: all that they load and send to is
// of this server.
const PagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; manifest-src 'self'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
