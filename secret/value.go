package secret

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
)

// redacted replaces a secret wherever it would be shown.
const redacted = "[REDACTED]"

// Value holds a secret. Its zero value and nil are the empty secret. Copies of the pointer
// share the secret: one release ends all. A Value must not be copied. It is safe for
// concurrent use.
//
// A Value is shown as a placeholder. Package fmt shows an address instead where it calls no
// methods: in unexported fields, and for a Value that is not behind a pointer.
type Value struct {
	// The bytes are behind an unsafe.Pointer: fmt follows a *T if its verb is wrong.
	kept atomic.Pointer[memory] // nil until there is a secret
}

// memory keeps the bytes of a Value.
type memory struct {
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
	if len(b) > 0 {
		v.set(copied(b))
	}
	return v
}

// copied returns a copy of b in memory of its own.
func copied[T ~[]byte | ~string](b T) []byte {
	c := allocate(len(b))
	copy(c, b)
	return c
}

// set keeps b, and overwrites what was kept before.
func (v *Value) set(b []byte) {
	if v.kept.Load() == nil {
		v.kept.CompareAndSwap(nil, &memory{})
	}
	m := v.kept.Load()
	runtime.AddCleanup(m, free, b) // for those who forget to release it
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.bytes)
	m.bytes = b
}

// Use passes the secret to fn, which must not keep it or a part of it: a release removes
// the bytes.
func (v *Value) Use(fn func(secret []byte)) {
	m := v.memory()
	if m == nil {
		fn(nil)
		return
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	fn(m.bytes)
	runtime.KeepAlive(m)
}

// memory returns what the secret is kept in, or nil if it is empty.
func (v *Value) memory() *memory {
	if v == nil {
		return nil
	}
	return v.kept.Load()
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
	if len(text) == 0 {
		v.Release()
		return nil
	}
	v.set(copied(text))
	return nil
}

// Release overwrites the secret, which is empty from then on. It waits for calls of Use.
func (v *Value) Release() {
	m := v.memory()
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.bytes) // its memory is given back with the last pointer to m
	m.bytes = nil
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
