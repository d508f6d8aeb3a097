package ops

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// mayChange returns why a request that changes something, or that reads a profile, is
// refused, with a remedy, or an empty string if it is allowed. One that comes by the
// Unix socket is allowed. If a token is set, all others need it, those from this
// machine too: other users and containers may send from there. Without a token a
// program on this machine is allowed. A web page never is: a browser on this machine
// sends requests for sites from anywhere.
func (s *Server) mayChange(r *http.Request) string {
	if s.origins.Check(r) != nil {
		return "a web page of another site sent this request; use curl, or rideau's own command line"
	}
	if bySocket(r) {
		return ""
	}
	if s.o.Token != "" {
		if bearer(r, s.o.Token) {
			return ""
		}
		return "no token, or a wrong one; send the token: curl -H \"Authorization: Bearer $TOKEN\""
	}
	switch {
	case !loopback(r.RemoteAddr):
		return "only this machine may do that; send the request from there, or set ops.token_file"
	case proxied(r.Header):
		return "a proxy on this machine sent this for another client; send the request directly, or set ops.token_file"
	case !hostIsLocal(r.Host):
		return badHost
	}
	return ""
}

const badHost = "the Host header is a name that anybody may point at this machine in the DNS; use 127.0.0.1, [::1] or localhost"

// mayRead returns why a request is refused whatever it asks for, or an empty string. A
// web page could read what its browser gets under a name that leads here.
func (s *Server) mayRead(r *http.Request) string {
	if hostIsLocal(r.Host) || bySocket(r) || s.o.Token != "" && bearer(r, s.o.Token) {
		return ""
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	for _, h := range s.o.Hosts {
		if strings.EqualFold(strings.TrimSuffix(host, "."), h) {
			return ""
		}
	}
	return badHost + ", or the server's address, or add the name to ops.hosts"
}

// refuseAccess refuses a request, and logs that once a second at most.
func (s *Server) refuseAccess(w http.ResponseWriter, r *http.Request, what, reason string) {
	now, last := time.Now().UnixNano(), s.refusedAt.Load()
	if now-last < int64(time.Second) || !s.refusedAt.CompareAndSwap(last, now) {
		s.unlogged.Add(1)
	} else {
		s.o.Logger.Warn(what+" refused", "client", r.RemoteAddr, "reason", reason, "not_logged", s.unlogged.Swap(0))
	}
	s.denied.Add(1)
	if s.o.Denied != nil {
		s.o.Denied(Denial{Caller: *s.caller(r), What: what, Reason: reason})
	}
	refuse(w, r, http.StatusForbidden, reason)
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

// bearer reports whether the request has the token (RFC 6750 section 2.1), in a
// time that reveals nothing about either.
func bearer(r *http.Request, token string) bool {
	scheme, got, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	a, b := sha256.Sum256([]byte(strings.TrimSpace(got))), sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

func loopback(remote string) bool {
	a, err := netip.ParseAddrPort(remote)
	return err == nil && a.Addr().Unmap().IsLoopback()
}

// proxied reports whether the request comes through a proxy, so that its
// loopback address says nothing about the client.
func proxied(h http.Header) bool {
	for _, k := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"} {
		if h.Get(k) != "" {
			return true
		}
	}
	return false
}

// hostIsLocal reports whether a Host header is one that DNS rebinding cannot
// produce: an address, or localhost.
func hostIsLocal(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if host == "" || strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return true
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}
