package storage_test

import (
	"context"
	"testing"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// Options cost a put nothing: what it allocates is what its write set needs.
func TestPutOptionsDoNotAllocate(t *testing.T) {
	s := storage.New(&stub{apply: func(*storage.WriteSet) (uint64, error) { return 1, nil }}, storage.Settings{})
	ctx, key, value := context.Background(), []byte("k"), []byte("v")
	for _, c := range []struct {
		name string
		most float64
		do   func() error
	}{
		{"set", 2, func() error { return s.Set(ctx, key, value) }},
		{"put", 2, func() error { return errOf(s.Put(ctx, key, value)) }},
		{"a TTL", 2, func() error { return errOf(s.Put(ctx, key, value, storage.WithTTL(time.Hour))) }},
		{"a condition", 3, func() error { return errOf(s.Put(ctx, key, value, storage.IfValue(value))) }},
		{"both", 3, func() error {
			return errOf(s.Put(ctx, key, value, storage.IfVersion(7), storage.WithTTL(time.Hour)))
		}},
		{"a remove", 3, func() error { return errOf(s.Remove(ctx, key, storage.IfPresent())) }},
	} {
		allocs := testing.AllocsPerRun(100, func() {
			if err := c.do(); err != nil {
				t.Fatal(err)
			}
		})
		if allocs > c.most {
			t.Errorf("%s: %v allocations, want at most %v", c.name, allocs, c.most)
		}
	}
}
