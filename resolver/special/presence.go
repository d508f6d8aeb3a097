package special

import (
	"fmt"
	"net/netip"

	"rideau/resolver/wire"
)

// Presence is a name that clients ask for to find out whether they ask this resolver: nobody else answers it so. It
// is immutable. A nil Presence is no name.
type Presence struct {
	name       []byte // in wire form and lower case
	text, a, b []byte // RDATA of TXT, A and AAAA; nil: none
}

// PresenceTTL is the TTL of answers for the name, in seconds: a device that leaves the network notices soon.
const PresenceTTL = 30

// NewPresence makes a Presence; nil for an empty name. The text has at most 255 octets. An empty text is no TXT record, and an
// address that is not valid no record of its type.
func NewPresence(name, text string, ipv4, ipv6 netip.Addr) (*Presence, error) {
	if name == "" {
		return nil, nil
	}
	raw, err := wire.AppendName(nil, []byte(name))
	if err != nil {
		return nil, fmt.Errorf("special: %s: %w", name, err)
	}
	if len(text) > 255 {
		return nil, fmt.Errorf("special: %s: a text of %d octets", name, len(text))
	}
	var n wire.Name
	if err := n.Set(raw); err != nil { // which makes its letters lower case
		return nil, fmt.Errorf("special: %s: %w", name, err)
	}
	p := &Presence{name: append([]byte(nil), n.Bytes()...)}
	if text != "" {
		p.text = append([]byte{byte(len(text))}, text...)
	}
	if ipv4.Is4() {
		p.a = ipv4.AsSlice()
	}
	if ipv6.Is6() {
		p.b = ipv6.AsSlice()
	}
	return p, nil
}

// Append answers a query, of which msg is the message, for the name. The response has no OPT record. ok is false, and nothing is
// appended, for other names. It does not allocate.
func (p *Presence) Append(dst []byte, v *wire.Query, msg []byte) (_ []byte, ok bool) {
	if p == nil || v.Name.Len() != len(p.name) || string(v.Name.Bytes()) != string(p.name) {
		return dst, false
	}
	base := len(dst)
	dst = wire.Reply(dst, v, msg, wire.NoError)
	var data []byte
	switch v.Type {
	case wire.TypeTXT:
		data = p.text
	case wire.TypeA:
		data = p.a
	case wire.TypeAAAA:
		data = p.b
	}
	if data == nil {
		return wire.AppendSOA(dst, base, wire.Authority, wire.HeaderLen, PresenceTTL), true
	}
	return wire.AppendRecord(dst, base, wire.Answer, wire.HeaderLen, v.Type, PresenceTTL, data), true
}
