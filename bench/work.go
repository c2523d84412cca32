package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/plinthkv/plinth/storage"
)

// The work: 10,000 items with keys of 16 bytes and values of 100, visited in an
// order that is not that of their slots.
const keyCount = 10_000

var (
	keys  = makeKeys()
	value = make([]byte, 100)
	big   = make([]byte, 64<<10)
	large = []byte("large-value-0001")
)

func makeKeys() [][]byte {
	k := make([][]byte, keyCount)
	for i := range k {
		k[i] = fmt.Appendf(nil, "key-%012d", i*7919%keyCount)
	}
	return k
}

// point is what every subject, peers too, can do.
type point interface {
	get(ctx context.Context, key []byte) (size int, err error)
	set(ctx context.Context, key, value []byte) error
}

// backend makes a point of a storage.Backend.
type backend struct{ storage.Backend }

func (b backend) get(ctx context.Context, key []byte) (int, error) {
	it, err := b.Get(ctx, key)
	return len(it.Value), err
}

func (b backend) set(ctx context.Context, key, value []byte) error {
	w := storage.WriteSet{Ops: []storage.Op{storage.Put(key, value)}}
	_, err := b.Apply(ctx, &w)
	return err
}

func fill(ctx context.Context, p point) error {
	for _, k := range keys {
		if err := p.set(ctx, k, value); err != nil {
			return err
		}
	}
	return p.set(ctx, large, big)
}

func gets(p point) func(*testing.B) {
	return func(b *testing.B) {
		ctx := context.Background()
		for i := 0; b.Loop(); i++ {
			if n, err := p.get(ctx, keys[i%keyCount]); err != nil || n != len(value) {
				b.Fatal(n, err)
			}
		}
	}
}

func sets(p point) func(*testing.B) {
	return func(b *testing.B) {
		ctx := context.Background()
		for i := 0; b.Loop(); i++ {
			if err := p.set(ctx, keys[i%keyCount], value); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func setsTogether(p point) func(*testing.B) {
	return func(b *testing.B) {
		together(b, 64, func(n uint64) error { return p.set(b.Context(), keys[n%uint64(keyCount)], value) })
	}
}

func getsLarge(p point) func(*testing.B) {
	return func(b *testing.B) {
		ctx := context.Background()
		for b.Loop() {
			if n, err := p.get(ctx, large); err != nil || n != len(big) {
				b.Fatal(n, err)
			}
		}
	}
}

// concurrent has 16 callers share the operations.
func concurrent(p point) func(*testing.B) {
	return func(b *testing.B) {
		ctx := context.Background()
		var next atomic.Int64
		var callers sync.WaitGroup
		b.ResetTimer()
		for range 16 {
			callers.Go(func() {
				for {
					i := next.Add(1)
					if i > int64(b.N) {
						return
					}
					if _, err := p.get(ctx, keys[i%keyCount]); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		callers.Wait()
	}
}

const manyKeys = 256

func getsMany(s storage.Backend) func(*testing.B) {
	return func(b *testing.B) {
		ctx := context.Background()
		for i := 0; b.Loop(); i++ {
			from := i * manyKeys % (keyCount - manyKeys)
			if items, err := s.GetMany(ctx, keys[from:from+manyKeys]); err != nil || len(items) != manyKeys {
				b.Fatal(len(items), err)
			}
		}
	}
}

// getsEach measures the floor of getsMany: as many single gets, which is what the goal is
// set against.
func getsEach(p point) func(*testing.B) {
	return func(b *testing.B) {
		ctx := context.Background()
		for i := 0; b.Loop(); i++ {
			from := i * manyKeys % (keyCount - manyKeys)
			for _, k := range keys[from : from+manyKeys] {
				if n, err := p.get(ctx, k); err != nil || n != len(value) {
					b.Fatal(n, err)
				}
			}
		}
	}
}

const scanItems = 100

func scans(s storage.Backend) func(*testing.B) {
	return func(b *testing.B) {
		ctx := context.Background()
		for i := 0; b.Loop(); i++ {
			start := fmt.Appendf(nil, "key-%012d", i*7919%(keyCount-scanItems))
			if p, err := s.Scan(ctx, storage.Query{Start: start, Limit: scanItems}); err != nil || len(p.Items) != scanItems {
				b.Fatal(len(p.Items), err)
			}
		}
	}
}

// floor does what a native backend does at least: a map under a lock that returns items
// which the caller owns.
type floor struct {
	storage.UnimplementedBackend
	mu    sync.RWMutex
	items map[string]storage.Item
}

func (f *floor) Get(_ context.Context, key []byte) (storage.Item, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	it, ok := f.items[string(key)]
	if !ok {
		return storage.Item{}, storage.ErrNotFound
	}
	it.Value = append(make([]byte, 0, len(it.Value)), it.Value...)
	return it, nil
}

func (f *floor) GetMany(ctx context.Context, keys [][]byte) ([]storage.Item, error) {
	items := make([]storage.Item, 0, len(keys))
	for _, k := range keys {
		if it, err := f.Get(ctx, k); err == nil {
			it.Key = append([]byte(nil), k...)
			items = append(items, it)
		}
	}
	return items, nil
}

func (f *floor) Apply(_ context.Context, w *storage.WriteSet) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range w.Ops {
		o := &w.Ops[i]
		f.items[string(o.Key)] = storage.Item{Value: append([]byte(nil), o.Value...), Version: 1}
	}
	return 1, nil
}
