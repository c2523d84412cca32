package auth

import (
	"crypto/ed25519"
	"encoding/base64"

	"filippo.io/edwards25519"

	"github.com/plinthkv/plinth/storage"
)

// PublicKey is a public key of Ed25519. Its text is base64url without padding.
type PublicKey [ed25519.PublicKeySize]byte

// keyText is how many characters the text of a key has.
var keyText = base64.RawURLEncoding.EncodedLen(len(PublicKey{}))

// NewPublicKey is the key of 32 bytes. What is no point of the curve, or one of small order,
// which signatures of anybody verify with, is an InvalidArgument.
func NewPublicKey(raw []byte) (k PublicKey, err error) {
	if len(raw) != len(k) {
		return k, invalid("a public key has %d bytes, it must have %d", len(raw), len(k))
	}
	point, err := new(edwards25519.Point).SetBytes(raw)
	if err != nil {
		return k, invalid("the public key is no point of the curve of Ed25519")
	}
	if new(edwards25519.Point).MultByCofactor(point).Equal(edwards25519.NewIdentityPoint()) == 1 {
		return k, invalid("the public key is a point of small order: anybody can sign for it")
	}
	copy(k[:], raw)
	return k, nil
}

// ParsePublicKey is the key of a text: 43 characters of base64url, without padding.
func ParsePublicKey(text string) (k PublicKey, err error) {
	if len(text) != keyText {
		return k, invalid("a public key has %d characters, it must have %d: base64url without padding", len(text), keyText)
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != len(k) {
		return k, invalid("the public key is not base64url (RFC 4648, section 5)")
	}
	return NewPublicKey(raw)
}

// Ed25519 is the key as the standard library has it.
func (k PublicKey) Ed25519() ed25519.PublicKey { return ed25519.PublicKey(k[:]) }

// text is the key in base64url.
func (k PublicKey) text() string { return base64.RawURLEncoding.EncodeToString(k[:]) }

// String hides the key, as everything that formats values shows it: logs name keys by
// their kid. It is the same for the formats %v, %+v and %#v.
func (PublicKey) String() string { return "[REDACTED]" }

// GoString is String.
func (PublicKey) GoString() string { return "[REDACTED]" }

// invalid is an error of what callers gave.
func invalid(format string, args ...any) error {
	return storage.Errorf(storage.InvalidArgument, format, args...)
}
