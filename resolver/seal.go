package resolver

import (
	"rideau/resolver/cookie"
	"rideau/resolver/wire"
	"rideau/resolver/wire/response"
)

// seal completes the response in dst from base on: it appends the OPT record
// if the client sent one, and keeps the response within what the client takes.
// Of the options, each of which explains the response, it has the first that fits, or none; then
// whole RRsets are left out. Clients without EDNS, some of which know nothing of TCP, get as
// many addresses as fit. Of rcode only the bits above the header's four are used.
// It also returns the response code.
func (q *Query) seal(dst []byte, base int, rcode wire.Rcode, options ...[]byte) ([]byte, wire.Rcode) {
	v := &q.view
	rcode = rcode&^0xF | wire.HeaderRcode(dst[base:])
	limit := q.limit(len(dst) - base)
	if !v.EDNS {
		return response.FitAddresses(dst, base, limit), rcode
	}
	var tmp [maxOptions]byte
	fixed := q.appendOptions(tmp[:0])
	limit -= wire.OPTLen + len(fixed)
	var option []byte
	for _, o := range options {
		if len(dst)-base+len(o) <= limit {
			option = o
			break
		}
	}
	dst = response.Fit(dst, base, limit-len(option))
	off := len(dst)
	dst = wire.AppendOPT(dst, base, wire.OPT{UDPSize: q.state.udpSize, DO: v.DO, Rcode: rcode, Options: option})
	dst = wire.AppendOption(dst, off, fixed)
	if v.Padding && q.Transport.Encrypted() {
		dst = wire.AppendPadding(dst, base, off, paddingBlock)
	}
	return dst, rcode
}

// paddingBlock is the block that encrypted responses are padded to (RFC 8467
// section 4.1).
const paddingBlock = 468

// limit is how many octets the response may have, which has size octets now.
func (q *Query) limit(size int) int {
	if q.Transport.LargeAnswers() {
		return wire.MaxMessage
	}
	n := int(min(q.view.UDPSize, q.state.udpSize))
	if a := q.state.amplification; a > 0 && !q.verified {
		// Header, question and options always fit: together they are hardly
		// longer than the query.
		n = min(n, max(a*len(q.Msg), len(q.Msg)+maxOptions+wire.OPTLen))
	}
	if q.gate != nil && !q.verified && !q.gate.AdmitOctets(q.Client, min(n, size), q.Received.UnixNano()) {
		return 0 // header, question and options
	}
	return n
}

// maxOptions is the most that appendOptions appends.
const maxOptions = 4 + cookie.ClientLen + cookie.ServerLen + 6 + 4 + MaxNSID

// appendOptions appends the options that do not depend on the answer.
func (q *Query) appendOptions(dst []byte) []byte {
	v := &q.view
	if v.Cookie != wire.CookieNone && q.state.cookies != nil {
		dst = q.appendCookie(dst)
	}
	if v.Keepalive && q.Keepalive > 0 && q.Transport.Keepalive() {
		dst = wire.AppendKeepalive(dst, q.Keepalive)
	}
	if v.NSID {
		dst = append(dst, q.state.nsid...)
	}
	return dst
}

// appendCookie appends the client's cookie and the server's, which is the one
// that the client sent if that is fresh (RFC 9018 section 4.3).
func (q *Query) appendCookie(dst []byte) []byte {
	v := &q.view
	now := q.Received.Unix()
	server := cookie.Server(v.ServerCookie)
	if !q.fresh {
		server = q.state.cookies.Make(v.ClientCookie, q.Client, now)
	}
	var both [cookie.ClientLen + cookie.ServerLen]byte
	copy(both[copy(both[:], v.ClientCookie[:]):], server[:])
	return wire.AppendOptionBytes(dst, wire.OptionCookie, both[:])
}
