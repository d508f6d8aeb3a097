package upstream

import "rideau/resolver/wire"

// authenticate decides whether a response may go on saying that its data is
// authentic: it takes AD out of it unless m is trusted to check signatures, over a
// path on which nobody can set a bit (RFC 6840 section 5.8, RFC 4035 section
// 4.9.3). All responses pass here before anybody else sees them; who checks
// signatures here one day does it in this place.
func (m *member) authenticate(resp []byte) {
	if m.trusted || len(resp) < wire.HeaderLen {
		return
	}
	if f := wire.Flags(resp); f&wire.FlagAD != 0 {
		wire.SetFlags(resp, f&^wire.FlagAD)
	}
}
