package ops

import (
	"fmt"
	"net/http"
	"time"

	"rideau/resolver/ops/access"
)

// mayChange returns why a request that changes something, or that reads a profile, is
// refused, with a remedy, or an empty string if it is allowed. An operator is allowed.
// If there are credentials at all, all others are not, those from this machine too: other
// users and containers may send from there. Without any a program on this machine is
// allowed. A web page of another site never is: a browser on this machine sends
// requests for sites from anywhere.
func (s *Server) mayChange(r *http.Request) string {
	who := access.From(r.Context())
	switch {
	case !s.o.Guard.SameOrigin(r):
		return "a web page of another site sent this request; use curl, or rideau's own command line"
	case who.Role >= access.Operator:
		return ""
	case who.Way != access.ByNothing:
		return fmt.Sprintf("this needs the role %s, and yours is %s; ask whoever gives out roles", access.Operator, who.Role)
	case s.o.Guard.Demands():
		return "no token, or a wrong one; send the token: curl -H \"Authorization: Bearer $TOKEN\""
	case who.Loopback:
		return ""
	case access.Proxied(r.Header):
		return "a proxy on this machine sent this for another client; send the request directly, or set ops.token_file"
	case !access.HostIsLocal(r.Host):
		return access.BadHost
	}
	return "only this machine may do that; send the request from there, or set ops.token_file"
}

// refuseAccess refuses a request because of who sent it.
func (s *Server) refuseAccess(w http.ResponseWriter, r *http.Request, what, reason string) {
	s.note(r, what, reason)
	refuse(w, r, http.StatusForbidden, reason)
}

// note tells of a request that is refused because of who sent it. It logs that once a
// second at most.
func (s *Server) note(r *http.Request, what, reason string) {
	now, last := time.Now().UnixNano(), s.refusedAt.Load()
	if now-last < int64(time.Second) || !s.refusedAt.CompareAndSwap(last, now) {
		s.unlogged.Add(1)
	} else {
		s.o.Logger.Warn(what+" refused", "client", r.RemoteAddr, "reason", reason, "not_logged", s.unlogged.Swap(0))
	}
	s.denied.Add(1)
	if s.o.Denied != nil {
		s.o.Denied(Denial{Caller: *caller(r), What: what, Reason: reason})
	}
}

// profile serves a profile to those that may change something.
func (s *Server) profile(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if reason := s.mayChange(r); reason != "" {
			s.refuseAccess(w, r, "profile", reason)
			return
		}
		h(w, r)
	}
}

// roleRefused records that a viewer has too low a role for a request. One that has no
// role at all is only asked to sign in.
func (s *Server) roleRefused(r *http.Request, needs access.Role) {
	if access.From(r.Context()).Way == access.ByNothing {
		return
	}
	s.note(r, "request", fmt.Sprintf("%s needs the role %s", r.Pattern, needs))
}
