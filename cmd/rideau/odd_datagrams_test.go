package main

import (
	"math/rand/v2"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver/resolvertest/odd"
)

// datagram is an upstream that is odd over UDP and right over TCP.
func datagram(f func(q *odd.Query, r *odd.Reply)) func() *odd.Server {
	return does(func(q *odd.Query, r *odd.Reply) {
		if q.Datagram() {
			f(q, r)
		}
	})
}

// noTCP is the same upstream with TCP closed.
func noTCP(from func() *odd.Server) func() *odd.Server {
	return func() *odd.Server {
		s := from()
		s.NoTCP = true
		return s
	}
}

// oddDatagrams are upstreams, and ways to them, that are odd over UDP.
func oddDatagrams() []oddRow {
	dropsEDNS := does(func(q *odd.Query, r *odd.Reply) { r.Drop = q.Msg.IsEdns0() != nil })
	dropsCookies := datagram(func(q *odd.Query, r *odd.Reply) { r.Drop = q.Option(dns.EDNS0COOKIE) != nil })
	elsewhere := datagram(func(q *odd.Query, r *odd.Reply) { r.Elsewhere = true })
	return []oddRow{
		{name: "drops EDNS", server: dropsEDNS},
		{name: "drops EDNS, TCP closed", server: noTCP(dropsEDNS)},
		{name: "drops cookies", server: dropsCookies},
		{name: "drops cookies, TCP closed", server: noTCP(dropsCookies)},
		{name: "removes OPT", server: does(func(q *odd.Query, r *odd.Reply) { r.Msg.Extra = nil })},
		{name: "answers from another address", server: elsewhere},
		{name: "answers from another address, TCP closed", server: noTCP(elsewhere), want: nobody},
		{name: "300 ms", server: does(func(q *odd.Query, r *odd.Reply) { r.Delay = 300 * time.Millisecond })},
		{name: "each twice", server: datagram(func(q *odd.Query, r *odd.Reply) { r.Copies = 1 })},
		{name: "30 % loss", server: datagram(func(q *odd.Query, r *odd.Reply) { r.Drop = rand.IntN(10) < 3 }), want: map[place]float64{alone: .8}, within: map[place]time.Duration{alone: 2 * time.Second}},
	}
}
