// Package cookie makes and checks DNS server cookies (RFC 7873) in the form
// that all servers of an address can agree on (RFC 9018): whoever has the
// secret can tell that a client has received what was sent to its address, and
// nothing is remembered of any client.
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
	// Other servers' may be longer, up to MaxServerLen (RFC 7873 section 4).
	ClientLen    = 8
	ServerLen    = 16
	MaxServerLen = 32
)

// Client is a client's cookie.
type Client [ClientLen]byte

// Server is a server's cookie.
type Server [ServerLen]byte

// Secret is what servers share that are to know each other's cookies.
type Secret [16]byte

// ParseSecret reads a secret of 32 hexadecimal digits.
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

// Times of RFC 9018 section 4.3, in seconds: how old a cookie may be, how far
// in the future it may have been made by a server whose clock is ahead, and the
// age from which a client gets a new one.
const (
	maxAge   = 3600
	maxAhead = 300
	renewAge = 1800
)

// Jar makes and checks the cookies of a server. It is immutable, and safe for
// concurrent use.
type Jar struct{ keys [][2]uint64 }

// New makes a Jar. New cookies are made with the first secret, and all are
// good for old ones, so that a secret can be replaced without a break (RFC 9018
// section 5). There must be one at least.
func New(secrets ...Secret) *Jar {
	j := new(Jar)
	for _, s := range secrets {
		j.keys = append(j.keys, [2]uint64{binary.LittleEndian.Uint64(s[:]), binary.LittleEndian.Uint64(s[8:])})
	}
	return j
}

// version is the first octet of cookies of RFC 9018; three reserved ones follow.
const version = 1

// Make returns the cookie for a client at an address at a time, in Unix
// seconds.
func (j *Jar) Make(c Client, addr netip.Addr, now int64) Server {
	var s Server
	s[0] = version
	binary.BigEndian.PutUint32(s[4:], uint32(now))
	binary.LittleEndian.PutUint64(s[8:], hash(j.keys[0], &c, &s, addr))
	return s
}

// Check reports whether s was made here, or by who shares a secret, for a
// client at an address, and not too long ago. fresh: it need not be replaced
// yet.
func (j *Jar) Check(c Client, s Server, addr netip.Addr, now int64) (valid, fresh bool) {
	if s[0] != version {
		return false, false
	}
	// Serial number arithmetic (RFC 1982), so that 2106 is a year like others.
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

// hash is SipHash-2-4 of RFC 9018 section 4.4: client cookie, version,
// reserved octets, time, and the client's address.
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
