package access

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"

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

// Settings say who may do what. They are immutable once they are in use.
type Settings struct {
	Tokens []Token
	// Hosts are the names that requests may use for this server, in lower case and
	// without final dot, beside its addresses and localhost.
	Hosts []string
}

// Guard finds out who sends a request. It is safe for concurrent use.
type Guard struct {
	settings atomic.Pointer[Settings]
	origins  *http.CrossOriginProtection
}

// NewGuard returns a Guard with these Settings. It starts no goroutine.
func NewGuard(s *Settings) *Guard {
	g := &Guard{origins: http.NewCrossOriginProtection()}
	g.Use(s)
	return g
}

// Use sets what holds for all further requests.
func (g *Guard) Use(s *Settings) { g.settings.Store(s) }

// Demands reports whether there is any credential that viewers can have, so that those
// without one may not act, not even from this machine.
func (g *Guard) Demands() bool { return len(g.settings.Load().Tokens) > 0 }

// Admit finds out who sends a request. It returns the request with its viewer in the
// context, and why it is refused whatever it asks for, with a remedy, or an empty
// string. socket says that it came by the Unix socket.
func (g *Guard) Admit(r *http.Request, socket bool) (*http.Request, string) {
	s := g.settings.Load()
	who := Who{Lang: language(r)}
	who.Loopback = !socket && Direct(r) && HostIsLocal(r.Host)
	switch t := s.token(r); {
	case socket:
		who.Way, who.Role = BySocket, Operator
	case t != nil:
		who.Way, who.Role, who.Name = ByToken, t.Role, printable.Text(t.Name)
	case who.Loopback:
		who.Role = Viewer
	}
	r = r.WithContext(With(r.Context(), who))
	if who.Way == BySocket || who.Way == ByToken || s.named(r.Host) {
		return r, ""
	}
	return r, BadHost + ", or the server's address, or add the name to ops.hosts"
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
