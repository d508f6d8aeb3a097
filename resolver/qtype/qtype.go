// Package qtype has the classes of query types that metrics distinguish.
package qtype

import "rideau/resolver/wire"

// Class is a query type, or a class of them. The set is closed: it labels metrics.
type Class uint8

// Classes.
const (
	Other Class = iota
	A
	AAAA
	HTTPS // and SVCB
	CNAME
	MX
	NS
	PTR
	SOA
	SRV
	TXT
	DNSSEC // DS, DNSKEY, RRSIG, NSEC, NSEC3
	ANY
	Count // how many there are
)

// String is the class's name in metrics.
func (c Class) String() string {
	return [...]string{"other", "a", "aaaa", "https", "cname", "mx", "ns", "ptr", "soa", "srv", "txt", "dnssec", "any"}[c]
}

// Of is the class of a type.
func Of(t wire.Type) Class {
	switch t {
	case wire.TypeA:
		return A
	case wire.TypeAAAA:
		return AAAA
	case wire.TypeHTTPS, wire.TypeSVCB:
		return HTTPS
	case wire.TypeCNAME:
		return CNAME
	case wire.TypeMX:
		return MX
	case wire.TypeNS:
		return NS
	case wire.TypePTR:
		return PTR
	case wire.TypeSOA:
		return SOA
	case wire.TypeSRV:
		return SRV
	case wire.TypeTXT:
		return TXT
	case wire.TypeDS, wire.TypeRRSIG, wire.TypeNSEC, wire.TypeKEY, wire.TypeNSEC3:
		return DNSSEC
	case wire.TypeANY:
		return ANY
	}
	return Other
}
