package wasmhost_test

import (
	"context"
	"os"
	"testing"

	"github.com/plinthkv/plinth/host/wasmhost"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

func open(tb testing.TB, trusted bool) *wasmhost.Backend {
	ctx := context.Background()
	r, err := wasmhost.NewRuntime(ctx, "")
	if err != nil {
		tb.Fatal(err)
	}
	bin, _ := os.ReadFile("../../plugins/memory/module/memory.wasm")
	m, err := r.Load(ctx, bin, wasmhost.Options{Name: "memory", BuiltIn: true, Trusted: trusted, Memory: 1 << 30})
	if err != nil {
		tb.Fatal(err)
	}
	b, err := m.Open(ctx, []byte(`{"max_bytes":"64MiB"}`))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestSmoke(t *testing.T) {
	b := open(t, false)
	s := storage.New(b, storage.Settings{})
	ctx := context.Background()
	t.Log(b.Info())
	if err := s.Set(ctx, []byte("k"), []byte("v")); err != nil {
		t.Fatal(err)
	}
	it, err := s.GetItem(ctx, []byte("k"))
	t.Log(it, err)
	for it, err := range s.Prefix(ctx, nil, storage.RangeOptions{}) {
		t.Log(it, err)
	}
}

func BenchmarkGet(b *testing.B) {
	ctx := context.Background()
	for _, c := range []struct {
		name string
		b    storage.Backend
	}{{"native", memory.New(memory.DefaultConfig(), sdk.Env{})}, {"trusted", open(b, true)}, {"interruptible", open(b, false)}} {
		b.Run(c.name, func(b *testing.B) {
			keys := make([][]byte, 10000)
			for i := range keys {
				keys[i] = []byte(string(rune('a'+i%26)) + "key-" + string(rune('a'+i/26%26)) + string(rune('a'+i/676)) + "0123456")
				if _, err := c.b.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Put(keys[i], make([]byte, 100))}}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			b.ResetTimer()
			i := 0
			for b.Loop() {
				if _, err := c.b.Get(ctx, keys[i%10000]); err != nil {
					b.Fatal(err)
				}
				i += 7919
			}
		})
	}
}
