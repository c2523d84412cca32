package host_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/plinthkv/plinth/storage"
)

// The memory plugin as a module refuses what does not fit long before its linear
// memory ends, whatever the size of the values, and goes on when it is full.
func TestMemoryPluginFillsUp(t *testing.T) {
	for _, size := range []int{10, 1000, 100_000, 4_000_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			s := storeOf(t, mustOpen(t, `
plugins: { memory: { limits: { memory: 160MiB } } }
stores: { a: { backend: { plugin: memory, config: { max_bytes: 32MiB } } } }`), "a")
			value, n := make([]byte, size), 0
			for {
				w := &storage.WriteSet{}
				for range max(1, min(100, 8_000_000/size)) {
					w.Ops = append(w.Ops, storage.Put(fmt.Appendf(nil, "key-%09d", n), value))
					n++
				}
				_, err := s.Apply(ctx, w)
				if errors.Is(err, storage.ErrNoSpace) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			for i := range min(2000, 400_000_000/size) {
				if err := s.Set(ctx, fmt.Appendf(nil, "key-%09d", i%max(n/2, 1)), value); err != nil {
					t.Fatalf("overwriting in a full store: %v", err)
				}
			}
			if _, err := s.ClearRange(ctx, nil, nil); err != nil {
				t.Fatal(err)
			}
			if err := s.Set(ctx, []byte("again"), value); err != nil {
				t.Errorf("after a clear: %v", err)
			}
		})
	}
}
