package auth

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"io"
	"reflect"

	"filippo.io/edwards25519"

	"github.com/plinthkv/plinth/storage"
)

// PublicKey holds a public key of Ed25519. Its text form is base64url without padding.
type PublicKey [ed25519.PublicKeySize]byte

// keyText is how many characters the text of a key has.
var keyText = base64.RawURLEncoding.EncodedLen(len(PublicKey{}))

// NewPublicKey returns the key of 32 bytes. Bytes that are not a point of the curve, or
// are one of small order, which verifies forged signatures, are an InvalidArgument.
func NewPublicKey(raw []byte) (k PublicKey, err error) {
	if len(raw) != len(k) {
		return k, invalid("a public key has %d bytes, it must have %d", len(raw), len(k))
	}
	point, err := new(edwards25519.Point).SetBytes(raw)
	if err != nil {
		return k, invalid("the public key is not a point of the curve of Ed25519")
	}
	if new(edwards25519.Point).MultByCofactor(point).Equal(edwards25519.NewIdentityPoint()) == 1 {
		return k, invalid("the public key is a point of small order, which verifies forged signatures")
	}
	copy(k[:], raw)
	return k, nil
}

// ParsePublicKey returns the key of a text: 43 characters of base64url, without padding.
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

// Ed25519 returns the key as a value of the standard library.
func (k PublicKey) Ed25519() ed25519.PublicKey { return ed25519.PublicKey(k[:]) }

// text returns the key in base64url.
func (k PublicKey) text() string { return base64.RawURLEncoding.EncodeToString(k[:]) }

// Format prints a placeholder for the key, whatever the verb: logs name keys by their kid.
// Package fmt does not call it for %p and %w, nor for unexported fields.
func (PublicKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[REDACTED]") }

// String returns a placeholder for the key, as Format prints.
func (PublicKey) String() string { return "[REDACTED]" }

// GoString returns the result of String.
func (PublicKey) GoString() string { return "[REDACTED]" }

// isNil reports whether v is nil, or holds a nil pointer or function.
func isNil(v any) bool {
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Interface, reflect.Chan, reflect.Slice:
		return r.IsNil()
	}
	return false
}

// invalid returns an error of what callers gave.
func invalid(format string, args ...any) error {
	return storage.Errorf(storage.InvalidArgument, format, args...)
}
