//go:build linux

package main

import (
	"net"
	"strings"

	"github.com/miekg/dns"

	"rideau/resolver/resolvertest/odd"
)

// oddCodes are upstreams whose responses are in order, and are no resolver's answers.
func oddCodes() []oddRow {
	var rows []oddRow
	for _, code := range []int{dns.RcodeServerFailure, dns.RcodeRefused, dns.RcodeNotImplemented, dns.RcodeFormatError, dns.RcodeYXDomain,
		dns.RcodeNotAuth, dns.RcodeNotZone, dns.RcodeBadCookie, dns.RcodeBadVers} {
		name := dns.RcodeToString[code]
		if code == dns.RcodeBadVers {
			name = badVersName
		}
		rows = append(rows, oddRow{name: name, server: answersWith(code), want: nobody})
	}
	rows = append(rows,
		oddRow{name: "code 11", server: answersWith(11), want: nobody},
		oddRow{name: "code 3841", server: answersWith(3841), want: nobody},
		oddRow{name: "code 4000", server: answersWith(4000), want: nobody}, // whose lower bits are those of NOERROR
		oddRow{name: "REFUSED for a third of the names", want: nobody, server: does(func(q *odd.Query, r *odd.Reply) {
			if q.Number%3 == 0 {
				r.Msg = new(dns.Msg).SetRcode(q.Msg, dns.RcodeRefused)
			}
		})},
		oddRow{name: "upward referral, RA=0", want: nobody, server: does(func(q *odd.Query, r *odd.Reply) {
			r.Msg.RecursionAvailable, r.Msg.Answer = false, nil
			r.Msg.Ns = []dns.RR{&dns.NS{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: 3600}, Ns: "a.root-servers.example."}}
		})},
		oddRow{name: "alias without its target, RA=0", want: nobody, server: does(func(q *odd.Query, r *odd.Reply) {
			r.Msg.RecursionAvailable = false
			r.Msg.Answer = []dns.RR{&dns.CNAME{Hdr: dns.RR_Header{Name: q.Name(), Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: 300}, Target: "elsewhere." + strings.TrimPrefix(q.Name(), ".")}}
		}), right: hasAddress},
		oddRow{name: "records of another name only", want: nobody, server: does(func(q *odd.Query, r *odd.Reply) {
			for _, rr := range r.Msg.Answer {
				rr.Header().Name = "other.example."
			}
		})},
		oddRow{name: "empty, RA=0", want: nobody, server: does(func(q *odd.Query, r *odd.Reply) {
			r.Msg.RecursionAvailable, r.Msg.Answer = false, nil
		})},
	)
	return rows
}

// badVersName is what RFC 6891 calls the code that the library calls BADSIG.
const badVersName = "BADVERS"

// hasAddress reports whether a response has an address.
func hasAddress(m *dns.Msg) bool {
	for _, rr := range m.Answer {
		if a, ok := rr.(*dns.A); ok && m.Rcode == dns.RcodeSuccess {
			return a.A.Equal(net.IPv4(192, 0, 2, 1))
		}
	}
	return false
}
