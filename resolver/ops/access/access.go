// Package access says who sends a request to the operators' HTTP, and what that
// viewer may see and do.
//
// A [Guard] finds out who the [Viewer] of each request is, before any handler
// runs, and puts it into the context of the request: a handler reads it with
// [From]. The Guard also sets the headers that protect browsers, refuses names of
// this server that DNS rebinding can produce, and refuses what a page of another
// site sends.
//
// A [Route] names the [Role] that it needs. Without that role [Route.Guarded] answers
// instead of the handler: a page (Route.Page) redirects to the sign-in, all others
// answer 401 or 403 with problem details (RFC 9457). A handler that shows more to
// some than to others compares the role itself:
//
//	if access.From(r.Context()).Role >= access.Analyst { ... } // names and devices
//
// A form that posts has a hidden field csrf with [CSRF] of the context; a script sends
// the same text in the header X-CSRF-Token. The Guard compares it for each request
// of a session that may change something, so handlers need not.
//
// The context of a request of a session ends when the session does, so that a
// stream of events ends with a sign-out.
package access

import (
	"context"
	"fmt"
)

// Role says what a viewer may see and do. Each role may all that the ones below it may,
// so roles are compared with < and >=.
type Role uint8

// Roles, in their order.
const (
	None     Role = iota // nothing but whether the server lives and is ready
	Viewer               // totals: no name that clients asked for, no client
	Analyst              // also names that clients asked for, and their devices
	Operator             // also to act: reload, flush, force, exceptions
)

// String implements fmt.Stringer. It is how the configuration names a role.
func (r Role) String() string {
	switch r {
	case None:
		return "none"
	case Viewer:
		return "viewer"
	case Analyst:
		return "analyst"
	case Operator:
		return "operator"
	}
	return fmt.Sprintf("role %d", uint8(r))
}

// ParseRole is the inverse of Role.String. It knows no role none.
func ParseRole(s string) (Role, bool) {
	for r := Viewer; r <= Operator; r++ {
		if r.String() == s {
			return r, true
		}
	}
	return None, false
}

// Way is how the Guard knows a viewer.
type Way string

// Ways.
const (
	ByNothing  Way = ""         // it does not: the request has no credential that is good
	BySocket   Way = "socket"   // the Unix socket, whose mode says who may use it
	ByToken    Way = "token"    // a bearer token (RFC 6750)
	ByPassword Way = "password" // a session that began with a password
)

// Who is the viewer of a request. It is a value; nobody else changes it.
type Who struct {
	// Name is who it is, without control characters: the name of a user or of a
	// token. It is empty for ByNothing, and for BySocket.
	Name string
	Role Role
	Way  Way
	// Loopback says that the request comes directly from this machine, and names it
	// as nobody else's page can.
	Loopback bool
	// Lang is the language for this viewer, en or fr: that of the cookie LangCookie,
	// or else that which the browser prefers.
	Lang string
	// csrf is what CSRF returns.
	csrf string
}

// SignedIn reports whether the viewer has a session, which can be signed out.
func (v Who) SignedIn() bool { return v.Way == ByPassword }

// LangCookie is the name of the cookie with the language that a viewer has chosen,
// en or fr. The page with the choice sets it.
const LangCookie = "rideau-lang"

type whoKey struct{}

// From returns the viewer of a request's context. Without a Guard it is nobody, who may
// nothing.
func From(ctx context.Context) Who {
	v, ok := ctx.Value(whoKey{}).(Who)
	if !ok {
		v.Lang = "en"
	}
	return v
}

// With returns a context whose viewer is v. Guards use it, and tests of handlers.
func With(ctx context.Context, v Who) context.Context { return context.WithValue(ctx, whoKey{}, v) }

// CSRF returns what the field csrf of a form must hold. It is empty for a viewer without
// a session, whose requests need none.
func CSRF(ctx context.Context) string { return From(ctx).csrf }
