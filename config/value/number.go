package value

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"math"
	"strconv"
	"strings"

	"rideau/config/node"
)

// SHA256 parses a SHA-256 digest in hex. It returns it in lower case.
func SHA256(v node.Value) (string, bool) {
	s, _ := v.Scalar()
	s = strings.ToLower(s)
	if b, err := hex.DecodeString(s); err != nil || len(b) != sha256.Size {
		v.Wrong("a SHA-256 digest", "write the 64 hexadecimal digits that sha256sum prints")
		return "", false
	}
	return s, true
}

// PublicKey parses a minisign key: the algorithm Ed, eight octets of key id, and an Ed25519 key.
func PublicKey(v node.Value) (string, bool) {
	s, _ := v.Scalar()
	s = strings.TrimSpace(s)
	if b, err := base64.StdEncoding.DecodeString(s); err != nil || len(b) != 42 || string(b[:2]) != "Ed" {
		v.Wrong("a minisign public key", "write the second line of the .pub file, which begins with RW")
		return "", false
	}
	return s, true
}

// Pin parses the SHA-256 of a public key, in base64 (RFC 7858 section 4.2).
func Pin(v node.Value) (string, bool) {
	text, ok := v.Scalar()
	text = strings.TrimPrefix(text, "sha256/")
	if b, err := base64.StdEncoding.DecodeString(text); !ok || err != nil || len(b) != sha256.Size {
		v.Wrong("the SHA-256 of a public key in base64", "make it with: openssl x509 -in CERT -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64")
		return "", false
	}
	return text, true
}

// Growth parses a factor of at least 1.
func Growth(v node.Value) (float64, bool) {
	const remedy = "use a number from 1, such as 10 for ten times as many"
	s, _ := v.Scalar()
	f, err := strconv.ParseFloat(s, 64)
	switch {
	case err != nil:
		v.Wrong("a number", remedy)
	case math.IsNaN(f) || math.IsInf(f, 0) || f < 1:
		v.Problem(remedy, "%s is out of range", node.Quote(s))
	default:
		return f, true
	}
	return 0, false
}
