package wasmhost_test

import (
	"context"
	"testing"

	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/plugins/memory/module"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// Gets of the memory backend, linked in and as a module. Goal: trusted ≤ 2.7 ×
// native.
func BenchmarkMemoryGet(b *testing.B) {
	ctx := context.Background()
	asModule := func(trusted bool) storage.Backend {
		o := wasmhost.Options{Name: "memory", BuiltIn: true, Trusted: trusted, Memory: 1 << 30}
		return openModule(b, load(b, newRuntime(b), module.Wasm, o), "")
	}
	for _, bench := range []struct {
		name string
		b    storage.Backend
	}{{"native", memory.New(memory.DefaultConfig(), sdk.Env{})}, {"trusted", asModule(true)}, {"interruptible", asModule(false)}} {
		keys := make([][]byte, benchKeys)
		for i := range keys {
			keys[i] = benchKey(order(i))
			apply(b, bench.b, storage.Put(keys[i], make([]byte, 100)))
		}
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if it, err := bench.b.Get(ctx, keys[i%benchKeys]); err != nil || len(it.Value) != 100 {
					b.Fatal(it, err)
				}
				i++
			}
		})
	}
}
