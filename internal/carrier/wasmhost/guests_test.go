package wasmhost_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/storage"
)

// committed is a module of testdata/guests, built by tools/build-c-guests.sh.
func committed(tb testing.TB, name string) []byte {
	tb.Helper()
	binary, err := os.ReadFile(filepath.Join("testdata", "guests", name+".wasm"))
	if err != nil {
		tb.Fatal(err)
	}
	return binary
}

// newRuntime is a Runtime that is closed when the test ends. It compiles all that it
// loads.
func newRuntime(tb testing.TB) *wasmhost.Runtime {
	tb.Helper()
	return runtimeAt(tb, "")
}

// warmRuntime is one that finds the committed guests compiled, but for the first time.
func warmRuntime(tb testing.TB) *wasmhost.Runtime {
	tb.Helper()
	return runtimeAt(tb, compiled(tb))
}

func runtimeAt(tb testing.TB, cacheDir string) *wasmhost.Runtime {
	tb.Helper()
	r, err := wasmhost.NewRuntime(context.Background(), cacheDir)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			tb.Errorf("closing the runtime: %v", err)
		}
	})
	return r
}

// load is a module that is closed when the test ends.
func load(tb testing.TB, r *wasmhost.Runtime, binary []byte, o wasmhost.Options) *wasmhost.Module {
	tb.Helper()
	m, err := r.Load(context.Background(), binary, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := m.Close(context.Background()); err != nil {
			tb.Errorf("closing the module: %v", err)
		}
	})
	return m
}

// openModule is a backend that is closed when the test ends. What closing a
// broken one says is not looked at.
func openModule(tb testing.TB, m *wasmhost.Module, config string) *wasmhost.Backend {
	tb.Helper()
	b, err := m.Open(context.Background(), []byte(config))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { b.Close(context.Background()) })
	return b
}

// openGuest opens a committed guest in a runtime of its own.
func openGuest(tb testing.TB, name, config string, o wasmhost.Options) *wasmhost.Backend {
	tb.Helper()
	return openModule(tb, load(tb, warmRuntime(tb), committed(tb, name), o), config)
}

// apply does one write set that has to work.
func apply(tb testing.TB, b storage.Backend, ops ...storage.Op) uint64 {
	tb.Helper()
	version, err := b.Apply(context.Background(), &storage.WriteSet{Ops: ops})
	if err != nil {
		tb.Fatalf("apply: %v", err)
	}
	return version
}

// expectValue fails unless key has value.
func expectValue(tb testing.TB, b storage.Backend, key, value string) {
	tb.Helper()
	it, err := b.Get(context.Background(), []byte(key))
	if err != nil || !bytes.Equal(it.Value, []byte(value)) {
		tb.Fatalf("get %q: %d bytes, %v; want %d bytes", key, len(it.Value), err, len(value))
	}
}

// tell has the parrot guest answer what follows the letter, as parrot.c has it.
func tell(tb testing.TB, b *wasmhost.Backend, what string) {
	tb.Helper()
	if _, err := b.Get(context.Background(), []byte(what)); !errors.Is(err, storage.ErrNotFound) {
		tb.Fatalf("telling the parrot: %v", err)
	}
}

func digest(binary []byte) string {
	sum := sha256.Sum256(binary)
	return hex.EncodeToString(sum[:])
}
