//go:build linux

package main

import (
	"slices"

	"github.com/miekg/dns"

	"rideau/resolver/resolvertest/odd"
)

// does is an upstream that changes the right answer, over all transports.
func does(f func(q *odd.Query, r *odd.Reply)) func() *odd.Server {
	return func() *odd.Server { return &odd.Server{Does: f} }
}

// answersWith is an upstream that answers all with a code and without records.
func answersWith(code int) func() *odd.Server {
	return does(func(q *odd.Query, r *odd.Reply) {
		m := new(dns.Msg).SetRcode(q.Msg, code)
		m.RecursionAvailable = true
		if o := q.Msg.IsEdns0(); o != nil || code > 15 {
			m.SetEdns0(1232, false)
		}
		r.Msg = m
	})
}

var (
	nobody = map[place]float64{alone: 0} // can answer where the odd upstream is alone
)

// oddRows are the ways in which upstreams are odd. Where one says nothing else, all
// queries are answered in all places.
func oddRows() []oddRow {
	return slices.Concat(oddCodes(), oddAnswers(), oddDatagrams(), oddEDNS(), oddStreams(), oddKinds())
}
