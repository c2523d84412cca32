package wasmhost_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/plugins/memory/module"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// The memory backend as a module is held to what it is held to linked in.

func TestConformanceTrusted(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes minutes under the race detector, and its host's code is that of the interruptible one")
	}
	conformance(t, true)
}

func TestConformanceInterruptible(t *testing.T) { conformance(t, false) }

func conformance(t *testing.T, trusted bool) {
	clock := storagetest.NewClock()
	r, err := wasmhost.NewRuntime(t.Context(), compiled(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(context.Background()) })
	o := wasmhost.Options{Name: "memory", BuiltIn: true, Trusted: trusted, Memory: 1 << 30, Clock: clock.Now}
	if !trusted {
		o.Call = time.Minute // the largest write sets take a second; the machine may be busy
	}
	m := load(t, r, module.Wasm, o)
	storagetest.Run(t, storagetest.Factory{Clock: clock, Open: func(ctx context.Context) (storage.Backend, error) {
		return m.Open(ctx, nil)
	}})
}

// compiled is where compiled modules are kept between runs: compiling a Go guest
// takes seconds, under the race detector a minute.
func compiled(t testing.TB) string {
	dir, err := os.UserCacheDir()
	if dir = filepath.Join(dir, "plinth-test", "compiled"); err != nil || wasmhost.CheckCacheDir(dir) != nil {
		return t.TempDir()
	}
	return dir
}
