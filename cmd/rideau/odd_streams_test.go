package main

import (
	"rideau/resolver/resolvertest/odd"
)

// stream is an upstream that is odd over TCP, TLS and HTTPS, and right over UDP.
func stream(f func(q *odd.Query, r *odd.Reply)) func() *odd.Server {
	return does(func(q *odd.Query, r *odd.Reply) {
		if !q.Datagram() {
			f(q, r)
		}
	})
}

// oddStreams are upstreams, and ways to them, that are odd over TCP, TLS and HTTPS.
func oddStreams() []oddRow {
	return []oddRow{
		{name: "closes after each answer", over: streams, server: stream(func(q *odd.Query, r *odd.Reply) { r.Close = true })},
		{name: "closes after each third answer", over: streams, server: stream(func(q *odd.Query, r *odd.Reply) { r.Close = q.OnConnection == 3 })},
		{name: "ignores all but the first query of a connection", over: streams, server: stream(func(q *odd.Query, r *odd.Reply) { r.Drop = q.OnConnection > 1 })},
		{name: "connections die silently", over: []odd.Transport{odd.TCP, odd.TLS, odd.HTTPS}, server: does(nil), between: (*odd.Server).Freeze},
	}
}
