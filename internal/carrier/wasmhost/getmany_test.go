package wasmhost_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/plugins/memory/module"
	"github.com/plinthkv/plinth/storage"
)

// Keys, and an answer, that are more than a frame are asked for in parts.
func TestGetManyOfMoreThanAFrame(t *testing.T) {
	ctx := context.Background()
	r, err := wasmhost.NewRuntime(ctx, compiled(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(ctx) })
	m := load(t, r, module.Wasm, wasmhost.Options{Name: "memory", BuiltIn: true, Trusted: true, Memory: 1 << 30,
		MaxFrame: 256 << 10, Log: slog.New(slog.DiscardHandler)})
	b := openModule(t, m, "")
	s := storage.New(b, storage.Settings{})
	for name, size := range map[string]struct{ key, value int }{"keys": {10_000, 1}, "values": {10, 50_000}} {
		var keys [][]byte
		for i := range 50 {
			key := append(make([]byte, size.key), byte(i))
			keys = append(keys, key)
			if err := s.Set(ctx, key, make([]byte, size.value)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := b.GetMany(ctx, keys); !errors.Is(err, storage.ErrRangeLimit) {
			t.Errorf("%s: %v", name, err)
		}
		if items, err := s.GetMany(ctx, keys); err != nil || len(items) != len(keys) {
			t.Errorf("%s: %d of %d items, %v", name, len(items), len(keys), err)
		}
	}
}
