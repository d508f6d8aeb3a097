// Package privacy decides what is told of a client's address: all of it, its
// network, a pseudonym, or nothing.
//
// # Pseudonyms
//
// A pseudonym is p1-, the id of a key, a hyphen, and 64 bits of the HMAC-SHA-256
// of the address with that key, in hexadecimal: p1-0a1b2c3d-0123456789abcdef.
// During the life of a key an address has one pseudonym. Whoever has the key finds
// the address of a pseudonym by trying addresses ([Find]); nobody else does. Once
// the key is gone, nobody does.
//
// Keys are files of a folder of their own (see [Keys]), so that whoever may read
// events need not be one who may read keys.
package privacy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"net/netip"
)

// Clients says what is told of clients' addresses.
type Clients string

// What is told of an address.
const (
	Address   Clients = "address"   // all of it
	Network   Clients = "network"   // the /24 of IPv4, the /48 of IPv6
	Pseudonym Clients = "pseudonym" // a pseudonym
	None      Clients = "none"      // nothing
)

// AppendNetwork appends the network of an address: its /24 for IPv4, its /48 for
// IPv6; nothing for the zero Addr.
func AppendNetwork(dst []byte, a netip.Addr) []byte {
	if !a.IsValid() {
		return dst
	}
	bits := 48
	if a = a.Unmap().WithZone(""); a.Is4() {
		bits = 24
	}
	p, _ := a.Prefix(bits) // an address has that many bits
	return p.AppendTo(dst)
}

// Teller returns a function that appends what is told of an address. The function
// is for one goroutine. keys are needed for pseudonyms only.
func Teller(c Clients, keys *Keys) func(dst []byte, a netip.Addr) []byte {
	switch c {
	case Network:
		return AppendNetwork
	case Pseudonym:
		var k *Key
		var p *maker
		return func(dst []byte, a netip.Addr) []byte {
			if now := keys.Current(); now != k {
				k, p = now, now.maker()
			}
			return p.append(dst, a)
		}
	case None:
		return func(dst []byte, _ netip.Addr) []byte { return dst }
	}
	return func(dst []byte, a netip.Addr) []byte {
		if !a.IsValid() {
			return dst
		}
		return a.AppendTo(dst)
	}
}

const (
	prefix = "p1-"
	// macOctets is how much of an HMAC a pseudonym holds: among a million
	// addresses, two have the same with a probability below 10^-7.
	macOctets = 8
	idOctets  = 4
)

// maker makes the pseudonyms of one key. It is for one goroutine.
type maker struct {
	id  string
	mac hash.Hash
	sum [sha256.Size]byte
	in  [16]byte
}

func (k *Key) maker() *maker { return &maker{id: k.ID, mac: hmac.New(sha256.New, k.secret[:])} }

// octets returns the part of the HMAC of an address that a pseudonym holds. An
// address has no zone here: a zone is about the server, not the client.
func (m *maker) octets(a netip.Addr) []byte {
	m.mac.Reset()
	if a = a.Unmap(); a.Is4() {
		b := a.As4()
		m.mac.Write(m.in[:copy(m.in[:], b[:])])
	} else {
		m.in = a.As16()
		m.mac.Write(m.in[:])
	}
	return m.mac.Sum(m.sum[:0])[:macOctets]
}

func (m *maker) append(dst []byte, a netip.Addr) []byte {
	if !a.IsValid() {
		return dst
	}
	dst = append(dst, prefix...)
	dst = append(dst, m.id...)
	dst = append(dst, '-')
	return hex.AppendEncode(dst, m.octets(a))
}
