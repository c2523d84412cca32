package secret

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"sync"
)

// redacted replaces a secret wherever it would be shown.
const redacted = "[REDACTED]"

// Value holds a secret. Its zero value and nil are the empty secret. Copies of the pointer
// share the secret: one release ends all. It is safe for concurrent use.
type Value struct {
	mu    sync.RWMutex
	bytes []byte // in memory of its own, or nil if it is empty or was released
}

// New moves a secret into a Value: it copies b and overwrites it.
func New(b []byte) *Value {
	v := Copy(b)
	clear(b)
	return v
}

// Copy copies a secret without overwriting its source, such as the bytes of a string.
func Copy[T ~[]byte | ~string](b T) *Value {
	v := &Value{}
	if len(b) == 0 {
		return v
	}
	v.bytes = allocate(len(b))
	copy(v.bytes, b)
	runtime.AddCleanup(v, free, v.bytes) // for those who forget to release it
	return v
}

// Use passes the secret to fn, which must not keep it or a part of it: a release removes
// the bytes.
func (v *Value) Use(fn func(secret []byte)) {
	if v == nil {
		fn(nil)
		return
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	fn(v.bytes)
	runtime.KeepAlive(v)
}

// Len returns the number of bytes.
func (v *Value) Len() (n int) {
	v.Use(func(b []byte) { n = len(b) })
	return n
}

// Equal reports whether other is the same secret. Its running time reveals neither where
// they differ nor whether their lengths do.
func (v *Value) Equal(other []byte) (same bool) {
	v.Use(func(b []byte) {
		mine, others := sha256.Sum256(b), sha256.Sum256(other)
		same = subtle.ConstantTimeCompare(mine[:], others[:]) == 1
	})
	return same
}

// Same reports whether v and other hold the same secret. Empty ones do.
func (v *Value) Same(other *Value) bool {
	var theirs []byte
	other.Use(func(b []byte) { theirs = append(theirs, b...) }) // a copy: no two locks are held at once
	defer clear(theirs)
	return v.Equal(theirs)
}

// Reveal returns the secret as a string, for a library that takes nothing else. The string
// cannot be overwritten.
func (v *Value) Reveal() (s string) {
	v.Use(func(b []byte) { s = string(b) })
	return s
}

// UnmarshalText overwrites the secret and takes a copy of text as the new one.
func (v *Value) UnmarshalText(text []byte) error {
	v.Release()
	if len(text) == 0 {
		return nil
	}
	b := allocate(len(text))
	copy(b, text)
	runtime.AddCleanup(v, free, b) // for those who forget to release it
	v.mu.Lock()
	defer v.mu.Unlock()
	v.bytes = b
	return nil
}

// Release overwrites the secret, which is empty from then on. It waits for calls of Use.
func (v *Value) Release() {
	if v == nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	clear(v.bytes) // its memory is given back with the last pointer to v
	v.bytes = nil
}

// Format prints a placeholder for the secret, whatever the verb.
func (*Value) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// String returns a placeholder for the secret.
func (*Value) String() string { return redacted }

// GoString returns a placeholder for the secret.
func (*Value) GoString() string { return redacted }

// MarshalText returns a placeholder for the secret, in JSON, YAML and other formats of
// text.
func (*Value) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue returns a placeholder for the secret.
func (*Value) LogValue() slog.Value { return slog.StringValue(redacted) }
