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

// redacted is what everything shows in place of a secret.
const redacted = "[REDACTED]"

// Value is a secret. Its zero value and nil are the empty one. Copies of the pointer are the
// same secret: one release ends all. It is safe for concurrent use.
type Value struct {
	mu    sync.RWMutex
	bytes []byte // in memory of its own; nil: it is empty or was released
}

// New takes over a secret: it is copied, and b is overwritten.
func New(b []byte) *Value {
	v := Copy(b)
	clear(b)
	return v
}

// Copy is a secret of bytes that stay as they are, such as those of a string.
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

// Use lends the secret to fn, which keeps neither it nor a part of it: what it points to is
// gone after a release.
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

// Len is how many bytes it has.
func (v *Value) Len() (n int) {
	v.Use(func(b []byte) { n = len(b) })
	return n
}

// Equal tells whether other is the same, in a time that tells nothing about where they
// differ, nor whether their lengths do.
func (v *Value) Equal(other []byte) (same bool) {
	v.Use(func(b []byte) {
		mine, others := sha256.Sum256(b), sha256.Sum256(other)
		same = subtle.ConstantTimeCompare(mine[:], others[:]) == 1
	})
	return same
}

// Release overwrites the secret. It is empty from then on. It waits for those who use it.
func (v *Value) Release() {
	if v == nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	clear(v.bytes) // its memory is given back with the last pointer to v
	v.bytes = nil
}

// Format shows that there is something, and nothing of it, whatever the verb.
func (*Value) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// String shows nothing of the secret.
func (*Value) String() string { return redacted }

// GoString shows nothing of the secret.
func (*Value) GoString() string { return redacted }

// MarshalText shows nothing of the secret, in JSON, YAML and whatever else asks for text.
func (*Value) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue shows nothing of the secret.
func (*Value) LogValue() slog.Value { return slog.StringValue(redacted) }
