//go:build linux

package main

import (
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver/resolvertest/odd"
)

// inTurn asks for the types in turn, for the same new name.
func inTurn(types ...uint16) func(i int) (string, uint16) {
	return func(i int) (string, uint16) { return fmt.Sprintf("n%d.example.", i/len(types)), types[i%len(types)] }
}

// longAnswer answers with so many octets of addresses, about, which do not change.
func longAnswer(octets int) func(q *dns.Msg) *dns.Msg {
	return func(q *dns.Msg) *dns.Msg {
		m := odd.Plain(q)
		if q.Question[0].Qtype == dns.TypeA {
			m.Answer = addressRecords(q.Question[0].Name, octets/16)
		}
		return m
	}
}

func addressRecords(name string, n int) []dns.RR {
	var all []dns.RR
	for i := range n {
		all = append(all, &dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 300}, A: net.IPv4(192, 0, 2+byte(i>>8), 1+byte(i))})
	}
	return all
}

// chain answers with so many aliases and an address.
func chain(aliases int) func(q *dns.Msg) *dns.Msg {
	return func(q *dns.Msg) *dns.Msg {
		m := odd.Plain(q)
		name := q.Question[0].Name
		if q.Question[0].Qtype != dns.TypeA {
			return m
		}
		m.Answer = nil
		for i := range aliases {
			next := fmt.Sprintf("a%d.%s", i, strings.TrimPrefix(q.Question[0].Name, "."))
			m.Answer = append(m.Answer, &dns.CNAME{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: 300}, Target: next})
			name = next
		}
		m.Answer = append(m.Answer, addressRecords(name, 1)...)
		return m
	}
}

// ends answers with the first alias of a chain alone, and each of its targets with the
// next, as a server does that does not follow aliases.
func ends(aliases int) func(q *dns.Msg) *dns.Msg {
	return func(q *dns.Msg) *dns.Msg {
		m := odd.Plain(q)
		name := strings.ToLower(q.Question[0].Name)
		var n int
		if _, err := fmt.Sscanf(name, "a%d.", &n); err == nil {
			_, name, _ = strings.Cut(name, ".")
			n++
		}
		if q.Question[0].Qtype == dns.TypeA && n < aliases {
			m.Answer = []dns.RR{&dns.CNAME{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: 300},
				Target: fmt.Sprintf("a%d.%s", n, strings.TrimPrefix(name, "."))}}
		}
		return m
	}
}

// deny answers NXDOMAIN, with an SOA record.
func deny(q *odd.Query, r *odd.Reply) {
	soa := &dns.SOA{Hdr: dns.RR_Header{Name: "example.", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 300}, Ns: "ns.example.", Mbox: "nobody.example.", Serial: 1, Minttl: 300}
	r.Msg.Answer, r.Msg.Ns, r.Msg.Rcode = nil, []dns.RR{soa}, dns.RcodeNameError
}

// counted is a response with so many records of a type in its answer section.
func counted(rtype uint16, n int) func(m *dns.Msg) bool {
	return func(m *dns.Msg) bool {
		got := 0
		for _, rr := range m.Answer {
			if rr.Header().Rrtype == rtype {
				got++
			}
		}
		return m.Rcode == dns.RcodeSuccess && got == n
	}
}

// oddAnswers are upstreams whose answers are unusual, or deny what there is.
func oddAnswers() []oddRow {
	ttl := func(seconds uint32) func() *odd.Server {
		return does(func(q *odd.Query, r *odd.Reply) {
			for _, rr := range r.Msg.Answer {
				rr.Header().Ttl = seconds
			}
		})
	}
	right := does(nil)
	orDenied := func(kind uint16) func(m *dns.Msg) bool {
		return func(m *dns.Msg) bool {
			if len(m.Question) == 1 && m.Question[0].Qtype == kind {
				return m.Rcode == dns.RcodeNameError || m.Rcode == dns.RcodeSuccess
			}
			return m.Rcode == dns.RcodeSuccess && len(m.Answer) > 0
		}
	}
	rows := []oddRow{
		{name: "NXDOMAIN of an empty non-terminal", server: does(func(q *odd.Query, r *odd.Reply) {
			if strings.HasPrefix(strings.ToLower(q.Name()), "ent") {
				deny(q, r)
			}
		}), ask: func(i int) (string, uint16) {
			return []string{"", "", "below."}[i%3] + fmt.Sprintf("ent%d.example.", i/3), []uint16{dns.TypeTXT, dns.TypeAAAA, dns.TypeA}[i%3]
		}, right: func(m *dns.Msg) bool {
			below := strings.HasPrefix(m.Question[0].Name, "below.")
			return below && m.Rcode == dns.RcodeSuccess && len(m.Answer) > 0 || !below && (m.Rcode == dns.RcodeNameError || m.Rcode == dns.RcodeSuccess)
		}},
		{name: "NXDOMAIN for AAAA of names with A", server: does(func(q *odd.Query, r *odd.Reply) {
			if q.Msg.Question[0].Qtype == dns.TypeAAAA {
				deny(q, r)
			}
		}), ask: inTurn(dns.TypeAAAA, dns.TypeA), right: orDenied(dns.TypeAAAA)},
		{name: "REFUSED for HTTPS records", server: does(func(q *odd.Query, r *odd.Reply) {
			if q.Msg.Question[0].Qtype == dns.TypeHTTPS {
				r.Msg = new(dns.Msg).SetRcode(q.Msg, dns.RcodeRefused)
			}
		}), ask: inTurn(dns.TypeHTTPS, dns.TypeA), want: map[place]float64{alone: .5}, right: func(m *dns.Msg) bool { return m.Rcode == dns.RcodeSuccess }},
		{name: "TTL 0", server: ttl(0)},
		{name: "TTL 2³¹ and more", server: ttl(1<<31 + 5)},
		{name: "200 addresses", server: right, zone: longAnswer(200 * 16), right: counted(dns.TypeA, 200)},
		{name: "1,500 addresses behind an alias", server: right, zone: func(q *dns.Msg) *dns.Msg {
			m := chain(1)(q)
			if len(m.Answer) == 2 {
				m.Answer = append(m.Answer[:1], addressRecords(m.Answer[1].Header().Name, 1500)...)
			}
			return m
		}, right: counted(dns.TypeA, 1500)},
		{name: "unrelated records besides the answer", server: does(func(q *odd.Query, r *odd.Reply) {
			r.Msg.Answer = append(addressRecords("before.example.", 1), r.Msg.Answer...)
			r.Msg.Ns = append(r.Msg.Ns, addressRecords("ns.example.", 2)...)
		}), right: counted(dns.TypeA, 1)},
		{name: "each record twice", server: does(func(q *odd.Query, r *odd.Reply) { r.Msg.Answer = append(r.Msg.Answer, r.Msg.Answer...) })},
	}
	for _, n := range []int{1, 8, 16, 31, 40} {
		rows = append(rows, oddRow{name: fmt.Sprintf("%d aliases in an answer", n), server: right, zone: chain(n), right: counted(dns.TypeA, 1)})
	}
	for _, n := range []int{1, 8} {
		rows = append(rows, oddRow{name: []string{"an alias without its target, RA=1", "8 aliases, one in each answer"}[n/8], server: right, zone: ends(n), right: counted(dns.TypeA, 1),
			within: map[place]time.Duration{alone: time.Second, first: time.Second, second: time.Second, both: time.Second}})
	}
	return rows
}
