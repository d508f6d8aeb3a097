// Package cookie makes and checks DNS server cookies (RFC 7873) in the form
// that all servers of an anycast address can share (RFC 9018). A valid cookie
// shows that the client has received what was sent to its address. A server that
// has the secret needs to store nothing about any client.
package cookie

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/netip"

	"github.com/dchest/siphash"
)

const (
	// ClientLen and ServerLen are the lengths of the two cookies, in octets.
	// Server cookies of other software may have up to MaxServerLen octets
	// (RFC 7873 section 4).
	ClientLen    = 8
	ServerLen    = 16
	MaxServerLen = 32
)

// Client is a client's cookie.
type Client [ClientLen]byte

// Server is a server's cookie.
type Server [ServerLen]byte

// Secret is the secret of a server, or of several that accept each other's
// cookies.
type Secret [16]byte

// ParseSecret parses a secret of 32 hexadecimal digits.
func ParseSecret(s string) (Secret, error) {
	var k Secret
	if len(s) != 2*len(k) {
		return k, errors.New("a secret is 32 hexadecimal digits")
	}
	if _, err := hex.Decode(k[:], []byte(s)); err != nil {
		return k, errors.New("a secret is 32 hexadecimal digits")
	}
	return k, nil
}

// Times of RFC 9018 section 4.3, in seconds.
const (
	maxAge   = 3600 // of a cookie that is valid
	maxAhead = 300  // how far in the future it may be, since clocks differ
	renewAge = 1800 // from which age a client gets a new one
)

// Jar makes and checks the cookies of a server. It is immutable and safe for
// concurrent use.
type Jar struct{ keys [][2]uint64 }

// New makes a Jar. It makes cookies with the first secret and accepts those of
// all secrets, so that a secret can be replaced without interruption (RFC 9018
// section 5). There must be at least one.
func New(secrets ...Secret) *Jar {
	j := new(Jar)
	for _, s := range secrets {
		j.keys = append(j.keys, [2]uint64{binary.LittleEndian.Uint64(s[:]), binary.LittleEndian.Uint64(s[8:])})
	}
	return j
}

// version is the first octet of a cookie of RFC 9018. Three reserved octets
// follow.
const version = 1

// Make returns the server cookie for a client cookie from an address. now is in
// Unix seconds.
func (j *Jar) Make(c Client, addr netip.Addr, now int64) Server {
	var s Server
	s[0] = version
	binary.BigEndian.PutUint32(s[4:], uint32(now))
	binary.LittleEndian.PutUint64(s[8:], hash(j.keys[0], &c, &s, addr))
	return s
}

// Check reports whether s is valid: whether it was made with one of the secrets
// for a client cookie and an address, and is not too old. With fresh it is not to
// be replaced yet. now is in Unix seconds.
func (j *Jar) Check(c Client, s Server, addr netip.Addr, now int64) (valid, fresh bool) {
	if s[0] != version {
		return false, false
	}
	// Serial number arithmetic (RFC 1982), because 32 bits of seconds overflow
	// in 2106.
	age := int32(uint32(now) - binary.BigEndian.Uint32(s[4:]))
	if age > maxAge || age < -maxAhead {
		return false, false
	}
	got := binary.LittleEndian.Uint64(s[8:])
	for i, k := range j.keys {
		if hash(k, &c, &s, addr) == got {
			return true, i == 0 && age < renewAge
		}
	}
	return false, false
}

// hash is the hash of RFC 9018 section 4.4: SipHash-2-4 of the client cookie, the
// version, the reserved octets, the time, and the client's address.
func hash(key [2]uint64, c *Client, s *Server, addr netip.Addr) uint64 {
	var in [ClientLen + 8 + 16]byte
	copy(in[:], c[:])
	copy(in[ClientLen:], s[:8])
	n := ClientLen + 8
	if addr.Is4() || addr.Is4In6() {
		a := addr.As4()
		n += copy(in[n:], a[:])
	} else {
		a := addr.As16()
		n += copy(in[n:], a[:])
	}
	return siphash.Hash(key[0], key[1], in[:n])
}
