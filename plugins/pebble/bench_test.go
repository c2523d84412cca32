package pebble

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

var ctx = context.Background()

// The backend next to the engine alone, with the same options.
func BenchmarkBesideTheEngine(b *testing.B) {
	start := func(b *testing.B, changes ...bool) *Backend {
		c := DefaultConfig()
		c.Changes = len(changes) > 0
		o, err := open(ctx, c, sdk.Env{Dir: b.TempDir(), Log: slog.New(slog.DiscardHandler)}, vfs.Default)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = o.Close(ctx) })
		return o
	}
	raw := func(b *testing.B) *pebble.DB {
		o := start(b).options()
		db, err := pebble.Open(b.TempDir(), o)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = db.Close() })
		return db
	}
	value := make([]byte, 100)
	key := func(n uint64) []byte { return binary.BigEndian.AppendUint64([]byte("key-"), n*0x9E3779B97F4A7C15) }
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprintf("synced writers %d/engine", writers), func(b *testing.B) {
			db := raw(b)
			var n atomic.Uint64
			b.ReportAllocs()
			run(b, writers, func() error {
				batch := db.NewBatch()
				_ = batch.Set(key(n.Add(1)), value, nil)
				return batch.Commit(pebble.Sync)
			})
		})
		for name, s := range map[string]func(*testing.B) *Backend{"backend": func(b *testing.B) *Backend { return start(b) }, "backend with changes": func(b *testing.B) *Backend { return start(b, true) }} {
			b.Run(fmt.Sprintf("synced writers %d/%s", writers, name), func(b *testing.B) {
				s := s(b)
				var n atomic.Uint64
				b.ReportAllocs()
				run(b, writers, func() error {
					_, err := s.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Put(key(n.Add(1)), value)}})
					return err
				})
			})
		}
	}
	const items = 200_000
	b.Run("get/engine", func(b *testing.B) {
		db := raw(b)
		for i := range uint64(items) {
			_ = db.Set(key(i), value, pebble.NoSync)
		}
		_ = db.Flush()
		b.ReportAllocs()
		n := uint64(0)
		for b.Loop() {
			v, closer, err := db.Get(key(n % items))
			if err != nil {
				b.Fatal(err)
			}
			_ = append([]byte(nil), v...)
			_ = closer.Close()
			n += 7919
		}
	})
	b.Run("get/backend", func(b *testing.B) {
		s := start(b)
		for i := uint64(0); i < items; {
			w := &storage.WriteSet{}
			for range 1000 {
				w.Ops = append(w.Ops, storage.Put(key(i), value))
				i++
			}
			if _, err := s.Apply(ctx, w); err != nil {
				b.Fatal(err)
			}
		}
		_ = s.db.Flush()
		b.ReportAllocs()
		n := uint64(0)
		for b.Loop() {
			if _, err := s.Get(ctx, key(n%items)); err != nil {
				b.Fatal(err)
			}
			n += 7919
		}
	})
}

// run has so many callers do the work b.N times together.
func run(b *testing.B, callers int, work func() error) {
	var left atomic.Int64
	left.Store(int64(b.N))
	done := make(chan error, callers)
	b.ResetTimer()
	for range callers {
		go func() {
			for left.Add(-1) >= 0 {
				if err := work(); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range callers {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
}
