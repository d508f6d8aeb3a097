//go:build linux

package main

import (
	"math/rand/v2"
	"net/http"
	"time"

	"rideau/resolver/resolvertest/odd"
)

// oddStreams are upstreams, and ways to them, that are odd over TCP, TLS and HTTPS.
func oddStreams() []oddRow {
	kept := []odd.Transport{odd.TCP, odd.TLS}
	all := []odd.Transport{odd.TCP, odd.TLS, odd.HTTPS}
	each := append(all, odd.QUIC, odd.HTTP3)
	refuses := func(which func(number int) bool) func() *odd.Server {
		return func() *odd.Server { return &odd.Server{Accepts: func(n int) bool { return !which(n) }} }
	}
	status := func(code int) func() *odd.Server { return does(func(q *odd.Query, r *odd.Reply) { r.Status = code }) }
	web := []odd.Transport{odd.HTTPS, odd.HTTP3}
	header := func(code byte) func() *odd.Server {
		return does(func(q *odd.Query, r *odd.Reply) {
			r.Raw, _ = r.Msg.Pack()
			r.Raw = append(r.Raw[:3], 0x80|code, 0, 0, 0, 0, 0, 0, 0, 0)
		})
	}
	return []oddRow{
		// What is on its way in a connection that carries many queries is lost with it.
		{name: "closes instead of each third answer", over: []odd.Transport{odd.QUIC}, want: nobody, server: does(func(q *odd.Query, r *odd.Reply) { r.Close = q.OnConnection == 3 })},
		{name: "closes instead of each third answer", over: web, want: nobody, server: does(func(q *odd.Query, r *odd.Reply) {
			r.Drop = q.Number%3 == 0
			r.Close = r.Drop
		})},
		{name: "nothing odd", over: each, server: does(nil)},
		{name: "closes after each answer", over: all, server: does(func(q *odd.Query, r *odd.Reply) { r.Close = true })},
		{name: "closes after each third answer", over: all, server: does(func(q *odd.Query, r *odd.Reply) { r.Close = q.OnConnection == 3 })},
		{name: "closes instead of each third answer", over: kept, server: does(func(q *odd.Query, r *odd.Reply) {
			r.Drop = q.OnConnection == 3
			r.Close = r.Drop
		})},
		{name: "ignores all but the first query of a connection", over: kept, server: does(func(q *odd.Query, r *odd.Reply) { r.Drop = q.OnConnection > 1 })},
		{name: "answers only the very first query", over: kept, server: does(func(q *odd.Query, r *odd.Reply) { r.Drop = q.Number > 1 }), want: nobody},
		{name: "closes each connection at once", over: append(all, odd.QUIC), server: refuses(func(n int) bool { return true }), want: nobody},
		{name: "closes each connection at once", over: each[4:], server: refuses(func(n int) bool { return true }), want: nobody,
			within: map[place]time.Duration{both: 3 * time.Second}}, // with a handshake for each query
		{name: "closes every other connection at once", over: append(all, odd.QUIC), server: refuses(func(n int) bool { return n%2 == 1 })},
		// The library opens a connection for each query that failed, so that one may fail on each.
		{name: "closes every other connection at once", over: each[4:], server: refuses(func(n int) bool { return n%2 == 1 }), want: map[place]float64{alone: .4}},
		{name: "connections die silently", over: each, server: does(nil), between: (*odd.Server).Freeze},
		{name: "all connections are closed", over: each, server: does(nil), between: (*odd.Server).HangUp},
		{name: "silent", over: each, server: does(func(q *odd.Query, r *odd.Reply) { r.Drop = true }), want: nobody},
		{name: "300 ms", over: each, server: does(func(q *odd.Query, r *odd.Reply) { r.Delay = 300 * time.Millisecond })},
		{name: "up to 100 ms, out of order", over: each, server: does(func(q *odd.Query, r *odd.Reply) { r.Delay = rand.N(100 * time.Millisecond) })},
		{name: "octet by octet", over: kept, server: does(func(q *odd.Query, r *odd.Reply) { r.Pieces = true })},
		{name: "each answer twice", over: kept, server: does(func(q *odd.Query, r *odd.Reply) { r.Copies = 1 })},
		{name: "answers to a wrong question", over: kept, server: does(func(q *odd.Query, r *odd.Reply) { r.Msg.Question[0].Name = "wrong.example." }), want: nobody},
		{name: "garbage", over: append(kept, odd.QUIC), server: does(func(q *odd.Query, r *odd.Reply) { r.Raw = []byte("garbage") }), want: nobody},
		{name: "a header alone, REFUSED", over: kept, server: header(5), want: nobody},
		{name: "a header alone, NOERROR", over: kept, server: header(0), want: nobody},
		{name: "FORMERR for EDNS", over: kept, server: codeForEDNS(1)},
		{name: "status 429", over: web, server: status(http.StatusTooManyRequests), want: nobody},
		{name: "status 500", over: web, server: status(http.StatusInternalServerError), want: nobody},
		{name: "status 503 for every other query", over: web, server: does(func(q *odd.Query, r *odd.Reply) {
			if q.Number%2 == 0 {
				r.Status = http.StatusServiceUnavailable
			}
		}), want: map[place]float64{alone: .4}},
		{name: "REFUSED", over: each, server: answersWith(5), want: nobody},
		{name: "SERVFAIL", over: each, server: answersWith(2), want: nobody},
	}
}
