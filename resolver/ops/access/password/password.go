// Package password keeps passwords as argon2id hashes (RFC 9106), and checks them
// with bounds on memory.
package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Bounds of what is hashed and of how.
const (
	// MinLength and MaxLength are the octets of a password that can be set. Longer
	// ones are refused unhashed.
	MinLength, MaxLength = 12, 256

	// A new hash takes 19 MiB and two passes by one thread, which is the least that is
	// counted as sound where memory is scarce.
	memory, passes, threads  = 19 << 10, 2, 1
	saltLength, keyLength    = 16, 32
	minMemory, maxMemory     = 8 << 10, 64 << 10 // KiB
	maxPasses, maxThreads    = 10, 4
	maxSaltLength, maxKeyLen = 64, 64
)

// Hash is what is kept of a password. Its String is in PHC form:
// $argon2id$v=19$m=19456,t=2,p=1$SALT$HASH. It is immutable.
type Hash struct {
	memory, passes uint32
	threads        uint8
	salt, key      []byte
}

// New hashes a password with a random salt. It takes as long as Check does.
func New(password string) (Hash, error) {
	switch {
	case len(password) < MinLength:
		return Hash{}, fmt.Errorf("the password has fewer than %d characters; choose a longer one", MinLength)
	case len(password) > MaxLength:
		return Hash{}, fmt.Errorf("the password has more than %d octets; choose a shorter one", MaxLength)
	}
	h := Hash{memory: memory, passes: passes, threads: threads, salt: make([]byte, saltLength)}
	_, _ = rand.Read(h.salt) // it never fails
	h.key = h.of(password, keyLength)
	return h, nil
}

func (h *Hash) of(password string, length int) []byte {
	return argon2.IDKey([]byte(password), h.salt, h.passes, h.memory, h.threads, uint32(length))
}

// String implements fmt.Stringer.
func (h Hash) String() string {
	e := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.passes, h.threads, e.EncodeToString(h.salt), e.EncodeToString(h.key))
}

// Parse is the inverse of Hash.String. It refuses what takes more memory or time than
// a server should spend, and what is too weak. The error has a remedy.
func Parse(s string) (Hash, error) {
	const remedy = "make the line with rideau user"
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return Hash{}, errors.New("this is no argon2id hash; " + remedy)
	}
	var h Hash
	var version int
	if _, err := fmt.Sscanf(parts[2]+" "+parts[3], "v=%d m=%d,t=%d,p=%d", &version, &h.memory, &h.passes, &h.threads); err != nil || version != argon2.Version {
		return Hash{}, errors.New("the parameters of the hash cannot be read; " + remedy)
	}
	switch {
	case h.memory < minMemory || h.memory > maxMemory:
		return Hash{}, fmt.Errorf("the hash takes %d KiB, and %d to %d are allowed; %s", h.memory, minMemory, maxMemory, remedy)
	case h.passes < 1 || h.passes > maxPasses || h.threads < 1 || h.threads > maxThreads:
		return Hash{}, fmt.Errorf("the hash takes %d passes by %d threads, and 1 to %d by 1 to %d are allowed; %s", h.passes, h.threads, maxPasses, maxThreads, remedy)
	}
	var err, keyErr error
	h.salt, err = base64.RawStdEncoding.DecodeString(parts[4])
	h.key, keyErr = base64.RawStdEncoding.DecodeString(parts[5])
	if err != nil || keyErr != nil || len(h.salt) < 8 || len(h.salt) > maxSaltLength || len(h.key) < 16 || len(h.key) > maxKeyLen {
		return Hash{}, errors.New("the salt or the digest of the hash is wrong; " + remedy)
	}
	if h.String() != s {
		return Hash{}, errors.New("the hash is written in an unusual way; " + remedy)
	}
	return h, nil
}

// Nobody is a hash of no password. Checking it takes as long as a new hash does.
func Nobody() Hash {
	h := Hash{memory: memory, passes: passes, threads: threads, salt: make([]byte, saltLength), key: make([]byte, keyLength)}
	_, _ = rand.Read(h.salt)
	_, _ = rand.Read(h.key)
	return h
}

// Costlier returns the hash that takes longer to check.
func Costlier(a, b Hash) Hash {
	if uint64(b.memory)*uint64(b.passes) > uint64(a.memory)*uint64(a.passes) {
		return b
	}
	return a
}

// Unguessable returns a hash that costs what h costs, and that no password has.
func (h Hash) Unguessable() Hash {
	n := Nobody()
	n.memory, n.passes, n.threads = h.memory, h.passes, h.threads
	return n
}

// ErrBusy is the error of a check that found no place.
var ErrBusy = errors.New("too many passwords are being checked; try again in some seconds")

// Checker checks passwords, one at a time: each takes the memory of its hash, and a
// processor for tens of milliseconds. It is safe for concurrent use.
type Checker struct{ place, waiting chan struct{} }

// maxWaiting bounds the checks that wait for their turn.
const maxWaiting = 16

// NewChecker returns a Checker. It starts no goroutine.
func NewChecker() *Checker {
	return &Checker{place: make(chan struct{}, 1), waiting: make(chan struct{}, maxWaiting)}
}

// Check reports whether a password is that of a hash. It waits for its turn until ctx
// ends. The error is ErrBusy if too many wait already, or that of ctx.
func (c *Checker) Check(ctx context.Context, h Hash, password string) (bool, error) {
	if len(password) > MaxLength || len(h.key) == 0 {
		return false, nil
	}
	select {
	case c.waiting <- struct{}{}:
		defer func() { <-c.waiting }()
	default:
		return false, ErrBusy
	}
	select {
	case c.place <- struct{}{}:
		defer func() { <-c.place }()
	case <-ctx.Done():
	}
	if err := ctx.Err(); err != nil { // also if the place was free
		return false, err
	}
	return subtle.ConstantTimeCompare(h.of(password, len(h.key)), h.key) == 1, nil
}
