package ops

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// mayChange returns why a request that changes something is refused, with a
// remedy, or an empty string if it is allowed. A request with the token is
// allowed, and so is one from a program on this machine. A web page never is: a
// browser on this machine sends requests for sites from anywhere.
func (s *Server) mayChange(r *http.Request) string {
	if s.origins.Check(r) != nil {
		return "a web page of another site sent this request; use curl, or rideau's own command line"
	}
	if s.o.Token != "" && bearer(r, s.o.Token) {
		return ""
	}
	const remedy = "; send the token: curl -H \"Authorization: Bearer $TOKEN\""
	switch {
	case !loopback(r.RemoteAddr):
		if s.o.Token == "" {
			return "only this machine may do that; send the request from there, or set ops.token_file"
		}
		return "no token, or a wrong one" + remedy
	case proxied(r.Header):
		if s.o.Token == "" {
			return "a proxy on this machine sent this for another client; send the request directly, or set ops.token_file"
		}
		return "a proxy on this machine sent this for another client" + remedy
	case !hostIsLocal(r.Host):
		return "the Host header is a name that anybody may point at this machine in the DNS; use 127.0.0.1, [::1] or localhost"
	}
	return ""
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
