package acceptance

import (
	"bytes"

	"rideau/resolver/wire"
)

// Doubt is why a datagram is not believed by itself. Two equal ones from
// exchanges with an id and a port each confirm one another, except for Guessed.
type Doubt uint8

// Doubts. The code of the response is in the lower four bits of those that do
// not stand here.
const (
	// Guessed: there were [MaxMismatches] other messages before it.
	Guessed Doubt = iota
	// LacksCase: the letters of the question are not those of the query.
	LacksCase
	// LacksCookie: it has no cookie, or another than this server has given.
	LacksCookie
	// BareTruncated: it is no more than TC.
	BareTruncated
	bareError   Doubt = 1 << 4 // it has no question
	refusesEDNS Doubt = 2 << 4
)

// DoubtOf is the doubt about a message that Accept has called Doubtful for
// query. Without a message it is Guessed.
func (e *Endpoint) DoubtOf(query, msg []byte) Doubt {
	if len(msg) < wire.HeaderLen {
		return Guessed
	}
	code := Doubt(wire.HeaderRcode(msg) & 0xF)
	switch {
	case !wire.Matches(query, msg) && wire.Flags(msg)&wire.FlagTC != 0:
		return BareTruncated
	case !wire.Matches(query, msg):
		return bareError | code
	case e.MixesCase() && !SameCase(query, msg):
		return LacksCase
	case len(findCookie(query)) > clientCookie && !repeatsCookie(query, msg):
		return LacksCookie
	}
	return refusesEDNS | code
}

// Doubted is DoubtOf for a message that has come, and that shows a habit of the
// server if it is not forged.
func (e *Endpoint) Doubted(query, msg []byte) Doubt {
	d := e.DoubtOf(query, msg)
	switch d {
	case LacksCase:
		e.Observe(LosesCase)
	case LacksCookie:
		e.Observe(LosesCookie)
	}
	return d
}

// Confirms reports whether two doubts, of two exchanges, are believed together.
func (d Doubt) Confirms(o Doubt) bool { return d == o && d != Guessed }

// Believe draws the conclusion from a doubt that has been confirmed. query and
// msg are those of one of its exchanges. With again the server does not repeat
// the case or the cookie, and is asked anew without. Otherwise the result and
// the response are what Accept would say of a message that came over TCP.
func (e *Endpoint) Believe(d Doubt, query, msg []byte) (result Result, resp []byte, again bool) {
	switch {
	case d == LacksCase:
		e.setOff(&e.caseOff)
		return Doubtful, nil, true
	case d == LacksCookie:
		e.DropCookie()
		return Doubtful, nil, true
	case d == BareTruncated:
		return Truncated, withQuestion(query, wire.Flags(msg)), false
	case d&bareError != 0:
		result, resp = acceptBare(Stream, query, msg)
		return result, resp, false
	}
	return Judge(msg), msg, false
}

// isBareError reports whether the code of a message without question is one
// that servers send so.
func isBareError(msg []byte) bool {
	switch wire.HeaderRcode(msg) {
	case wire.FormErr, wire.NotImp, wire.ServFail, wire.Refused:
		return true
	}
	return false
}

// doubtsRefusal reports whether a datagram that refuses EDNS needs to be
// confirmed: the query had EDNS, and the response does not repeat its cookie.
func doubtsRefusal(query, msg []byte) bool {
	_, end := FindOPT(query)
	return end > 0 && !repeatsCookie(query, msg)
}

// repeatsCookie reports whether a response has the client's part of the query's
// cookie.
func repeatsCookie(query, msg []byte) bool {
	sent, got := findCookie(query), findCookie(msg)
	return len(sent) >= clientCookie && len(got) >= clientCookie && bytes.Equal(got[:clientCookie], sent[:clientCookie])
}
