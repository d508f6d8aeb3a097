//go:build linux

package main

import (
	"encoding/hex"
	"strings"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver/resolvertest/odd"
)

// without EDNS, the server is right; with it, it answers with a code and no OPT record.
func codeForEDNS(code int) func() *odd.Server {
	return does(func(q *odd.Query, r *odd.Reply) {
		if q.Msg.IsEdns0() != nil {
			r.Msg = new(dns.Msg).SetRcode(q.Msg, code)
			r.Msg.RecursionAvailable = true
		}
	})
}

// options is a server that adds EDNS options.
func options(all ...dns.EDNS0) func() *odd.Server {
	return does(func(q *odd.Query, r *odd.Reply) {
		if o := r.Msg.IsEdns0(); o != nil {
			o.Option = append(o.Option, all...)
		}
	})
}

// bakes has a server answer with a cookie whoever sends one (RFC 7873 section 5.2).
func bakes(q *odd.Query, r *odd.Reply) {
	if c, ok := q.Option(dns.EDNS0COOKIE).(*dns.EDNS0_COOKIE); ok {
		client := c.Cookie[:min(16, len(c.Cookie))]
		o := r.Msg.IsEdns0()
		o.Option = append(o.Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: client + hex.EncodeToString([]byte("server's"))})
	}
}

// oddEDNS are upstreams, and firewalls before them, that treat EDNS and cookies in ways
// of their own.
func oddEDNS() []oddRow {
	dropsEDNS := does(func(q *odd.Query, r *odd.Reply) { r.Drop = q.Msg.IsEdns0() != nil })
	dropsCookies := datagram(func(q *odd.Query, r *odd.Reply) { r.Drop = q.Option(dns.EDNS0COOKIE) != nil })
	foreign := datagram(func(q *odd.Query, r *odd.Reply) {
		if o := r.Msg.IsEdns0(); o != nil && q.Option(dns.EDNS0COOKIE) != nil {
			o.Option = append(o.Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: strings.Repeat("ab", 16)})
		}
	})
	half := datagram(func(q *odd.Query, r *odd.Reply) {
		if q.Number%2 == 0 {
			bakes(q, r)
		}
	})
	demands := datagram(func(q *odd.Query, r *odd.Reply) {
		bakes(q, r)
		c, ok := q.Option(dns.EDNS0COOKIE).(*dns.EDNS0_COOKIE)
		if !ok || len(c.Cookie) <= 16 {
			r.Msg.Answer = nil
			if o := r.Msg.IsEdns0(); o != nil {
				r.Msg.Rcode = dns.RcodeBadCookie
			} else {
				r.Msg.Rcode = dns.RcodeRefused
			}
		}
	})
	// A server that nobody asks is probed, and what the probes find counts.
	soon := ", probe_interval: 100ms, attempt_timeout: 200ms"
	idle := func(*odd.Server) {}
	return []oddRow{
		{name: "drops EDNS", server: dropsEDNS},
		{name: "drops EDNS, TCP closed", server: noTCP(dropsEDNS)},
		{name: "FORMERR for EDNS", server: codeForEDNS(dns.RcodeFormatError)},
		{name: "NOTIMP for EDNS", server: codeForEDNS(dns.RcodeNotImplemented)},
		{name: "SERVFAIL for EDNS", server: codeForEDNS(dns.RcodeServerFailure), want: nobody},
		{name: "FORMERR for cookies", server: datagram(func(q *odd.Query, r *odd.Reply) {
			if q.Option(dns.EDNS0COOKIE) != nil {
				r.Msg = new(dns.Msg).SetRcode(q.Msg, dns.RcodeFormatError)
			}
		})},
		{name: "removes OPT", server: does(func(q *odd.Query, r *odd.Reply) { r.Msg.Extra = nil })},
		{name: "OPT where none was asked for", server: does(func(q *odd.Query, r *odd.Reply) {
			r.Msg.Extra = nil
			r.Msg.SetEdns0(4096, true)
		})},
		{name: "the query's OPT sent back", server: does(func(q *odd.Query, r *odd.Reply) {
			if o := q.Msg.IsEdns0(); o != nil {
				r.Msg.Extra = []dns.RR{o}
			}
		})},
		{name: "two OPT records", server: does(func(q *odd.Query, r *odd.Reply) {
			if len(r.Msg.Extra) > 0 {
				r.Msg.Extra = append(r.Msg.Extra, r.Msg.Extra[0])
			}
		})},
		{name: "EDE in answers", server: options(&dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeStaleAnswer, ExtraText: "stale"})},
		{name: "unknown options in answers", server: options(&dns.EDNS0_LOCAL{Code: 65001, Data: make([]byte, 100)}, &dns.EDNS0_NSID{Code: dns.EDNS0NSID, Nsid: "6e73"})},
		{name: "drops cookies", server: dropsCookies, more: soon, between: idle, pause: 1500 * time.Millisecond},
		{name: "drops cookies, TCP closed", server: noTCP(dropsCookies), more: soon, between: idle, pause: 1500 * time.Millisecond},
		{name: "the cookie of another client", server: foreign, more: soon, between: idle, pause: 1500 * time.Millisecond},
		{name: "the cookie of another client, TCP closed", server: noTCP(foreign), more: soon, between: idle, pause: 1500 * time.Millisecond},
		{name: "every other backend has cookies", server: half},
		{name: "every other backend has cookies, TCP closed", server: noTCP(half)},
		{name: "a server with cookies is replaced by one without", server: datagram(bakes), between: func(s *odd.Server) { s.Becomes(nil) }},
		{name: "a server with cookies is replaced by one without, TCP closed", server: noTCP(datagram(bakes)), between: func(s *odd.Server) { s.Becomes(nil) }},
		{name: "a server without cookies is replaced by one with", server: datagram(nil), between: func(s *odd.Server) { s.Becomes(bakes) }},
		{name: "BADCOOKIE until the cookie is right", server: demands},
	}
}
