package fetch

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"aead.dev/minisign"
)

// MaxSignature is the size of the largest signature that is read, in octets.
const MaxSignature = 64 << 10

// ErrSignature says that a signature is not one of the key for the content.
var ErrSignature = errors.New("the signature is wrong")

// Serial is a number that grows with each version of a list. Serials of different kinds cannot be compared.
type Serial struct {
	Kind  string `json:"kind"` // where it was found, such as serial or timestamp of a signature; empty for no serial
	Value uint64 `json:"value"`
}

// Verify verifies the minisign signature of content by a public key, which is in base64 as minisign prints it. It returns the serial in
// the signature's trusted comment: "serial:N" or else "timestamp:N", which minisign writes by default; zero if there is neither. Signatures
// must be of the kind with a digest (ED), minisign's default since version 0.10: then the content need not be in memory.
func Verify(content io.Reader, key string, signature []byte) (Serial, error) {
	var public minisign.PublicKey
	if err := public.UnmarshalText([]byte(key)); err != nil {
		return Serial{}, errors.New("public_key is no minisign key; write the second line of the .pub file")
	}
	var s minisign.Signature
	if err := s.UnmarshalText(signature); err != nil {
		return Serial{}, fmt.Errorf("%w: it is not one of minisign", ErrSignature)
	}
	switch {
	case s.KeyID != public.ID():
		return Serial{}, fmt.Errorf("%w: it is by the key %016X, and public_key is %016X", ErrSignature, s.KeyID, public.ID())
	case s.Algorithm != minisign.HashEdDSA:
		return Serial{}, fmt.Errorf("%w: it is of the old kind without digest; sign again with minisign -S -H", ErrSignature)
	}
	r := minisign.NewReader(content)
	if _, err := io.Copy(io.Discard, r); err != nil {
		return Serial{}, err
	}
	if !r.Verify(public, signature) {
		return Serial{}, fmt.Errorf("%w: the content is not what was signed", ErrSignature)
	}
	return trustedSerial(s.TrustedComment), nil
}

// VerifyCopy verifies the signature that is kept with a copy, and returns its serial. The file is one that [Store.Open] has
// opened; it stands at its beginning afterwards. The error is ErrCorrupt: whoever can write the folder can write a digest, but not a signature.
func VerifyCopy(f *os.File, facts Facts, key string) (Serial, error) {
	if facts.Signature == "" {
		return Serial{}, fmt.Errorf("%w: no signature is kept with %s; fetch the list again", ErrCorrupt, f.Name())
	}
	var signed io.Reader = f
	if len(facts.Parts) > 0 {
		signed = io.NewSectionReader(f, 0, facts.Parts[0].Size)
	}
	serial, err := Verify(signed, key, []byte(facts.Signature))
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return Serial{}, fmt.Errorf("%w: %s: %w; fetch the list again", ErrCorrupt, f.Name(), err)
	}
	return serial, nil
}

// trustedSerial returns the serial among the words of a trusted comment.
func trustedSerial(comment string) Serial {
	for _, kind := range []string{"serial", "timestamp"} {
		for _, word := range strings.Fields(comment) {
			if text, ok := strings.CutPrefix(word, kind+":"); ok {
				if n, err := strconv.ParseUint(text, 10, 64); err == nil {
					return Serial{kind, n}
				}
			}
		}
	}
	return Serial{}
}
