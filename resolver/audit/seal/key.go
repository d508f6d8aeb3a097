package seal

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
)

// Key is a private key. It is never printed.
type Key struct{ private ed25519.PrivateKey }

// String is the text of the public key.
func (k *Key) String() string { return k.Public().String() }

// GoString is String, for %#v.
func (k *Key) GoString() string { return k.String() }

// Public returns the public key.
func (k *Key) Public() Public { return Public(k.private.Public().(ed25519.PublicKey)) }

// Public is a public key.
type Public ed25519.PublicKey

// String is the key as ParsePublic reads it: 32 octets in Base64.
func (p Public) String() string { return base64.StdEncoding.EncodeToString(p) }

// ID is the key's id in seals.
func (p Public) ID() string {
	sum := sha256.Sum256(p)
	return hex.EncodeToString(sum[:8])
}

// ParsePublic reads a public key: in Base64, or in PEM, which openssl writes.
func ParsePublic(text string) (Public, error) {
	text = strings.TrimSpace(text)
	if block, _ := pem.Decode([]byte(text + "\n")); block != nil {
		k, err := x509.ParsePKIXPublicKey(block.Bytes)
		if p, ok := k.(ed25519.PublicKey); ok && err == nil {
			return Public(p), nil
		}
		return nil, errors.New("the PEM holds no public key of ed25519")
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(b) != ed25519.PublicKeySize {
		return nil, errors.New("this is no public key: 32 octets in Base64, as rideau seal-key prints them, or PEM")
	}
	return Public(b), nil
}

// NewKey makes a key and writes it to a file that must not exist, in PEM (PKCS #8,
// RFC 5958), for its owner alone.
func NewKey(path string) (*Key, error) {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	err = errors.Join(pem.Encode(f, &pem.Block{Type: "PRIVATE KEY", Bytes: der}), f.Sync(), f.Close())
	if err != nil {
		os.Remove(path)
		return nil, err
	}
	return &Key{private}, nil
}

// LoadKey reads a private key.
func LoadKey(path string) (*Key, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block != nil {
		k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if private, ok := k.(ed25519.PrivateKey); ok && err == nil {
			return &Key{private}, nil
		}
	}
	return nil, fmt.Errorf("%s holds no private key of ed25519; make one with rideau seal-key", path)
}
