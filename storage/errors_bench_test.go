package storage_test

import (
	"errors"
	"testing"

	"github.com/plinthkv/plinth/storage"
)

// Sentinels are what every read of an absent key returns: neither returning one nor
// asking for it allocates.
func BenchmarkNotFound(b *testing.B) {
	s, _ := newModel(b)
	key := []byte("absent")
	for _, c := range []struct {
		name string
		ask  func(error) bool
	}{
		{"is", func(err error) bool { return errors.Is(err, storage.ErrNotFound) }},
		{"code", func(err error) bool { return storage.CodeOf(err) == storage.NotFound }},
		{"as", func(err error) bool { return storage.AsError(err).Code == storage.NotFound }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Get(b.Context(), key); !c.ask(err) {
					b.Fatal(err)
				}
			}
		})
	}
}
