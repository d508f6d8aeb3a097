// Package verdict says what a response is worth to a group of servers: whether it
// ends an exchange, and if not, what is wrong with it.
package verdict

import (
	"slices"

	"rideau/resolver/upstream/acceptance"
	"rideau/resolver/wire"
)

// Reason is why a request brought no usable answer.
type Reason uint8

// Reasons.
const (
	Timeout   Reason = iota // no response within the attempt's limit
	Network                 // it could not be sent, or the server's host refused it
	Malformed               // the records of the response cannot be read
	FormErr                 // this response code, and so below
	ServFail
	NotImp
	Refused       // REFUSED
	OtherCode     // a response code that no resolver answers with
	NoAnswer      // a referral, or what else is no resolver's answer: see [acceptance.Lack]
	Cut           // a truncated response, and no whole one over TCP
	Denied        // an NXDOMAIN for a name that was answered lately
	Reasons   int = iota
)

var reasonNames = [Reasons]string{"timeout", "network", "malformed", "formerr", "servfail", "notimp", "refused", "other_code", "no_answer", "truncated", "denied"}

// String is the reason in a word.
func (r Reason) String() string { return reasonNames[r] }

// Ranks of responses. Those above None another server may better; of them the
// first of the highest rank is returned if none does.
const (
	None    = iota // it cannot be read
	Nothing        // it is no answer, or a code that says nothing of the name
	RankRefused
	// RankServFail is that of a resolver's failure: it may be the name's own fault,
	// and may carry the reason.
	RankServFail
	// RankDenied is that of an NXDOMAIN for a name that was answered lately. [Of] does
	// not know of that.
	RankDenied
	RankCut  // a truncated answer: some of the whole
	RankRest // an alias: whoever knows the target can make an answer of it
	// RankBogus is that of a failed validation. Only an answer that was validated
	// is better: one from a server that does not validate is what the validation
	// was for.
	RankBogus
	Good // it ends the race
)

// Of returns what is wrong with a response to a query, and its rank.
//
// All that stands here is the reason to ask another server: a code that is no
// resolver's answer, and what [acceptance.LackOf] finds. NXDOMAIN is an answer.
func Of(query, resp []byte) (Reason, int) {
	if !acceptance.Readable(resp) {
		return Malformed, None
	}
	switch code, result := wire.HeaderRcode(resp), acceptance.Judge(resp); {
	case code == wire.ServFail:
		if wire.Flags(query)&wire.FlagCD == 0 && saysBogus(resp) {
			return ServFail, RankBogus
		}
		return ServFail, RankServFail
	case code == wire.Refused:
		return Refused, RankRefused
	case code == wire.NotImp:
		return NotImp, Nothing
	case result == acceptance.RefusesEDNS:
		return FormErr, Nothing
	case result != acceptance.Answer:
		return OtherCode, Nothing
	}
	var r wire.Response
	var scratch wire.Name
	msg := slices.Clone(resp) // Parse writes to it
	if r.Parse(msg, &scratch) != nil {
		return Malformed, None
	}
	switch lack := acceptance.LackOf(msg, &r); {
	case r.TC && lack != acceptance.LacksAll:
		return Cut, RankCut
	case lack == acceptance.LacksRest:
		return NoAnswer, RankRest
	case lack == acceptance.LacksNothing:
		return 0, Good
	}
	return NoAnswer, Nothing
}

// saysBogus reports whether a SERVFAIL says that the name's signatures are not
// Good (RFC 8914 sections 4.7 to 4.13).
func saysBogus(resp []byte) bool {
	var r wire.Response
	var scratch wire.Name
	return r.Parse(slices.Clone(resp), &scratch) == nil && r.EDE >= wire.EDEBogus && r.EDE <= wire.EDENoNSEC
}

// IsNoAnswer reports whether a response with this fault says nothing about the
// name: its server does not serve such questions.
func (r Reason) IsNoAnswer() bool {
	return r != Timeout && r != Network && r != ServFail && r != Cut && r != Denied
}
