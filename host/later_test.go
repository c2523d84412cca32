package host_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/storage"
)

// An optional store whose backend cannot be opened stops nobody else: it is unavailable,
// says why, and is there once its backend can be opened.
func TestOptionalStores(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	dir := t.TempDir()
	program := filepath.Join(dir, "acme")
	h, err := open(t, fmt.Sprintf(`
plugins:
  acme: { process: { command: [%q], tls: off }, grants: { env: { PLINTH_TEST_PLUGIN: memory, GORACE: atexit_sleep_ms=0 } } }
  gone: { wasm: %q }
  far: { remote: "unix:%s/far.sock" }
stores:
  a: { backend: { plugin: memory } }
  b: { backend: { plugin: acme }, start: optional, require: [atomic], pipeline: [instrument, cache] }
  c: { backend: { plugin: acme }, start: optional }
  d: { backend: { store: b }, start: optional }
  e: { backend: { plugin: gone }, start: optional }
  f: { backend: { plugin: far }, start: optional }
  g: { backend: { plugin: far }, start: optional }
`, program, filepath.Join(dir, "gone.wasm"), dir), quiet)
	if err != nil {
		t.Fatal(err)
	}
	key := []byte("k")
	if err := storeOf(t, h, "a").Set(ctx, key, key); err != nil {
		t.Error(err)
	}
	for name, why := range map[string]string{"b": "not found", "c": "not found", "d": `the store "b", which owns the shared backend, is not open`,
		"e": "gone.wasm: no such file", "f": "far.sock", "g": "far.sock"} {
		s := storeOf(t, h, name)
		err := s.Set(ctx, key, key)
		if e := storage.AsError(err); e == nil || e.Code != storage.Unavailable || e.Unknown || e.RetryAfter == 0 || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want %s", name, err, why)
		}
		if _, err := s.Get(ctx, key); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("%s: get: %v", name, err)
		}
		if health, err := s.Health(ctx, storage.Readiness); err != nil || health.Status != storage.Degraded || !strings.Contains(health.Reason, why) {
			t.Errorf("%s: %+v, %v", name, health, err)
		}
	}
	if err := os.Symlink(self(t), program); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"b", "c", "d"} {
		for end := time.Now().Add(30 * time.Second); storeOf(t, h, name).Set(ctx, key, key) != nil; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s is not opened: %v", name, storeOf(t, h, name).Set(ctx, key, key))
			}
		}
		if v, err := storeOf(t, h, name).Get(ctx, key); err != nil || string(v) != "k" {
			t.Errorf("%s: %q, %v", name, v, err)
		}
		if info := storeOf(t, h, name).Info(); !info.Caps.Has(storage.CapAtomic) {
			t.Errorf("%s can %s", name, info.Caps)
		}
	}
	if err := h.Close(ctx); err != nil {
		t.Error(err)
	}
}

// What a file says wrongly is an error also of an optional store, and so is a backend that
// cannot be opened of another; a trial reports both.
func TestWhatIsNotOptional(t *testing.T) {
	for name, c := range map[string]struct{ yaml, want string }{
		"required":       {"plugins: { gone: { wasm: ./gone.wasm } }\nstores: { a: { backend: { plugin: gone }, start: required } }", "gone.wasm"},
		"by default":     {"plugins: { gone: { wasm: ./gone.wasm } }\nstores: { a: { backend: { plugin: gone } } }", "gone.wasm"},
		"one of two":     {"plugins: { gone: { wasm: ./gone.wasm } }\nstores: { a: { backend: { plugin: gone } }, b: { backend: { plugin: gone }, start: optional } }", "gone.wasm"},
		"a stage":        {"stores: { a: { backend: { plugin: memory }, start: optional, pipeline: [cach] } }", `"cach"`},
		"a requirement":  {"stores: { a: { backend: { plugin: memory }, start: optional, require: [durable] } }", "durable"},
		"another word":   {"stores: { a: { backend: { plugin: memory }, start: later } }", "must be required or optional"},
		"no such plugin": {"stores: { a: { backend: { plugin: none }, start: optional } }", "none"},
	} {
		if h, err := open(t, c.yaml, quiet); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
			if h != nil {
				h.Close(ctx)
			}
		}
	}
	if _, err := open(t, "plugins: { gone: { wasm: ./gone.wasm } }\nstores: { a: { backend: { plugin: gone }, start: optional } }", quiet, plinth.WithTrial()); err == nil {
		t.Error("a trial has no word of it")
	}
}
