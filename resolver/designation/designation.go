// Package designation tells clients where the resolver that they ask in plain text can be asked encrypted
// (DDR, RFC 9462): the response to a query for the SVCB records of _dns.resolver.arpa. It also answers what the resolver says of
// itself (RFC 9606): the RESINFO record of resolver.arpa.
package designation

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"rideau/resolver/wire"
)

// Service is an encrypted service of the resolver. Clients verify its certificate for the
// address that they ask in plain text, and for Target.
type Service struct {
	Priority uint16 // lower ones are tried first; above 0
	Target   string // the name of the host
	ALPN     []string
	Port     uint16
	IPv4     []netip.Addr
	IPv6     []netip.Addr
	Path     string // of DoH; empty without HTTP
}

// Keys of service parameters (RFC 9460 section 14.3.2, RFC 9461 section 5).
const (
	paramALPN = 1
	paramPort = 3
	paramIPv4 = 4
	paramIPv6 = 6
	paramPath = 7
)

// rdata is the RDATA of the SVCB record of s.
func (s *Service) rdata() ([]byte, error) {
	b := binary.BigEndian.AppendUint16(nil, s.Priority)
	b, err := wire.AppendName(b, []byte(s.Target))
	if err != nil {
		return nil, fmt.Errorf("designation: %s: %w", s.Target, err)
	}
	var value []byte
	for _, a := range s.ALPN {
		value = append(append(value, byte(len(a))), a...)
	}
	b = param(b, paramALPN, value)
	b = param(b, paramPort, binary.BigEndian.AppendUint16(nil, s.Port))
	value = nil
	for _, a := range s.IPv4 {
		value = append(value, a.AsSlice()...)
	}
	b = param(b, paramIPv4, value)
	value = nil
	for _, a := range s.IPv6 {
		value = append(value, a.AsSlice()...)
	}
	b = param(b, paramIPv6, value)
	if s.Path != "" {
		b = param(b, paramPath, []byte(s.Path+"{?dns}"))
	}
	return b, nil
}

// param appends a parameter, unless its value is empty.
func param(b []byte, key uint16, value []byte) []byte {
	if len(value) == 0 {
		return b
	}
	b = binary.BigEndian.AppendUint16(b, key)
	b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
	return append(b, value...)
}

// Set is the services of a resolver. It is immutable. A nil Set has none.
type Set struct{ records [][]byte }

// New makes a Set; nil if there are no services.
func New(services []Service) (*Set, error) {
	s := new(Set)
	for i := range services {
		r, err := services[i].rdata()
		if err != nil {
			return nil, err
		}
		s.records = append(s.records, r)
	}
	if len(s.records) == 0 {
		return nil, nil
	}
	return s, nil
}

// name is _dns.resolver.arpa, infoName resolver.arpa.
const (
	name     = "\x04_dns" + infoName
	infoName = "\x08resolver\x04arpa\x00"
)

// typeRESINFO is the type of what a resolver says of itself, and info the record: which extended errors a response may have, its own
// and those that it passes on.
const (
	typeRESINFO wire.Type = 261
	info                  = "\x0dexterr=3,6-24"
)

// infoData is info. Nothing writes to it.
var infoData = []byte(info)

// TTL is that of the records, in seconds.
const TTL = 300

// Append answers a query for the services or for what the resolver says of itself, of which msg is the message. The response
// has no OPT record. ok is false, and nothing is appended, for any other query, and if
// there are no services.
func (s *Set) Append(dst []byte, v *wire.Query, msg []byte) (_ []byte, ok bool) {
	if s == nil {
		return dst, false
	}
	base := len(dst)
	switch asked := v.Name.Bytes(); {
	case v.Type == typeRESINFO && string(asked) == infoName:
		dst = wire.Reply(dst, v, msg, wire.NoError)
		return wire.AppendRecord(dst, base, wire.Answer, wire.HeaderLen, v.Type, TTL, infoData), true
	case v.Type != wire.TypeSVCB || string(asked) != name:
		return dst, false
	}
	dst = wire.Reply(dst, v, msg, wire.NoError)
	for _, r := range s.records {
		dst = wire.AppendRecord(dst, base, wire.Answer, wire.HeaderLen, wire.TypeSVCB, TTL, r)
	}
	return dst, true
}
