//go:build linux

package main

import (
	"math/rand/v2"
	"strings"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver/resolvertest/odd"
)

// datagram is an upstream that is odd over UDP and right over TCP.
func datagram(f func(q *odd.Query, r *odd.Reply)) func() *odd.Server {
	return does(func(q *odd.Query, r *odd.Reply) {
		if q.Datagram() && f != nil {
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

// octets is an upstream that changes the octets of its datagrams.
func octets(f func(b []byte) []byte) func() *odd.Server {
	return datagram(func(q *odd.Query, r *odd.Reply) {
		r.Raw, _ = r.Msg.Pack()
		r.Raw = f(r.Raw)
	})
}

// oddDatagrams are upstreams, and ways to them, that are odd over UDP.
func oddDatagrams() []oddRow {
	elsewhere := datagram(func(q *odd.Query, r *odd.Reply) { r.Elsewhere = true })
	lower := datagram(func(q *odd.Query, r *odd.Reply) {
		r.Msg.Question[0].Name = strings.ToLower(q.Name())
		for _, rr := range r.Msg.Answer {
			rr.Header().Name = strings.ToLower(rr.Header().Name)
		}
	})
	overSize := func(max int) func() *odd.Server {
		return datagram(func(q *odd.Query, r *odd.Reply) {
			size := 512
			if o := q.Msg.IsEdns0(); o != nil {
				size = int(o.UDPSize())
			}
			r.Drop = r.Msg.Len() > max && size > max
		})
	}
	seen := func() func(q *odd.Query, r *odd.Reply) {
		names := map[string]bool{}
		return func(q *odd.Query, r *odd.Reply) {
			name := strings.ToLower(q.Name())
			r.Drop = !names[name]
			names[name] = true
		}
	}
	loss := func(share float64) func() *odd.Server {
		return datagram(func(q *odd.Query, r *odd.Reply) { r.Drop = rand.Float64() < share })
	}
	delay := func(d time.Duration) func() *odd.Server {
		return does(func(q *odd.Query, r *odd.Reply) { r.Delay = d })
	}
	asIs := ", mix_case: false"
	slow := map[place]time.Duration{alone: 2 * time.Second} // nobody else answers
	return []oddRow{
		{name: "silent", server: does(func(q *odd.Query, r *odd.Reply) { r.Drop = true }), want: nobody},
		{name: "nothing listens", server: func() *odd.Server { return &odd.Server{NoUDP: true, NoTCP: true} }, want: nobody},
		{name: "silent over UDP, right over TCP", server: datagram(func(q *odd.Query, r *odd.Reply) { r.Drop = true }), within: slow},
		{name: "answers from another address", server: elsewhere, within: slow},
		{name: "answers from another address, TCP closed", server: noTCP(elsewhere), want: nobody},
		{name: "lower case, without 0x20", server: lower, more: asIs},
		{name: "lower case, with 0x20", server: lower},
		{name: "lower case, with 0x20, TCP closed", server: noTCP(lower)},
		{name: "300 ms", server: delay(300 * time.Millisecond)},
		{name: "2 s", server: delay(2 * time.Second), within: map[place]time.Duration{alone: 3 * time.Second, both: 3 * time.Second, first: 3 * time.Second}},
		{name: "up to 100 ms, out of order", server: datagram(func(q *odd.Query, r *odd.Reply) { r.Delay = rand.N(100 * time.Millisecond) })},
		{name: "each answer twice", server: datagram(func(q *odd.Query, r *odd.Reply) { r.Copies = 1 })},
		{name: "30 % loss", server: loss(.3), want: map[place]float64{alone: .8}, within: map[place]time.Duration{alone: 2 * time.Second}},
		{name: "the first query for each name is lost", server: func() *odd.Server { return datagram(seen())() }, within: map[place]time.Duration{alone: 2 * time.Second}},
		{name: "drops what is longer than 512 octets", server: overSize(512), zone: longAnswer(700), between: func(*odd.Server) {}, pause: time.Second,
			within: map[place]time.Duration{first: 150 * time.Millisecond, both: 300 * time.Millisecond}}, // learnt though others answer
		{name: "drops what is longer than 1,000 octets", server: overSize(1000), zone: longAnswer(1100)},
		{name: "truncates all", server: datagram(func(q *odd.Query, r *odd.Reply) { r.Msg.Truncated, r.Msg.Answer = true, nil })},
		{name: "truncates all, TCP closed", server: noTCP(datagram(func(q *odd.Query, r *odd.Reply) { r.Msg.Truncated, r.Msg.Answer = true, nil })), want: nobody},
		{name: "truncates all, TCP silent", server: does(func(q *odd.Query, r *odd.Reply) {
			r.Drop = !q.Datagram()
			r.Msg.Truncated, r.Msg.Answer = true, nil
		}), want: nobody},
		{name: "truncates half, TCP closed", server: noTCP(datagram(func(q *odd.Query, r *odd.Reply) {
			if len(q.Name()) > 1 && strings.ContainsAny(q.Name()[1:2], "02468") {
				r.Msg.Truncated, r.Msg.Answer = true, nil
			}
		})), want: map[place]float64{alone: .5}},
		{name: "truncates over TCP, too", server: does(func(q *odd.Query, r *odd.Reply) { r.Msg.Truncated, r.Msg.Answer = true, nil }), want: nobody},
		{name: "a wrong question", server: datagram(func(q *odd.Query, r *odd.Reply) { r.Msg.Question[0].Name = "wrong.example." }), want: nobody},
		{name: "no question", server: datagram(func(q *odd.Query, r *odd.Reply) { r.Msg.Question = nil }), want: nobody},
		{name: "a wrong id before the right one", server: datagram(func(q *odd.Query, r *odd.Reply) {
			wrong := r.Msg.Copy()
			wrong.Id++
			r.Before = append(r.Before, wrong)
		})},
		{name: "the query sent back", server: datagram(func(q *odd.Query, r *odd.Reply) { r.Msg = q.Msg }), want: nobody},
		{name: "cut short", server: octets(func(b []byte) []byte { return b[:len(b)-5] }), want: nobody},
		{name: "a header alone", server: octets(func(b []byte) []byte { return b[:12] }), want: nobody},
		{name: "octets behind the message", server: octets(func(b []byte) []byte { return append(b, 0, 0, 0, 0) })},
		{name: "a count that is too high", server: octets(func(b []byte) []byte { b[7]++; return b }), want: nobody},
		{name: "the bit Z is set", server: octets(func(b []byte) []byte { b[3] |= 0x40; return b })},
		{name: "RD is not copied", server: octets(func(b []byte) []byte { b[2] &^= 1; return b })},
		{name: "drops AAAA", server: does(func(q *odd.Query, r *odd.Reply) { r.Drop = q.Msg.Question[0].Qtype == dns.TypeAAAA }), ask: inTurn(dns.TypeAAAA, dns.TypeA),
			want: map[place]float64{alone: .5}, within: map[place]time.Duration{first: 2 * time.Second, both: 2 * time.Second}},
	}
}
