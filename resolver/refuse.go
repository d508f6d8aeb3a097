package resolver

import (
	"rideau/resolver/limit"
	"rideau/resolver/special"
	"rideau/resolver/wire"
)

// deny answers a client that is not allowed: REFUSED, or nothing once the
// second's budget is spent.
func (r *Resolver) deny(dst []byte, q *Query, o Outcome) ([]byte, Outcome) {
	if !r.refusals.Take(q.Received.Unix()) {
		o.Kind = Dropped
		return dst, o
	}
	o.Kind = Denied
	base := len(dst)
	dst = wire.Reply(dst, &q.view, q.Msg, wire.Refused)
	dst, o.Rcode = q.seal(dst, base, wire.Refused, deniedOption)
	return dst, o
}

// limited answers a client that exceeds its rate. By UDP it gets a small
// response now and then, and otherwise nothing. A client that owns its address
// can then query again by TCP, or with the cookie that the response carries
// (RFC 7873 section 5.2.3); a forged address cannot.
func (r *Resolver) limited(dst []byte, q *Query, v limit.Verdict, o Outcome) ([]byte, Outcome) {
	o.Kind = Limited
	base := len(dst)
	switch {
	case q.Transport.AddressVerified():
		dst = wire.Reply(dst, &q.view, q.Msg, wire.Refused)
		dst, o.Rcode = q.seal(dst, base, wire.Refused, limitedOption...)
		return dst, o
	case v == limit.Drop:
		return dst, o
	case q.view.Cookie != wire.CookieNone && q.state.cookies != nil && !q.verified:
		dst = wire.Reply(dst, &q.view, q.Msg, wire.BadCookie)
		dst, o.Rcode = q.seal(dst, base, wire.BadCookie, nil)
		return dst, o
	}
	dst = wire.Reply(dst, &q.view, q.Msg, wire.NoError)
	wire.SetFlags(dst[base:], wire.Flags(dst[base:])|wire.FlagTC)
	dst, o.Rcode = q.seal(dst, base, wire.NoError, nil)
	return dst, o
}

// mayErr reports whether a message with a fault may be answered. A message that
// cannot be parsed may be the response of a program that takes our error for a
// request, so that both would go on for ever.
func (q *Query) mayErr(fault wire.Fault) bool {
	parsed := q.view.HasQuestion && fault != wire.FaultFormErr || fault == wire.FaultCookie
	return parsed || q.gate == nil || q.verified || q.Transport.AddressVerified() || q.gate.AdmitError(q.Client, q.Received.UnixNano())
}

// appendFault answers a message that is malformed or not understood.
func appendFault(dst []byte, q *Query, fault wire.Fault, o Outcome) ([]byte, Outcome) {
	rcode := wire.FormErr
	o.Kind = Malformed
	switch fault {
	case wire.FaultNotImp:
		rcode, o.Kind = wire.NotImp, NotImplemented
	case wire.FaultRefused:
		rcode, o.Kind = wire.Refused, Refused
	case wire.FaultBadVers:
		rcode = wire.BadVers
	case wire.FaultCookie:
		if q.state.cookies != nil {
			rcode, o.Kind = wire.NoError, Special
		}
	}
	base := len(dst)
	dst = wire.Reply(dst, &q.view, q.Msg, rcode)
	dst, o.Rcode = q.seal(dst, base, rcode, nil)
	return dst, o
}

// forwardable reports whether queries of a type are answered. The others
// concern one hop only, are obsolete, or are zone transfers (RFC 6895 section
// 3.1).
func forwardable(t wire.Type) bool {
	switch t {
	case 0, wire.TypeOPT, wire.TypeTKEY, wire.TypeTSIG, wire.TypeIXFR, wire.TypeAXFR, wire.TypeMAILA, wire.TypeMAILB:
		return false
	}
	return true
}

// appendRefused answers a question that no client gets an answer to: a zone
// transfer, a type that concerns one hop only, a class other than IN. That
// includes version.bind and its like, but not the policy's own name.
func appendRefused(dst []byte, q *Query, o Outcome) ([]byte, Outcome) {
	base, policy := len(dst), q.state.names.Policy()
	if out, ok := special.AppendPolicy(dst, &q.view, q.Msg, policy.Fingerprint, policy.Generation); ok {
		return q.special(out, base, o)
	}
	o.Kind = Refused
	dst = wire.Reply(dst, &q.view, q.Msg, wire.Refused)
	dst, o.Rcode = q.seal(dst, base, wire.Refused, notSupported)
	return dst, o
}

// special completes an answer that is made here, in dst from base on.
func (q *Query) special(dst []byte, base int, o Outcome) ([]byte, Outcome) {
	o.Kind = Special
	dst, o.Rcode = q.seal(dst, base, wire.NoError, nil)
	return dst, o
}
