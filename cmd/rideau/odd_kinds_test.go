//go:build linux

package main

import (
	"net"
	"strings"

	"github.com/miekg/dns"

	"rideau/resolver/resolvertest/odd"
)

// dname answers with a DNAME that leads all names below example. to elsewhere.sample.,
// the alias that it makes of the question if with is true, and the address there.
func dname(with bool, target func(right string) string) func() *odd.Server {
	return does(func(q *odd.Query, r *odd.Reply) {
		if len(r.Msg.Answer) == 0 {
			return
		}
		there := strings.TrimSuffix(q.Name(), "example.") + "elsewhere.sample."
		if !strings.HasSuffix(strings.ToLower(q.Name()), ".example.") {
			return
		}
		h := dns.RR_Header{Class: dns.ClassINET, Ttl: 300}
		owner, alias := h, h
		owner.Name, owner.Rrtype = "example.", dns.TypeDNAME
		alias.Name, alias.Rrtype = q.Name(), dns.TypeCNAME
		address := r.Msg.Answer[0]
		r.Msg.Answer = []dns.RR{&dns.DNAME{Hdr: owner, Target: "elsewhere.sample."}}
		if with {
			there = target(there)
			r.Msg.Answer = append(r.Msg.Answer, &dns.CNAME{Hdr: alias, Target: there})
		}
		address.Header().Name = there
		r.Msg.Answer = append(r.Msg.Answer, address)
	})
}

// refers answers with the name servers of a zone instead of records.
func refers(zone string, recursion bool) func() *odd.Server {
	return does(func(q *odd.Query, r *odd.Reply) {
		r.Msg.RecursionAvailable, r.Msg.Answer = recursion, nil
		r.Msg.Ns = []dns.RR{&dns.NS{Hdr: dns.RR_Header{Name: zone, Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: 3600}, Ns: "ns.servers.sample."}}
	})
}

// oddKinds are upstreams whose answers have kinds of records that do not belong to the
// question, or not to one another.
func oddKinds() []oddRow {
	same := func(s string) string { return s }
	record := func(q *odd.Query, rr dns.RR, t uint16) dns.RR {
		*rr.Header() = dns.RR_Header{Name: q.Name(), Rrtype: t, Class: dns.ClassINET, Ttl: 300}
		return rr
	}
	bogus := does(func(q *odd.Query, r *odd.Reply) {
		r.Msg.Answer, r.Msg.Rcode, r.Msg.AuthenticatedData = nil, dns.RcodeServerFailure, false
		if o := r.Msg.IsEdns0(); o != nil {
			o.Option = append(o.Option, &dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeDNSBogus})
		}
	})
	alias := func(q *odd.Query, to string) dns.RR { return record(q, &dns.CNAME{Target: to}, dns.TypeCNAME) }
	return []oddRow{
		{name: "DNAME and its alias", server: dname(true, same)},
		{name: "DNAME without its alias", server: dname(false, nil)},
		{name: "DNAME and an alias that it does not make", server: dname(true, func(string) string { return "other.sample." })},
		{name: "an alias beside the address", want: nobody, server: does(func(q *odd.Query, r *odd.Reply) {
			r.Msg.Answer = append([]dns.RR{alias(q, "elsewhere.sample.")}, r.Msg.Answer...)
		})},
		{name: "aliases in a circle", want: nobody, server: does(func(q *odd.Query, r *odd.Reply) {
			back := &dns.CNAME{Hdr: dns.RR_Header{Name: "circle.sample.", Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: 300}, Target: q.Name()}
			r.Msg.Answer = []dns.RR{alias(q, "circle.sample."), back}
		})},
		{name: "an alias of itself", want: nobody, server: does(func(q *odd.Query, r *odd.Reply) { r.Msg.Answer = []dns.RR{alias(q, q.Name())} })},
		{name: "60 signatures", server: does(func(q *odd.Query, r *odd.Reply) {
			for i := range 60 {
				r.Msg.Answer = append(r.Msg.Answer, record(q, &dns.RRSIG{TypeCovered: q.Msg.Question[0].Qtype, Algorithm: 13, Labels: 2, OrigTtl: 300,
					Expiration: 2000000000, Inception: 1000000000, KeyTag: uint16(i), SignerName: "example.", Signature: strings.Repeat("ABCD", 21)}, dns.TypeRRSIG))
			}
		}), right: hasAddress},
		{name: "records of another type only", want: nobody, server: does(func(q *odd.Query, r *odd.Reply) {
			r.Msg.Answer = []dns.RR{record(q, &dns.TXT{Txt: []string{"text"}}, dns.TypeTXT)}
		}), right: hasAddress},
		{name: "records of another class", want: nobody, server: does(func(q *odd.Query, r *odd.Reply) {
			for _, rr := range r.Msg.Answer {
				rr.Header().Class = dns.ClassCHAOS
			}
		})},
		{name: "the address ::ffff:192.0.2.1 for AAAA", ask: inTurn(dns.TypeAAAA), server: does(func(q *odd.Query, r *odd.Reply) {
			r.Msg.Answer = []dns.RR{record(q, &dns.AAAA{AAAA: net.ParseIP("::ffff:192.0.2.1").To16()}, dns.TypeAAAA)}
		})},
		{name: "NXDOMAIN of an alias to a zone inside", inside: "inside.example", server: does(func(q *odd.Query, r *odd.Reply) {
			deny(q, r)
			r.Msg.Answer = []dns.RR{alias(q, "host.inside.example.")}
		}), right: hasAddress},
		{name: "an alias to a zone inside, with a public address", inside: "inside.example", server: does(func(q *odd.Query, r *odd.Reply) {
			public := addressRecords("host.inside.example.", 1)
			public[0].(*dns.A).A = net.IPv4(203, 0, 113, 1)
			r.Msg.Answer = append([]dns.RR{alias(q, "host.inside.example.")}, public...)
		}), right: hasAddress},
		{name: "NXRRSET", server: answersWith(dns.RcodeNXRrset), want: nobody},
		{name: "YXRRSET", server: answersWith(dns.RcodeYXRrset), want: nobody},
		{name: "upward referral, RA=1", want: nobody, server: refers(".", true)},
		{name: "downward referral, RA=0", want: nobody, server: refers("example.", false)},
		{name: "downward referral, RA=1", want: nobody, server: refers("example.", true)},
		{name: "NXDOMAIN without SOA", server: does(func(q *odd.Query, r *odd.Reply) {
			r.Msg.Answer, r.Msg.Rcode = nil, dns.RcodeNameError
		}), right: func(m *dns.Msg) bool { return m.Rcode == dns.RcodeNameError || hasAddress(m) }},
		// Only an answer that was validated is better than to say why it was not.
		{name: "SERVFAIL that says that signatures are bad", server: bogus, want: map[place]float64{alone: 0, first: 0, second: .6, both: 0}},
		{name: "SERVFAIL that says that signatures are bad, the others validate", server: bogus, want: nobody, zone: func(q *dns.Msg) *dns.Msg {
			m := odd.Plain(q)
			m.AuthenticatedData = true
			return m
		}},
	}
}
